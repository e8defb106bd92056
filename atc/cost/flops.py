"""Floating-point operations of a real forward, and those that a formula expects."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

import atc.ops.linkage
import atc.ops.matching  # noqa: F401  # defines the operator that is counted below
from atc.core import Trace
from atc.vit.hooks import modules_of
from atc.vit.host import host_of
from atc.vit.logits import Logits
from atc.vit.reduced import ReducedViT


def _cosine_distance_flops(keys: torch.Size, *_: object, **__: object) -> int:
    """Every pair of the N tokens: keys [B, N, D]."""
    batch, tokens, width = keys
    return 2 * batch * tokens * tokens * width


def _euclidean_distance_flops(first: torch.Size, second: torch.Size, *_: object, **__: object) -> int:
    """Every pair of points: [..., N, D] and [..., M, D]."""
    return 2 * first.numel() * second[-2]


def _matching_flops(keys: torch.Size, keep: int, first: int, *_: object, **__: object) -> int:
    """Every pair of a source and a destination: keys [B, N, D]."""
    batch, tokens, width = keys
    sources = (tokens - first + 1) // 2
    return 2 * batch * sources * (tokens - sources) * width


# What `torch.cdist` is to the counter: itself, or one of its parts, which are not public.
_CDIST = [
    getattr(torch.ops.aten, name)
    for name in ("cdist", "_euclidean_dist", "_cdist_forward")
    if hasattr(torch.ops.aten, name)
]
# Opaque calls to the counter, which has to be told what is inside.
OPAQUE = {
    **dict.fromkeys(_CDIST, _euclidean_distance_flops),
    torch.ops.atc.cosine_distance: _cosine_distance_flops,
    torch.ops.atc.linkage_from_features: _cosine_distance_flops,
    torch.ops.atc.linkage_within: _cosine_distance_flops,
    torch.ops.atc.bipartite_labels: _matching_flops,
}


def gflops_per_image(model: nn.Module, images: Tensor) -> float:
    """GFLOPs that `model` spends per image, counted by PyTorch in a forward of `images` [B, 3, H, W].

    Matrix products and convolutions count, attention included; one multiply-add is two operations (papers that
    speak of GFLOPs often mean half of this). What is not a product, such as a linkage, does not count; nor does
    padding, where images keep different numbers of tokens: it is what an image costs by itself.
    """
    training = model.training
    # The math backend spells attention out as matrix products, which are counted on every device.
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # one operation of its own, which the counter does not know
    counter = FlopCounterMode(display=False, custom_mapping=OPAQUE)
    reduced = getattr(model, "adapter", model)  # of a detector, the part that reduces
    apart = isinstance(reduced, ReducedViT) and reduced.method.by_threshold  # together they would be padded
    try:
        with torch.inference_mode(), sdpa_kernel(SDPBackend.MATH), counter:
            for some in images.split(1) if apart else [images]:
                model.eval()(some)
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
    model.train(training)
    counted = counter.get_total_flops() / len(images) / 1e9
    if isinstance(reduced, ReducedViT) and reduced.trace.padded() and not apart:
        counted -= gflops_by_formula(reduced, padded=True) - gflops_by_formula(reduced)
    return counted


def gflops_by_formula(model: nn.Module, padded: bool = False) -> float:
    """GFLOPs per image from token counts, as papers compute them: two per multiply-add of linear layers and attention.

    What a reducer itself computes is not in the formula; the difference to `gflops_per_image` is its price.

    Args:
        model: a plain-attention ViT of a family that can be wrapped, or a `ReducedViT` of one, whose latest forward
            counts.
        padded: where images keep different numbers of tokens, what a batch computes per image; else the mean of what
            each of them costs.
    """
    reduced = model if isinstance(model, ReducedViT) else None
    host = host_of(model) if reduced is None else reduced.host
    vit: Any = host.model
    trace: Trace = Trace() if reduced is None else reduced.trace
    before = reduced is not None and reduced.method.site == "before_block"
    back = reduced is not None and reduced.method.gates
    if trace and trace.padded() and not padded:
        images = range(len(trace[0].labels))
        found = [{stage.block: stage.real(image) for stage in trace} for image in images]
    else:
        found = [{stage.block: stage.tokens_out for stage in trace}]
    patches = trace[0].tokens_in if trace else host.num_patches
    products = patches * _embedding(vit).weight.numel()
    products += sum(_in_blocks(host.blocks, host.prefix, patches, left, before, back) for left in found) / len(found)
    return 2 * (products + sum(map(_linear, _heads(vit)))) / 1e9


def _embedding(vit: nn.Module) -> Any:
    own = getattr(getattr(vit, "patch_embed", None), "proj", None)
    return own or next(part for part in vit.modules() if isinstance(part, (nn.Conv2d, nn.Linear)))


def _heads(vit: nn.Module) -> list[nn.Module]:
    if isinstance(vit, Logits):
        return [vit.get_classifier()]
    found = [getattr(vit, name, None) for name in ("head", "head_dist", "classifier", "heads")]
    return [head for head in found if isinstance(head, nn.Module)]


def _in_blocks(blocks: Sequence[Any], prefix: int, patches: int, left: dict[int, int], before: bool, back: bool) -> int:
    """Multiply-adds of all blocks for an image of which so many tokens are left at these blocks.

    Args:
        blocks: of the model.
        prefix: P.
        patches: N0.
        left: tokens by block.
        before: they are left before the attention of their block, not only before its MLP.
        back: behind each block all tokens are back.
    """
    products, tokens = 0, patches
    for number, block in enumerate(blocks, start=1):
        tokens = patches if back else tokens
        tokens = left.get(number, tokens) if before else tokens
        n = prefix + tokens
        attention = _linear(modules_of(block.attn)[0])
        products += n * attention + 2 * n * n * block.attn.proj.in_features
        tokens = left.get(number, tokens)
        products += (prefix + tokens) * (_linear(modules_of(block)[0]) - attention)
    return products


def _linear(module: nn.Module) -> int:
    """Multiply-adds that the linear layers inside spend on one token."""
    parts = list(module.modules())
    fused = (getattr(part, "in_proj_weight", None) for part in parts)  # of torch.nn.MultiheadAttention
    linear = sum(part.weight.numel() for part in parts if isinstance(part, nn.Linear))
    return linear + sum(weight.numel() for weight in fused if weight is not None)
