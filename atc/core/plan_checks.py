"""What must hold for the tensors that plans are made of."""

from typing import Any

import torch
from torch import Tensor

from atc.ops.arguments import described


def check_tensor(name: str, value: Any, shape: tuple[int, ...], floating: bool = False) -> None:
    """Raise ValueError unless `value` is a tensor of this shape, int64 or (if `floating`) of a floating dtype."""
    kind = isinstance(value, Tensor) and (value.is_floating_point() if floating else value.dtype == torch.int64)
    if not kind or value.shape != shape:
        wanted = "floating" if floating else "int64"
        raise ValueError(f"{name} must be {wanted} {list(shape)}, got {described(value)}")


def check_range(name: str, value: Tensor, low: int, high: int) -> None:
    """Raise ValueError with the first value outside of [low, high), if there is one."""
    outside = (value < low) | (value >= high)
    if outside.any():
        wrong, image = int(value[outside][0]), int(outside.nonzero()[0, 0])
        raise ValueError(f"{name} must lie in [{low}, {high}), got {wrong} in image {image}")


def refuse(wrong: Tensor, message: str) -> None:
    """Raise ValueError with the first place of ``wrong`` put into the message, if there is one."""
    if wrong.any():
        raise ValueError(message.format(*wrong.nonzero()[0].tolist()))


def check_valid(valid: Any, shape: tuple[int, ...]) -> None:
    """Raise ValueError unless `valid` is None, or a bool or floating tensor of this shape."""
    if valid is None:
        return
    kind = isinstance(valid, Tensor) and (valid.is_floating_point() or valid.dtype == torch.bool)
    if not kind or valid.shape != shape:
        raise ValueError(f"valid must be bool or floating {list(shape)}, got {described(valid)}")


def check_valid_contents(valid: Tensor, empty: bool = False) -> None:
    """Raise ValueError where padding is not behind the real tokens, or a share of a token is outside [0, 1].

    Args:
        valid: as in `Plan.valid`.
        empty: an image may have no real token.
    """
    if valid.dtype == torch.bool:
        if not empty:
            refuse(~valid[:, :1], "no token of image {0} is real: valid must be true for one at least")
        refuse(valid[:, 1:] & ~valid[:, :-1], "valid must be true first, then false: image {0} has padding in between")
    else:
        # A straight-through estimate is 0 or 1 up to a rounding.
        refuse(~((valid >= -1e-6) & (valid <= 1 + 1e-6)), "valid must lie in [0, 1]: token {1} of image {0} does not")


def check_reduced(x: Tensor, size: Tensor, before: Tensor, prefix: int, num_out: int, values: bool) -> None:
    """Raise ValueError where a plan's own arithmetic went wrong.

    Args:
        x: what the plan made of the sequence, to be ``[B, P+K, C]``.
        size: what it made of the sizes of the tokens, to be ``[B, K]``.
        before: ``[B, P+N, C]``, the sequence of which it made it.
        prefix: P.
        num_out: K, as it has to be.
        values: whether they are looked at, not only shapes.
    """
    batch, _, channels = before.shape
    if x.shape != (batch, prefix + num_out, channels) or x.dtype != before.dtype:
        wanted = f"{before.dtype} {[batch, num_out, channels]}"
        got = f"{x.dtype} {[batch, x.shape[1] - prefix, *x.shape[2:]]}" if x.ndim > 1 else f"{x.dtype} {list(x.shape)}"
        raise ValueError(f"reduced tokens must be {wanted}, got {got}")
    if size.shape != (batch, num_out) or not size.is_floating_point():
        raise ValueError(f"sizes must be floating {[batch, num_out]}, got {size.dtype} {list(size.shape)}")
    if values:
        for name, made in (("reduced tokens", x[:, prefix:]), ("sizes", size)):
            if not made.isfinite().all():
                raise ValueError(f"{name} are not finite, although the tokens were")
