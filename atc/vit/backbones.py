"""Backbones by name or path: each function here is the target of files in conf/backbone/.

All take num_classes (None keeps the backbone's own), pretrained, and checkpoint, a weight file, here or on the Hugging
Face hub (hf://OWNER/REPO/FILE), which is taken before any other download; of raw weights and their moving average in
it, use_ema takes the average (true) or not (false; None: what the file says is better, else the average). Where the
weights were made for another number of classes, the head is a new nn.Linear.
"""

import difflib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import timm
import torch
from timm.layers.pos_embed_sincos import build_sincos2d_pos_embed
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from atc.values import NotNegative, Side
from atc.weights.loading import first_line, load_weights, read_weights

__all__ = ["SHIPPED_DIGITS", "digits", "load_weights", "read_weights", "timm_vit"]

log = logging.getLogger(__name__)

DropRate = Annotated[float, "[0, 1)"]

SHIPPED_DIGITS = Path(__file__).resolve().parent.parent / "assets" / "vit_digits.safetensors"


def digits(
    num_classes: int | None = 10,
    pretrained: bool = True,
    checkpoint: str | None = None,
    drop_path_rate: DropRate = 0.0,
    img_size: Side | None = None,
    use_ema: bool | None = None,
) -> VisionTransformer:
    """A ViT small enough to train in a minute on one core: 28 x 28 images, 49 patches, 12 blocks of width 48.

    Args:
        num_classes: of the head; None keeps that of the weights.
        pretrained: start from the weights that ship with the package (scikit-learn's digits); False starts afresh.
        checkpoint: a weight file to start from instead.
        drop_path_rate: stochastic depth.
        img_size: pixels per side, a multiple of 4; None = 28.
        use_ema: of raw weights and their moving average in the file, which to take; see `load_weights`.
    """
    size = img_size or 28
    if size % 4:
        raise ValueError(f"backbone.img_size={size} is not a multiple of 4, the size of a patch")
    vit: Any = VisionTransformer(
        img_size=size,
        patch_size=4,
        num_classes=10,
        embed_dim=48,
        depth=12,
        num_heads=3,
        qk_norm=True,
        drop_path_rate=drop_path_rate,
        weight_init="jax",
    )
    # What makes it learn in few steps: normalised queries and keys, and positions it need not discover. At
    # full scale the positions would drown the patches.
    positions = build_sincos2d_pos_embed([size // 4, size // 4], vit.embed_dim, interleave_sin_cos=True)
    with torch.no_grad():
        vit.pos_embed.zero_()
        vit.pos_embed[0, vit.num_prefix_tokens :] = 0.5 * positions
    vit.pretrained_cfg = {"input_size": (3, size, size), "mean": (0.5,) * 3, "std": (0.5,) * 3}
    brought = False
    if checkpoint or pretrained:
        brought = load_weights(vit, checkpoint or SHIPPED_DIGITS, use_ema if checkpoint else None)
    return _with_classes(vit, num_classes, brought)


def timm_vit(
    name: str,
    num_classes: int | None = None,
    pretrained: bool = True,
    checkpoint: str | None = None,
    url: str | None = None,
    head_std: NotNegative | None = None,
    data_config: Mapping[str, Any] | None = None,
    use_ema: bool | None = None,
    *,
    drop_path_rate: DropRate | None = None,
    img_size: Side | tuple[Side, Side] | None = None,
    in_chans: Literal[3] | None = None,
    **args: Any,
) -> nn.Module:
    """Any model of timm's registry.

    Args:
        name: as in `timm.list_models()`.
        num_classes: of the head; None keeps that of the weights.
        pretrained: take timm's weights.
        checkpoint: a weight file to start from instead.
        url: where to get the weights instead of from timm's hub.
        head_std: a new head starts at a truncated normal of this standard deviation and a bias of 0, instead of
            PyTorch's own.
        data_config: mean and std, where the weights need others than timm says for `name`.
        use_ema: of raw weights and their moving average in the file, which to take; see `load_weights`.
        drop_path_rate: stochastic depth.
        img_size: pixels per side, or height and width.
        in_chans: what pictures have.
        **args: for the model's constructor; None keeps timm's default.

    Raises:
        ConnectionError: the weights cannot be downloaded.
        ValueError: an unknown name or setting.
    """
    if not timm.is_model(name):
        raise ValueError(f"timm has no model '{name}'{_similar(name)}")
    args |= {"drop_path_rate": drop_path_rate, "img_size": img_size, "in_chans": in_chans}
    args = {key: value for key, value in args.items() if value is not None}
    download = pretrained and not checkpoint
    try:
        # The files of others, a url, are read as those on disk are; timm's loading needs every key in its place.
        vit = timm.create_model(name, pretrained=download and not url, **args)
        checkpoint = _downloaded(url) if url and download else checkpoint
    except (OSError, ValueError) as error:  # the network's errors, and the hub's, are one of these
        if not download:
            raise
        raise ConnectionError(
            f"cannot download the weights of {name} ({first_line(error)}): get the file by other means and pass "
            f"backbone.checkpoint=PATH (timm or official .safetensors, .pth, .npz), or backbone.pretrained=false"
        ) from error
    except (TypeError, RuntimeError) as error:
        raise ValueError(f"timm cannot build {name} with {args}: {first_line(error)}") from error
    data = dict(data_config or {})
    if "img_size" in args:  # timm's data config would still name the size of the weights
        side = args["img_size"]
        data["input_size"] = (3, side, side) if isinstance(side, int) else (3, *side)
    vit.pretrained_cfg = {**vit.pretrained_cfg, **data}  # type: ignore[dict-item, assignment]  # a dictionary
    brought = download and not url if not checkpoint else load_weights(vit, checkpoint, use_ema)
    head = getattr(vit, "head", None)
    vit = _with_classes(vit, num_classes, brought)
    if head_std is not None and (not brought or vit.head is not head):
        nn.init.trunc_normal_(vit.head.weight, std=head_std)
        nn.init.zeros_(vit.head.bias)
    return vit


def _downloaded(url: str) -> str:
    file = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[-1]
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(file))
    return str(file)


def _with_classes(vit: Any, num_classes: int | None, trained: bool) -> Any:
    if num_classes is not None and num_classes != vit.num_classes:
        if trained and num_classes:
            log.info("the head for %d classes gives way to an untrained one for %d", vit.num_classes, num_classes)
        vit.reset_classifier(num_classes)  # nn.Linear with PyTorch's own initialisation
        trained = False
    vit.head_is_new = not trained
    return vit


def _similar(name: str) -> str:
    close = difflib.get_close_matches(name.split(".")[0], timm.list_models(), n=4)
    return f"; similar: {', '.join(close)}" if close else '; see timm.list_models("vit_*")'
