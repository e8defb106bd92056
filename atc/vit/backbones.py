"""Backbones by name or path: each function here is the target of files in conf/backbone/.

All take num_classes (None keeps the backbone's own), pretrained, and checkpoint, a weight file, here or on the Hugging
Face hub (hf://OWNER/REPO/FILE), that goes before any other download. Where the weights were made for another number of
classes, the head is a new nn.Linear.
"""

import difflib
import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from timm.layers.pos_embed_sincos import build_sincos2d_pos_embed
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from atc.vit import released
from atc.vit.torchvision_names import to_timm

log = logging.getLogger(__name__)

SHIPPED_DIGITS = Path(__file__).resolve().parent.parent / "assets" / "vit_digits.safetensors"
_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt", ".npz")
_WRAPPERS = ("model", "state_dict", "module")  # keys under which training scripts keep the weights


def digits(
    num_classes: int | None = 10,
    pretrained: bool = True,
    checkpoint: str | None = None,
    drop_path_rate: float = 0.0,
    img_size: int | None = None,
) -> VisionTransformer:
    """A ViT small enough to train in a minute on one core: 28 x 28 images, 49 patches, 12 blocks of width 48.

    pretrained: start from the weights that ship with the package (scikit-learn's digits); False starts afresh.
    img_size: pixels per side, a multiple of 4; None = 28.
    """
    size = img_size or 28
    if size % 4:
        raise ValueError(f"backbone.img_size={size} is not a multiple of 4, the size of a patch")
    vit = VisionTransformer(
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
    if checkpoint or pretrained:
        load_weights(vit, checkpoint or SHIPPED_DIGITS)
    return _with_classes(vit, num_classes, bool(checkpoint or pretrained))


def timm_vit(
    name: str,
    num_classes: int | None = None,
    pretrained: bool = True,
    checkpoint: str | None = None,
    url: str | None = None,
    head_std: float | None = None,
    data_config: Mapping[str, Any] | None = None,
    **args: Any,
) -> nn.Module:
    """Any model of timm's registry: `name` as in `timm.list_models()`, `args` for its constructor.

    url: where to get the weights instead of from timm's hub. head_std: a new head starts at a truncated normal of
    this standard deviation and a bias of 0, instead of PyTorch's own. data_config: mean and std, where the weights
    want others than timm says for `name`. None-valued `args` keep timm's defaults.
    ConnectionError if the weights cannot be downloaded; ValueError for an unknown name or setting.
    """
    if not timm.is_model(name):
        raise ValueError(f"timm has no model '{name}'{_similar(name)}")
    args = {key: value for key, value in args.items() if value is not None}
    download = pretrained and not checkpoint
    try:
        # The files of others, a url, are read as those on disk are; timm's loading wants every key in its place.
        vit = timm.create_model(name, pretrained=download and not url, **args)
        checkpoint = _downloaded(url) if url and download else checkpoint
    except (OSError, ValueError) as error:  # the network's errors, and the hub's, are one of these
        if not download:
            raise
        raise ConnectionError(
            f"cannot download the weights of {name} ({_first_line(error)}): get the file by other means and pass "
            f"backbone.checkpoint=PATH (timm or official .safetensors, .pth, .npz), or backbone.pretrained=false"
        ) from error
    except (TypeError, RuntimeError) as error:
        raise ValueError(f"timm cannot build {name} with {args}: {_first_line(error)}") from error
    data = dict(data_config or {})
    if "img_size" in args:  # timm's data config would still name the size of the weights
        side = args["img_size"]
        data["input_size"] = (3, side, side) if isinstance(side, int) else (3, *side)
    vit.pretrained_cfg = {**vit.pretrained_cfg, **data}  # type: ignore[dict-item, assignment]
    brought = download and not url if not checkpoint else load_weights(vit, checkpoint)
    head = getattr(vit, "head", None)
    vit = _with_classes(vit, num_classes, brought)
    if head_std is not None and (not brought or vit.head is not head):
        nn.init.trunc_normal_(vit.head.weight, std=head_std)
        nn.init.zeros_(vit.head.bias)
    return vit


def load_weights(vit: nn.Module, path: str | Path) -> bool:
    """Load a weight file into a timm model: safetensors, .pth with or without wrapping keys, or JAX .npz;
    timm's key names, or torchvision's.

    Position embeddings of another grid are resampled, as timm does; a head for other classes is taken along.
    Returns whether there was a head; without, the head is a new one, and so is the norm that averaging puts after the
    pooling (in place of the last norm of self-supervised weights, such as mae_pretrain_vit_base.pth).
    FileNotFoundError if there is no such file, ValueError if it does not hold this model's weights.
    """
    path = _existing(path)
    if path.suffix == ".npz":
        if not hasattr(vit, "load_pretrained"):
            raise ValueError(f"{path}: {type(vit).__name__} has no JAX weights; give .safetensors or .pth")
        try:
            vit.load_pretrained(str(path))
        except (KeyError, AssertionError, RuntimeError, ValueError) as error:
            raise ValueError(f"{path} is not a JAX checkpoint of this backbone: {_first_line(error)}") from error
        return True
    return _load(vit, read_weights(path), origin=str(path))


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """The state dict in a .safetensors or .pth file, out of whatever a training script wrapped it in."""
    path = _existing(path)
    if path.suffix == ".safetensors":
        try:
            state: Any = load_file(path)
        except SafetensorError as error:
            raise ValueError(f"{path} is not a readable weight file: {_first_line(error)}") from error
    else:
        state = released.better_weights(released.read(path))
    weights = _unwrap(state)
    if not weights:
        raise ValueError(f"{path} holds no weights: neither a state dict nor one under {', '.join(_WRAPPERS)}")
    return weights


def _existing(path: str | Path) -> Path:
    path = released.local(path)
    if not path.is_file():
        what = "is a directory, not a weight file" if path.is_dir() else "does not exist"
        raise FileNotFoundError(f"the weight file {path} {what} (looked from {Path.cwd()})")
    return path


def _unwrap(state: Any) -> dict[str, Tensor]:
    for key in _WRAPPERS:
        if isinstance(state, Mapping) and isinstance(state.get(key), Mapping):
            state = state[key]
    if not isinstance(state, Mapping):
        return {}
    tensors = {key: value for key, value in state.items() if isinstance(value, Tensor)}
    # Training wrappers prefix every key: DataParallel "module.", a LightningModule "model."
    for prefix in ("module.", "model.", "vit."):
        if tensors and all(key.startswith(prefix) for key in tensors):
            tensors = {key[len(prefix) :]: value for key, value in tensors.items()}
    return tensors


def _downloaded(url: str) -> str:
    file = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[-1]
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(file))
    return str(file)


