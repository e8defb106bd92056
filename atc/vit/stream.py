"""The token sequence of one forward, one block at a time."""

import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from atc.core import Plan, StageCount, StageTrace, TokenView, Trace, follow
from atc.core.checking import check_plan, check_reduced, values_are_checked
from atc.vit.attention import Seen
from atc.vit.blocks import attention_half, merge_rope, mlp_half
from atc.vit.hooks import through_hooks

if TYPE_CHECKING:
    from atc.vit.reduced import ReducedViT


class Stream:
    """Images on their way through a `ReducedViT`: `step` runs one block, `finish` the norm and the head.

    What reduces (and when) is the model's; a caller may look at the tokens, or change them, between two steps.

    Attributes:
        x: ``[B, P+N, C]`` tokens, N falling with every reduction.
        size: ``[B, N]`` float, source patches of each token.
        source: ``[B, N0]`` int64, token that holds each source patch; -1 where it was pruned.
        grid: rows and columns of the source patches.
        stages: one `StageTrace` per reduction so far.
        left: ``[B, N0, C]`` the value with which each pruned patch left, where `keep_pruned` is set; else None.
        seen: what the latest attention showed.

    Args:
        model: the wrapped model.
        images: ``[B, 3, H, W]``.
        keep_pruned: keep the values of pruned patches.
        options: further arguments of the host's `embed`.
        also: what every attention is to show, in the words of `Reducer.needs`.
    """

    def __init__(
        self,
        model: "ReducedViT",
        images: Tensor,
        keep_pruned: bool = False,
        options: Mapping[str, Any] | None = None,
        also: frozenset[str] = frozenset(),
    ):
        host = model.host
        self.model, self.prefix, self.grid = model, host.prefix, host.grid(images)
        self.x, self.rope = host.embed(images, **(options or {}))
        batch, patches = self.x.shape[0], self.x.shape[1] - self.prefix
        # Sizes are counts: float32 even where the tokens are half precision (bfloat16 is exact up to 256 only).
        dtype = torch.promote_types(self.x.dtype, torch.float32)
        self.size = torch.ones(batch, patches, device=self.x.device, dtype=dtype)
        self.source = torch.arange(patches, device=self.x.device).expand(batch, -1)
        self.left = self.x[:, self.prefix :] if keep_pruned else None
        self.stages: list[StageTrace] = []
        self.plans: dict[str, list[Plan]] = {}
        self._keep_pruned, self._log_size = keep_pruned, None
        self._also, self.seen = also, Seen(self.x.new_zeros(batch, patches, 0))
        self._active = model.active(patches)
        recompute = host.recomputes() and model.training and torch.is_grad_enabled()
        self._run: Callable[..., Any] = functools.partial(checkpoint, use_reentrant=False) if recompute else _call

    @property
    def num_tokens(self) -> int:
        """N, the patch tokens now."""
        return self.x.shape[1] - self.prefix

    def step(self, number: int) -> None:
        """Run block `number`, 1-based, with the reduction that is due there."""
        block = self.model.host.blocks[number - 1]
        self.x = through_hooks(number, block, functools.partial(self._block, number, block), self.x)

    def _block(self, number: int, block: Any, x: Tensor) -> Tensor:
        before = self.model.method.site == "before_block"
        self.x = x
        here, after = self._active.get(number), self._active.get(number + 1)
        if here is not None and before:
            self._reduce(here)
        looking = after if before else here
        needs = frozenset() if looking is None else self.model.reducers[str(looking.block)].needs | {"keys"}
        needs = needs | self._also
        self.x, self.seen = self._run(attention_half, block, self.x, self.prefix, self._log_size, self.rope, needs)
        if here is not None and not before:
            self._reduce(here)
        return self._run(mlp_half, block, self.x)  # type: ignore[no-any-return]

    def _reduce(self, count: StageCount) -> None:
        """Ask the reducer for a plan, and apply it to tokens, sizes, source map and rotary positions."""
        model, seen = self.model, self.seen
        reducer: nn.Module = model.reducers[str(count.block)]
        head, patches = self.x[:, : self.prefix], self.x[:, self.prefix :]
        view = TokenView(patches, seen.keys, self.size, self.source, self.grid, seen.cls_attn, seen.values, seen.attn)
        weight = self.size if model.size_weighted else torch.ones_like(self.size)
        num_out = count.keep + model.method.extra
        if self._keep_pruned:
            self.left = self.expanded()
        values = values_are_checked(patches)
        try:
            plan: Plan = reducer(view, count.keep)
            check_plan(plan, patches, num_out, values, getattr(reducer, "exceptions", {}))
            reduced, self.size = plan.reduce(patches, weight), plan.reduce_size(self.size)
            check_reduced(reduced, self.size, patches, num_out, values)
        except ValueError as error:
            raise ValueError(f"{type(reducer).__name__} at block {count.block}: {error}") from error
        self.x = torch.cat([head, reduced], dim=1)
        if self.rope is not None:
            self.rope = merge_rope(self.rope, plan, weight)
        self.source = follow(self.source, plan.labels)
        if model.proportional_attention:
            prefix_size = self.size.new_ones(self.size.shape[0], self.prefix)
            self._log_size = torch.cat([prefix_size, self.size], dim=1).log()
        self.stages.append(StageTrace(count.block, count.tokens_in, plan.num_out, plan.labels, self.size, self.source))
        self.plans[str(count.block)] = [plan]

    def expanded(self) -> Tensor:
        """``[B, N0, C]``: every source patch with the value of its token, a pruned one with its last value, or 0."""
        tokens = self.x[:, self.prefix :]
        index = self.source.clamp_min(0).unsqueeze(-1).expand(-1, -1, tokens.shape[-1])
        full = tokens.gather(1, index)
        left = torch.zeros_like(full) if self.left is None else self.left
        return torch.where((self.source < 0).unsqueeze(-1), left, full)

    def trace(self) -> Trace:
        """The reductions so far."""
        return Trace(self.stages)

    def features(self) -> Tensor:
        """``[B, P+N, C]`` tokens after the model's final norm."""
        return self.model.host.norm(self.x)

    def finish(self) -> Tensor:
        """Norm, pooling and head: ``[B, classes]``; sets the model's `trace`."""
        self.model.note(self)
        return self.model.host.head(self.features(), self.model.pooling_size(self.size, len(self.stages) > 0))


def _call(function: Callable[..., Any], *args: Any) -> Any:
    return function(*args)
