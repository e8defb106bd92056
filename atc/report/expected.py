"""The settings that a run's place in a table brings with it, such as those of its backbone's recipe."""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from atc.config import build
from atc.config.arguments import quoted
from atc.report import same_settings
from atc.report.same_settings import Settings
from atc.runs import identity
from atc.runs.record import Record
from atc.runs.settings import command_of, plain_settings

COUNTS = (
    "keep_rate",
    "threshold",
    "blocks",
    "t",
    "as_released",
)  # top-level settings that others are made of by interpolation
NO_SETTINGS = ("setting", "metric", "seed")  # of a place in a table
FILES = ("reducer", "schedule")  # groups whose settings come from their own file alone
# Groups that bring settings of other groups along, by the files of conf/**/by_*/ and by what they override.
GROUPS = ("experiment", "backbone", "datamodule", "optimizer", "trainer", "callbacks")


def settings(record: Record, where: Mapping[str, str], directories: tuple[Path, ...] = ()) -> Settings | None:
    """What conf/ gives a run with these choices; None where it does not know them.

    Args:
        record: that of the run, of which the choices of groups count.
        where: the place of the run in its table, by axis: what is set there counts as well.
        directories: of one's own, with files of groups.

    Returns:
        Settings by dotted key, and the option of `task`, which data sets override; without seeds and nulls.
    """
    chosen = {group: option for group in GROUPS if isinstance(option := record.part(group), str)}
    if not all(knows(group, option, directories) for group, option in chosen.items()):
        return None  # of another version, or of a tree that is not here
    name = command_of(record.config)
    if name != "train":
        chosen.pop("optimizer", None)
    axes = {key: value for key, value in where.items() if key not in (*chosen, *FILES, *COUNTS, *NO_SETTINGS)}
    axes = {key: value for key, value in axes.items() if key not in identity.WEIGHTS and not is_without_effect(key)}
    composed = _composed(name, tuple(f"{key}={value}" for key, value in {**chosen, **axes}.items()), directories)
    if composed is None:
        return None
    own = {key: _of_file(key, option, directories) for key in FILES if isinstance(option := record.part(key), str)}
    return {key: value for key, value in composed.items() if key.split(".")[0] not in own} | {
        key: value for one in own.values() for key, value in one.items()
    }


def knows(group: str, option: object, directories: tuple[Path, ...] = ()) -> bool:
    """Whether there is a file of an option, or an installed package that brings it.

    Args:
        group: such as "reducer".
        option: its name.
        directories: of one's own.
    """
    return option in build.names(group) or any((place / group / f"{option}.yaml").is_file() for place in directories)


def is_without_effect(key: str) -> bool:
    """Whether a setting says nothing about results, and no other is made of it."""
    own = [one for one in identity.WITHOUT_EFFECT if one not in COUNTS]
    return any(key == one or key.startswith(f"{one}.") for one in own)


@functools.lru_cache(maxsize=512)  # composing takes a tenth of a second
def _composed(name: str, overrides: tuple[str, ...], directories: tuple[Path, ...] = ()) -> Settings | None:
    places = ",".join(quoted(f"file://{place}") for place in directories)
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(build.conf_dir()), version_base="1.3"):
            cfg = compose(name, [f"hydra.searchpath=[{places}]", *overrides], return_hydra_config=True)
        task = cfg.hydra.runtime.choices.get("task@_global_.task", cfg.hydra.runtime.choices.get("task"))
        with open_dict(cfg):
            del cfg["hydra"]
            cfg.output_dir = None
        plain = plain_settings(cfg, resolve=True)
    except Exception:  # whatever Hydra makes of values that it was not meant for
        return None
    flat = {key: value for key, value in same_settings.flat(plain).items() if value is not None}
    return flat | ({"task": task} if isinstance(task, str) else {})


@functools.lru_cache(maxsize=512)
def _of_file(group: str, option: str, directories: tuple[Path, ...]) -> Settings:
    """The settings of an option with the defaults of what it is made of; nothing for one that is not there."""
    if not knows(group, option, directories):
        return {}
    node, top = build.option(group, option, directories), OmegaConf.load(build.conf_dir() / "train.yaml")
    merged = OmegaConf.merge(top, {group: node})
    assert isinstance(merged, DictConfig)
    try:
        plain: Any = OmegaConf.to_container(merged[group], resolve=True)
    except OmegaConfBaseException:
        return {}
    return {f"{group}.{key}": value for key, value in same_settings.flat(plain).items() if value is not None}
