"""Exact, batched agglomerative clustering of tokens."""

from atc.ops.linkage.op import BACKENDS, METHODS, labels

__all__ = ["BACKENDS", "METHODS", "labels"]
