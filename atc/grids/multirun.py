"""A run as one of several of a command: claimed in a sweep, and told in one line where it fails."""

import logging
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from atc.config.build import conf_dir
from atc.config.errors import Complaint
from atc.runs.record import Record
from atc.runs.settings import plain_settings

log = logging.getLogger(__name__)

SWEEPER = "hydra_plugins.atc_grid.Grid"
_DRY_RUN = "--dry-run lists the runs of a sweep, and this is a single run"


def be_the_default() -> None:
    """Let our sweeper for -m take the place of Hydra's own, in this process: hydra/sweeper=basic, its default.

    Not by a file of conf/, where Hydra looks for a schema of the same name, nor for all programs that use Hydra.
    """
    Plugins.instance()  # by which Hydra's own is registered, so that it is replaced
    node = OmegaConf.load(conf_dir() / "hydra" / "sweeper" / "multirun.yaml")
    ConfigStore.instance().store(group="hydra/sweeper", name="basic", node=node, provider="atc")


def check_sweep(hydra: Any) -> None:
    """ValueError where a single run would begin in place of the runs that a sweeper has, or in their way.

    Args:
        hydra: Hydra's own settings. With hydra.mode=RUN one run of a sweep is asked for, as W&B does.
    """
    single, dry_run = hydra.mode != RunMode.MULTIRUN, hydra.sweeper.get("dry_run")
    if "hydra.mode=RUN" in sys.argv:
        if dry_run:
            raise ValueError(f"{_DRY_RUN}: leave out hydra.mode=RUN")
    elif hydra.sweeper.get("_target_") == SWEEPER:
        if hydra.job.config_name == hydra.job.name:
            raise ValueError("hydra/sweeper=grid is for a sweep file, as in --config-dir sweeps -cn digits_all")
        if single or hydra.runtime.choices.get("hydra") == "default":
            raise ValueError(_lacks(hydra, "hydra: sweep"))
    elif "grids" in hydra.sweeper:
        raise ValueError(_lacks(hydra, "hydra/sweeper: grid"))
    elif single and dry_run:
        raise ValueError(f"{_DRY_RUN}: add -m")


def _lacks(hydra: Any, default: str) -> str:
    name = hydra.job.config_name
    return f"{name} is no sweep: its defaults lack 'override {default}' (docs/sweeps.md has a whole file)"


def run_once(cfg: DictConfig, hydra: Any, run: Callable[[DictConfig], Record]) -> Record:
    """Do a run; one of a sweep only if no other process is doing it or has done it since the sweep was listed.

    Args:
        cfg: the run's configuration, with its output_dir.
        hydra: what HydraConfig holds.
        run: what does it.

    Returns:
        Its record, or that of the other process.

    Raises:
        lock.InUse: another process is doing it.
    """
    if hydra.mode != RunMode.MULTIRUN or hydra.sweeper.get("_target_") != SWEEPER:
        return run(cfg)
    from atc.grids import claim

    identity = Path(cfg.output_dir).name  # as the sweeper names directories
    with claim.claimed(cfg.paths.store, identity):
        record = claim.done_meanwhile(cfg.paths.store, identity, hydra.sweeper.rerun, plain_settings(cfg))
        if record is not None:
            log.info("skipped: another process has done it meanwhile")
            return record
        return run(cfg)


def log_failure(error: Exception, line: str | None) -> Exception:
    """Log why a run failed, on one line where that is known; the exception that its launcher is to hand on.

    Args:
        error: why.
        line: the one line; None for an error that is not the user's.
    """
    from atc.runs import lock

    if isinstance(error, lock.InUse):
        log.info("skipped: %s", error)
        return error
    log.error("error: %s", line or traceback.format_exc())
    return error if line is None else Complaint(line)
