"""Checkpoints as the authors released them, and weight files on the Hugging Face hub.

A file holds "model" and "model_ema", two state dicts with timm's key names, "ema_best", which of them was better, and
"args", the settings of the training as an argparse.Namespace; besides what a training needs to go on. Of the methods,
some learn layers of their own, in lists with an entry per stage: `Reducer.released_names` says which these are.
"""

import argparse
import pickle
import re
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from atc import methods
from atc.core import Reducer
from atc.received import shown
from atc.weights import unreadable

HUB = "hf://"
WRAPPERS = ("model", "state_dict", "module")  # keys under which training scripts keep the weights
REDUCERS = "reducers."  # in front of the parameters of reducers in a wrapped model
_LISTS = ("cluster_layers.", "score_predictor.")  # of learned layers, also in a file without settings
_SCALAR = np.float64(0).__reduce__()[0]
# What may be in a checkpoint besides tensors and plain values: the settings, and numbers of NumPy's. None runs code.
SAFE: list[Any] = [
    argparse.Namespace,
    np.dtype,
    *(type(np.dtype(kind)) for kind in (bool, np.int64, np.float32, np.float64)),
    (_SCALAR, "numpy.core.multiarray.scalar"),  # its address before NumPy 2
    (_SCALAR, "numpy._core.multiarray.scalar"),
]


def local(path: str | Path) -> Path:
    """The file itself: hf://OWNER/REPO/FILE is fetched, or taken from the cache, anything else is a path.

    ValueError for an address without a file, ConnectionError if the file cannot be had.
    """
    address = str(path)
    if not address.startswith(HUB):
        return Path(path).expanduser()
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError

    owner, _, rest = address.removeprefix(HUB).partition("/")
    repo, _, file = rest.partition("/")
    if not (owner and repo and file):
        raise ValueError(f"{address} does not name a file: {HUB}OWNER/REPO/FILE")
    try:
        return Path(hf_hub_download(f"{owner}/{repo}", file))
    except (OSError, ValueError, HfHubHTTPError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ConnectionError(
            f"cannot fetch {address} ({reason}): get the file by other means and name its path"
        ) from error


def read(path: Path, mmap: bool = False) -> Any:
    """What a .pth file holds.

    Args:
        path: the file.
        mmap: leave tensors on disk until they are looked at, where the format of the file allows it.

    Raises:
        ValueError: it is not readable, or holds more than tensors, plain values and SAFE.
    """
    if reason := unreadable.reason(path):
        raise ValueError(f"{path} is not a readable weight file: it {reason}")
    try:
        with torch.serialization.safe_globals(SAFE), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # PyTorch asks for a report where a pickle is not its own
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap and zipfile.is_zipfile(path))
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise ValueError(
            f"{path} is not a readable weight file, or holds more than tensors, which is refused as it could run "
            f"code: {_reason(error)}"
        ) from error


def _reason(error: BaseException) -> str:
    """What PyTorch found, without its advice to read the file unsafely."""
    said = str(error)
    if "Unsupported operand" in said:
        return "it is a pickle that torch.save has not written"
    if found := re.search(r"Unsupported global: GLOBAL (\S+)", said):
        return f"it holds {found[1]}; who trusts its origin saves the weights alone, torch.save(weights, PATH)"
    if found := re.search(r"WeightsUnpickler error:\s*(\S.*)", said):
        return found[1]
    return (said.strip().splitlines() or [type(error).__name__])[0]


class Chosen(NamedTuple):
    """One of the sets of weights in a checkpoint.

    Attributes:
        state: the state dict.
        key: where it lay; "" for the checkpoint itself.
        averaged: whether it is a moving average; None where there was no choice.
    """

    state: Any
    key: str = ""
    averaged: bool | None = None


# Where training scripts keep the moving average and the raw weights: timm's, DeiT's, and Lightning's callback.
_AVERAGES = (("state_dict_ema", "state_dict"), ("model_ema", "model"), ("state_dict", "current_model_state"))


def better_weights(checkpoint: Any, use_ema: bool | None = None, method: type[Reducer] | None = None) -> Chosen:
    """Of a checkpoint with raw and averaged weights, the ones to take, with learned layers named as those of reducers.

    Args:
        checkpoint: what a file holds.
        use_ema: as for `chosen_weights`.
        method: the reducer class of the model that they are for; its `released_names` go before those of others.

    Raises:
        ValueError: there is no such set, or no reducer here has the layers.
    """
    chosen = chosen_weights(checkpoint, use_ema)
    if not isinstance(checkpoint, Mapping):
        return chosen
    args = checkpoint.get("args") if chosen.key else None
    return chosen._replace(state=_renamed(chosen.state, args, method))


