"""The settings of conf/choose.yaml: what each may be. Imports no PyTorch."""

import importlib.util
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from omegaconf import DictConfig

from atc.config import build, composed_command, untrained
from atc.config.settings import Threads
from atc.config.written import check_kept, check_place
from atc.extras import needs
from atc.values import Blocks, Count, Positive, Seed, Whole

DRAWN = (".png", ".svg", ".pdf")
SCHEDULES = ("stages", "constant", "linear")
Budget = Annotated[float, "(0, 1)"]
_TYPES: dict[str, Any] = {
    "images": os.PathLike[str] | None,
    "part": Literal["val", "test"],
    "choose_on": Count | None,
    "check_on": Count | None,
    "cost": Literal["gflops", "latency"],
    "budget": Budget,
    "front": Sequence[Budget],
    "reducers": Sequence[str] | None,
    "schedules": Sequence[str],
    "blocks": Blocks,
    "best": Count,
    "trials": Whole,
    "batch_size": Count,
    "seconds": Positive,
    "device": Literal["cpu", "cuda"] | None,
    "threads": Threads | None,
    "output": os.PathLike[str] | None,
    "seed": Seed,
    "debug": bool,
}


def check_values(cfg: DictConfig) -> None:
    """ValueError or OSError, one line, for a setting that cannot have its value."""
    composed_command.check_types(cfg, _TYPES)
    if not isinstance(cfg.get("backbone"), DictConfig):
        raise ValueError(f"backbone={cfg.get('backbone')}: a choice needs a backbone: backbone=deit_tiny, for one")
    if (cfg.images is None) == (cfg.get("datamodule") is None):
        given = "both are given" if cfg.images is not None else "none is given"
        raise ValueError(f"images to compare on: images=FOLDER, or a data set as in datamodule=digits; {given}")
    if cfg.images is not None and not Path(str(cfg.images)).expanduser().is_dir():
        raise FileNotFoundError(f"images={cfg.images}: there is no such folder (looked from {Path.cwd()})")
    for key, options in (("schedules", list(SCHEDULES)), ("reducers", build.names("reducer"))):
        if cfg[key] == []:
            raise ValueError(f"{key}=[] leaves nothing to compare: there are {', '.join(options)}")
        for one in cfg[key] or []:
            if one not in options:
                raise ValueError(f"{key}: unknown {key[:-1]} '{one}': {build.nearest(str(one), options)}")
    if cfg.trials and importlib.util.find_spec("optuna") is None:
        raise ValueError(
            f"trials={cfg.trials} needs Optuna: pip install 'atc-toolkit[optuna]'; trials=0 compares without a search"
        )
    needs("the picture of a choice", "matplotlib", "pictures")
    _check_output(cfg)


def reducers(cfg: DictConfig) -> list[str]:
    """The methods to compare: those named, or all that reduce and need no training."""
    if cfg.reducers is not None:
        return list(cfg.reducers)
    every = [name for name in build.names("reducer") if name != "none"]
    without = untrained.names(every)
    return [name for name in every if name not in without]


def output(cfg: DictConfig, backbone: str) -> Path:
    """The picture to write."""
    return Path(f"{backbone}_front.png") if cfg.output is None else Path(str(cfg.output))


def _check_output(cfg: DictConfig) -> None:
    path = output(cfg, str(cfg.choices.get("backbone", "backbone")))
    record, said = path.with_suffix(".json"), f"output={path}"
    if path.suffix not in DRAWN:
        raise ValueError(f"output={cfg.output} must end in one of {', '.join(DRAWN)}")
    check_place(said, path)
    if record.is_dir():
        raise IsADirectoryError(f"{said}: {record} is a directory: choose another name")
    check_kept(said, path, cfg)
    check_kept(f"{said}: {record}, where what was tried is written,", record, cfg)
    # A record says that the two files are of this command; others are to be kept.
    there = [file for file in (record, path) if file.exists()]
    if there and not is_record(record):
        raise FileExistsError(
            f"{said}: {there[0]} is there already, and is not from this command: output=NAME{path.suffix} with "
            "another name, or remove it"
        )


def is_record(path: Path) -> bool:
    """Whether a file is a record of what was tried, as this command writes it."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and {"tried", "left_out", "choose_on"} <= found.keys()
