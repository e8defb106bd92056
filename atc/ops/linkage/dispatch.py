"""The public functions, and the one opaque operator that torch.compile and torch.export see."""

from __future__ import annotations

import math
import os

import numpy as np
import torch
from torch import Tensor

from atc.ops.arguments import boolean, described, integer, is_floating
from atc.ops.exporting import exporting
from atc.ops.gpu import has_triton
from atc.ops.linkage import cpu, reference
from atc.ops.linkage.exportable import labels_by_loop
from atc.ops.linkage.job import METHODS, MOST_TOKENS_GPU, check_method
from atc.ops.linkage.relabel import labels_from_merges
from atc.ops.linkage.torch import rounds, steps

__all__ = ["BACKENDS", "METHODS", "labels", "usable_backends"]

BACKENDS = ("reference", "torch", "cpu", "triton", "cuda")
MOST_TOKENS_TRITON = 1024  # a program of the triton backend holds the state of one image in registers


def labels(
    distance: Tensor,
    keep: int,
    method: str,
    *,
    backend: str | None = None,
    check_finite: bool = False,
) -> Tensor:
    """Partition each image's tokens into exactly ``keep`` clusters by agglomerative clustering.

    The closest two clusters are merged until ``keep`` are left (Eqs. 2-4, arXiv 2409.11923). A cluster has
    the slot of its largest member; of equally close pairs, that of least (smaller, larger slot) is merged.
    With this rule the result is unique, and the same to the bit on every backend, device, thread count and in
    every batch. Average linkage divides float64 sums over all pairs of members by their number; the sums are
    exact for float32 cosine distances, whatever the order of merging.

    Labels are integers: nothing is differentiated. Under torch.compile this is one operator. In a program of
    torch.export or ONNX it is a loop over plain operators, slower than any backend, unless ``backend`` names one.

    Args:
        distance: ``[B, N, N]`` floating; half precision is read as float32. Only the part above the diagonal
            is read. Ward expects squared Euclidean distances up to a factor, such as the cosine distances of
            vectors. Infinity is a distance; NaN is farther than infinity.
        keep: K, at least 1; N or more is the identity.
        method: "single", "complete", "average" or "ward".
        backend: one of ``BACKENDS``; None chooses by device.
        check_finite: raise on NaN, for which a GPU has to be waited for. Otherwise K clusters come out all the same.

    Returns:
        ``[B, N]`` int64, numbered by first appearance.

    Raises:
        ValueError: no dense tensor of this shape and kind, ``keep`` no integer or less than 1, unknown ``method`` or
            ``backend``, or NaN with ``check_finite`` (naming the image).

    Examples:
        >>> points = torch.tensor([[0.0, 5.0, 1.0, 6.0]])
        >>> distance = (points[:, :, None] - points[:, None, :]).abs()
        >>> labels(distance, keep=2, method="average").tolist()
        [[0, 1, 0, 1]]
    """
    check_distance(distance)
    keep, check_finite = check_options(keep, method, backend, check_finite)
    if backend is None and exporting():
        above = wide(distance.detach()).triu(1)
        return labels_by_loop(above + above.mT, keep, method)
    return _linkage(distance.detach(), keep, method, backend, check_finite)


@torch.library.custom_op("atc::linkage", mutates_args=())
def _linkage(distance: Tensor, keep: int, method: str, backend: str | None, check_finite: bool) -> Tensor:
    check_distance(distance)
    check_options(keep, method, backend, check_finite)
    return cluster(wide(distance), keep, method, backend, check_finite)


@_linkage.register_fake
def _(distance: Tensor, keep: int, method: str, backend: str | None, check_finite: bool) -> Tensor:
    check_distance(distance)
    check_options(keep, method, backend, check_finite)
    return distance.new_empty(distance.shape[:2], dtype=torch.int64)


def cluster(
    distance: Tensor,
    keep: int,
    method: str,
    backend: str | None,
    check_finite: bool,
    first_image: int = 0,
) -> Tensor:
    """``[B, N]`` labels of checked arguments; ``first_image`` is added to the image that an error names."""
    chosen = chosen_backend(distance, backend, method)
    if check_finite:
        refuse_nan(distance, first_image)
    if chosen == "cpu":
        return cpu.cluster(distance.cpu(), keep, method).labels.to(distance.device)
    if chosen == "triton":
        from atc.ops.linkage.triton import launch

        return launch.cluster(distance, keep, method)[0]
    if chosen == "cuda":
        from atc.ops.linkage import cuda

        return cuda.cluster(distance, keep, method).labels
    merges, _ = merge_in_order(distance, keep, method, backend)
    return labels_from_merges(merges, distance.shape[1])


