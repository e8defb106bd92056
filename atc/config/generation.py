"""The settings of conf/generate.yaml that have to go together; nothing is loaded for it."""

import importlib.util
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from atc.config import classes
from atc.values import shown

SITES = ("attn1", "attn2", "ff", "kv")
INDEX = "model_index.json"  # of a directory with a pipeline
_SHARD = re.compile(r"(\d+)/(\d+)")


def check(cfg: DictConfig) -> None:
    """ValueError, one line, for settings of a generation that cannot be.

    Args:
        cfg: composed, with values of the right types.
    """
    check_pipeline(cfg.pipeline)
    named: Any = cfg.classes if not OmegaConf.is_config(cfg.classes) else OmegaConf.to_container(cfg.classes)
    if classes.numbers(named) is None:
        classes.read(named)
    if "{}" not in cfg.prompt:
        raise ValueError(f"prompt={shown(cfg.prompt)} has no {{}}, where the name of the class goes")
    shard(cfg.shard)
    for key in ("height", "width"):
        value = cfg.sampling[key]
        if value is not None and value % 8:
            raise ValueError(f"sampling.{key}={value} must be a multiple of 8 pixels")
    _check_merging(cfg.merging)
    if cfg.images is not None and Path(str(cfg.images)).expanduser().is_file():
        raise ValueError(f"images={shown(str(cfg.images))} is a file, and must be a directory")
    reference = cfg.fid.reference
    if reference is not None and not Path(str(reference)).expanduser().is_dir():
        said = f"fid.reference={shown(str(reference))}"
        raise ValueError(f"{said}: there is no such directory (looked from {Path.cwd()})")


def check_installed() -> None:
    """ValueError, one line, where what generates images is missing: the last thing to look at of a command."""
    if importlib.util.find_spec("diffusers") is None:
        raise ValueError(
            'images are generated with diffusers, which is not installed: pip install "atc-toolkit[diffusion]"'
        )


def check_pipeline(name: str | os.PathLike[str]) -> None:
    """Refuse a directory without a pipeline, and what is neither a directory nor the name of a repository.

    Args:
        name: the setting: a repository of the hub, or a directory that a pipeline was saved to.

    Raises:
        ValueError: one line.
    """
    path, said = Path(name).expanduser(), f"pipeline={shown(str(name))}"
    right = "it must be a directory that save_pretrained of a pipeline wrote, or a repository as in OWNER/NAME"
    if path.is_dir():
        if not (path / INDEX).is_file():
            raise ValueError(f"{said} has no {INDEX}: {right}")
    elif path.exists():
        raise ValueError(f"{said} is a file: {right}")
    elif str(name).count("/") != 1 or not all(str(name).split("/")) or str(name)[0] in "./~":
        raise ValueError(f"{said}: there is no such directory (looked from {Path.cwd()}); {right}")


def shard(text: str | None) -> tuple[int, int]:
    """Which part of the images a process makes, and of how many.

    Args:
        text: such as "0/4"; None: all.

    Returns:
        Number from 0, and count.

    Raises:
        ValueError: it is no such text; one line.
    """
    if text is None:
        return 0, 1
    found = _SHARD.fullmatch(str(text))
    number, count = (int(one) for one in found.groups()) if found else (0, 0)
    if not number < count:
        raise ValueError(f"shard={shown(text)} must be NUMBER/COUNT, counted from 0, as in 0/4 to 3/4")
    return number, count


def _check_merging(merging: DictConfig) -> None:
    sites = list(merging.sites)
    for site in sites:
        if site not in SITES:
            raise ValueError(f"merging.sites: {shown(site)} is none of {', '.join(SITES)}")
    if not sites or len(set(sites)) < len(sites) or {"attn1", "kv"} <= set(sites):
        raise ValueError(f"merging.sites={shown(sites)} must be one or more, each once, and not both attn1 and kv")
    rates = merging.keep_rate
    if isinstance(rates, Sequence) and not isinstance(rates, str) and len(rates) != len(sites):
        raise ValueError(
            f"keep_rate={shown(list(rates))} must be a number, or one for each of merging.sites={shown(sites)}; "
            f"for one run each: -m keep_rate={','.join(map(shown, rates))}"
        )
    steps = merging.steps
    if steps is not None and (len(steps) != 2 or steps[0] > steps[1]):
        raise ValueError(f"merging.steps={shown(list(steps))} must be the first and the last step, as in [1, 25]")
