"""Whether a model is being exported, in which case operations are written in operators that every runtime has."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

is_functorch_wrapped_tensor: Any
try:  # not public; without it, operators of ours are called, which say that they know no transforms
    from torch._C._functorch import is_functorch_wrapped_tensor
except ImportError:
    is_functorch_wrapped_tensor = None


def exporting() -> bool:
    """Whether `torch.export` or `torch.onnx.export` is reading the model."""
    return torch.compiler.is_exporting() or torch.onnx.is_in_onnx_export()


def inside_transform(*tensors: Tensor | None) -> bool:
    """Whether a tensor belongs to `torch.vmap`, `torch.func.grad` or the like, or carries a forward derivative.

    Args:
        tensors: None stands for a tensor that there is not.

    Returns:
        True where an operation has to be written in operators of PyTorch. False while a graph is made, and where
        PyTorch does not say.
    """
    if torch.compiler.is_compiling():
        return False
    for tensor in tensors:
        if tensor is None:
            continue
        if is_functorch_wrapped_tensor is not None and is_functorch_wrapped_tensor(tensor):
            return True
        if forward_ad.unpack_dual(tensor).tangent is not None:
            return True
    return False


def may_keep_constants(tensor: Tensor) -> bool:
    """Whether constants that are made for this tensor may serve later calls, too.

    Args:
        tensor: of the model that runs.

    Returns:
        False where a tensor does not outlive the call: while a model is compiled, exported, transformed or captured.
    """
    if torch.compiler.is_compiling() or type(tensor) is not Tensor or inside_transform(tensor):
        return False
    return not (tensor.is_cuda and torch.cuda.is_current_stream_capturing())


def pairwise_cdist(x: Tensor) -> Tensor:
    """Distances between all pairs of tokens, as `torch.cdist`, which ONNX does not have.

    While a model is exported, the distances are written out in the way that `torch.cdist` computes them: from
    differences for up to 25 tokens, from products for more.

    Args:
        x: ``[B, N, C]`` floating.

    Returns:
        ``[B, N, N]`` of the dtype of ``x``.
    """
    if not exporting():
        return torch.cdist(x, x)
    if x.shape[1] <= 25:
        return (x.unsqueeze(2) - x.unsqueeze(1)).square().sum(dim=-1).sqrt()
    square = x.square().sum(dim=-1, keepdim=True)
    one = torch.ones_like(square)
    product = torch.cat([-2 * x, square, one], dim=-1) @ torch.cat([x, one, square], dim=-1).transpose(1, 2)
    return product.clamp_min(0).sqrt()
