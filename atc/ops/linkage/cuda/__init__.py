"""The ``cuda`` backend: an image in shared memory (``block.h``), or in device memory (``rounds.h``, ``tree.h``)."""

from atc.ops.linkage.cuda.launch import cluster, complaint

__all__ = ["cluster", "complaint"]
