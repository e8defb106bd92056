"""Merging and selecting tokens: what applies a plan to a whole stream, prefix tokens included, in one operator.

On a CPU the work is done by the compiled library (`compiled.py`) or operators of PyTorch (`plain.py`), on a GPU by
kernels (`triton/`). See ``README.md``.
"""

from __future__ import annotations

from torch import Tensor

from atc.ops.merge.checks import check_merge, check_select
from atc.ops.merge.operator import merge_operator, needs_plain, select_operator
from atc.ops.merge.plain import merge_plainly, select_plainly

__all__ = ["merge", "select"]


def merge(
    x: Tensor,
    labels: Tensor,
    num_groups: int,
    *,
    weight: Tensor | None = None,
    size: Tensor | None = None,
    prefix: int = 0,
    average: bool = True,
    eps: float = 0.0,
    empty_groups: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Make of each group of tokens one: their weighted mean or sum, behind the prefix tokens as they are.

    Half precision is summed and divided in float32, and rounded once. The same input gives the same bits every time, on
    a GPU too. Differentiable in ``x``, ``weight`` and ``size``.

    Args:
        x: ``[B, P+N, C]`` floating.
        labels: ``[B, N]`` int64 in [-1, K), the group of each token; -1 drops it.
        num_groups: K. A group without tokens sums to 0.
        weight: ``[B, N]`` floating, how much each token counts; None means 1 each.
        size: ``[B, N]`` floating, summed by group too.
        prefix: P, tokens in front that are copied.
        average: divide by the sum of weights.
        eps: added to that sum.
        empty_groups: divide by 1 where it is zero, as in groups that are padding.

    Returns:
        ``[B, P+K, C]`` of the dtype of ``x``, and ``[B, K]`` sums of ``size`` of its dtype (None without).

    Raises:
        ValueError: no dense tensors, shapes or devices that do not belong together, labels that are not int64 or (on a
            CPU) out of range.

    Examples:
        >>> import torch
        >>> x = torch.tensor([[[9.0], [1.0], [5.0], [4.0]]])
        >>> tokens, size = merge(x, torch.tensor([[0, 1, 0]]), 2, size=torch.ones(1, 3), prefix=1)
        >>> tokens.tolist(), size.tolist()
        ([[[9.0], [2.5], [5.0]]], [[2.0, 1.0]])
    """
    arguments = x, labels, num_groups, weight, size, prefix, average, eps, empty_groups
    if needs_plain(x, weight, size):
        check_merge(x, labels, num_groups, weight, size, prefix)
        return merge_plainly(*arguments)
    tokens, sizes, _ = merge_operator(*arguments)
    return tokens, None if size is None else sizes


def select(x: Tensor, indices: Tensor, *, size: Tensor | None = None, prefix: int = 0) -> tuple[Tensor, Tensor | None]:
    """Keep some tokens, behind the prefix tokens, unchanged.

    Args:
        x: ``[B, P+N, C]`` floating.
        indices: ``[B, K]`` int64 in [0, N).
        size: ``[B, N]`` floating, of which the same are kept.
        prefix: P, tokens in front that are copied.

    Returns:
        ``[B, P+K, C]``, and ``[B, K]`` sizes (None without).

    Raises:
        ValueError: no dense tensors, or shapes or devices that do not belong together.

    Examples:
        >>> import torch
        >>> select(torch.tensor([[[9.0], [1.0], [5.0], [4.0]]]), torch.tensor([[2, 0]]), prefix=1)[0].tolist()
        [[[9.0], [4.0], [1.0]]]
    """
    if needs_plain(x, size):
        check_select(x, indices, size, prefix)
        return select_plainly(x, indices, size, prefix)
    tokens, sizes = select_operator(x, indices, size, prefix)
    return tokens, None if size is None else sizes
