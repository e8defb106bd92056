"""Dense tasks: feature maps from ViTs whose tokens are reduced, and detectors and segmenters on top of them.

::

    import timm, atc

    vit = timm.create_model("deit_tiny_patch16_224", pretrained=True)
    backbone = atc.dense.ViTAdapter(vit, "atc_average", keep_rate=0.5)
    maps = backbone(images)  # {"0": [B, 192, H/4, W/4], ..., "3": [B, 192, H/32, W/32]}
    detector = atc.dense.mask_rcnn(backbone, num_classes=80)
"""

from typing import TYPE_CHECKING, Any

__all__ = ["MaskRCNN", "Segmenter", "ViTAdapter", "mask_rcnn"]

if TYPE_CHECKING:
    from atc.dense.adapter import ViTAdapter
    from atc.dense.rcnn import MaskRCNN, mask_rcnn
    from atc.dense.segmenter import Segmenter


def __getattr__(name: str) -> Any:
    # Lazy, so that a mistake in a command line of this package is told without waiting for PyTorch.
    if name == "ViTAdapter":
        from atc.dense.adapter import ViTAdapter

        return ViTAdapter
    if name in ("MaskRCNN", "mask_rcnn"):
        from atc.dense import rcnn

        return getattr(rcnn, name)
    if name == "Segmenter":
        from atc.dense.segmenter import Segmenter

        return Segmenter
    raise AttributeError(f"module 'atc.dense' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return [*(name for name in globals() if name.startswith("__")), *__all__]
