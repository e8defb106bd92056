"""How N tokens become K: the value a reducer returns, and the only code that applies it.

Letters: B batch, N tokens in, K tokens out, C channels. Patch tokens only; prefix tokens never get here.
"""

import torch
from torch import Tensor
from typing_extensions import override

from atc.core.plan_base import Plan as Plan
from atc.core.plan_checks import check_range, check_tensor, check_valid, check_valid_contents, refuse
from atc.ops.arguments import described
from atc.ops.merge import merge, select
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
        self.clustered = labels is not None
        check_valid(valid, tuple(indices.shape))
        self.valid = valid
        self.labels = _labels_of(indices, num_in, self.padding()) if labels is None else labels

    @override
    def check_shapes(self, batch: int, num_in: int) -> None:
        check_tensor("indices", self.indices, (batch, self.num_out))
        super().check_shapes(batch, num_in)

    @override
    def check_contents(self, distinct: bool = True) -> None:
        check_range("indices", self.indices, 0, self.labels.shape[1])
        if distinct:
            padding, indices = self.padding(), self.indices
            if padding is not None:  # numbers of their own, behind all others
                behind = self.labels.shape[1] + torch.arange(self.num_out, device=indices.device)
                indices = torch.where(padding, behind, indices)
            ranked = indices.sort(dim=1).values
            twice = ranked[:, 1:] == ranked[:, :-1]
            refuse(twice, "an input token is kept twice in image {0}: indices must be distinct")
        super().check_contents(distinct)

    @override
    def reduce(self, x: Tensor, size: Tensor) -> Tensor:
        return select(x, self.indices)[0]

    @override
    def apply(self, x: Tensor, weight: Tensor, size: Tensor, prefix: int) -> tuple[Tensor, Tensor]:
        if not self.reduces_as(Select):
            return super().apply(x, weight, size, prefix)
        tokens, kept = select(x, self.indices, size=None if self.clustered else size, prefix=prefix)
        return tokens, self.reduce_size(size) if kept is None else self.without_padding(kept)

    @override
    def reduce_size(self, size: Tensor) -> Tensor:
        if self.clustered:
            return group_sum(size, self.labels, self.num_out)
        return self.without_padding(size.gather(1, self.indices))


class Assign(Plan):
    """Merge: output token k is the weighted mean (or sum) of the input tokens with label k.

    Args:
        labels: ``[B, N]`` int64 in [0, K), or -1 for a token that is dropped.
        num_out: K.
        weight: ``[B, N]`` float, the method's own token weights; None = 1. Multiplied by the token sizes in a mean.
        average: False = the weighted *sum* (EViT's fused token), in which sizes play no part.
        eps: added to the sum of weights before dividing (DPC-KNN: 1e-6).
        valid: see `Plan`.
        kept: see `Plan`.

    Examples:
        >>> plan = Assign(torch.tensor([[0, 1, 0]]), num_out=2)
        >>> x, size = torch.tensor([[[1.0], [5.0], [4.0]]]), torch.tensor([[2.0, 1.0, 1.0]])
        >>> plan.reduce(x, size).tolist()
        [[[2.0], [5.0]]]
        >>> plan.reduce_size(size).tolist()
        [[3.0, 1.0]]
        >>> plan.expand(plan.reduce(x, size)).tolist()
        [[[2.0], [5.0], [2.0]]]
    """

    def __init__(
        self,
        labels: Tensor,
        num_out: int,
        weight: Tensor | None = None,
        *,
        average: bool = True,
        eps: float = 0.0,
        valid: Tensor | None = None,
        kept: Tensor | None = None,
    ):
        self.labels, self.num_out, self.kept = labels, num_out, kept
        self.weight, self.average, self.eps, self.valid = weight, average, eps, valid

    @override
    def check_shapes(self, batch: int, num_in: int) -> None:
        super().check_shapes(batch, num_in)
        if self.weight is not None:
            check_tensor("weight", self.weight, (batch, num_in), floating=True)

    @override
    def check_contents(self, distinct: bool = True) -> None:
        super().check_contents(distinct)
        if self.weight is None:
            return
        refuse(~self.weight.isfinite(), "the weight of token {1} of image {0} is not finite")
        if self.average:
            total = group_sum(self.weight.detach(), self.labels, self.num_out) + self.eps
            padding = self.padding()
            missing = total == 0 if padding is None else (total == 0) & ~padding
            refuse(missing, "the weights of output token {1} of image {0} sum to zero")

    @override
    def reduce(self, x: Tensor, size: Tensor) -> Tensor:
        return self._merged(x, size, None, 0)[0]

    @override
    def reduce_size(self, size: Tensor) -> Tensor:
        return group_sum(size, self.labels, self.num_out)

    @override
    def apply(self, x: Tensor, weight: Tensor, size: Tensor, prefix: int) -> tuple[Tensor, Tensor]:
        if not self.reduces_as(Assign):
            return super().apply(x, weight, size, prefix)
        tokens, merged = self._merged(x, weight, size, prefix)
        assert merged is not None
        return tokens, merged

    def _merged(self, x: Tensor, weight: Tensor, size: Tensor | None, prefix: int) -> tuple[Tensor, Tensor | None]:
        own: Tensor | None = weight
        if not self.average:
            own = self.weight
        elif self.weight is not None:
            own = weight * self.weight
        # Half-precision token streams are summed and divided in float32, then cast back once. Nothing goes to padding:
        # 0 / 1, not 0 / 0.
        return merge(
            *(x, self.labels, self.num_out),
            weight=own,
            size=size,
            prefix=prefix,
            average=self.average,
            eps=self.eps,
            empty_groups=self.valid is not None,
        )


