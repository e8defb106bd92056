"""What writes a trace of an evaluation, and what it says of the run."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from atc.config.build import conf_dir
from atc.run.parts import Parts
from atc.runs.identity import identity
from atc.runs.settings import plain_settings
from atc.runs.traces import DIRECTORY
from atc.tasks.traced import Traced, traced


def tracing_of(parts: Parts) -> AbstractContextManager[None]:
    """What writes a trace of the tests within it, if the configuration asks for one; begun anew without cfg.resume.

    Args:
        parts: what tests, and on what.

    Returns:
        A context.

    Raises:
        ValueError: features of blocks that the model does not have.
    """
    cfg = parts.cfg
    if not cfg.get("trace"):
        return nullcontext()
    if parts.trainer.world_size > 1:
        raise ValueError("trace=true writes the images of one device: trainer.devices=1")
    place, blocks = Path(cfg.output_dir) / DIRECTORY, list(cfg.get("cls_features") or ())
    about = {
        "identity": identity(cfg),
        "keep_rate": plain_settings(cfg.schedule, resolve=True).get("keep_rate"),
        **_names(cfg),
    }
    trace = Traced(parts.model, place, blocks, resume=cfg.get("resume") is not None, about=about)
    return traced(trace, parts.task, parts.trainer, parts.datamodule)


def _names(cfg: DictConfig) -> dict[str, Any]:
    """What tells runs apart: the chosen options, and what those that fit any model or data leave open."""
    names = {group: (cfg.choices or {}).get(group) for group in ("reducer", "backbone", "datamodule")}
    for group, key in (("backbone", "name"), ("datamodule", "root")):
        file, given = conf_dir() / group / f"{names[group]}.yaml", cfg[group].get(key)
        if file.is_file() and given is not None and _leaves_open(OmegaConf.load(file), key):
            names[group] = f"{names[group]}:{Path(str(given)).name}"
    return names


def _leaves_open(option: Any, key: str) -> bool:
    """Whether an option of conf/ has no value of its own for a setting that it has."""
    plain: Any = OmegaConf.to_container(option)
    return key in plain and plain[key] in (None, "???")