def _load(vit: Any, state: dict[str, Tensor], origin: str) -> bool:
    state = to_timm({key: value for key, value in state.items() if not key.startswith("reducers.")})
    adapt = getattr(sys.modules[type(vit).__module__], "checkpoint_filter_fn", None)
    state = state if adapt is None else dict(adapt(state, vit))  # resamples positions, renames other origins' keys
    brought = "head.weight" in state
    for name in ("head", "head_dist"):
        head, weight = getattr(vit, name, None), state.get(f"{name}.weight")
        if isinstance(head, nn.Linear) and weight is None:  # weights without a classifier: a new one
            head.reset_parameters()
            state |= {f"{name}.{key}": value for key, value in head.state_dict().items()}
        elif weight is not None and (not isinstance(head, nn.Linear) or len(weight) != head.out_features):
            vit.reset_classifier(len(weight))
    own = vit.state_dict()
    if not brought and "norm.weight" not in own and "fc_norm.weight" not in state:
        state = {key: value for key, value in state.items() if not key.startswith("norm.")}
        state |= {key: value for key, value in own.items() if key.startswith("fc_norm.")}
    wrong = [key for key in own if key in state and own[key].shape != state[key].shape]
    missing, extra = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    for problem, keys in (("lacks", missing), ("has unknown", extra), ("has other shapes for", wrong)):
        if keys:
            more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
            raise ValueError(f"{origin} does not fit this backbone: it {problem} {', '.join(keys[:3])}{more}")
    vit.load_state_dict(state)
    return brought


def _with_classes(vit: Any, num_classes: int | None, trained: bool) -> Any:
    if num_classes is not None and num_classes != vit.num_classes:
        if trained:
            log.info("the head for %d classes gives way to an untrained one for %d", vit.num_classes, num_classes)
        vit.reset_classifier(num_classes)  # nn.Linear with PyTorch's own initialisation
    return vit


def _similar(name: str) -> str:
    close = difflib.get_close_matches(name.split(".")[0], timm.list_models(), n=4)
    return f"; similar: {', '.join(close)}" if close else '; see timm.list_models("vit_*")'


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
