"""What files may not bring into a configuration, which Hydra takes as it comes: unknown names, hidden files."""

import functools
import posixpath
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from atc.config import arguments, build, settings

# What is no setting of a command: read by Hydra and by reports, or set when a run starts.
_BESIDE = ("hydra", "report", "bench", "sweep", "choices", "output_dir", "checkpoint", "logger", "experiment")


def check(cfg: DictConfig, command: str, hydra: Any) -> None:
    """Refuse what a command line or a file names and that is not there, or is not what it seems to be.

    Args:
        cfg: composed, before a saved run's settings are put into it.
        command: "train", "evaluate", "generate" or "predict".
        hydra: Hydra's own settings.

    Raises:
        ValueError: one line.
    """
    overrides = list(hydra.overrides.task)
    arguments.check_groups(command, overrides)
    name = str(hydra.job.config_name)
    if name != _own_name("", name):
        raise ValueError(f"-cn {name}: did you mean '{_own_name('', name)}'?")
    _check_hidden(hydra.runtime, "", name)
    if name != command and not {"seed", "paths"} <= cfg.keys():
        raise ValueError(f"-cn {name}: its defaults lack '{command}', which has the settings that it does not name")
    _check_names(cfg, command, hydra.runtime, overrides)


def _check_names(cfg: DictConfig, command: str, runtime: Any, overrides: Iterable[str]) -> None:
    """ValueError for a setting that a file gives and that no command has: a typo, which would leave the default.

    What another setting refers to, as ${mine}, and what the command line adds, as +mine=3, may have any name.
    """
    known = _known()
    groups = {part.split("/")[0] for choice in runtime.choices for part in re.split(r"[@.]", choice)}
    added = [said.lstrip("+").partition("=")[0] for said in overrides if said.startswith("+")]
    allowed = {*known, *groups, *settings.GROUPS, *_BESIDE, *(name.partition(".")[0] for name in added)}
    for key in map(str, cfg):
        if key not in allowed and not _referred(cfg, key):
            own = {name.partition(".")[0] for name in settings.annotations(command)} | set(settings.groups(command))
            raise ValueError(f"unknown setting '{key}': {build.nearest(key, sorted(own))}")
        held = cfg._get_node(key)
        nested = [str(leaf) for leaf in held] if known.get(key) and isinstance(held, DictConfig) else []
        for leaf in nested:
            if leaf not in known[key] and f"{key}.{leaf}" not in added and not _referred(cfg, f"{key}.{leaf}"):
                raise ValueError(f"'{key}' has no setting '{leaf}': {build.nearest(leaf, sorted(known[key]))}")


@functools.cache
def _known() -> dict[str, set[str]]:
    """The settings of all commands, for which an experiment may be: at the top level, each with those in it."""
    known: dict[str, set[str]] = {}
    for name in (name for command in settings.COMMANDS for name in settings.annotations(command)):
        head, _, leaf = name.partition(".")
        known.setdefault(head, set()).update({leaf} - {""})
    return known


def _referred(cfg: DictConfig, key: str) -> bool:
    """Whether a setting refers to this one, or it begins as what is meant for readers alone does: _key."""
    text = OmegaConf.to_yaml(cfg, resolve=False)
    return key.startswith("_") or re.search(rf"\$\{{(oc\.select:)?{re.escape(key)}\b", text) is not None


def check_choices(runtime: Any) -> None:
    """ValueError for options of groups under another name than their own, and for files that ATC's own hide.

    Args:
        runtime: Hydra's `hydra.runtime`: its choices, and where it looks for files.
    """
    for choice, option in runtime.choices.items():
        group = choice.partition("@")[0]
        if isinstance(option, str):
            name = _own_name(group, option)
            if name != option:
                raise ValueError(f"unknown {group} '{option}': did you mean '{name}'?")
            _check_hidden(runtime, group, name)


def _own_name(group: str, option: str) -> str:
    """The name of an option that was given as its file, topk.yaml, or by a detour, ../reducer/topk."""
    place = posixpath.normpath(posixpath.join("/", group, option.lstrip("/")))
    return posixpath.relpath(place, posixpath.join("/", group)).removesuffix(".yaml")


def _check_hidden(runtime: Any, group: str, name: str) -> None:
    """ValueError if a file of one's own has a name that ATC has, whose file Hydra takes; a copy may stay."""
    own = build.conf_dir() / group / f"{name}.yaml"
    for place in _places(runtime):
        file = place / group / f"{name}.yaml"
        if file.is_file() and own.is_file() and file.read_bytes() != own.read_bytes():
            what = f"{group}={name}" if group else f"-cn {name}"
            raise ValueError(f"{what} means ATC's own file, which hides {_here(file)}: give that another name")


def directories(hydra: Any) -> list[Path]:
    """Directories of one's own in which Hydra looks for files, given its settings."""
    return _places(hydra.runtime) if "runtime" in hydra else []


def _places(runtime: Any) -> list[Path]:
    files = (source for source in runtime.config_sources if _get(source, "schema") == "file")
    return [place for place in (Path(_get(source, "path")) for source in files) if place != build.conf_dir()]


def _get(source: Any, key: str) -> str:
    return str(source[key] if isinstance(source, Mapping) else getattr(source, key))


def _here(file: Path) -> Path:
    return file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file
