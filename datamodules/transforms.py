"""Image transforms that more than one data set uses."""

from collections.abc import Callable, Mapping
from typing import Any

from timm.data import create_transform

Transform = Callable[[Any], Any]


def fill_from_backbone(settings: Mapping[str, Any], data_config: Mapping[str, Any]) -> dict[str, Any]:
    """`settings` with every None replaced by what timm's data config of the backbone says."""
    return {key: data_config.get(key) if value is None else value for key, value in settings.items()}


def eval_transform(size: int, crop_pct: float, interpolation: str, mean: Any, std: Any) -> Transform:
    """PIL image -> [3, size, size]: short side to size / crop_pct, centre crop, normalise."""
    return create_transform(
        size, is_training=False, crop_pct=crop_pct, interpolation=interpolation, mean=mean, std=std
    )


def train_transform(size: int, interpolation: str, mean: Any, std: Any, **augmentation: Any) -> Transform:
    """PIL image -> [3, size, size]: random crop, flip, and what `augmentation` names (timm's create_transform)."""
    return create_transform(
        size, is_training=True, interpolation=interpolation, mean=mean, std=std, **augmentation
    )
