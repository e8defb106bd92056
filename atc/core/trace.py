"""What a forward pass did to its tokens."""

from typing import NamedTuple

import torch
from torch import Tensor


class StageTrace(NamedTuple):
    """One reduction: B images, N tokens in, K out, N0 source patches; prefix tokens are not counted."""

    block: int  # 1-based
    tokens_in: int  # N
    tokens_out: int  # K
    labels: Tensor  # [B, N] int64, output token of each input token; -1 = dropped
    size: Tensor  # [B, K] float, source patches each output token stands for
    source: Tensor  # [B, N0] int64, output token holding each source patch; -1 = dropped
    valid: Tensor | None = None  # [B, K] bool (padding) or floating in [0, 1] (training mask); None = all real
    # [B] int64, real tokens of each image; None = K for all
    count: Tensor | None = None  # type: ignore[assignment]  # hides tuple.count
    shares: Tensor | None = None  # [B, K, N], how a soft method shares each input token out; None = whole, by labels

    def real(self, image: int) -> int:
        """The tokens of one image that are no padding."""
        return self.tokens_out if self.count is None else int(self.count[image])

    def mean_tokens(self) -> float:
        """The mean over images of their real tokens; K where there is no padding, or no image."""
        if self.count is None or not len(self.count):
            return self.tokens_out
        return float(self.count.double().mean())

    def __repr__(self) -> str:
        """Such as "StageTrace(block 4: 196 -> 98 tokens)"."""
        return f"StageTrace(block {self.block}: {self.tokens_in} -> {self.tokens_out} tokens)"


class Trace(tuple[StageTrace, ...]):
    """The stages of the latest forward, in order; empty when nothing was reduced."""

    @property
    def stages(self) -> tuple[StageTrace, ...]:
        """The same as a plain tuple."""
        return tuple(self)

    def tokens(self) -> list[int]:
        """Patch tokens after each stage, padding included."""
        return [stage.tokens_out for stage in self]

    def mean_tokens(self) -> list[float]:
        """Real patch tokens after each stage, the mean over the images."""
        return [stage.mean_tokens() for stage in self]

    def padded(self) -> bool:
        """Whether images kept different numbers of tokens, or may have."""
        return any(stage.count is not None for stage in self)

    def soft(self) -> bool:
        """Whether a stage shared tokens out over several."""
        return any(stage.shares is not None for stage in self)

    def source_shares(self, stage: int = -1) -> Tensor:
        """How much of each source patch each token holds after a stage.

        Args:
            stage: index of the stage, the last by default.

        Returns:
            ``[B, N0, K]`` in [0, 1]; a row sums to one, or to less where a patch, or a part of it, was pruned.
        """
        last = range(len(self))[stage]
        held = _shares(self[0])
        for later in self[1 : last + 1]:
            held = held @ _shares(later)
        return held

    def unmerge(self, tokens: Tensor, fill: float = 0.0) -> Tensor:
        """Give every source patch the value of the token that holds it at the end.

        Where a method shares patches out over several tokens, their values are mixed in the same shares.

        Args:
            tokens: ``[B, K, C]`` the patch tokens left, without prefix tokens.
            fill: the value of a patch that was pruned.

        Returns:
            ``[B, N0, C]`` in the order of the patches; `tokens` itself where nothing was reduced.

        Raises:
            ValueError: `tokens` do not have the shape of what the last stage left.

        Examples:
            >>> labels = torch.tensor([[0, 1, 0, -1]])  # of 4 patches the first and third are merged, the last dropped
            >>> stage = StageTrace(1, 4, 2, labels, size=torch.tensor([[2.0, 1.0]]), source=labels)
            >>> Trace([stage]).unmerge(torch.tensor([[[5.0], [7.0]]])).tolist()
            [[[5.0], [7.0], [5.0], [0.0]]]
        """
        if not self:
            return tokens
        last = self[-1]
        if tokens.ndim != 3 or tokens.shape[:2] != last.size.shape:
            batch, left = last.size.shape
            raise ValueError(
                f"tokens must be [{batch}, {left}, C], the patch tokens that are left without prefix tokens; got "
                f"{list(tokens.shape)}"
            )
        if self.soft():
            shares = self.source_shares().to(tokens.dtype)
            return shares @ tokens + (1 - shares.sum(dim=2, keepdim=True)) * fill
        index = last.source.clamp_min(0).unsqueeze(-1).expand(-1, -1, tokens.shape[-1])
        return tokens.gather(1, index).masked_fill((last.source < 0).unsqueeze(-1), fill)


def count_real(valid: Tensor | None) -> Tensor | None:
    """[B, K] of a plan -> [B] real tokens per image, int64; a training mask counts where it is over one half."""
    if valid is None:
        return None
    return (valid if valid.dtype == torch.bool else valid > 0.5).sum(dim=1)


def _shares(stage: StageTrace) -> Tensor:
    """[B, N, K] of one stage."""
    if stage.shares is not None:
        return stage.shares.transpose(1, 2)
    outputs = torch.arange(stage.tokens_out, device=stage.labels.device)
    return (stage.labels.unsqueeze(-1) == outputs).to(stage.size.dtype)


def follow(source: Tensor, labels: Tensor) -> Tensor:
    """Compose a source map with one more reduction.

    source [B, N0] int64 (token holding each patch, -1 = dropped), labels [B, N] int64 -> [B, N0] int64.
    """
    return torch.where(source < 0, source, labels.gather(1, source.clamp_min(0)))
