"""How N tokens become K: the value a reducer returns, and the only code that applies it.

Letters: B batch, N tokens in, K tokens out, C channels. Patch tokens only; prefix tokens never get here.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from atc.ops.segment import group_sum


class Plan(ABC):
    """A decision for a whole batch: which of the K output tokens each of the N input tokens goes to."""

    labels: Tensor  # [B, N] int64 in [0, K), the output token each input goes to; -1 = dropped
    num_out: int  # K

    @abstractmethod
    def reduce(self, x: Tensor, size: Tensor) -> Tensor:
        """[B, N, C] tokens and their [B, N] sizes -> [B, K, C] tokens, in the dtype of `x`."""

    @abstractmethod
    def reduce_size(self, size: Tensor) -> Tensor:
        """[B, N] source patches per input token -> [B, K] source patches per output token."""

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
        self.indices = indices
        self.num_out = indices.shape[1]
        self.clustered = labels is not None
        if labels is None:
            slots = torch.arange(self.num_out, device=indices.device).expand_as(indices)
            dropped = torch.full((indices.shape[0], num_in), -1, dtype=torch.int64, device=indices.device)
            labels = dropped.scatter(1, indices, slots)
        self.labels = labels

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
        self.weights = weights
        self.num_out = weights.shape[1]
        self.labels = weights.argmax(dim=1)

    def _shares(self) -> Tensor:
        return self.weights / self.weights.sum(dim=1, keepdim=True).clamp_min(torch.finfo(self.weights.dtype).tiny)

    def reduce(self, x: Tensor, size: Tensor) -> Tensor:
        return self.weights.to(x.dtype) @ x

    def reduce_size(self, size: Tensor) -> Tensor:
        return (self._shares().to(size.dtype) @ size.unsqueeze(-1)).squeeze(-1)

    def expand(self, y: Tensor, fill: Tensor | float = 0.0) -> Tensor:
        return self._shares().transpose(1, 2).to(y.dtype) @ y
