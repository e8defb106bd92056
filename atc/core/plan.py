"""How N tokens become K: the value a reducer returns, and the only code that applies it.

Letters: B batch, N tokens in, K tokens out, C channels. Patch tokens only; prefix tokens never get here.
"""

import torch
from torch import Tensor
from typing_extensions import override

from atc.core.plan_base import Plan as Plan
from atc.core.plan_checks import check_tensor, check_valid, check_valid_contents, refuse
from atc.core.plan_select import Select as Select
from atc.ops.arguments import described
from atc.ops.merge import merge
from atc.ops.segment import group_sum


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
    def check_contents(self, distinct: bool = True, empty: bool = False) -> None:
        super().check_contents(distinct, empty)
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
        tokens: ``[B, N, C]`` float, what is mixed in place of the tokens of the sequence, such as these after a
            normalisation; None = these. `reduce` mixes what it is given.

    Raises:
        ValueError: `weights`, `valid` or `tokens` of another shape or dtype.

    Examples:
        >>> plan = Mix(torch.tensor([[[0.5, 0.5, 0.0], [0.0, 0.5, 0.5]]]))
        >>> plan.reduce(torch.tensor([[[2.0], [4.0], [8.0]]]), size=torch.ones(1, 3)).tolist()
        [[[3.0], [6.0]]]
        >>> plan.reduce_size(torch.ones(1, 3)).tolist()
        [[1.5, 1.5]]
    """

    def __init__(self, weights: Tensor, *, valid: Tensor | None = None, tokens: Tensor | None = None):
        if not isinstance(weights, Tensor) or not weights.is_floating_point() or weights.ndim != 3:
            raise ValueError(f"weights must be floating [B, K, N], got {described(weights)}")
        check_valid(valid, tuple(weights.shape[:2]))
        if tokens is not None:
            if not isinstance(tokens, Tensor) or tokens.ndim != 3:
                raise ValueError(f"tokens must be floating [B, N, C], got {described(tokens)}")
            check_tensor("tokens", tokens, (weights.shape[0], weights.shape[2], tokens.shape[2]), floating=True)
        self.num_out, self.valid, self.tokens = weights.shape[1], valid, tokens
        padding = self.padding()
        self.weights = weights if padding is None else weights.masked_fill(padding.unsqueeze(-1), 0)

    @property
    def labels(self) -> Tensor:  # type: ignore[override]  # computed
        """``[B, N]`` int64, the output token that takes most of each input token. Computed whenever it is read."""
        return self.weights.argmax(dim=1)

    @override
    def check_shapes(self, batch: int, num_in: int) -> None:
        check_tensor("weights", self.weights, (batch, self.num_out, num_in), floating=True)

    @override
    def check_contents(self, distinct: bool = True, empty: bool = False) -> None:
        refuse(~self.weights.isfinite(), "the weight of token {2} in output token {1} of image {0} is not finite")
        if self.valid is not None:
            check_valid_contents(self.valid, empty)
        if distinct:
            unused, padding = (self.weights == 0).all(2), self.padding()
            unused = unused if padding is None else unused & ~padding
            refuse(unused, "no input token goes to output token {1} of image {0}")

    def shares(self) -> Tensor:
        """[B, K, N]: how each input token is shared out over the outputs; the shares of a token sum to one."""
        return self.weights / self.weights.sum(dim=1, keepdim=True).clamp_min(torch.finfo(self.weights.dtype).tiny)

    @override
    def apply(self, x: Tensor, weight: Tensor, size: Tensor, prefix: int) -> tuple[Tensor, Tensor]:
        if self.tokens is None:
            return super().apply(x, weight, size, prefix)
        check_tensor("tokens", self.tokens, (x.shape[0], x.shape[1] - prefix, x.shape[2]), floating=True)
        mixed, sizes = super().apply(self.tokens.to(x.dtype), weight, size, 0)
        return torch.cat([x[:, :prefix], mixed], dim=1) if prefix else mixed, sizes

    @override
    def reduce(self, x: Tensor, size: Tensor) -> Tensor:
        return (self.weights.to(x.dtype) @ x).to(x.dtype)  # autocast multiplies in a dtype of its own

    @override
    def reduce_size(self, size: Tensor) -> Tensor:
        return (self.shares().to(size.dtype) @ size.unsqueeze(-1)).squeeze(-1)

    @override
    def expand(self, y: Tensor, fill: Tensor | float = 0.0) -> Tensor:
        return self.shares().transpose(1, 2).to(y.dtype) @ y
