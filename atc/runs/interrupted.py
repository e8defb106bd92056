"""What is said of a run that a signal has ended: how it goes on."""

import shlex
import sys
from pathlib import Path

from omegaconf import DictConfig

from atc.runs import directories


def line(name: str, cfg: DictConfig) -> str:
    """One line, with the command that resumes if there is one.

    Args:
        name: of the command.
        cfg: of the run.
    """
    directory = Path(cfg.output_dir)
    if cfg.get("resume") == "auto" or name == "generate":
        return "interrupted; to go on, start the same command again"
    if name == "predict":
        return f"interrupted; pictures and detections so far are in {directory}"
    if name == "train" and (directory / directories.LAST).is_file():
        script = Path(sys.argv[0])
        start = f"python {script}" if script.suffix == ".py" else script.name
        return f"interrupted; to resume: {start} resume={shlex.quote(str(directory))}"
    return f"interrupted before there was anything to resume; results so far are in {directory}"
