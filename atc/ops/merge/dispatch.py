"""Where the kernels run, and where operators of PyTorch do."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from atc.ops.gpu import triton_reads

_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def has_kernel(*tensors: Tensor | None) -> bool:
    """Whether the kernels can read these tensors."""
    return triton_reads(*tensors, dtypes=_DTYPES)


@cache
def launch() -> Any:
    """The module that launches the kernels; Triton is imported with it."""
    return import_module("atc.ops.merge.triton.launch")