def chosen_weights(checkpoint: Any, use_ema: bool | None = None) -> Chosen:
    """Of a checkpoint with raw and averaged weights, the ones to take, under the names that they have there.

    Args:
        checkpoint: what a file holds.
        use_ema: true: the average; false: the raw weights; None: what the checkpoint says validated better, and the
            average where it says nothing.

    Raises:
        ValueError: there is no such set.
    """
    if not isinstance(checkpoint, Mapping):
        return Chosen(checkpoint)
    for average, raw in _AVERAGES:
        there = [key for key in (average, raw) if isinstance(checkpoint.get(key), Mapping)]
        # Only with the raw weights beside it is Lightning's state_dict an average.
        if average not in there or (average == "state_dict" and raw not in there):
            continue
        said = checkpoint.get("ema_best", checkpoint.get("averaged_best"))
        averaged = use_ema if use_ema is not None else (True if said is None else bool(said))
        key = average if averaged else raw
        if key not in there:
            raise ValueError(f"the checkpoint holds only averaged weights ({average}), which use_ema=false leaves out")
        return Chosen(checkpoint[key], key, averaged)
    if isinstance(checkpoint.get("model"), Mapping):
        return Chosen(checkpoint["model"], "model")
    return Chosen(checkpoint)


def arguments(path: Path) -> dict[str, Any]:
    """The settings of the training that a released checkpoint comes from; none for any other file."""
    checkpoint = read(path, mmap=True) if path.suffix in (".pth", ".pt") else None
    found = checkpoint.get("args") if isinstance(checkpoint, Mapping) else None
    released = isinstance(found, argparse.Namespace) and hasattr(found, "reduction_loc")
    return dict(vars(found)) if released else {}


def _renamed(state: Mapping[str, Any], args: Any, method: type[Reducer] | None) -> dict[str, Any]:
    """Learned layers by the block they are at: cluster_layers.0.score.weight is reducers.4.weight.weight."""
    renamed, blocks = dict(state), [place + 1 for place in getattr(args, "reduction_loc", ())]
    own = {} if method is None else names_of([method])
    names: dict[re.Pattern[str], tuple[str, str]] | None = None  # of all methods, found where the file may need them
    for key in filter(lambda key: isinstance(key, str), state):
        found = _match(key, own)
        if found is None and (blocks or key.startswith(_LISTS)):
            names = names_of(_methods(args)) if names is None else names
            found = _match(key, names)
        if found is None:
            if key.startswith(_LISTS):
                raise ValueError(f"the checkpoint holds layers that no reducer here has: {shown(key)}")
            continue
        learns, stage, ours = found
        if stage >= len(blocks):
            raise ValueError(
                f"the checkpoint holds {learns}'s layer of stage {stage + 1} ({key}), and does not say at which block "
                f"that is: args.reduction_loc names {len(blocks)} blocks"
            )
        renamed[f"{REDUCERS}{blocks[stage]}.{ours}"] = renamed.pop(key)
    return renamed


def _methods(args: Any) -> list[type[Reducer]]:
    """The reducer classes that there are, that of the checkpoint's model first."""
    model = getattr(args, "model", None)
    named = model.partition("_")[0] if isinstance(model, str) else None
    found = [(name, reducer, getattr(reducer, "released_method", None) or name) for name, reducer in methods.classes()]
    return [reducer for _, reducer, theirs in sorted(found, key=lambda each: each[2] != named)]


def names_of(reducers: Iterable[type[Reducer]]) -> dict[re.Pattern[str], tuple[str, str]]:
    """For beginnings of names in a checkpoint, the class that learns them, and how they begin in its module.

    Args:
        reducers: the classes, those that go before others first.

    Returns:
        By pattern, whose only group is the 0-based stage.
    """
    found: dict[re.Pattern[str], tuple[str, str]] = {}
    for reducer in reducers:
        for theirs, ours in getattr(reducer, "released_names", {}).items():
            before, _, after = theirs.partition("{stage}")
            shape = re.compile(rf"{re.escape(before)}(\d{{1,4}}){re.escape(after)}")
            found.setdefault(shape, (reducer.__name__, ours))
    return found


def _match(key: str, names: Mapping[re.Pattern[str], tuple[str, str]]) -> tuple[str, int, str] | None:
    """Of a name in a checkpoint: the class that learns it, its 0-based stage, and the name in that class's module."""
    for shape, (learns, ours) in names.items():
        if found := shape.match(key):
            return learns, int(found[1]), ours + key[found.end() :]
    return None
