"""The hooks of one block: a decision from its input, and tokens merged before and spread out behind its layers."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from atc.core import Plan, Reducer, TokenView
from atc.core.checking import check_plan, values_are_checked


def removed(tokens: int, keep_rate: float) -> int:
    """Of so many tokens, how many merge away: rounded down, as tomesd counts.

    Examples:
        >>> removed(4096, 0.9), removed(240, 0.9)
        (409, 24)
    """
    return int(tokens * round(1 - keep_rate, 10))


class Latent:
    """The size of the latest latent that a network saw.

    Args:
        patch: latent pixels along a side of a token, where all blocks work at one size; None: any.
    """

    def __init__(self, patch: int | None):
        self.patch = patch
        self.size: tuple[int, int] | None = None

    def before_network(self, network: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Remember it."""
        latent = args[0] if args else kwargs["sample" if "sample" in kwargs else "hidden_states"]
        self.size = (int(latent.shape[-2]), int(latent.shape[-1]))

    def grid(self, tokens: int) -> tuple[int, int, int]:
        """How many times smaller than the latent a block of so many tokens is, and its rows and columns."""
        assert self.size is not None
        height, width = self.size
        if self.patch is not None:
            return 1, height // self.patch, width // self.patch
        factor = math.ceil(math.sqrt(height * width // tokens))
        return factor, math.ceil(height / factor), math.ceil(width / factor)


class Merging:
    """One block that is reduced.

    Args:
        name: of the block in its network.
        block: the block.
        reducer: decides.
        rates: keep rates by site.
        latent: of the network.
        max_downsample: blocks that work at a smaller size than this part of the latent stay whole.
    """

    def __init__(
        self,
        name: str,
        block: nn.Module,
        reducer: Reducer,
        rates: Mapping[str, float],
        latent: Latent,
        max_downsample: int,
    ):
        self.name, self.block, self.reducer, self.rates = name, block, reducer, dict(rates)
        self.latent, self.max_downsample = latent, max_downsample
        self.counts: dict[str, tuple[int, int]] = {}
        self.skipped: int | None = None  # how many times smaller than the latent a block is that stayed whole for that
        self._plans: dict[float, Plan] = {}

    @torch.no_grad()
    def before_block(self, block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Decide from what enters the block."""
        self._plans, self.counts, self.skipped = {}, {}, None
        x = (args[0] if args else kwargs["hidden_states"]).detach()
        if self.latent.size is None or not any(removed(x.shape[1], rate) for rate in self.rates.values()):
            return
        batch, tokens = x.shape[:2]
        factor, rows, columns = self.latent.grid(tokens)
        if factor > self.max_downsample:
            self.skipped = factor
            return
        if rows * columns != tokens:
            raise ValueError(f"{self.name}: {tokens} tokens do not fit a grid of {rows} x {columns}")
        size = torch.ones(batch, tokens, device=x.device, dtype=torch.promote_types(x.dtype, torch.float32))
        source = torch.arange(tokens, device=x.device).expand(batch, -1)
        view = TokenView(x, x, size, source, (rows, columns), prefix=0)
        generator: Any = getattr(self.reducer, "generator", None)
        state = generator.get_state() if generator is not None and len(set(self.rates.values())) > 1 else None
        for site, rate in self.rates.items():
            keep = tokens - removed(tokens, rate)
            if keep == tokens:
                continue
            if rate not in self._plans:
                if state is not None and self._plans:  # what is drawn for one rate is drawn for all
                    generator.set_state(state)
                plan: Plan = self.reducer(view, keep)
                check_plan(plan, x, keep, values_are_checked(x), self.reducer.exceptions)
                self._plans[rate] = plan
            self.counts[site] = (tokens, keep)

    def after_block(self, block: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        """Forget the decision."""
        self._plans = {}

    def _plan(self, site: str, x: Tensor) -> Plan | None:
        plan = self._plans.get(self.rates[site])
        if plan is not None and tuple(plan.labels.shape) != tuple(x.shape[:2]):
            raise ValueError(
                f"{self.name}: {site} gets {list(x.shape[:2])} images and tokens, the block {list(plan.labels.shape)}: "
                "chunked feed-forward does not go with site 'ff'"
            )
        return plan

    def before(self, site: str) -> Any:
        """The hook that merges what enters a layer."""

        def merge(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            x = args[0] if args else kwargs["hidden_states"]
            plan = self._plan(site, x)
            if plan is None:
                return None
            if site != "ff":
                mask = args[2] if len(args) > 2 else kwargs.get("attention_mask")
                if mask is not None and (site != "attn2" or (mask.ndim > 2 and mask.shape[-2] > 1)):
                    raise ValueError(f"{self.name}: {site} has an attention mask, which does not fit merged tokens")
            merged = plan.reduce(x, torch.ones_like(x[..., 0], dtype=torch.promote_types(x.dtype, torch.float32)))
            if site == "kv":
                if (args[1] if len(args) > 1 else kwargs.get("encoder_hidden_states")) is not None:
                    raise ValueError(f"{self.name}: attn1 attends to another sequence, whose tokens 'kv' cannot merge")
                return (x, merged, *args[2:]), {k: v for k, v in kwargs.items() if k not in _TWO}
            return ((merged, *args[1:]), kwargs) if args else (args, kwargs | {"hidden_states": merged})

        return merge

    def after(self, site: str) -> Any:
        """The hook that spreads out what leaves a layer."""

        def spread(layer: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
            plan = self._plans.get(self.rates[site])
            if plan is None:
                return None
            if isinstance(output, tuple):
                return (plan.expand(output[0]), *output[1:])
            return plan.expand(output)

        return spread


_TWO = ("hidden_states", "encoder_hidden_states")
