"""The operators ``atc::merge`` and ``atc::select``: one call a stage, one node of a compiled graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from atc.ops.exporting import exporting, inside_transform
from atc.ops.merge import compiled, dispatch
from atc.ops.merge.checks import check_merge, check_select
from atc.ops.merge.plain import merge_parts
from atc.ops.merge.sums import rows_of, take_by_label


def needs_plain(*tensors: Tensor | None) -> bool:
    """Whether operators of PyTorch have to do the work: in exported programs, and for transforms of functions."""
    return exporting() or inside_transform(*tensors)


@torch.library.custom_op("atc::merge", mutates_args=())
def merge_operator(
    x: Tensor,
    labels: Tensor,
    num_groups: int,
    weight: Tensor | None,
    size: Tensor | None,
    prefix: int,
    average: bool,
    eps: float,
    empty_groups: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """As `atc.ops.merge.merge`; what is not asked for is empty.

    Returns:
        ``[B, P+K, C]`` tokens, ``[B, K]`` sizes or ``[0]``, and ``[B, K]`` sums of weights (with `eps`) or ``[0]``.
    """
    check_merge(x, labels, num_groups, weight, size, prefix)
    if dispatch.has_kernel(x, weight, size):
        return dispatch.launch().merge(x, labels, num_groups, weight, size, prefix, average, eps, empty_groups)
    if compiled.reads(x, weight, size):
        found = compiled.merge(x, labels, num_groups, weight, size, prefix, average, eps, empty_groups)
        if found is not None:
            return found
    sums, divisor, total, sizes = merge_parts(x, labels, num_groups, weight, size, prefix, average, eps, empty_groups)
    out = x.new_empty(x.shape[0], prefix + num_groups, x.shape[2])
    out[:, :prefix] = x[:, :prefix]
    if divisor is None or x.dtype != sums.dtype:
        out[:, prefix:] = sums if divisor is None else sums.div_(divisor)
    else:
        torch.div(sums, divisor, out=out[:, prefix:])
    if total is not None and total is sizes:
        total = total.clone()
    none = x.new_empty(0)
    return out, none if sizes is None else sizes.contiguous(), none.clone() if total is None else total.contiguous()


@merge_operator.register_fake
def _(
    x: Tensor,
    labels: Tensor,
    num_groups: int,
    weight: Tensor | None,
    size: Tensor | None,
    prefix: int,
    average: bool,
    eps: float,
    empty_groups: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    check_merge(x, labels, num_groups, weight, size, prefix)
    batch, _, channels = x.shape
    total = torch.promote_types(x.dtype, torch.float32)
    return (
        x.new_empty(batch, prefix + num_groups, channels),
        x.new_empty(0) if size is None else size.new_empty(batch, num_groups),
        x.new_empty(batch, num_groups, dtype=total) if average else x.new_empty(0),
    )


def _merge_saves(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    x, labels, _, weight, size, ctx.prefix, ctx.average, ctx.eps, ctx.empty_groups = inputs
    tokens, sizes, total = output
    # What does not depend on what is learned must not seem to: attention takes another kernel for a bias that does.
    fixed = [] if size is not None and size.requires_grad else [sizes]
    fixed += [] if weight is not None and weight.requires_grad else [total]
    fixed += [] if x.requires_grad or (weight is not None and weight.requires_grad) else [tokens]
    ctx.mark_non_differentiable(*fixed)
    by_weight = weight is not None and weight.requires_grad
    ctx.x_dtype = x.dtype
    ctx.num_groups = tokens.shape[1] - ctx.prefix
    ctx.set_materialize_grads(False)
    saved = (x, tokens) if by_weight else (None, None)
    ctx.save_for_backward(labels, weight, total if ctx.average else None, *saved)


def _merge_gradients(ctx: Any, of_tokens: Tensor | None, of_sizes: Tensor | None, of_total: Tensor | None) -> Any:
    """Gathers; in operators of PyTorch, so that gradients have gradients, where a kernel cannot do it at once."""
    labels, weight, total, x, tokens = ctx.saved_tensors
    to_x, _, _, to_weight, to_size, *_ = ctx.needs_input_grad
    x_grad = weight_grad = size_grad = None
    if to_size and of_sizes is not None:
        size_grad = take_by_label(of_sizes, labels)
    if of_tokens is not None and to_x and not to_weight and _is_plain_gradient(of_tokens, weight):
        x_grad = dispatch.launch().spread(of_tokens, labels, weight, total, ctx.prefix, ctx.empty_groups)
    elif of_tokens is not None and (to_x or to_weight):
        exact = torch.promote_types(ctx.x_dtype, torch.float32)
        grad = of_tokens[:, ctx.prefix :].to(exact)
        divisor = None
        if ctx.average:
            divisor = (torch.where(total == 0, 1, total) if ctx.empty_groups else total).unsqueeze(-1)
        rows = take_by_label(grad if divisor is None else grad / divisor, labels)
        if to_x:
            patches = rows if weight is None else rows * weight.to(exact).unsqueeze(-1)
            head = of_tokens[:, : ctx.prefix]
            x_grad = torch.cat([head, patches.to(ctx.x_dtype)], dim=1) if ctx.prefix else patches.to(ctx.x_dtype)
        if to_weight:
            weight_grad = (rows * x[:, ctx.prefix :].to(exact)).sum(-1)
            if divisor is not None:
                means = _means(ctx, x, tokens, labels, weight, exact)
                of_divisor = (-grad * (means / divisor)).sum(-1)
                if ctx.empty_groups:
                    of_divisor = torch.where(total == 0, 0, of_divisor)
                of_total = of_divisor if of_total is None else of_total + of_divisor
    if to_weight and of_total is not None:
        by_total = take_by_label(of_total, labels)
        weight_grad = by_total if weight_grad is None else weight_grad + by_total
    if weight_grad is not None:
        weight_grad = weight_grad.to(weight.dtype)
    return x_grad, None, None, weight_grad, size_grad, None, None, None, None


def _is_plain_gradient(of_tokens: Tensor, weight: Tensor | None) -> bool:
    """Whether a kernel may compute it: numbers on a GPU, of which no further gradients are taken, in no graph."""
    if torch.is_grad_enabled() or torch.compiler.is_compiling() or type(of_tokens) is not Tensor:
        return False
    return dispatch.has_kernel(of_tokens, weight) and not inside_transform(of_tokens, weight)


def _means(ctx: Any, x: Tensor, tokens: Tensor, labels: Tensor, weight: Tensor, exact: torch.dtype) -> Tensor:
    """The means before they were rounded to half precision."""
    if tokens.dtype == exact:
        return tokens[:, ctx.prefix :]
    patches = x[:, ctx.prefix :].to(exact)
    return merge_operator(patches, labels, ctx.num_groups, weight, None, 0, True, ctx.eps, ctx.empty_groups)[0]


merge_operator.register_autograd(_merge_gradients, setup_context=_merge_saves)


@torch.library.custom_op("atc::select", mutates_args=())
def select_operator(x: Tensor, indices: Tensor, size: Tensor | None, prefix: int) -> tuple[Tensor, Tensor]:
    """As `atc.ops.merge.select`; without sizes, ``[0]``."""
    check_select(x, indices, size, prefix)
    if dispatch.has_kernel(x, size):
        return dispatch.launch().select(x, indices, size, prefix)
    # On a CPU, whole rows are copied several times as fast as `gather` copies the same numbers.
    batch, length, channels = x.shape
    rows = rows_of(indices, length - prefix, prefix)
    out = x.reshape(batch * length, channels).index_select(0, rows).view(batch, prefix + indices.shape[1], channels)
    return out, x.new_empty(0) if size is None else size.gather(1, indices)


@select_operator.register_fake
def _(x: Tensor, indices: Tensor, size: Tensor | None, prefix: int) -> tuple[Tensor, Tensor]:
    check_select(x, indices, size, prefix)
    out = x.new_empty(x.shape[0], prefix + indices.shape[1], x.shape[2])
    return out, x.new_empty(0) if size is None else size.new_empty(indices.shape)


def _select_saves(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    x, indices, size, ctx.prefix = inputs
    ctx.num_in = x.shape[1] - ctx.prefix
    fixed = [] if size is not None and size.requires_grad else [output[1]]
    ctx.mark_non_differentiable(*fixed, *([] if x.requires_grad else [output[0]]))
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(indices)


def _select_gradients(ctx: Any, of_tokens: Tensor | None, of_sizes: Tensor | None) -> Any:
    (indices,) = ctx.saved_tensors
    to_x, _, to_size, _ = ctx.needs_input_grad
    x_grad = size_grad = None
    if to_x and of_tokens is not None:
        batch, _, channels = of_tokens.shape
        length = ctx.prefix + ctx.num_in
        zeros = of_tokens.new_zeros(batch * length, channels)
        rows = rows_of(indices, ctx.num_in, ctx.prefix)
        x_grad = zeros.index_add(0, rows, of_tokens.flatten(0, 1)).unflatten(0, (batch, length))
    if to_size and of_sizes is not None:
        size_grad = of_sizes.new_zeros(len(indices), ctx.num_in).scatter_add(1, indices, of_sizes)
    return x_grad, None, size_grad, None


select_operator.register_autograd(_select_gradients, setup_context=_select_saves)


def _first(value: Tensor | None, dim: int | None, times: int) -> Tensor | None:
    """A tensor of ``torch.vmap`` with its dimension joined with the batch: ``[V, B, ...]`` -> ``[V * B, ...]``."""
    if value is None:
        return None
    moved = value.unsqueeze(0).expand(times, *value.shape) if dim is None else value.movedim(dim, 0)
    return moved.flatten(0, 1)


def _merge_in_vmap(info: Any, in_dims: Sequence[int | None], *arguments: Any) -> Any:
    x, labels, num_groups, weight, size, *options = arguments
    at = in_dims
    parts = [_first(value, at[place], info.batch_size) for value, place in ((x, 0), (labels, 1))]
    factors = [_first(value, at[place], info.batch_size) for value, place in ((weight, 3), (size, 4))]
    found = merge_operator(*parts, num_groups, *factors, *options)
    return tuple(_apart(one, info.batch_size) for one in found), (0, 0, 0)


def _select_in_vmap(info: Any, in_dims: Sequence[int | None], *arguments: Any) -> Any:
    x, indices, size, prefix = arguments
    parts = [_first(value, in_dims[place], info.batch_size) for place, value in enumerate((x, indices, size))]
    return tuple(_apart(one, info.batch_size) for one in select_operator(*parts, prefix)), (0, 0)


def _apart(found: Tensor, times: int) -> Tensor:
    return found.new_empty(times, 0) if found.ndim == 1 else found.unflatten(0, (times, -1))


merge_operator.register_vmap(_merge_in_vmap)
select_operator.register_vmap(_select_in_vmap)
