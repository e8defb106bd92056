"""What the parts of a detector hold and take: parameters, operations, time."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from atc.cost.flops import OPAQUE
from atc.dense.detector import Detector

Parts = Mapping[str, Sequence[nn.Module]]  # modules that are called, none within another
PARTS = ("vit", "reducers", "adapter", "pyramid", "proposals", "box_head", "mask_head")
# Bilinear sampling: deformable attention, and RoIAlign, whose samples depend on the boxes.
NOT_COUNTED = (
    "interpolation (sampling_gflops has that of deformable attention; RoIAlign, resizing), norms, activations, "
    "softmax, box arithmetic, NMS, and the clustering behind distances"
)
_PER_SAMPLE = 8  # four corners, a product and a sum each


def modules_of_parts(detector: Detector) -> dict[str, list[nn.Module]]:
    """The modules of a detector that are called, by part. The ViT is what is left of its backbone.

    Args:
        detector: Mask R-CNN on a `ViTAdapter`.
    """
    model: Any = detector
    body, heads = detector.adapter, model.roi_heads
    exchanges: list[Any] = list(body.interactions)
    extractors = [extractor for one in exchanges for extractor in one.extractors()]
    return {
        "backbone": [body],
        "reducers": list(body.reducers.values()),
        "adapter": [body.spm, *(one.injector for one in exchanges), *extractors, body.up],
        "pyramid": [model.backbone.fpn],
        "proposals": [model.rpn],
        "box_head": [heads.box_head, heads.box_predictor],
        "mask_head": [heads.mask_head, heads.mask_predictor],
    }


def parameters(detector: Detector) -> dict[str, int]:
    """Numbers that are learned, by part.

    Args:
        detector: Mask R-CNN on a `ViTAdapter`.
    """
    model: Any = detector
    body: Any = detector.adapter
    patches = {*body.patch_embed.parameters(), body.pos_embed, *body.blocks.parameters()}
    reducers, heads = set(body.reducers.parameters()), model.roi_heads
    of = {
        "vit": patches,
        "reducers": reducers,
        "adapter": set(body.parameters()) - patches - reducers,
        "pyramid": set(model.backbone.fpn.parameters()),
        "proposals": set(model.rpn.parameters()),
        "box_head": {*heads.box_head.parameters(), *heads.box_predictor.parameters()},
        "mask_head": {*heads.mask_head.parameters(), *heads.mask_predictor.parameters()},
    }
    return {name: sum(one.numel() for one in those) for name, those in of.items()}


def gflops(detector: Detector, forward: Callable[[], object], images: int) -> dict[str, float]:
    """GFLOPs an image by part, two for a multiply-add, and "sampling": interpolation in deformable attention.

    Args:
        detector: what is measured.
        forward: a forward of it.
        images: how many images that is of.
    """
    sampled = {torch.ops.aten.grid_sampler_2d: _sampling_flops}
    counter = FlopCounterMode(display=False, custom_mapping={**OPAQUE, **sampled})

    def counted() -> float:
        every = counter.get_flop_counts().get("Global", {})
        return float(sum(value for kind, value in every.items() if kind not in sampled))

    # The math backend spells attention out as matrix products, which are counted on every device.
    with sdpa_kernel(SDPBackend.MATH), counter:
        found = inside(modules_of_parts(detector), forward, counted)
    sampling = counter.get_flop_counts()["Global"].get(torch.ops.aten.grid_sampler_2d, 0)
    found = _vit_apart(found) | {"sampling": float(sampling)}
    return {name: value / images / 1e9 for name, value in found.items()}


def shares(detector: Detector, forward: Callable[[], object], device: torch.device) -> dict[str, float]:
    """Share of the time of a forward that each part takes, 0 to 1; the reducers' without merging.

    Args:
        detector: what is measured.
        forward: a forward of it.
        device: where.
    """

    def now() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter()

    start = now()
    found = inside(modules_of_parts(detector), forward, now)
    whole = now() - start
    return {name: value / whole for name, value in _vit_apart(found).items()}


def inside(parts: Parts, forward: Callable[[], object], read: Callable[[], float]) -> dict[str, float]:
    """By how much a meter rises within each part, in one forward.

    Args:
        parts: by name, the modules.
        forward: what calls them.
        read: the meter.
    """
    found = dict.fromkeys(parts, 0.0)
    started: dict[nn.Module, float] = {}
    handles = []

    def before(module: nn.Module, *_: object) -> None:
        started[module] = read()

    def after(name: str) -> Callable[..., None]:
        def note(module: nn.Module, *_: object) -> None:
            found[name] += read() - started[module]

        return note

    try:
        for name, modules in parts.items():
            for module in modules:
                handles += [module.register_forward_pre_hook(before), module.register_forward_hook(after(name))]
        forward()
    finally:
        for handle in handles:
            handle.remove()
    return found


def _vit_apart(found: Mapping[str, float]) -> dict[str, float]:
    """With the ViT, of which attention is no module, in place of the whole backbone."""
    vit = found["backbone"] - found["adapter"] - found["reducers"]
    return {"vit": vit, **{name: found[name] for name in PARTS[1:]}}


def _sampling_flops(values: torch.Size, places: torch.Size, *_: Any, out_shape: torch.Size, **__: Any) -> int:
    """Bilinear interpolation: values [B, C, rows, columns], places [B, Q, S, 2]."""
    return _PER_SAMPLE * math.prod(out_shape)
