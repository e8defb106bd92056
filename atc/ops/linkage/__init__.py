"""Exact, batched agglomerative clustering of tokens."""

from atc.ops.linkage.cosine import cosine_distance
from atc.ops.linkage.op import BACKENDS, METHODS, labels

__all__ = ["BACKENDS", "METHODS", "cosine_distance", "labels"]
