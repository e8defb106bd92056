"""Which images a backbone takes."""

from typing import Any

from timm.data.config import resolve_model_data_config
from torch import nn


def data_config(vit: nn.Module) -> dict[str, Any]:
    """Size, mean, standard deviation and the like of the images that a backbone takes, as timm resolves them.

    Args:
        vit: the backbone, with timm's `pretrained_cfg`.

    Raises:
        ValueError: it has none, for which timm would answer 224 pixels and the statistics of ImageNet.
    """
    if not (getattr(vit, "pretrained_cfg", None) or getattr(vit, "default_cfg", None)):
        raise ValueError(
            f"this {type(vit).__name__} does not say which images it takes: set its pretrained_cfg, as in "
            "{'input_size': (3, 224, 224), 'mean': (0.5, 0.5, 0.5), 'std': (0.5, 0.5, 0.5)}"
        )
    return dict(resolve_model_data_config(vit))