class Mix(Plan):
    """Soft merge: output token k is `weights[:, k] @ x`.

    Sizes and `expand` share each input token out over the outputs in proportion to its column of `weights`.

    Args:
        weights: ``[B, K, N]`` float, as the method defines them (rows need not sum to one); rows of padding count as
            zeros.
        valid: see `Plan`.

    Raises:
        ValueError: `weights` or `valid` of another shape or dtype.

    Examples:
        >>> plan = Mix(torch.tensor([[[0.5, 0.5, 0.0], [0.0, 0.5, 0.5]]]))
        >>> plan.reduce(torch.tensor([[[2.0], [4.0], [8.0]]]), size=torch.ones(1, 3)).tolist()
        [[[3.0], [6.0]]]
        >>> plan.reduce_size(torch.ones(1, 3)).tolist()
        [[1.5, 1.5]]
    """

    def __init__(self, weights: Tensor, *, valid: Tensor | None = None):
        if not isinstance(weights, Tensor) or not weights.is_floating_point() or weights.ndim != 3:
            raise ValueError(f"weights must be floating [B, K, N], got {described(weights)}")
        check_valid(valid, tuple(weights.shape[:2]))
        self.num_out, self.valid = weights.shape[1], valid
        padding = self.padding()
        self.weights = weights if padding is None else weights.masked_fill(padding.unsqueeze(-1), 0)
        self.labels = self.weights.argmax(dim=1)

    @override
    def check_shapes(self, batch: int, num_in: int) -> None:
        check_tensor("weights", self.weights, (batch, self.num_out, num_in), floating=True)
        super().check_shapes(batch, num_in)

    @override
    def check_contents(self, distinct: bool = True) -> None:
        refuse(~self.weights.isfinite(), "the weight of token {2} in output token {1} of image {0} is not finite")
        if self.valid is not None:
            check_valid_contents(self.valid)
        if distinct:
            empty, padding = (self.weights == 0).all(2), self.padding()
            empty = empty if padding is None else empty & ~padding
            refuse(empty, "no input token goes to output token {1} of image {0}")

    def shares(self) -> Tensor:
        """[B, K, N]: how each input token is shared out over the outputs; the shares of a token sum to one."""
        return self.weights / self.weights.sum(dim=1, keepdim=True).clamp_min(torch.finfo(self.weights.dtype).tiny)

    @override
    def reduce(self, x: Tensor, size: Tensor) -> Tensor:
        return (self.weights.to(x.dtype) @ x).to(x.dtype)  # autocast multiplies in a dtype of its own

    @override
    def reduce_size(self, size: Tensor) -> Tensor:
        return (self.shares().to(size.dtype) @ size.unsqueeze(-1)).squeeze(-1)

    @override
    def expand(self, y: Tensor, fill: Tensor | float = 0.0) -> Tensor:
        return self.shares().transpose(1, 2).to(y.dtype) @ y


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
