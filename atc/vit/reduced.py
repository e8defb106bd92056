"""A stock timm ViT that reduces its tokens on the way through."""

import functools
import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from atc.core import Plan, Reducer, Schedule, Stage, StageCount, StageTrace, TokenView, Trace, follow
from atc.core.checking import check_plan, check_reduced, values_are_checked
from atc.values import checked
from atc.vit.attention import Seen
from atc.vit.blocks import attention_half, classify, embed, grid_of, merge_rope, mlp_half
from atc.vit.state_dict import keep_timm_keys
from atc.vit.support import refusal

log = logging.getLogger(__name__)

ReducerFactory = Callable[[Stage], Reducer]


def reducer_class(factory: ReducerFactory) -> type[Reducer]:
    """The class behind a reducer class or a partial of one."""
    while isinstance(factory, functools.partial):
        factory = factory.func
    return factory  # type: ignore[return-value]


class ReducedViT(nn.Module):
    """Runs the unmodified blocks of `vit` and lets one reducer per scheduled block shorten the sequence.

    vit: a timm VisionTransformer (distilled or not) or Eva with standard blocks; ValueError names what is not.
    reducer: a Reducer class, or a partial of one; called with a Stage per reducing block.
    proportional_attention: add log(size) to the attention logits of each key once tokens have merged.
    size_weighted: weigh means, and an average pooling, by size; False counts every current token once.
        Both default to what the method's paper states (`Reducer.proportional_attention`, `.size_weighted`).

    Attributes: `vit`, the untouched model; `plan`, the `StageCount`s at the default image size; `notices`,
    one line per count the method could not reach; `trace`, a `Trace` of the latest forward. The state dict has
    timm's key names, plus `reducers.BLOCK.*` for methods with parameters; a plain timm state dict loads.
    """

    @checked
    def __init__(
        self,
        vit: nn.Module,
        reducer: ReducerFactory,
        schedule: Schedule,
        proportional_attention: bool | None = None,
        size_weighted: bool | None = None,
    ):
        super().__init__()
        reason = refusal(vit)
        if reason is not None:
            raise ValueError(f"cannot wrap this backbone: {reason}")
        method = reducer_class(reducer)
        self.vit: Any = vit
        self.method, self.schedule = method, schedule
        self.prefix = int(vit.num_prefix_tokens)  # type: ignore[arg-type]
        self.depth = len(vit.blocks)  # type: ignore[arg-type]
        self.proportional_attention = _default(proportional_attention, method.proportional_attention)
        self.size_weighted = _default(size_weighted, method.size_weighted)
        self._counts: dict[int, list[StageCount]] = {}
        self.plan = self.counts(int(vit.patch_embed.num_patches))  # type: ignore[union-attr, arg-type]
        self.reducers = nn.ModuleDict(
            {
                str(count.block): reducer(Stage(count.block, int(vit.embed_dim), count.keep))  # type: ignore[arg-type]
                for count in self.plan
                if count.keep < count.tokens_in
            }
        )
        self._check_needs()
        self.notices = [
            f"{method.__name__} leaves {c.keep} of {c.tokens_in} tokens at block {c.block}: the schedule asks for "
            f"{c.target}, which is out of its reach"
            for c in self.plan
            if c.keep > c.target
        ]
        for notice in self.notices:
            log.warning(notice)
        self.trace = Trace()
        self._plans: dict[str, list[Plan]] = {}
        keep_timm_keys(self)
        self.train(vit.training)  # wrapping changes no mode: reducers follow the backbone's

    def counts(self, num_patches: int) -> list[StageCount]:
        """The token counts of every reducing block, for images of `num_patches` patches."""
        if not self.method.reduces:
            return []
        if num_patches not in self._counts:
            self._counts[num_patches] = self.schedule.resolve(
                num_patches,
                self.depth,
                self.method.least,
                extra=self.method.extra,
                surplus=self.method.released_surplus if self.prefix else 0,
                name=self.method.__name__,
            )
        return self._counts[num_patches]

    def _check_needs(self) -> None:
        for block, reducer in self.reducers.items():
            if self.method.site == "before_block" and reducer.needs and int(block) == 1:
                raise ValueError(
                    f"{self.method.__name__} reduces before its block and needs {sorted(reducer.needs)} of the block "
                    f"before that, so it cannot reduce at block 1; name later blocks"
                )
            if "cls_attn" in reducer.needs and getattr(self.vit, "cls_token", None) is None:
                raise ValueError(
                    f"{self.method.__name__} ranks patches by the attention of a CLS token, which this "
                    f"{type(self.vit).__name__} does not have"
                )

    def forward(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] -> logits [B, classes]; sets `trace`."""
        x, size = self.forward_features(images)
        return classify(self.vit, x, size if self.size_weighted and len(self.trace) else None)

    def forward_features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """[B, 3, H, W] -> tokens [B, P+K, C] after the last block, before the final norm, and sizes [B, K]."""
        vit, before = self.vit, self.method.site == "before_block"
        run = functools.partial(checkpoint, use_reentrant=False) if self._checkpointing() else _call
        x, rope = embed(vit, images)
        stream = _Stream(x, self.prefix, rope, grid_of(vit, images), self)
        active = self._active(stream.num_tokens)
        seen = Seen(x.new_zeros(x.shape[0], stream.num_tokens, 0))
        plans: dict[str, list[Plan]] = {}
        for number, block in enumerate(vit.blocks, start=1):
            here, after = active.get(number), active.get(number + 1)
            if here is not None and before:
                plans[str(number)] = [stream.reduce(self.reducers[str(number)], here, seen)]
            looking = after if before else here
            needs = frozenset() if looking is None else self.reducers[str(looking.block)].needs | {"keys"}
            stream.x, seen = run(attention_half, block, stream.x, self.prefix, stream.log_size, stream.rope, needs)
            if here is not None and not before:
                plans[str(number)] = [stream.reduce(self.reducers[str(number)], here, seen)]
            stream.x = run(mlp_half, block, stream.x)
        self.trace = Trace(stream.stages)
        self._plans = plans if self.training else {}
        return stream.x, stream.size

    def losses(self) -> dict[str, Tensor]:
        """The reducers' own losses for the latest training forward, summed over stages by name."""
        total: dict[str, Tensor] = {}
        for block, plans in self._plans.items():
            for name, value in self.reducers[block].losses(plans).items():
                total[name] = total[name] + value if name in total else value
        return total

    def tokens_per_block(self) -> list[int]:
        """Patch tokens entering each block: counted in the latest forward, or as planned before the first."""
        stages = [(s.block, s.tokens_out) for s in self.trace]
        if not stages:
            stages = [(c.block, c.keep + self.method.extra) for c in self.plan if c.keep < c.tokens_in]
        entering = int(self.trace[0].tokens_in if self.trace else self.vit.patch_embed.num_patches)
        counts = []
        for number in range(1, self.depth + 1):
            last = number if self.method.site == "before_block" else number - 1
            reached = [count for block, count in stages if block <= last]
            counts.append(reached[-1] if reached else entering)
        return counts

    def _active(self, num_patches: int) -> dict[int, StageCount]:
        """The blocks that reduce an image of this many patches."""
        active = {c.block: c for c in self.counts(num_patches) if c.keep < c.tokens_in}
        missing = [block for block in active if str(block) not in self.reducers]
        if missing:
            raise ValueError(
                f"images of {num_patches} patches need a reducer at blocks {missing}, which the default size of "
                f"{self.vit.patch_embed.num_patches} patches does not; build the backbone at the size it will see"
            )
        return active

    def _checkpointing(self) -> bool:
        return bool(getattr(self.vit, "grad_checkpointing", False)) and self.training and torch.is_grad_enabled()


