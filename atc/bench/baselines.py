"""How others do what the linkage does, as they would be called in its place."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from importlib.util import find_spec

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.cluster import hierarchy
from torch import Tensor

Labels = NDArray[np.int64]  # [B, N]
Cluster = Callable[[Tensor, int, str], Labels | Tensor]


@cache
def above_diagonal(tokens: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and columns above the diagonal of a square matrix, ``[N (N - 1) / 2]`` each, in SciPy's order."""
    return np.triu_indices(tokens, k=1)


def scipy(distance: Tensor, keep: int, method: str) -> Labels:
    """``linkage`` and ``fcluster`` of each image, with the triangle's indices computed once."""
    return condensed(hierarchy.linkage, distance, keep, method)


def fastcluster(distance: Tensor, keep: int, method: str) -> Labels:
    """The same with the fastcluster package in place of SciPy's ``linkage``."""
    import fastcluster as package

    return condensed(package.linkage, distance, keep, method)


def condensed(linkage: Callable[..., Labels], distance: Tensor, keep: int, method: str) -> Labels:
    """Labels of a function with the signature of SciPy's ``linkage``.

    Args:
        linkage: from condensed distances ``[N (N - 1) / 2]`` and ``method`` to a tree.
        distance: ``[B, N, N]``.
        keep: clusters per image.
        method: the linkage.

    Returns:
        ``[B, N]`` cluster numbers from 0.
    """
    index = above_diagonal(distance.shape[1])
    # Negative round-off of near duplicates would be refused.
    trees = [linkage(np.maximum(image[index], 0), method=method) for image in distance.cpu().numpy()]
    return np.stack([hierarchy.fcluster(tree, keep, criterion="maxclust") for tree in trees])


def scikit_learn(distance: Tensor, keep: int, method: str) -> Labels:
    """The call of the paper's authors: one image at a time, the square matrix as it is."""
    from sklearn.cluster import AgglomerativeClustering

    model = AgglomerativeClustering(n_clusters=keep, metric="precomputed", linkage=method)
    return np.stack([model.fit_predict(image) for image in distance.cpu().numpy()])


def scipy_in_processes(distance: Tensor, keep: int, method: str, cores: int) -> Labels:
    """SciPy in ``cores`` processes, which joblib keeps from call to call."""
    from joblib import Parallel, delayed

    parts = [part for part in distance.cpu().chunk(cores) if len(part)]
    return np.concatenate(Parallel(n_jobs=cores)(delayed(scipy)(part, keep, method) for part in parts))


def scipy_in_threads(distance: Tensor, keep: int, method: str, cores: int) -> Labels:
    """SciPy in ``cores`` threads of this process."""
    parts = [part for part in distance.cpu().chunk(cores) if len(part)]
    return np.concatenate(list(threads(cores).map(lambda part: scipy(part, keep, method), parts)))


@cache
def threads(count: int) -> ThreadPoolExecutor:
    """A pool of ``count`` threads, made once."""
    return ThreadPoolExecutor(count)


def single_thread_rivals() -> dict[str, Cluster]:
    """What others cluster with in one thread, by name: those packages that are installed."""
    found: dict[str, Cluster] = {"SciPy": scipy, "scikit-learn": scikit_learn}
    if find_spec("fastcluster"):
        found["fastcluster"] = fastcluster
    return found


def many_core_rivals(cores: int) -> dict[str, Cluster]:
    """The fastest of them on ``cores`` cores, in threads and in processes."""
    return {
        f"SciPy, {cores} threads": partial(scipy_in_threads, cores=cores),
        f"SciPy, {cores} processes": partial(scipy_in_processes, cores=cores),
    }


def tome_match(keys: Tensor, keep: int) -> tuple[Tensor, Tensor, Tensor]:
    """Bipartite soft matching (Algorithm 1, arXiv 2210.09461) of patch tokens, for keep of at least half.

    Returns:
        The even tokens that stay, those that are merged, and the odd tokens they are merged into, each
        ``[B, ., 1]`` int64 positions within the even or odd tokens.
    """
    unit = keys / keys.norm(dim=-1, keepdim=True)
    best, into = (unit[:, ::2] @ unit[:, 1::2].mT).max(-1)
    order = best.argsort(dim=-1, descending=True).unsqueeze(-1)
    merged = keys.shape[1] - keep
    return order[:, merged:], order[:, :merged], into.unsqueeze(-1).gather(1, order[:, :merged])


def tome_merge(x: Tensor, size: Tensor, match: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """The size-weighted merge of that matching: ``[B, K, C]`` tokens and ``[B, K, 1]`` sizes."""

    def merge(value: Tensor) -> Tensor:
        stay, leave, into = (index.expand(-1, -1, value.shape[-1]) for index in match)
        even, odd = value[:, ::2], value[:, 1::2]
        return torch.cat([even.gather(1, stay), odd.scatter_reduce(1, into, even.gather(1, leave), "sum")], 1)

    total = merge(size)
    return merge(x * size) / total, total
