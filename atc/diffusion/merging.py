"""The hooks of one block: a decision from its input, and tokens merged before and spread out behind its layers."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from atc.core import Plan, Reducer, TokenView
from atc.core.checking import check_plan, values_are_checked
from atc.diffusion.call import Call
from atc.diffusion.layers import refuse_layer


def removed(tokens: int, keep_rate: float) -> int:
    """Of so many tokens, how many merge away: rounded down, as tomesd counts; at least one token stays.

    Examples:
        >>> removed(4096, 0.9), removed(240, 0.9)
        (409, 24)
    """
    return min(int(tokens * round(1 - keep_rate, 10)), tokens - 1)


class Merging:
    """One block that is reduced.

    Args:
        name: of the block.
        block: the block.
        reducer: decides.
        rates: keep rates by site.
        call: the latest one of the network.
        max_downsample: blocks that work at a smaller size than this part of the latent stay whole.

    Attributes:
        counts: N and K by site, of the latest call that reduced; before it, at the default size where that is known.
        skipped: how many times smaller than the latent the block works, where it stayed whole for that.
    """

    def __init__(
        self,
        name: str,
        block: nn.Module,
        reducer: Reducer,
        rates: Mapping[str, float],
        call: Call,
        max_downsample: int,
    ):
        self.name, self.block, self.reducer, self.rates = name, block, reducer, dict(rates)
        self.call, self.max_downsample = call, max_downsample
        self.counts: dict[str, tuple[int, int]] = {}
        self.skipped: int | None = None
        self._plans: dict[float, Plan] = {}  # by keep rate
        self._decided_for: tuple[Any, ...] = ()

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Refuse copies: the handle could not remove what is hooked into them."""
        raise ValueError(
            f"{type(self.block).__name__} is reduced and cannot be copied or pickled: remove the reduction first "
            "(save_pretrained and state_dict work)"
        )

    def expect(self, tokens: int) -> None:
        """Say what a call with so many tokens would do."""
        counts = {site: (tokens, tokens - removed(tokens, rate)) for site, rate in self.rates.items()}
        self.counts = {site: (n, k) for site, (n, k) in counts.items() if k < n}

    @torch.no_grad()
    def before_block(self, block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Decide from what enters the block."""
        self.skipped = None
        x = (args[0] if args else kwargs["hidden_states"]).detach()
        tokens = x.shape[1]
        if self.call.size is None or not self.call.reduces:
            self._plans = {}
            return
        self.expect(tokens)
        if not self.counts:
            self._plans = {}
            return
        factor, rows, columns = self.call.grid(tokens)
        if factor > self.max_downsample:
            self.skipped, self.counts, self._plans = factor, {}, {}
            return
        if rows * columns != tokens:
            raise ValueError(
                f"{self.name}: {tokens} tokens do not fit a grid of {rows} x {columns}, which is what a latent of "
                f"{self.call.size[0]} x {self.call.size[1]} has there"
            )
        if self.call.every == 1:
            self._plans = self._decide(x, (rows, columns))
            return
        decided_for = (*x.shape[:2], x.device, torch.is_inference_mode_enabled())
        if self.call.decides or decided_for != self._decided_for or not self._plans:
            self._plans = self._decide(x, (rows, columns))
            self._decided_for = decided_for

    def _decide(self, x: Tensor, grid: tuple[int, int]) -> dict[float, Plan]:
        batch, tokens = x.shape[:2]
        size = torch.ones(batch, tokens, device=x.device, dtype=torch.promote_types(x.dtype, torch.float32))
        source = torch.arange(tokens, device=x.device).expand(batch, -1)
        view = TokenView(x, x, size, source, grid, prefix=0)
        rates = {self.rates[site] for site in self.counts}
        generator: Any = getattr(self.reducer, "generator", None)
        state = generator.get_state() if generator is not None and len(rates) > 1 else None
        plans: dict[float, Plan] = {}
        for rate in sorted(rates):
            if plans and state is not None:  # what is drawn for one rate is drawn for all
                generator.set_state(state)
            keep = tokens - removed(tokens, rate)
            plan: Plan = self.reducer(view, keep)
            check_plan(plan, x, keep, values_are_checked(x), self.reducer.exceptions)
            plans[rate] = plan
        return plans

    def after_block(self, block: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        """Forget the decision, unless later steps keep to it."""
        if self.call.every == 1:
            self._plans = {}

    def forget(self) -> None:
        """Reduce nothing any more, also in code that was compiled with the hooks."""
        self.call.size = None
        self._plans = {}

    def before_layer(self, site: str, layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Merge what enters a layer."""
        plan = self._plans.get(self.rates[site])
        if plan is None:
            return None
        x = args[0] if args else kwargs["hidden_states"]
        if tuple(plan.labels.shape) != tuple(x.shape[:2]):
            raise ValueError(
                f"{self.name}: {site} gets {list(x.shape[:2])} images and tokens, the block {list(plan.labels.shape)}: "
                "a feed-forward in chunks does not go with site ff"
            )
        refuse_layer(self.name, site, layer, args, kwargs)
        merged = plan.reduce(x, torch.ones_like(x[..., 0], dtype=torch.promote_types(x.dtype, torch.float32)))
        if site == "kv":
            rest = {
                key: value for key, value in kwargs.items() if key not in ("hidden_states", "encoder_hidden_states")
            }
            return (x, merged, *args[2:]), rest
        return ((merged, *args[1:]), kwargs) if args else (args, kwargs | {"hidden_states": merged})

    def after_layer(self, site: str, layer: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        """Spread out what leaves a layer: each token gets what its merged token got, a pruned one zeros."""
        plan = self._plans.get(self.rates[site])
        if plan is None:
            return None
        if isinstance(output, tuple):  # the image and the text
            return (plan.expand(output[0]), *output[1:])
        return plan.expand(output)