def merge_in_order(
    distance: Tensor, keep: int, method: str, backend: str | None, *, limit: float = math.inf, forced: int = 0
) -> tuple[Tensor, Tensor]:
    """The merges ``[B, N-K, 2]`` int64 in order and their heights ``[B, N-K]`` float64.

    Behind the first `forced` merges, a backend may leave out those from the first of a height above `limit`: their
    heights are infinite.
    """
    chosen = chosen_backend(distance, backend, method)
    if chosen == "reference":
        return _reference(distance, keep, method)
    if chosen == "torch":
        by = rounds if rounds.suits(distance, keep, method) else steps
        return by.merge_batch(distance, keep, method)
    if chosen == "triton":
        from atc.ops.linkage.triton import launch

        _, merges, heights = launch.cluster(distance, keep, method, want_merges=True)
    elif chosen == "cuda":
        from atc.ops.linkage import cuda

        _, merges, heights, _ = cuda.cluster(distance, keep, method, want_merges=True)
    else:
        _, merges, heights, *_ = cpu.cluster(distance.cpu(), keep, method, limit=limit, forced=forced, want_merges=True)
    assert merges is not None
    assert heights is not None
    return merges.to(distance.device), heights.to(distance.device)


def chosen_backend(distance: Tensor, backend: str | None, method: str) -> str:
    """The one asked for, or the fastest of those that can run here: on an NVIDIA GPU cuda, else triton, else torch."""
    if backend == "cuda" and (reason := why_not_cuda(distance, method)):
        raise ValueError(f"backend='cuda' {reason}")
    tokens, device = distance.shape[1], distance.device.type
    few = tokens <= MOST_TOKENS_TRITON
    if backend == "triton" and not few:
        raise ValueError(f"backend='triton' takes up to {MOST_TOKENS_TRITON} tokens, got {tokens}")
    if backend == "triton" and not has_triton():
        raise ValueError("backend='triton' needs the triton package, which is not installed")
    if backend == "triton" and device == "cpu" and not os.environ.get("TRITON_INTERPRET"):
        raise ValueError("backend='triton' needs a GPU tensor, got one on the CPU")
    if backend is not None:
        return backend
    if device == "cpu":
        return "cpu" if cpu.kernel() is not None else "torch"
    if device == "cuda" and tokens > MOST_TOKENS_GPU:
        raise ValueError(f"clustering on a GPU takes up to {MOST_TOKENS_GPU} tokens, got {tokens}")
    if why_not_cuda(distance, method) is None:
        return "cuda"
    return "triton" if few and device == "cuda" and has_triton() else "torch"


def why_not_cuda(distance: Tensor, method: str) -> str | None:
    """Why the CUDA backend cannot cluster these distances; None: it can."""
    from atc.ops.linkage import cuda

    return cuda.complaint(distance, method)


def usable_backends() -> tuple[str, ...]:
    """Those of ``BACKENDS`` that can run on this machine, for tensors on the device they are made for."""
    gpu = torch.cuda.is_available()
    usable = {"cpu": cpu.kernel() is not None, "triton": has_triton() and (gpu or "TRITON_INTERPRET" in os.environ)}
    if gpu and torch.version.cuda is not None:
        from atc.ops.linkage.cuda.bindings import bindings

        usable["cuda"] = bindings() is not None
    return tuple(name for name in BACKENDS if usable.get(name, name != "cuda"))


def wide(distance: Tensor) -> Tensor:
    """Half precision as float32, which holds it exactly."""
    return distance if distance.dtype in (torch.float32, torch.float64) else distance.float()


def _reference(distance: Tensor, keep: int, method: str) -> tuple[Tensor, Tensor]:
    batch, tokens, _ = distance.shape
    steps = max(tokens - keep, 0)
    merges = np.zeros((batch, steps, 2), dtype=np.int64)
    heights = np.zeros((batch, steps))
    for image, one in enumerate(distance.double().cpu().numpy()):
        found = reference.merge_greedily(one, keep, method)
        if steps:
            merges[image], heights[image] = found
    return torch.from_numpy(merges).to(distance.device), torch.from_numpy(heights).to(distance.device)


def refuse_nan(distance: Tensor, first_image: int = 0) -> None:
    """ValueError that names the first image whose distances above the diagonal hold NaN."""
    has_nan = distance.triu(1).isnan().flatten(1).any(1)
    if has_nan.any():
        raise ValueError(f"distance of image {first_image + int(has_nan.nonzero()[0])} holds NaN")


def check_distance(distance: Tensor) -> None:
    """Refuse what is not a dense floating ``[B, N, N]``."""
    if not is_floating(distance, 3) or distance.shape[1] != distance.shape[2]:
        raise ValueError(f"distance must be a dense floating tensor [B, N, N], got {described(distance)}")


def check_options(keep: int, method: str, backend: str | None, check_finite: bool) -> tuple[int, bool]:
    """``keep`` and ``check_finite`` as plain Python values; what cannot be one is refused."""
    check_linkage(method, backend)
    return integer("keep", keep, least=1), boolean("check_finite", check_finite)


def check_linkage(method: str, backend: str | None) -> None:
    """Refuse names that are not of ``METHODS`` and ``BACKENDS``."""
    check_method(method)
    if backend is not None and (not isinstance(backend, str) or backend not in BACKENDS):
        raise ValueError(f"backend must be one of {', '.join(BACKENDS)}, got {described(backend)}")


def check_values(distance: Tensor) -> None:
    """Refuse a tensor that has a shape but no values."""
    if distance.is_meta:
        raise ValueError(f"distance must hold values, got a meta tensor {list(distance.shape)}")
