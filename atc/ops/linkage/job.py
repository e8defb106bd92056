"""What the compiled kernels demand of their arguments; checked before they get an address."""

from __future__ import annotations

import torch
from torch import Tensor

from atc.ops.arguments import described, integer, is_floating

METHODS = ("single", "complete", "average", "ward")
MOST_TOKENS_GPU = 1 << 16  # two slots of an edge share 32 bits (cuda/tree.h); distances take 16 GiB an image


def check_job(distance: Tensor, keep: int, method: str, device: str) -> None:
    """Refuse a job that a kernel would read or write wrongly.

    Args:
        distance: has to be a dense ``[B, N, N]`` float32 or float64 tensor with values, on ``device``.
        keep: clusters to leave; has to be an integer of 1 or more.
        method: has to be one of ``METHODS``.
        device: "cpu" or "cuda".

    Raises:
        ValueError: naming what is otherwise.
    """
    if not is_floating(distance, 3) or distance.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"distance must be a dense float32 or float64 tensor [B, N, N], got {described(distance)}")
    if distance.shape[1] != distance.shape[2]:
        raise ValueError(f"distance must be square [B, N, N], got {list(distance.shape)}")
    if distance.device.type != device:
        raise ValueError(f"distance must be on a {device} device, got one on {distance.device}")
    if distance.numel() and not distance.data_ptr():
        raise ValueError(f"distance must hold values, got a {type(distance).__name__} without memory")
    check_method(method)
    integer("keep", keep, least=1)


def check_method(method: str) -> None:
    """Refuse a name that is not one of ``METHODS``."""
    if not isinstance(method, str) or method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, got {described(method)}")
