"""Kernels for GPUs that Triton compiles: lists of members, merged rows, selected rows."""
