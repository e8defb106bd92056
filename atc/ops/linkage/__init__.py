"""Exact, batched agglomerative clustering of tokens.

``labels`` is all that a model needs. Backends return the same labels to the bit:

- ``cpu``: compiled C++, chosen on a CPU if the package was built where there was a compiler;
- ``torch``: chosen on a CPU otherwise, and on a GPU without Triton or for more than 1,024 tokens;
- ``triton``: chosen on a GPU;
- ``cuda``: on request on an NVIDIA GPU, for as many tokens as its shared memory holds (on an H100, 335 for single and
  complete linkage of float32, else 237); chosen nowhere until it has been measured against ``triton``;
- ``reference``: the loop-written oracle of the tests.

Memory beside distances and labels, for N tokens and K clusters of float32 distances: ``cpu`` 4 N**2 bytes a thread, and
up to 8 N**2 more for Ward, for dendrograms and for average linkage in images full of ties (of blocks over 16 MiB the
process keeps one for the next call); ``triton`` 4 (N - K) N bytes an image, or twice that for average and Ward;
``cuda`` shared memory only; ``torch`` about five arrays as large as the distances, in float64 for average and Ward.
"""

from atc.ops.linkage.among import BACKENDS_AMONG, labels_among_neighbours
from atc.ops.linkage.cosine import cosine_distance
from atc.ops.linkage.counters import Effort, effort
from atc.ops.linkage.dendrogram import Dendrogram, dendrogram
from atc.ops.linkage.dispatch import BACKENDS, METHODS, labels, usable_backends
from atc.ops.linkage.euclidean import euclidean_distance
from atc.ops.linkage.features import labels_from_features
from atc.ops.linkage.one_shot import TreeCut, cut_tree, grow_tree
from atc.ops.linkage.threshold import labels_within, merge_heights

__all__ = [
    "BACKENDS",
    "BACKENDS_AMONG",
    "METHODS",
    "Dendrogram",
    "Effort",
    "TreeCut",
    "cosine_distance",
    "cut_tree",
    "dendrogram",
    "effort",
    "euclidean_distance",
    "grow_tree",
    "labels",
    "labels_among_neighbours",
    "labels_from_features",
    "labels_within",
    "merge_heights",
    "usable_backends",
]
