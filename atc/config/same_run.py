"""What a training that goes on must have in common with the run that it goes on with."""

from collections.abc import Iterator, Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from atc import moved
from atc.received import load_settings
from atc.runs import directories
from atc.values import shown

# The rest is how a training is done: its length, rates, losses and batches may change on the way.
_OPTIONS = ("reducer", "schedule", "backbone", "datamodule", "task")
_GROUPS = ("reducer", "schedule", "backbone")
_VALUES = ("seed", "proportional_attention", "size_weighted")
_OF_THE_START = {"checkpoint", "use_ema", "pretrained", "weights", "drop_path_rate"}  # of a backbone


def check(cfg: DictConfig) -> None:
    """Refuse to go on with the run of another model: its record would be replaced by one of a model half trained.

    Args:
        cfg: of a command, with values that are checked; only a training has a run to go on with.

    Raises:
        ValueError: `cfg.resume` names a run that has other settings of its model, data set or seed; one line.
    """
    directory = None if cfg.get("resume") in (None, "auto") else directories.run_directory(cfg.resume)
    if directory is None:
        return
    file = directory / directories.RESOLVED
    file = file if file.is_file() else directory / directories.COMPOSED
    saved: Any = moved.targets(OmegaConf.to_container(load_settings(file)))
    for key, before, now in _differences(saved, cfg):
        raise ValueError(
            f"resume={cfg.resume} is a run of {key}={shown(before)} and goes on with that, not with "
            f"{key}={shown(now)}; another training may start from its weights: "
            f"backbone.checkpoint={directory / directories.BEST}"
        )


def _differences(saved: Mapping[str, Any], cfg: DictConfig) -> Iterator[tuple[str, Any, Any]]:
    """Settings that differ, as they were and as they are."""
    chosen: Any = saved.get("choices")
    choices = cfg.get("choices") or {}
    for group in _OPTIONS if isinstance(chosen, dict) else ():
        if None not in (chosen.get(group), choices.get(group)) and chosen[group] != choices[group]:
            yield group, chosen[group], choices[group]
    for group in _GROUPS:
        before, node = saved.get(group), cfg.get(group)
        now = OmegaConf.to_container(node, resolve=True) if isinstance(node, DictConfig) else None
        if not isinstance(before, dict) or not isinstance(now, dict):
            continue
        for key in before:  # what it does not name came with a later version
            left_out = group == "backbone" and key in _OF_THE_START
            if not left_out and _differ(before.get(key), now.get(key)):
                yield f"{group}.{key}", before.get(key), now.get(key)
    for key in _VALUES:
        if key in saved and _differ(saved[key], cfg.get(key)):
            yield key, saved[key], cfg.get(key)


def _differ(before: Any, now: Any) -> bool:
    """Whether values differ; a reference, as a file that is not resolved has it, is no value."""
    return bool(before != now) and "${" not in str(before)
