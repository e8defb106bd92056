"""The commands: atc-train, atc-evaluate, train.py, evaluate.py, python -m atc.diffusion.generate, atc.dense.predict."""

import functools
import logging
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from atc import signals, terminal
from atc.config import arguments, from_files, installed, machine, same_run, search_path, streams
from atc.config.build import conf_dir
from atc.config.check import check
from atc.config.combinations import chosen_options
from atc.config.errors import one_line
from atc.config.taken_over import says_all, with_saved
from atc.grids import multirun
from atc.printable import printable_message
from atc.runs import directories, interrupted, lock
from atc.runs.record import Record

log = logging.getLogger(__name__)

# Warnings that would only make a reader wonder.
HARMLESS = (
    "does not have many workers",  # small data sets are read in the training process on purpose
    "smaller than the logging interval",
    "exists and is not empty",  # the run directory
    "your dataloader is not resumable",  # datamodules.io.loaders makes it so
    "`isinstance.treespec, LeafSpec.` is deprecated",  # inside Lightning
)


def train() -> None:
    """Fine-tune a backbone with its tokens reduced: conf/train.yaml."""
    main("train", own=set())


def evaluate() -> None:
    """Evaluate without training: conf/evaluate.yaml."""
    main("evaluate", own=directories.OF_THE_EVALUATION)


def generate() -> None:
    """Generate images with tokens merged in a diffusion model: conf/generate.yaml."""
    main("generate", own=set())


def predict() -> None:
    """Find objects in images of one's own: conf/predict.yaml."""
    main("predict", own=directories.OF_THE_PREDICTION)


def main(name: str, own: set[str]) -> None:
    """Run a command; ends the process.

    Exit status: 0; 2 after an error of the user's, told in one line; 1 with a traceback after any other; 128 + signal
    after a signal.

    Args:
        name: the command, which is a function of atc.run and a file of conf/.
        own: top-level settings that are not taken from the run a checkpoint lies in.
    """
    asked = bool(os.environ.get("HYDRA_FULL_ERROR"))
    verbose = asked or "debug=true" in (arg.lower() for arg in sys.argv)
    started = f"{datetime.now():%Y-%m-%d_%H-%M-%S_%f}"
    OmegaConf.register_new_resolver("run_dir", functools.partial(_run_dir, started, name), replace=True)
    OmegaConf.register_new_resolver("sweep_dir", functools.partial(_sweep_dir, started), replace=True)
    OmegaConf.register_new_resolver("sweep_subdir", functools.partial(_sweep_subdir, name), replace=True)
    streams.never_fail()

    def job(cfg: DictConfig) -> float | None:
        _hydra_raises(asked)  # processes that the run starts for other devices see what the user set
        try:
            multirun.check_sweep(HydraConfig.get())
            settled = _settled(name, cfg, own)
            check(settled, name)
            same_run.check(settled)
            machine.check(settled)
            return _goal(multirun.run_once(settled, HydraConfig.get(), functools.partial(_run, name)))
        except Exception as error:
            if not isinstance(error, lock.InUse):  # else the files are another process's
                directories.remove_unbegun(Path(HydraConfig.get().runtime.output_dir))
            if HydraConfig.get().mode == RunMode.MULTIRUN:
                raise multirun.log_failure(error, one_line(error, name)) from None  # the other runs go on
            _complain(error, name, verbose)
            return None
        finally:
            _hydra_raises(True)

    job.__doc__ = __doc__
    _hydra_raises(True)
    logging.raiseExceptions = False  # a log that a full disk does not take is no reason for a traceback
    terminal.outlive()
    handlers = signals.take_over()
    try:
        sys.argv[1:] = arguments.readable(name, search_path.with_places(sys.argv[1:]))
        multirun.be_the_default()
        installed.register()
        hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=name)(job)()
        sys.stdout.flush()
    except BrokenPipeError as error:
        streams.end_if_unread()
        _complain(error, name, verbose)
    except Exception as error:
        _complain(error, name, verbose)
    except (signals.Interrupted, KeyboardInterrupt) as stop:  # outside of a run: before it, or between two of a sweep
        sys.exit(128 + getattr(stop, "number", signal.SIGINT))
    finally:
        signals.hand_back(handlers)
        logging.raiseExceptions = True
        _hydra_raises(asked)


def _goal(record: Record) -> float | None:
    """What a search over settings goes by: the score on validation."""
    return (record.result("validation") or {}).get(str(record.score))


