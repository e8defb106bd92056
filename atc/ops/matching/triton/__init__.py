"""The kernels of bipartite matching."""
