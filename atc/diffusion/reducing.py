"""Finding the blocks of a pipeline, and hooking the reduction in."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from atc.config import build
from atc.core import Reducer, Stage
from atc.diffusion.call import Call
from atc.diffusion.compiling import guard_hooks
from atc.diffusion.handle import Handle, Watch, active, refuse_max_downsample
from atc.diffusion.layers import SITES, layer_of
from atc.diffusion.merging import Merging
from atc.diffusion.networks import KINDS, Block, blocks, default_latent, networks, patch_of
from atc.values import Count, KeepRate, KeepRates, check, checked


@checked
def reduce(
    pipeline_or_unet: Any,
    reducer: str | type[Reducer],
    keep_rate: KeepRates | Mapping[str, Any],
    *,
    max_downsample: Count = 1,
    sites: Sequence[str] = ("attn1",),
    steps: tuple[Count, Count] | None = None,
    every: Count = 1,
    generator: torch.Generator | None = None,
    reducer_args: Mapping[str, Any] | None = None,
    controlnet: bool = False,
) -> Handle:
    """Merge tokens before layers of the transformer blocks of a diffusion model, and spread them out behind.

    Every block decides anew in every call, from the tokens that enter it. Nothing is copied or replaced: `remove` of
    the handle restores the model.

    Args:
        pipeline_or_unet: of diffusers: a pipeline with a `unet` or `transformer`, or one of these.
        reducer: a name in conf/reducer/, or a Reducer class.
        keep_rate: share of the tokens that stay, in (0, 1]; or one for each site, in the order of `sites` or by name.
        max_downsample: blocks that work at most so many times smaller than the latent are reduced.
        sites: which layers get merged tokens: "attn1" self-attention, "attn2" the queries of cross-attention, "ff" the
            feed-forward, "kv" keys and values of self-attention.
        steps: the first and the last step of the sampler, counted from 1, in which blocks are reduced; None: all. Each
            call of the network is a step: 50 steps of PLMS are 51.
        every: a decision holds for so many steps. Ours: the published methods decide in every step.
        generator: for a method that draws, "tome_2d".
        reducer_args: constructor arguments of the reducer.
        controlnet: reduce the ControlNets of the pipeline too.

    Returns:
        The handle.

    Raises:
        ValueError: a model without such blocks, or a method that cannot work there; one line. Nothing is hooked in.
    """
    if steps is not None and steps[0] > steps[1]:
        raise ValueError(f"steps=[{steps[0]}, {steps[1]}] must be the first and the last step, in this order")
    found = networks(pipeline_or_unet, controlnet)
    all_blocks = {prefix: _usable(network) for prefix, network in found.items()}
    rates = _rates(sites, keep_rate, any(block.joint for block in all_blocks[""]))
    factory = build.find_reducer(reducer)
    given = dict(reducer_args or {})
    if generator is not None:
        if given.get("generator") is not None:
            raise ValueError("generator is given twice, once in reducer_args: give it once")
        given["generator"] = generator
    factory = build.bind(factory, **given) if given else factory
    size = default_latent(found[""])
    compiles = guard_hooks()
    merging: list[tuple[nn.Module, Call, list[tuple[Merging, Block]]]] = []
    for prefix, network in found.items():
        patch = patch_of(network) if any(block.joint for block in all_blocks[prefix]) else None
        pipeline = None if pipeline_or_unet is network else pipeline_or_unet
        draws = given.get("generator") is not None
        call = Call(network, patch, steps, every, pipeline, draws, compiles)
        reduced = []
        for number, block in enumerate(all_blocks[prefix], 1):
            width = int(getattr(layer_of(block, "attn1"), "query_dim", 1))
            method = factory(Stage(number, width, 1, len(all_blocks[prefix]), number)).eval()
            _check_method(method, rates)
            if method.reduces:
                one = Merging(prefix + block.name, block.module, method, rates, call, max_downsample)
                if size is not None and block.downsample is not None and block.downsample <= max_downsample:
                    smaller = block.downsample * (patch or 1)
                    one.expect(-(-size[0] // smaller) * -(-size[1] // smaller))
                reduced.append((one, block))
        _check_sizes(network, [block for _, block in reduced], rates, max_downsample)
        merging.append((network, call, reduced))
    _check_layers(merging, rates)
    return _hooked(merging, rates)


def _hooked(
    merging: Sequence[tuple[nn.Module, Call, list[tuple[Merging, Block]]]], rates: Mapping[str, float]
) -> Handle:
    hooks: list[RemovableHandle] = []
    try:
        for network, call, reduced in merging:
            hooks.append(network.register_forward_pre_hook(call.before_network, with_kwargs=True))
            for one, block in reduced:
                hooks.append(block.module.register_forward_pre_hook(one.before_block, with_kwargs=True))
                for site in rates:
                    if (layer := layer_of(block, site)) is not None:
                        before, after = partial(one.before_layer, site), partial(one.after_layer, site)
                        hooks.append(layer.register_forward_pre_hook(before, with_kwargs=True))
                        if site != "kv":
                            hooks.append(layer.register_forward_hook(after))
                hooks.append(block.module.register_forward_hook(one.after_block))
            watch = Watch([one for one, _ in reduced])
            hooks.append(network.register_forward_hook(watch.after_network))
    except BaseException:
        for hook in hooks:
            hook.remove()
        raise
    return Handle([one for _, _, reduced in merging for one, _ in reduced], hooks)


def _usable(network: nn.Module) -> list[Block]:
    """The blocks of a network that can be reduced now."""
    name = type(network).__name__
    for module in network.modules():
        compiled = hasattr(module, "_orig_mod") or getattr(module, "_compiled_call_impl", None) is not None
        if compiled or hasattr(vars(module).get("forward"), "_torchdynamo_orig_callable"):
            raise ValueError(
                f"{name} is compiled, and would not see what is hooked in: reduce it first, then compile it"
            )
    if not (found := blocks(network)):
        raise ValueError(
            f"{name} has no {KINDS[0]} or {KINDS[1]} of diffusers, so that nothing can be reduced: models that rotate "
            "positions inside their attention, such as Flux, have other blocks"
        )
    if any(block.module in active for block in found):
        raise ValueError(f"this {name} is reduced already: remove that reduction first")
    return found


def _rates(sites: Sequence[str], keep_rate: Any, joint: bool) -> dict[str, float]:
    for site in sites:
        if joint and site != "attn1":
            raise ValueError(f"sites: '{site}' is none of attn1: of joint blocks only the image's attention is reduced")
        if site not in SITES:
            raise ValueError(f"sites: '{site}' is none of {', '.join(SITES)}")
    if not sites or len(set(sites)) < len(sites) or {"attn1", "kv"} <= set(sites):
        raise ValueError(f"sites={list(sites)} must be one or more, each once, and not both attn1 and kv")
    if isinstance(keep_rate, Mapping):
        if set(keep_rate) != set(sites):
            raise ValueError(
                f"keep_rate has {', '.join(map(str, keep_rate)) or 'nothing'}, sites {', '.join(sites)}: name the same"
            )
        return {site: float(check(f"keep_rate[{site}]", keep_rate[site], KeepRate)) for site in sites}
    rates = list(keep_rate) if isinstance(keep_rate, Sequence) else [keep_rate] * len(sites)
    if len(rates) != len(sites):
        raise ValueError(f"keep_rate={rates} must be a number, or one for each of the sites {', '.join(sites)}")
    return dict(zip(sites, (float(rate) for rate in rates), strict=True))


def _check_method(method: Reducer, rates: Mapping[str, float]) -> None:
    name, lowest = type(method).__name__, min(rates.values())
    missing = sorted(method.needs)
    if any(True for _ in method.parameters()):
        missing.append("trained parameters")
    if method.dynamic or method.extra:
        missing.append("a number of tokens other than what is asked for")
    if missing:
        raise ValueError(
            f"{name} cannot merge tokens of diffusion models: it needs {', '.join(missing)}, which they do not have"
        )
    least = getattr(method, "least_share", method.least(_MANY) / _MANY)
    if method.reduces and lowest < least - 1 / _MANY:
        raise ValueError(f"keep_rate={lowest} is out of reach of {name}, which leaves {least:g} of the tokens at least")


_MANY = 2**20  # tokens, of which the share that a method leaves is exact


def _check_sizes(network: nn.Module, reduced: Sequence[Block], rates: Mapping[str, float], given: int) -> None:
    known = [block.downsample for block in reduced if block.downsample is not None]
    if known and len(known) == len(reduced) and min(rates.values()) < 1 and min(known) > given:
        refuse_max_downsample(network, given, min(known))


def _check_layers(
    merging: Sequence[tuple[nn.Module, Call, list[tuple[Merging, Block]]]], rates: Mapping[str, float]
) -> None:
    found = [block for _, _, reduced in merging for _, block in reduced]
    for site in rates:
        if found and all(layer_of(block, site) is None for block in found):
            raise ValueError(f"sites: no block of this model has {site}")
    if "ff" in rates and any(getattr(block.module, "_chunk_size", None) is not None for block in found):
        raise ValueError(
            "a feed-forward in chunks does not go with site ff: call set_chunk_feed_forward(None) of the blocks first"
        )