def _run(name: str, cfg: DictConfig) -> Record:
    from atc import run

    for library in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(library).setLevel(logging.WARNING)
    for message in HARMLESS:
        warnings.filterwarnings("ignore", message=f".*{message}")
    signals.take_over()  # this may be a process of a launcher
    command: Callable[[DictConfig], Record] = getattr(run, name)
    try:
        return command(cfg)
    except (signals.Interrupted, KeyboardInterrupt) as stop:
        if lock.is_first():
            log.info(interrupted.line(name, cfg))
        # Lightning's own way with Ctrl-C is to exit with 1.
        sys.exit(128 + getattr(stop, "number", signal.SIGINT))


def _settled(name: str, cfg: DictConfig, own: set[str]) -> DictConfig:
    """The configuration to run: with its directory and, given another run's checkpoint, with what was saved with it."""
    context, said = HydraConfig.get(), list(HydraConfig.get().overrides.task)
    arguments.check_groups(name, said)
    from_files.check(cfg, name, context)
    with open_dict(cfg):
        cfg.output_dir = context.runtime.output_dir
        cfg.choices = chosen_options(context.runtime)
    directories.refuse_links(cfg.output_dir)
    if name == "generate":
        return cfg
    setting = "resume" if name == "train" else "checkpoint"
    cfg[setting] = directories.named_run(cfg[setting], setting)
    if cfg[setting] == "last":
        here = Path(cfg.output_dir)
        cfg[setting] = str(here if (here / directories.LAST).is_file() else directories.newest(cfg.paths.runs, setting))
    directory = None if cfg[setting] in (None, "auto") else directories.run_directory(cfg[setting])
    if directory is not None:
        return with_saved(cfg, directory, said, own)
    if cfg[setting] is not None and not says_all(said):
        directories.check_settings(cfg[setting], setting)
    if name == "evaluate" and cfg.checkpoint is not None:
        if not cfg.checkpoint.startswith("hf://"):
            directories.checkpoint_file(cfg.checkpoint)  # is there
        from atc.config import released  # which imports torch

        return released.with_settings(cfg, str(context.job.config_name), said)
    return cfg


def _run_dir(started: str, name: str, runs_dir: str, resume: str | None, *, _root_: DictConfig) -> str:
    """The directory of a run: a new one, that of the run to resume, or the one that the same command always has.

    Before there is one, all values are checked.
    """
    cfg = _checked(name, _root_)
    machine.check(cfg)
    resume, directory = directories.named_run(resume, "resume"), None
    if resume == "auto":
        directory = Path(runs_dir) / _identity(cfg)
    elif resume is not None:
        directory = directories.newest(runs_dir) if resume == "last" else directories.run_directory(resume)
    if directory is not None:
        directories.refuse_links(directory)  # before the log is opened there
        return str(directory)
    return str(Path(runs_dir) / started)


def _sweep_dir(started: str, runs_dir: str, name: str, resume: str | None) -> str:
    """Where the runs of a multirun lie: with resume=auto, where each would lie alone."""
    return str(Path(runs_dir) / name if resume == "auto" else Path(runs_dir) / f"{name}_sweep" / started)


def _sweep_subdir(name: str, number: int, resume: str | None, *, _root_: DictConfig) -> str:
    return _identity(_checked(name, _root_)) if resume == "auto" else str(number)


def _checked(name: str, root: DictConfig) -> DictConfig:
    """A copy of the configuration whose values are checked, as far as they do not come with another run."""
    cfg = root.copy()
    multirun.check_sweep(cfg.hydra)
    from_files.check(cfg, name, cfg.hydra)
    with open_dict(cfg):
        cfg.choices = chosen_options(cfg.hydra.runtime)
        del cfg["hydra"]
    saved = cfg.get("resume" if name == "train" else "checkpoint") not in (None, "auto")
    check(cfg, name, partly=saved)
    return cfg


def _identity(cfg: DictConfig) -> str:
    from atc.runs.identity import identity

    return identity(cfg)


def _hydra_raises(yes: bool) -> None:
    """Whether Hydra hands errors on to us or prints them its own way."""
    if yes:
        os.environ["HYDRA_FULL_ERROR"] = "1"
    else:
        os.environ.pop("HYDRA_FULL_ERROR", None)


def _complain(error: Exception, name: str, verbose: bool) -> None:
    line = None if verbose else one_line(error, name, sys.argv[1:])
    if line is None:
        traceback.print_exception(error)
        sys.exit(1)
    if lock.is_first() or not getattr(error, "in_all_processes", False):  # else another process says it
        print("error:", printable_message(line, sys.argv[1:]), file=sys.stderr)
    sys.exit(2)