class _Stream:
    """The token sequence of one forward and the books kept on it."""

    def __init__(self, x: Tensor, prefix: int, rope: Tensor | None, grid: tuple[int, int], model: ReducedViT):
        batch, patches = x.shape[0], x.shape[1] - prefix
        self.x, self.prefix, self.rope, self.grid, self.model = x, prefix, rope, grid, model
        # Sizes are counts: float32 even where the tokens are half precision (bfloat16 is exact up to 256 only).
        self.size = torch.ones(batch, patches, device=x.device, dtype=torch.promote_types(x.dtype, torch.float32))
        self.source = torch.arange(patches, device=x.device).expand(batch, -1)
        self.log_size: Tensor | None = None
        self.stages: list[StageTrace] = []

    @property
    def num_tokens(self) -> int:
        return self.x.shape[1] - self.prefix

    def reduce(self, reducer: nn.Module, count: StageCount, seen: Seen) -> Plan:
        """Ask the reducer for a plan, and apply it to tokens, sizes, source map and rotary positions."""
        head, patches = self.x[:, : self.prefix], self.x[:, self.prefix :]
        view = TokenView(patches, seen.keys, self.size, self.source, self.grid, seen.cls_attn, seen.values, seen.attn)
        weight = self.size if self.model.size_weighted else torch.ones_like(self.size)
        num_out = count.keep + self.model.method.extra
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
        if self.model.proportional_attention:
            prefix_size = self.size.new_ones(self.size.shape[0], self.prefix)
            self.log_size = torch.cat([prefix_size, self.size], dim=1).log()
        self.stages.append(StageTrace(count.block, count.tokens_in, plan.num_out, plan.labels, self.size, self.source))
        return plan


def _call(function: Callable[..., Any], *args: Any) -> Any:
    return function(*args)


def _default(override: bool | None, default: bool) -> bool:
    return default if override is None else bool(override)
