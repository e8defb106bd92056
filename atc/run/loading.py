"""Weights for a model that has its reducers already."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from atc.runs import checkpoints
from atc.vit.reduced import ReducedViT
from atc.weights.keys import beginnings, check_prefix_tokens
from atc.weights.loading import REDUCERS, left_out, weights_for, without_classifier

log = logging.getLogger(__name__)

MMDET = ("rpn_head.", "roi_head.", "neck.")  # parts of the detectors of that library


def load(model: ReducedViT, file: Path, use_ema: bool | None = None) -> list[str]:
    """Load the weights of a training checkpoint, or any weight file with timm's key names, into `model`.

    Args:
        model: what to load into.
        file: the file; its reducer parameters are left out for a method that has none.
        use_ema: of raw weights and their moving average, which to take; None: what the file says is better, else the
            average.

    Returns:
        Notices for the record, also logged: which weights of several these are, and how many parameters are untrained
        or left out.

    Raises:
        ValueError: the weights do not fit.
    """
    own = model.state_dict()
    try:
        state, notices = weights_for(file, own, use_ema, model.method)
    except ValueError as error:
        damaged = file.suffix == ".ckpt" and checkpoints.updates(file) is None
        raise ValueError(f"{error}{checkpoints.instead_of(file) if damaged else ''}") from error
    if any(key.startswith(MMDET) for key in state):
        return [*notices, *_load_released(model, file, state)]
    state = without_classifier(state, model.host.model)
    learned, mine = ([key for key in keys if f".{key}".find(f".{REDUCERS}") >= 0] for keys in (state, own))
    if learned and not mine:
        name = model.method.__name__
        notices.append(f"{file}: {left_out(state, learned)} of reducers, which {name} does not have")
        state = {key: value for key, value in state.items() if key not in learned}
    elif mine and not learned:
        numbers = sum(own[key].numel() for key in mine)
        notices.append(
            f"{file} lacks the {len(mine)} parameters ({numbers:,} numbers) that {model.method.__name__} learns: they "
            f"are untrained"
        )
    check_prefix_tokens(state, model.host.model, str(file))
    differing = [key for key, value in state.items() if key in own and own[key].shape != value.shape]
    try:
        if differing:
            raise ValueError(f"other shapes for {', '.join(differing[:3])}")
        model.load_state_dict(state)
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ValueError(
            f"{file} does not fit the model: {reason}{beginnings(list(state), list(own))}; a file outside its run "
            f"directory needs the backbone and reducer it was made with named on the command line"
        ) from error
    for notice in notices:
        log.warning(notice)
    return notices


def _load_released(model: Any, file: Path, state: Mapping[str, Any]) -> list[str]:
    """Load a detector of mmdet, as the authors released them, and say so."""
    if not hasattr(model, "load_released"):
        raise ValueError(f"{file} holds a detector: task=detection takes it")
    try:
        model.load_released(state)
    except ValueError as error:
        made = "backbone and task.detector have to be what it was made with"
        raise ValueError(f"{file} does not fit the model: {error}; {made}") from error
    notice = f"{file}: weights of a detector of mmdet, under its names"
    log.warning(notice)
    return [notice]
