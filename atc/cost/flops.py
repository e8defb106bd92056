"""Floating-point operations of a real forward, and those that a formula expects."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

import atc.ops.linkage  # noqa: F401 (registers the operator counted below)
from atc.vit.reduced import ReducedViT


def _cosine_distance_flops(keys: torch.Size, *_: object, **__: object) -> int:
    """Every pair of the N tokens: keys [B, N, D]."""
    batch, tokens, width = keys
    return 2 * batch * tokens * tokens * width


# Operators of our own are opaque calls to the counter: it has to be told what is inside.
_OWN = {
    torch.ops.atc.cosine_distance: _cosine_distance_flops,
    torch.ops.atc.linkage_from_features: _cosine_distance_flops,
}


def gflops_per_image(model: nn.Module, images: Tensor) -> float:
    """GFLOPs that `model` spends per image, counted by PyTorch in a forward of `images` [B, 3, H, W].

    Matrix products and convolutions count, attention included; one multiply-add is two operations (papers that
    speak of GFLOPs often mean half of this). What is not a product, such as a linkage, does not count; nor does
    padding, where images keep different numbers of tokens in a timm ViT: it is what an image costs by itself.
    """
    training = model.training
    # The math backend spells attention out as matrix products, which are counted on every device.
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # one operation of its own, which the counter does not know
    counter = FlopCounterMode(display=False, custom_mapping=_OWN)
    try:
        with torch.inference_mode(), sdpa_kernel(SDPBackend.MATH), counter:
            model.eval()(images)
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
    model.train(training)
    counted = counter.get_total_flops() / len(images) / 1e9
    if isinstance(model, ReducedViT) and model.trace.padded() and hasattr(model.host.model, "patch_embed"):
        counted -= gflops_by_formula(model, padded=True) - gflops_by_formula(model)
    return counted


def gflops_by_formula(model: nn.Module, padded: bool = False) -> float:
    """GFLOPs per image from token counts, as papers compute them: two per multiply-add of linear layers and attention.

    model: a plain-attention timm ViT, or a `ReducedViT` of one, whose latest forward counts. What a reducer itself
    computes is not in the formula; the difference to `gflops_per_image` is its price. Where images keep different
    numbers of tokens, it is the mean of what each of them costs, or, with `padded`, what a batch computes per image.
    """
    reduced = isinstance(model, ReducedViT)
    vit: Any = model.host.model if reduced else model
    trace = model.trace if reduced else ()
    before = reduced and model.method.site == "before_block"
    if trace and model.trace.padded() and not padded:
        images = range(len(trace[0].labels))
        found = [{stage.block: stage.real(image) for stage in trace} for image in images]
    else:
        found = [{stage.block: stage.tokens_out for stage in trace}]
    prefix, patches = vit.num_prefix_tokens, trace[0].tokens_in if trace else vit.patch_embed.num_patches
    products = patches * vit.patch_embed.proj.weight.numel()
    products += sum(_in_blocks(vit, prefix, patches, left, before) for left in found) / len(found)
    heads = [head for head in (vit.head, getattr(vit, "head_dist", None)) if head is not None]
    return 2 * (products + sum(map(_linear, heads))) / 1e9


def _in_blocks(vit: Any, prefix: int, patches: int, left: dict[int, int], before: bool) -> int:
    """Multiply-adds of all blocks for an image of which so many tokens are left at these blocks."""
    products, tokens = 0, patches
    for number, block in enumerate(vit.blocks, start=1):
        tokens = left.get(number, tokens) if before else tokens
        n = prefix + tokens
        products += n * _linear(block.attn) + 2 * n * n * block.attn.proj.in_features
        tokens = left.get(number, tokens)
        products += (prefix + tokens) * _linear(block.mlp)
    return products


def _linear(module: nn.Module) -> int:
    """Multiply-adds that the linear layers inside spend on one token."""
    return sum(part.weight.numel() for part in module.modules() if isinstance(part, nn.Linear))
