"""What every plan is: the value a reducer returns for how N tokens become K, and what can be asked of it.

Letters: B batch, N tokens in, K tokens out, C channels. Patch tokens only; prefix tokens never get here.
"""

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor

from atc.core.plan_checks import check_range, check_reduced, check_tensor, check_valid, check_valid_contents, refuse


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
    # [B, K'] int64, which input token each of the first K' outputs is, or stands for as the centre of its cluster; the
    # other outputs are none. None = no output is. What a trace holds as kept.
    kept: Tensor | None = None

    def __new__(cls, *args: Any, **kwargs: Any) -> "Plan":
        """The tuple of the tensors that it is made of; those of subclasses take the rest."""
        return tuple.__new__(cls, [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)])

    def __getnewargs__(self) -> tuple[Any, ...]:
        """The tensors, for copies and pickles."""
        return tuple(self)

    __eq__, __ne__, __hash__ = object.__eq__, object.__ne__, object.__hash__

    def __repr__(self) -> str:
        """Such as "Assign(196 -> 49 tokens)"."""
        return f"{type(self).__name__}({self.labels.shape[-1]} -> {self.num_out} tokens)"

    @abstractmethod
    def reduce(self, x: Tensor, size: Tensor) -> Tensor:
        """[B, N, C] tokens and their [B, N] sizes -> [B, K, C] tokens, in the dtype of `x`."""

    @abstractmethod
    def reduce_size(self, size: Tensor) -> Tensor:
        """[B, N] source patches per input token -> [B, K] source patches per output token."""

    def apply(self, x: Tensor, weight: Tensor, size: Tensor, prefix: int) -> tuple[Tensor, Tensor]:
        """Reduce a whole sequence, prefix tokens included, as `reduce` and `reduce_size` do it apart.

        Args:
            x: ``[B, P+N, C]`` tokens.
            weight: ``[B, N]`` how much each token counts in a mean.
            size: ``[B, N]`` source patches of each token.
            prefix: P, tokens in front that stay as they are.

        Returns:
            ``[B, P+K, C]`` tokens and ``[B, K]`` sizes.
        """
        patches = x[:, prefix:] if prefix else x
        reduced, sizes = self.reduce(patches, weight), self.reduce_size(size)
        check_reduced(reduced, sizes, patches, 0, self.num_out, values=False)  # what is put together hides a mistake
        return torch.cat([x[:, :prefix], reduced], dim=1) if prefix else reduced, sizes

    @property
    def keeps_tokens(self) -> bool:
        """Whether every output is one input token as it is, and counts."""
        return False

    def reduces_as(self, kind: type["Plan"]) -> bool:
        """Whether `reduce` and `reduce_size` are those of `kind`: a subclass may have arithmetic of its own."""
        own = type(self)
        return own.reduce is kind.reduce and own.reduce_size is kind.reduce_size

    def check_shapes(self, batch: int, num_in: int) -> None:
        """Raise ValueError where shapes or dtypes are not those of B images of N tokens; free, looks at no value."""
        check_tensor("labels", self.labels, (batch, num_in))
        check_valid(self.valid, (batch, self.num_out))

    def check_contents(self, distinct: bool = True, empty: bool = False) -> None:
        """Raise ValueError where values break the contract; a GPU waits for the host.

        Args:
            distinct: every output token must have an input token of its own.
            empty: an image may have no real token, as where a plan is of one block only.
        """
        check_range("labels", self.labels, -1, self.num_out)
        if self.valid is not None:
            check_valid_contents(self.valid, empty)
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

    def without_padding(self, size: Tensor) -> Tensor:
        """[B, K] sizes -> the same, 0 for padding."""
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
