"""How N tokens become K: the value a reducer returns, and the only code that applies it.

Letters: B batch, N tokens in, K tokens out, C channels. Patch tokens only; prefix tokens never get here.
"""

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor

from atc.ops.arguments import described
from atc.ops.segment import group_sum


class Plan(tuple[Tensor, ...], ABC):
    """A decision for a whole batch: which of the K output tokens each of the N input tokens goes to.

    To tools that walk over the output of modules, a plan is the tuple of the tensors it was made of. It is equal to
    itself only.
    """

    labels: Tensor  # [B, N] int64 in [0, K), the output token each input goes to; -1 = dropped
    num_out: int  # K

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
        _check("labels", self.labels, (batch, num_in))

    def check_contents(self, distinct: bool = True) -> None:
        """Raise ValueError where values break the contract; a GPU waits for the host.

        distinct: every output token must have an input token of its own.
        """
        _check_range("labels", self.labels, -1, self.num_out)
        if distinct:
            image = torch.arange(len(self.labels), device=self.labels.device).unsqueeze(1)
            taken = self.labels.new_zeros(len(self.labels), self.num_out + 1)
            taken[image, self.labels] = 1  # those dropped go to the last column
            _refuse(taken[:, :-1] == 0, "no input token goes to output token {1} of image {0}")

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

    indices: [B, K] int64, distinct within a row.
    labels:  [B, N] int64, optional: what each input token belongs to, for methods that cluster and then keep
             one member (K-Medoids). Sizes are then those of the clusters; without it, of the kept tokens.
    """

    def __init__(self, indices: Tensor, num_in: int, labels: Tensor | None = None):
        if not isinstance(indices, Tensor) or indices.dtype != torch.int64 or indices.ndim != 2:
            raise ValueError(f"indices must be int64 [B, K], got {described(indices)}")
        self.indices = indices
        self.num_out = indices.shape[1]
        self.clustered = labels is not None
        self.labels = _labels_of(indices, num_in) if labels is None else labels

    def check_shapes(self, batch: int, num_in: int) -> None:
        _check("indices", self.indices, (batch, self.num_out))
        super().check_shapes(batch, num_in)

    def check_contents(self, distinct: bool = True) -> None:
        _check_range("indices", self.indices, 0, self.labels.shape[1])
        if distinct:
            ranked = self.indices.sort(dim=1).values
            twice = ranked[:, 1:] == ranked[:, :-1]
            _refuse(twice, "an input token is kept twice in image {0}: indices must be distinct")
        super().check_contents(distinct)

    def reduce(self, x: Tensor, size: Tensor) -> Tensor:
        return x.gather(1, self.indices.unsqueeze(-1).expand(-1, -1, x.shape[-1]))

    def reduce_size(self, size: Tensor) -> Tensor:
        if self.clustered:
            return group_sum(size, self.labels, self.num_out)
        return size.gather(1, self.indices)


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
    ):
        self.labels, self.num_out = labels, num_out
        self.weight, self.average, self.eps = weight, average, eps

    def check_shapes(self, batch: int, num_in: int) -> None:
        super().check_shapes(batch, num_in)
        if self.weight is not None:
            _check("weight", self.weight, (batch, num_in), floating=True)

    def check_contents(self, distinct: bool = True) -> None:
        super().check_contents(distinct)
        if self.weight is None:
            return
        _refuse(~self.weight.isfinite(), "the weight of token {1} of image {0} is not finite")
        if self.average:
            total = group_sum(self.weight.detach(), self.labels, self.num_out) + self.eps
            _refuse(total == 0, "the weights of output token {1} of image {0} sum to zero")

    def reduce(self, x: Tensor, size: Tensor) -> Tensor:
        # Half-precision token streams are summed and divided in float32, then cast back once.
        exact = x.to(torch.promote_types(x.dtype, torch.float32))
        if not self.average:
            return group_sum(exact, self.labels, self.num_out, self.weight).to(x.dtype)
        weight = size if self.weight is None else size * self.weight
        weight = weight.to(exact.dtype)
        total = group_sum(weight, self.labels, self.num_out) + self.eps
        return (group_sum(exact, self.labels, self.num_out, weight) / total.unsqueeze(-1)).to(x.dtype)

    def reduce_size(self, size: Tensor) -> Tensor:
        return group_sum(size, self.labels, self.num_out)


class Mix(Plan):
    """Soft merge: output token k is `weights[:, k] @ x`.

    weights: [B, K, N] float, as the method defines them (rows need not sum to one).
    Sizes and `expand` share each input token out over the outputs in proportion to its column of `weights`.
    """

    def __init__(self, weights: Tensor):
        if not isinstance(weights, Tensor) or not weights.is_floating_point() or weights.ndim != 3:
            raise ValueError(f"weights must be floating [B, K, N], got {described(weights)}")
        self.weights = weights
        self.num_out = weights.shape[1]
        self.labels = weights.argmax(dim=1)

    def check_shapes(self, batch: int, num_in: int) -> None:
        _check("weights", self.weights, (batch, self.num_out, num_in), floating=True)
        super().check_shapes(batch, num_in)

    def check_contents(self, distinct: bool = True) -> None:
        _refuse(~self.weights.isfinite(), "the weight of token {2} in output token {1} of image {0} is not finite")
        if distinct:
            _refuse((self.weights == 0).all(2), "no input token goes to output token {1} of image {0}")

    def _shares(self) -> Tensor:
        return self.weights / self.weights.sum(dim=1, keepdim=True).clamp_min(torch.finfo(self.weights.dtype).tiny)

    def reduce(self, x: Tensor, size: Tensor) -> Tensor:
        return (self.weights.to(x.dtype) @ x).to(x.dtype)  # autocast multiplies in a dtype of its own

    def reduce_size(self, size: Tensor) -> Tensor:
        return (self._shares().to(size.dtype) @ size.unsqueeze(-1)).squeeze(-1)

    def expand(self, y: Tensor, fill: Tensor | float = 0.0) -> Tensor:
        return self._shares().transpose(1, 2).to(y.dtype) @ y


def _labels_of(indices: Tensor, num_in: int) -> Tensor:
    """[B, N]: which output token each input token is, -1 for most."""
    slots = torch.arange(indices.shape[1], device=indices.device).expand_as(indices)
    dropped = torch.full((indices.shape[0], num_in), -1, dtype=torch.int64, device=indices.device)
    try:
        return dropped.scatter(1, indices, slots)
    except (IndexError, RuntimeError):
        _check_range("indices", indices, 0, num_in)
        raise


def _check(name: str, value: Any, shape: tuple[int, ...], floating: bool = False) -> None:
    kind = isinstance(value, Tensor) and (value.is_floating_point() if floating else value.dtype == torch.int64)
    if not kind or value.shape != shape:
        wanted = "floating" if floating else "int64"
        raise ValueError(f"{name} must be {wanted} {list(shape)}, got {described(value)}")


def _check_range(name: str, value: Tensor, low: int, high: int) -> None:
    outside = (value < low) | (value >= high)
    if outside.any():
        wrong, image = int(value[outside][0]), int(outside.nonzero()[0, 0])
        raise ValueError(f"{name} must lie in [{low}, {high}), got {wrong} in image {image}")


def _refuse(wrong: Tensor, message: str) -> None:
    """Raise ValueError with the first place of ``wrong`` put into the message, if there is one."""
    if wrong.any():
        raise ValueError(message.format(*wrong.nonzero()[0].tolist()))
