"""Finding the blocks of a pipeline, and hooking the reduction in."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from atc.config import build
from atc.core import Reducer, Stage
from atc.diffusion.handle import Handle, active
from atc.diffusion.merging import Latent, Merging
from atc.values import Count, KeepRates, checked

SITES = ("attn1", "attn2", "ff", "kv")


@checked
def reduce(
    pipeline_or_unet: Any,
    reducer: str | type[Reducer],
    keep_rate: KeepRates,
    *,
    max_downsample: Count = 1,
    sites: Sequence[str] = ("attn1",),
    generator: torch.Generator | None = None,
    reducer_args: Mapping[str, Any] | None = None,
) -> Handle:
    """Merge tokens before layers of the transformer blocks of a diffusion model, and spread them out behind.

    Every block decides anew in every call, from the tokens that enter it. Nothing is copied or replaced: `remove` of
    the handle restores the model.

    Args:
        pipeline_or_unet: of diffusers: a pipeline with a `unet` or `transformer`, or one of these.
        reducer: a name of conf/reducer/*.yaml, or a Reducer class.
        keep_rate: share of the tokens that stay, in (0, 1]; or one for each site.
        max_downsample: blocks that work at most so many times smaller than the latent are reduced.
        sites: which layers get merged tokens: "attn1" self-attention, "attn2" the queries of cross-attention, "ff" the
            feed-forward, "kv" keys and values of self-attention.
        generator: for a method that draws, "tome_2d".
        reducer_args: constructor arguments of the reducer.

    Returns:
        The handle.

    Raises:
        ValueError: a model without such blocks, or a method that cannot work there; one line.
    """
    network = _network(pipeline_or_unet)
    if any(hasattr(one, "_orig_mod") or getattr(one, "_compiled_call_impl", None) for one in network.modules()):
        raise ValueError("the model is compiled, and would not see what is hooked in: reduce one that is not")
    found = list(_blocks(network))
    kinds = {kind for _, _, kind in found}
    if not found:
        raise ValueError(
            f"{type(network).__name__} has no BasicTransformerBlock or JointTransformerBlock of diffusers: models that "
            "rotate positions inside attention, such as Flux, are none of those that can be reduced"
        )
    if any(block in active for _, block, _ in found):
        raise ValueError(f"this {type(network).__name__} is reduced already: remove that first")
    rates = _rates(sites, keep_rate, "JointTransformerBlock" in kinds)
    factory = build.find_reducer(reducer)
    given = dict(reducer_args or {})
    if generator is not None:
        given["generator"] = generator
    factory = build.bind(factory, **given)
    patch = int(_config(network).patch_size) if "JointTransformerBlock" in kinds else None
    latent = Latent(patch)
    merging, hooks = [], []
    for number, (name, block, kind) in enumerate(found, 1):
        method = factory(Stage(number, 0, 0, len(found), number)).eval()
        _check(method, rates)
        if not method.reduces:
            continue
        one = Merging(name, block, method, rates, latent, max_downsample)
        merging.append(one)
        layers = {site: _layer(block, kind, site) for site in rates}
        hooks.append(block.register_forward_pre_hook(one.before_block, with_kwargs=True))
        for site, layer in layers.items():
            if layer is not None:
                hooks.append(layer.register_forward_pre_hook(one.before(site), with_kwargs=True))
                if site != "kv":
                    hooks.append(layer.register_forward_hook(one.after(site)))
        hooks.append(block.register_forward_hook(one.after_block))
    hooks.append(network.register_forward_pre_hook(latent.before_network, with_kwargs=True))
    handle = Handle(merging, hooks)
    handle.add(network.register_forward_hook(handle.after_network))
    return handle


def _config(network: Any) -> Any:
    return network.config


def _network(given: Any) -> nn.Module:
    if isinstance(given, nn.Module):
        return given
    for name in ("unet", "transformer"):
        if isinstance(getattr(given, name, None), nn.Module):
            return getattr(given, name)
    raise ValueError(f"a {type(given).__name__} has no unet and no transformer: give a pipeline or UNet of diffusers")


def _blocks(network: nn.Module) -> Iterator[tuple[str, nn.Module, str]]:
    """Name, block and kind of those that are reduced, by the names of classes: diffusers is not loaded."""
    for name, module in network.named_modules():
        for kind in ("BasicTransformerBlock", "JointTransformerBlock"):
            if any(one.__name__ == kind for one in type(module).__mro__):
                yield name, module, kind


def _layer(block: nn.Module, kind: str, site: str) -> nn.Module | None:
    name = "attn" if kind == "JointTransformerBlock" else {"kv": "attn1"}.get(site, site)
    return getattr(block, name)


def _rates(sites: Sequence[str], keep_rate: Any, joint: bool) -> dict[str, float]:
    allowed = ("attn1",) if joint else SITES
    for site in sites:
        if site not in allowed:
            raise ValueError(f"sites: '{site}' is none of {', '.join(allowed)}")
    if not sites or len(set(sites)) < len(sites) or {"attn1", "kv"} <= set(sites):
        raise ValueError(f"sites={list(sites)} must be one or more, each once, and not both attn1 and kv")
    rates = list(keep_rate) if isinstance(keep_rate, Sequence) else [keep_rate] * len(sites)
    if len(rates) != len(sites):
        raise ValueError(f"keep_rate={rates} must be a number, or one for each of the sites {', '.join(sites)}")
    return dict(zip(sites, (float(rate) for rate in rates), strict=True))


def _check(method: Reducer, rates: Mapping[str, float]) -> None:
    name = type(method).__name__
    if method.needs or any(True for _ in method.parameters()) or method.dynamic or method.extra:
        wanted = ", ".join(sorted(method.needs)) or "parameters, or more tokens than asked for"
        raise ValueError(f"{name} cannot merge tokens of diffusion models, which have no such thing: {wanted}")
    least = getattr(method, "least_share", 0.0)
    if method.reduces and min(rates.values()) < least:
        raise ValueError(f"keep_rate={min(rates.values())} is out of reach of {name}: it leaves {least} at least")
