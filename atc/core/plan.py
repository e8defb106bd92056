"""How N tokens become K: the value a reducer returns, and the only code that applies it.

Letters: B batch, N tokens in, K tokens out, C channels. Patch tokens only; prefix tokens never get here.
"""

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor

from atc.core.plan_checks import check_range, check_tensor, check_valid, check_valid_contents, refuse
from atc.ops.arguments import described
from atc.ops.segment import group_sum


class Plan(tuple[Tensor, ...], ABC):
    """A decision for a whole batch: which of the K output tokens each of the N input tokens goes to.

    Images may keep different numbers of tokens. `valid` then says which of the K outputs count, and None means all of
    them. As bool it marks padding: real tokens come first, padding after them, with size 0 and no label that points
    to it; what it contains must be finite and is not looked at. As floating it is a mask in [0, 1] through which
    gradients flow, for methods that keep all tokens while they learn which to drop; sizes and labels are then those
    of all tokens. Where the tokens that come in are padded or masked themselves (`TokenView.valid`), the method
    makes the two masks one.

    To tools that walk over the output of modules, a plan is the tuple of the tensors it was made of. It is equal to
    itself only.
    """

    labels: Tensor  # [B, N] int64 in [0, K), the output token each input goes to; -1 = dropped
    num_out: int  # K
    valid: Tensor | None = None  # [B, K] bool or floating in [0, 1]; None = all real

    def __new__(cls, *args: Any, **kwargs: Any) -> "Plan":
        return tuple.__new__(cls, [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)])

    def __getnewargs__(self) -> tuple[Any, ...]:
        return tuple(self)

    __eq__, __ne__, __hash__ = object.__eq__, object.__ne__, object.__hash__

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.labels.shape[-1]} -> {self.num_out} tokens)"

    @abstractmethod
    def reduce(self, x: Tensor, size: Tensor) -> Tensor:
        """[B, N, C] tokens and their [B, N] sizes -> [B, K, C] tokens, in the dtype of `x`."""

    @abstractmethod
    def reduce_size(self, size: Tensor) -> Tensor:
        """[B, N] source patches per input token -> [B, K] source patches per output token."""

    def check_shapes(self, batch: int, num_in: int) -> None:
        """Raise ValueError where shapes or dtypes are not those of B images of N tokens; free, looks at no value."""
        check_tensor("labels", self.labels, (batch, num_in))
        check_valid(self.valid, (batch, self.num_out))

    def check_contents(self, distinct: bool = True) -> None:
        """Raise ValueError where values break the contract; a GPU waits for the host.

        distinct: every output token must have an input token of its own.
        """
        check_range("labels", self.labels, -1, self.num_out)
        if self.valid is not None:
            check_valid_contents(self.valid)
        padding = self.padding()
        if distinct or padding is not None:
            image = torch.arange(len(self.labels), device=self.labels.device).unsqueeze(1)
            taken = self.labels.new_zeros(len(self.labels), self.num_out + 1)
            taken[image, self.labels] = 1  # those dropped go to the last column
            taken = taken[:, :-1] > 0
            if padding is not None:
                refuse(taken & padding, "an input token goes to output token {1} of image {0}, which is padding")
                taken = taken | padding
            if distinct:
                refuse(~taken, "no input token goes to output token {1} of image {0}")

    def padding(self) -> Tensor | None:
        """[B, K] bool, true for outputs that are padding; None where there is none."""
        return None if self.valid is None or self.valid.dtype != torch.bool else ~self.valid

    def _without_padding(self, size: Tensor) -> Tensor:
        padding = self.padding()
        return size if padding is None else size.masked_fill(padding, 0)

    def expand(self, y: Tensor, fill: Tensor | float = 0.0) -> Tensor:
        """[B, K, C] -> [B, N, C]: each input position gets its output token; dropped ones get `fill`.

        `fill` is a number or anything that broadcasts to [B, N, C].
        """
        index = self.labels.clamp_min(0).unsqueeze(-1).expand(-1, -1, y.shape[-1])
        out = y.gather(1, index)
        dropped = (self.labels < 0).unsqueeze(-1)
        return torch.where(dropped, torch.as_tensor(fill, dtype=y.dtype, device=y.device), out)


