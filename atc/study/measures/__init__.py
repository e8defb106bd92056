"""Measures of similarity between reduction patterns: NumPy arrays in, numbers out.

They need neither a model nor a run:

>>> from atc.study import measures
>>> round(measures.iou([0, 1, 2, 3, 4, 5], [4, 5, 6]), 6)
0.285714
"""

from atc.study.measures.chance import adjusted_mutual_information, expected_ioa, expected_iou
from atc.study.measures.features import cls_features
from atc.study.measures.kept import ioa, iou
from atc.study.measures.maps import heat_maps
from atc.study.measures.merges import clusterings, compose
from atc.study.measures.ranks import bootstrap, correlation, permutation_p

__all__ = [
    "adjusted_mutual_information",
    "bootstrap",
    "cls_features",
    "clusterings",
    "compose",
    "correlation",
    "expected_ioa",
    "expected_iou",
    "heat_maps",
    "ioa",
    "iou",
    "permutation_p",
]
