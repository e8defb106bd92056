"""The settings that a command takes over from the run directory it builds on."""

from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf, open_dict

from atc import moved
from atc.config import saved as saved_settings
from atc.received import load_settings
from atc.runs.directories import COMPOSED, OF_THE_COMMAND


def with_saved(cfg: DictConfig, directory: Path, overrides: list[str], own: set[str]) -> DictConfig:
    """The configuration saved in a run directory, under what the command line says.

    Args:
        cfg: as composed from the command line alone.
        directory: of the run.
        overrides: the command line; with experiment=NAME on it nothing is taken.
        own: top-level keys that are never taken from the saved run.

    Raises:
        ValueError: the saved configuration, which may be anybody's, says what atc.config.saved refuses.
    """
    if says_all(overrides):
        return cfg
    said = OverridesParser.create().parse_overrides(overrides)
    saved = OmegaConf.create(moved.targets(OmegaConf.to_container(load_settings(directory / COMPOSED))))
    merged = cfg.copy()
    # A training of a sweep is still one of it when it goes on: else its report would not find the result.
    others = OF_THE_COMMAND - ({"sweep"} if cfg.get("resume") is not None else set())
    taken = {str(key) for key in saved} - own - others
    keys = []
    with open_dict(merged):
        for key in taken:
            merged[key] = saved._get_node(key)
        if "threshold" in own and OmegaConf.is_dict(merged.get("schedule")):  # which means something else here
            merged.schedule.threshold = OmegaConf.select(saved, "schedule.threshold")
        for override in said:
            key = override.key_or_group
            if override.is_hydra_override() or key.split(".")[0] in others:
                continue
            keys.append(key)
            _copy(cfg, merged, key)
            if OmegaConf.is_dict(merged.get("choices")) and key in merged.choices:
                merged.choices[key] = cfg.choices[key]
    saved_settings.check(merged, cfg, taken, keys, directory / COMPOSED)
    return merged


def says_all(overrides: list[str]) -> bool:
    """Whether a command line takes nothing from a saved run, as it names an experiment."""
    said = OverridesParser.create().parse_overrides(overrides)
    return any(override.key_or_group == "experiment" for override in said)


def _copy(source: DictConfig, target: DictConfig, key: str) -> None:
    """Make `target` what `source` is at a dotted key, absence included; interpolations stay as they are."""
    *parents, leaf = key.split(".")
    for parent in parents:
        if source is None or parent not in source:
            return
        source = source[parent]
        if not OmegaConf.is_dict(target.get(parent)):
            target[parent] = {}
        target = target[parent]
    with open_dict(target):
        if leaf in source:
            target[leaf] = source._get_node(leaf)
        else:
            target.pop(leaf, None)
