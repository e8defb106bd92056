"""Pruning: the plan that keeps some tokens as they are.

Letters: B batch, N tokens in, K tokens out, C channels. Patch tokens only; prefix tokens never get here.
"""

import torch
from torch import Tensor
from typing_extensions import override

from atc.core.plan_base import Plan
from atc.core.plan_checks import check_range, check_tensor, check_valid, refuse
from atc.ops.arguments import described
from atc.ops.merge import select
from atc.ops.segment import group_sum


class Select(Plan):
    """Prune: output token k is input token `indices[:, k]`, unchanged.

    Args:
        indices: ``[B, K]`` int64, distinct within a row; those of padding are any in range.
        num_in: N.
        labels: ``[B, N]`` int64, what each input token belongs to, for methods that cluster and then keep one member
            (K-Medoids). Sizes are then those of the clusters; without it, of the kept tokens.
        valid: see `Plan`.

    Raises:
        ValueError: `indices` or `valid` of another shape or dtype.

    Examples:
        >>> plan = Select(torch.tensor([[0, 2]]), num_in=4)
        >>> plan
        Select(4 -> 2 tokens)
        >>> plan.labels.tolist()
        [[0, -1, 1, -1]]
        >>> plan.reduce(torch.tensor([[[1.0], [2.0], [3.0], [4.0]]]), size=torch.ones(1, 4)).tolist()
        [[[1.0], [3.0]]]
    """

    def __init__(self, indices: Tensor, num_in: int, labels: Tensor | None = None, *, valid: Tensor | None = None):
        if not isinstance(indices, Tensor) or indices.dtype != torch.int64 or indices.ndim != 2:
            raise ValueError(f"indices must be int64 [B, K], got {described(indices)}")
        self.indices = self.kept = indices
        self.num_out = indices.shape[1]
        self.num_in, self.clustered = num_in, labels is not None
        check_valid(valid, tuple(indices.shape))
        self.valid = valid
        self._labels = labels

    @property
    def labels(self) -> Tensor:  # type: ignore[override]  # computed where it is not given
        """``[B, N]`` int64, the output token of each input token; -1 = dropped. Computed whenever it is read."""
        return _labels_of(self.indices, self.num_in, self.padding()) if self._labels is None else self._labels

    @property
    @override
    def keeps_tokens(self) -> bool:
        return self.reduces_as(Select) and not self.clustered and self.valid is None

    @override
    def check_shapes(self, batch: int, num_in: int) -> None:
        check_tensor("indices", self.indices, (batch, self.num_out))
        if self.clustered or self.num_in != num_in:  # labels made of indices are right else
            super().check_shapes(batch, num_in)

    @override
    def check_contents(self, distinct: bool = True, empty: bool = False) -> None:
        check_range("indices", self.indices, 0, self.num_in)
        if distinct:
            padding, indices = self.padding(), self.indices
            if padding is not None:  # numbers of their own, behind all others
                behind = self.num_in + torch.arange(self.num_out, device=indices.device)
                indices = torch.where(padding, behind, indices)
            ranked = indices.sort(dim=1).values
            twice = ranked[:, 1:] == ranked[:, :-1]
            refuse(twice, "an input token is kept twice in image {0}: indices must be distinct")
        super().check_contents(distinct, empty)

    @override
    def reduce(self, x: Tensor, size: Tensor) -> Tensor:
        return self._selected(x, None, 0)[0]

    @override
    def apply(self, x: Tensor, weight: Tensor, size: Tensor, prefix: int) -> tuple[Tensor, Tensor]:
        if not self.reduces_as(Select):
            return super().apply(x, weight, size, prefix)
        tokens, kept = self._selected(x, None if self.clustered else size, prefix)
        return tokens, self.reduce_size(size) if kept is None else self.without_padding(kept)

    @override
    def reduce_size(self, size: Tensor) -> Tensor:
        if self.clustered:
            return group_sum(size, self.labels, self.num_out)
        return self.without_padding(size.gather(1, self.indices))

    def _selected(self, x: Tensor, size: Tensor | None, prefix: int) -> tuple[Tensor, Tensor | None]:
        try:
            return select(x, self.indices, size=size, prefix=prefix)
        except (IndexError, RuntimeError):
            check_range("indices", self.indices, 0, x.shape[1] - prefix)
            raise


def _labels_of(indices: Tensor, num_in: int, padding: Tensor | None) -> Tensor:
    """[B, N]: which output token each input token is, -1 for most."""
    slots = torch.arange(indices.shape[1], device=indices.device).expand_as(indices)
    columns = num_in
    if padding is not None:  # a column more takes what padding would write over labels of real tokens
        columns, indices = num_in + 1, indices.masked_fill(padding, num_in)
    dropped = torch.full((indices.shape[0], columns), -1, dtype=torch.int64, device=indices.device)
    try:
        return dropped.scatter(1, indices, slots)[:, :num_in]
    except (IndexError, RuntimeError):
        check_range("indices", indices, 0, columns)
        raise
