"""Loading the golden weights, photographs and outputs."""

import functools
from pathlib import Path

import numpy as np
import timm
import torch

_HERE = Path(__file__).parent


@functools.cache
def outputs(name: str) -> dict[str, np.ndarray]:
    """The arrays of one file, by key."""
    with np.load(_HERE / f"{name}.npz") as file:
        return dict(file)


def vit(pool: str = "vit", dtype: torch.dtype = torch.float64) -> torch.nn.Module:
    """The golden backbone: CLS pooling ("vit"), or MAE's mean pooling with the same weights ("mae")."""
    mae = pool == "mae"
    model = timm.models.vision_transformer.VisionTransformer(
        img_size=224, patch_size=16, embed_dim=48, depth=12, num_heads=3, num_classes=10,
        global_pool="avg" if mae else "token",
    )  # fmt: skip
    weights = {k[2:]: torch.from_numpy(v) for k, v in outputs("backbone").items() if k.startswith("w.")}
    if mae:
        weights = {("fc_" + k if k.startswith("norm.") else k): v for k, v in weights.items()}
    model.load_state_dict(weights)
    return model.to(dtype).eval()


def images(dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """[6, 3, 224, 224], normalised."""
    mean = torch.tensor([0.485, 0.456, 0.406]).double()[:, None, None]
    std = torch.tensor([0.229, 0.224, 0.225]).double()[:, None, None]
    pixels = torch.from_numpy(outputs("backbone")["images"]).permute(0, 3, 1, 2).double()
    return ((pixels / 255 - mean) / std).to(dtype)


def composed(maps: list[np.ndarray]) -> np.ndarray:
    """Per-stage label maps, each indexing the previous stage's tokens, composed back to the source patches.

    A map of ATC's has one entry more, for CLS, in front; labels then count from it.
    """
    source = np.arange(maps[0].shape[1])[None].repeat(len(maps[0]), axis=0)
    for labels in maps:
        source = np.take_along_axis(labels.astype(np.int64), source, axis=1)
    return source[:, maps[0].shape[1] - 196 :]


def same_partition(ours: torch.Tensor, theirs: np.ndarray) -> bool:
    """Whether two label arrays [B, N] group the tokens of every image alike, whatever the numbering."""
    for a, b in zip(ours.tolist(), theirs.tolist(), strict=True):
        pairs = set(zip(a, b, strict=True))
        if not len(pairs) == len(set(a)) == len(set(b)):
            return False
    return True
