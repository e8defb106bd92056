"""Where the kernels run, and where operators of PyTorch do."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def has_kernel(*tensors: Tensor | None) -> bool:
    """Whether the kernels can read these tensors: on a GPU, with Triton, of a dtype that it has."""
    given = [tensor for tensor in tensors if tensor is not None]
    return given[0].device.type == "cuda" and all(tensor.dtype in _DTYPES for tensor in given) and _has_triton()


@cache
def _has_triton() -> bool:
    return find_spec("triton") is not None


@cache
def launch() -> Any:
    """The module that launches the kernels; Triton is imported with it."""
    return import_module("atc.ops.merge.triton.launch")