class Select(Plan):
    """Prune: output token k is input token `indices[:, k]`, unchanged.

    indices: [B, K] int64, distinct within a row; those of padding are any in range.
    labels:  [B, N] int64, optional: what each input token belongs to, for methods that cluster and then keep
             one member (K-Medoids). Sizes are then those of the clusters; without it, of the kept tokens.
    """

    def __init__(self, indices: Tensor, num_in: int, labels: Tensor | None = None, *, valid: Tensor | None = None):
        if not isinstance(indices, Tensor) or indices.dtype != torch.int64 or indices.ndim != 2:
            raise ValueError(f"indices must be int64 [B, K], got {described(indices)}")
        self.indices = indices
        self.num_out = indices.shape[1]
        self.clustered = labels is not None
        check_valid(valid, tuple(indices.shape))
        self.valid = valid
        self.labels = _labels_of(indices, num_in, self.padding()) if labels is None else labels

    def check_shapes(self, batch: int, num_in: int) -> None:
        check_tensor("indices", self.indices, (batch, self.num_out))
        super().check_shapes(batch, num_in)

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

    def reduce(self, x: Tensor, size: Tensor) -> Tensor:
        return x.gather(1, self.indices.unsqueeze(-1).expand(-1, -1, x.shape[-1]))

    def reduce_size(self, size: Tensor) -> Tensor:
        if self.clustered:
            return group_sum(size, self.labels, self.num_out)
        return self._without_padding(size.gather(1, self.indices))


class Assign(Plan):
    """Merge: output token k is the weighted mean (or sum) of the input tokens with label k.

    labels:  [B, N] int64 in [0, K), or -1 for a token that is dropped.
    weight:  [B, N] float, the method's own token weights; None = 1. Multiplied by the token sizes in a mean.
    average: False = the weighted *sum* (EViT's fused token), in which sizes play no part.
    eps:     added to the sum of weights before dividing (DPC-KNN: 1e-6).
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
    ):
        self.labels, self.num_out = labels, num_out
        self.weight, self.average, self.eps, self.valid = weight, average, eps, valid

    def check_shapes(self, batch: int, num_in: int) -> None:
        super().check_shapes(batch, num_in)
        if self.weight is not None:
            check_tensor("weight", self.weight, (batch, num_in), floating=True)

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

    def reduce(self, x: Tensor, size: Tensor) -> Tensor:
        # Half-precision token streams are summed and divided in float32, then cast back once.
        exact = x.to(torch.promote_types(x.dtype, torch.float32))
        if not self.average:
            return group_sum(exact, self.labels, self.num_out, self.weight).to(x.dtype)
        weight = size if self.weight is None else size * self.weight
        weight = weight.to(exact.dtype)
        total = group_sum(weight, self.labels, self.num_out) + self.eps
        if self.valid is not None:  # nothing goes to padding: 0 / 1, not 0 / 0
            total = torch.where(total == 0, 1, total)
        return (group_sum(exact, self.labels, self.num_out, weight) / total.unsqueeze(-1)).to(x.dtype)

    def reduce_size(self, size: Tensor) -> Tensor:
        return group_sum(size, self.labels, self.num_out)


class Mix(Plan):
    """Soft merge: output token k is `weights[:, k] @ x`.

    weights: [B, K, N] float, as the method defines them (rows need not sum to one); rows of padding count as zeros.
    Sizes and `expand` share each input token out over the outputs in proportion to its column of `weights`.
    """

    def __init__(self, weights: Tensor, *, valid: Tensor | None = None):
        if not isinstance(weights, Tensor) or not weights.is_floating_point() or weights.ndim != 3:
            raise ValueError(f"weights must be floating [B, K, N], got {described(weights)}")
        check_valid(valid, tuple(weights.shape[:2]))
        self.num_out, self.valid = weights.shape[1], valid
        padding = self.padding()
        self.weights = weights if padding is None else weights.masked_fill(padding.unsqueeze(-1), 0)
        self.labels = self.weights.argmax(dim=1)

    def check_shapes(self, batch: int, num_in: int) -> None:
        check_tensor("weights", self.weights, (batch, self.num_out, num_in), floating=True)
        super().check_shapes(batch, num_in)

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

    def reduce(self, x: Tensor, size: Tensor) -> Tensor:
        return (self.weights.to(x.dtype) @ x).to(x.dtype)  # autocast multiplies in a dtype of its own

    def reduce_size(self, size: Tensor) -> Tensor:
        return (self.shares().to(size.dtype) @ size.unsqueeze(-1)).squeeze(-1)

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
