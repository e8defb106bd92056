"""The ``cuda`` backend: a thread block an image, in shared memory. ``block.h`` says how it works."""

from atc.ops.linkage.cuda.launch import cluster, complaint

__all__ = ["cluster", "complaint"]
