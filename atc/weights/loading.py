"""Weight files: what they hold, and how it gets into a timm model."""

import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from atc.core import Reducer
from atc.weights import released
from atc.weights.keys import beginnings, check_prefix_tokens, matched
from atc.weights.released import REDUCERS as REDUCERS
from atc.weights.released import WRAPPERS
from atc.weights.torchvision_names import to_timm

log = logging.getLogger(__name__)

_PREFIXES = ("_orig_mod.", "module.", "model.", "vit.")  # torch.compile, DataParallel, LightningModule, ReducedViT


class Weights(NamedTuple):
    """What a weight file holds for a model.

    Attributes:
        state: the tensors.
        notices: one line for each thing that a reader of results should know: which weights were taken of several,
            and what was left out.
    """

    state: dict[str, Tensor]
    notices: list[str]


def load_weights(vit: Any, path: str | Path, use_ema: bool | None = None) -> bool:
    """Load a weight file into a timm model.

    The file is .safetensors, .pth with or without wrapping keys, or JAX .npz; its names are timm's or torchvision's.
    Position embeddings of another grid are resampled, as timm does; a head for other classes is taken along. What a
    reader should know is logged, and stands in `vit.load_notices`.

    Args:
        vit: the model, an `nn.Module` of timm's.
        path: the file, here or as hf://OWNER/REPO/FILE.
        use_ema: of raw weights and their moving average, which to take; None: what the file says is better, else the
            average.

    Returns:
        Whether there was a head; without, the head is a new one, and so is the norm that averaging puts after the
        pooling (in place of the last norm of self-supervised weights, such as mae_pretrain_vit_base.pth).

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it does not hold this model's weights.
    """
    path = existing(path)
    if path.suffix == ".npz":
        if not hasattr(vit, "load_pretrained"):
            raise ValueError(f"{path}: {type(vit).__name__} has no JAX weights; give .safetensors or .pth")
        try:
            vit.load_pretrained(str(path))
        except (KeyError, AssertionError, RuntimeError, ValueError) as error:
            raise ValueError(f"{path} is not a JAX checkpoint of this backbone: {first_line(error)}") from error
        return True
    state, notices = weights_for(path, vit.state_dict(), use_ema)
    learned = [key for key in state if key.startswith(REDUCERS)]
    if learned:
        notices.append(f"{path}: {left_out(state, learned)} of reducers, which a backbone does not have")
    vit.load_notices = notices
    for notice in notices:
        log.warning(notice)
    return _load(vit, {key: value for key, value in state.items() if key not in learned}, origin=str(path))


def weights_for(
    path: str | Path, own: Mapping[str, Any], use_ema: bool | None = None, method: type[Reducer] | None = None
) -> Weights:
    """A file's tensors under the names of a model.

    Args:
        path: the file.
        own: the model's state dict.
        use_ema: as for `load_weights`.
        method: the reducer class of the model, whose `released_names` say how layers are called that it learns.

    Returns:
        Tensors and notices; those that are no model's of this kind keep their names.

    Raises:
        ValueError: there are no such weights; one line that names the file.
    """
    if use_ema is not None and not isinstance(use_ema, bool):
        raise ValueError(f"use_ema={use_ema} must be true, false or null")
    path = existing(path)
    chosen = _read(path, use_ema, method)
    state, averaged, notices = matched(_tensors(chosen.state, path), list(own), str(path), use_ema)
    if use_ema and not (chosen.averaged or averaged):
        raise ValueError(
            f"{path} holds no moving average (state_dict_ema, model_ema or ema. before its names), which use_ema=true "
            f"asks for"
        )
    if averaged is not None or chosen.averaged is not None:
        kind = "the moving average" if (averaged or chosen.averaged) else "the raw weights"
        where = f" ({chosen.key})" if chosen.averaged is not None else ""
        notices = [f"weights: {kind}{where} of {path.name}; use_ema=true|false chooses", *notices]
    return Weights(state, notices)


def without_classifier(state: Mapping[str, Tensor], vit: Any) -> dict[str, Tensor]:
    """A file's tensors without those of a classifier, for a model that has none.

    Args:
        state: the tensors.
        vit: the model; with num_classes of 0 it returns features.

    Returns:
        What the model takes of them.
    """
    if getattr(vit, "num_classes", None) != 0:
        return dict(state)
    said = vit.new[0].rstrip(".") if hasattr(vit, "new") else (vit.pretrained_cfg or {}).get("classifier") or "head"
    names = tuple(f"{name}." for name in ([said] if isinstance(said, str) else said))
    return {key: value for key, value in state.items() if not key.startswith(names)}


def read_weights(path: str | Path, use_ema: bool | None = None) -> dict[str, Tensor]:
    """The state dict in a .safetensors or .pth file, out of whatever a training script wrapped it in."""
    path = existing(path)
    return _tensors(_read(path, use_ema).state, path)


def existing(path: str | Path) -> Path:
    """The file itself. FileNotFoundError if there is none."""
    path = released.local(path)
    if not path.is_file():
        what = "is a directory, not a weight file" if path.is_dir() else "does not exist"
        raise FileNotFoundError(f"the weight file {path} {what} (looked from {Path.cwd()})")
    return path


def left_out(state: Mapping[str, Tensor], keys: list[str]) -> str:
    """For a notice: how much of a file is not used."""
    numbers = sum(state[key].numel() for key in keys)
    return f"{len(keys)} learned parameters ({numbers:,} numbers) are left out, those"


def first_line(error: BaseException) -> str:
    """The first line of an error's message."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _read(path: Path, use_ema: bool | None, method: type[Reducer] | None = None) -> released.Chosen:
    if path.suffix == ".safetensors":
        try:
            return released.Chosen(load_file(path))
        except SafetensorError as error:
            raise ValueError(f"{path} is not a readable weight file: {first_line(error)}") from error
    return released.better_weights(released.read(path), use_ema, method)


def _tensors(state: Any, path: Path) -> dict[str, Tensor]:
    names = [str(key) for key in state][:5] if isinstance(state, Mapping) else []
    for key in WRAPPERS:
        if isinstance(state, Mapping) and isinstance(state.get(key), Mapping):
            state = state[key]
    tensors = {}
    if isinstance(state, Mapping):
        tensors = {key: value for key, value in state.items() if isinstance(key, str) and isinstance(value, Tensor)}
    if not tensors:
        there = f"; it has the keys {', '.join(names)}" if names else ""
        raise ValueError(f"{path} holds no weights: neither a state dict nor one under {', '.join(WRAPPERS)}{there}")
    while shared := next((p for p in _PREFIXES if all(key.startswith(p) and key != p for key in tensors)), None):
        tensors = {key[len(shared) :]: value for key, value in tensors.items()}
    return tensors


def _load(vit: Any, state: dict[str, Tensor], origin: str) -> bool:
    names = list(state)
    state = to_timm(state)
    check_prefix_tokens(state, vit, origin)
    adapt = getattr(sys.modules[type(vit).__module__], "checkpoint_filter_fn", None)
    try:  # resamples positions, renames other origins' keys
        state = state if adapt is None else dict(adapt(state, vit))
    except (RuntimeError, ValueError, KeyError, IndexError, AttributeError, AssertionError, TypeError) as error:
        raise ValueError(f"{origin} does not fit this backbone: {first_line(error)}") from error
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
            begin = beginnings(names, list(own))
            raise ValueError(f"{origin} does not fit this backbone: it {problem} {', '.join(keys[:3])}{more}{begin}")
    vit.load_state_dict(state)
    return brought
