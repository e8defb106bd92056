"""Small models of Hugging Face transformers, from their configurations."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

transformers = pytest.importorskip("transformers")

_SMALL: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "image_size": 64,
    "patch_size": 16,
    "attn_implementation": "sdpa",
}
_WIDE = _SMALL | {"intermediate_size": 64}
_CLIP = {key: value for key, value in _WIDE.items() if key != "attn_implementation"}

MODELS = (
    "ViTModel",
    "ViTForImageClassification",
    "DeiTModel",
    "DeiTForImageClassification",
    "DeiTForImageClassificationWithTeacher",
    "Dinov2Model",
    "Dinov2ForImageClassification",
    "Dinov2WithRegistersModel",
    "Dinov2WithRegistersForImageClassification",
    "DINOv3ViTModel",
    "CLIPVisionModel",
    "CLIPVisionModelWithProjection",
    "CLIPForImageClassification",
    "SiglipVisionModel",
    "SiglipForImageClassification",
    "ViTMAEModel",
)
CLASSIFIERS = tuple(name for name in MODELS if name.endswith("ForImageClassification"))


def config(name: str, **settings: Any) -> Any:
    """The configuration of a small model of the class `name`, with 5 classes where it has some."""
    kind = getattr(transformers, name).config_class
    whole = {"CLIPConfig": "CLIPVisionConfig", "SiglipConfig": "SiglipVisionConfig"}.get(kind.__name__)
    if whole is not None:
        tower = getattr(transformers, whole)(**(_CLIP | settings))
        return kind(vision_config=tower.to_dict(), num_labels=5, attn_implementation="sdpa")
    small = _SMALL if name.startswith("Dinov2") else _WIDE
    own: dict[str, Any] = {"num_labels": 5}
    if name == "ViTMAEModel":
        own = {"mask_ratio": 0.0}
    if name == "DINOv3ViTModel":
        own = {"num_register_tokens": 4}
    return kind(**(small | own | settings))


def pretrained(name: str, **settings: Any) -> nn.Module:
    """A small model of the class `name`, with weights that do not vanish."""
    torch.manual_seed(0)
    model = getattr(transformers, name)(config(name, **settings)).eval()
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if parameter.requires_grad:
                noise = torch.randn_like(parameter)
                parameter.copy_(1 + 0.1 * noise if "norm" in key and key.endswith("weight") else 0.2 * noise)
    return model


def pictures(batch: int = 2, side: int = 64) -> Tensor:
    return torch.randn(batch, 3, side, side, generator=torch.Generator().manual_seed(1))


def dense(model: nn.Module, images: Tensor, **options: Any) -> Any:
    """What the model itself returns; the patches of an ViT-MAE in their places."""
    if type(model).__name__ == "ViTMAEModel":
        patches = (images.shape[-2] // 16) * (images.shape[-1] // 16)
        options["noise"] = torch.arange(patches).float().expand(len(images), -1)
    return model(images, **options)
