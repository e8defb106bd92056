"""Exact, batched agglomerative clustering of tokens."""

from atc.ops.linkage.cosine import cosine_distance
from atc.ops.linkage.dendrogram import Dendrogram, dendrogram
from atc.ops.linkage.effort import Effort, effort
from atc.ops.linkage.features import labels_from_features
from atc.ops.linkage.op import BACKENDS, METHODS, labels

__all__ = [
    "BACKENDS",
    "METHODS",
    "Dendrogram",
    "Effort",
    "cosine_distance",
    "dendrogram",
    "effort",
    "labels",
    "labels_from_features",
]
