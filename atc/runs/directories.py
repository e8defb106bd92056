"""Run directories: where they are, what they hold, and how a later run builds on one."""

import os
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from atc.files import write_whole
from atc.received import shown

COMPOSED = "composed.yaml"  # the configuration with its ${...}, so that a later run can override parts of it
RESOLVED = "config.yaml"
BEST, LAST = "best.ckpt", "last.ckpt"
# What an evaluation decides for itself; all the rest describes the model and comes with the checkpoint.
OF_THE_EVALUATION = {"trainer", "logger", "callbacks", "baselines", "benchmark", "compile", "cuda_graph"} | {
    "trace",
    "predictions",
    "cls_features",
}
# A prediction does not train either, and its threshold is of scores.
OF_THE_PREDICTION = OF_THE_EVALUATION | {"optimizer", "threshold"}
OF_THE_COMMAND = {"checkpoint", "use_ema", "resume", "output_dir", "paths", "debug", "sweep", "report", "hydra"}


def newest(runs: str | Path, setting: str = "resume") -> Path:
    """The run directory under `runs` that was saved last.

    Args:
        runs: where to look.
        setting: the one whose value is "last", for the message.

    Returns:
        The directory.

    Raises:
        FileNotFoundError: there is none.
    """
    checkpoints = sorted(Path(runs).glob(f"**/{LAST}"), key=lambda path: path.stat().st_mtime)
    if not checkpoints:
        raise FileNotFoundError(f"{setting}=last: no run under {Path(runs).resolve()} has left a {LAST}")
    return checkpoints[-1].parent


def checkpoint_file(checkpoint: str | Path) -> Path:
    """The file that checkpoint=PATH means: itself, or best.ckpt, else last.ckpt, in a run directory.

    Args:
        checkpoint: the path; hf://OWNER/REPO/FILE is a file on the Hugging Face hub.

    Returns:
        A file on this machine.

    Raises:
        FileNotFoundError: there is none.
    """
    if str(checkpoint).startswith("hf://"):
        from atc.weights import released  # which imports torch

        return released.local(checkpoint)
    return file_of(checkpoint, BEST, "checkpoint")


def file_of(given: str | Path, prefer: str, setting: str) -> Path:
    """The checkpoint that a setting names: a file, or that of a run directory.

    Args:
        given: the path.
        prefer: the file of a run directory to take if it is there.
        setting: for the message.

    Returns:
        The file.

    Raises:
        FileNotFoundError: there is none.
    """
    path = Path(given).expanduser()
    if path.is_dir():
        for name in (prefer, BEST, LAST):
            if (path / name).is_file():
                return path / name
        raise FileNotFoundError(f"{setting}={given}: the directory holds neither {BEST} nor {LAST}")
    if not path.is_file():
        raise FileNotFoundError(f"{setting}={given}: no such file or run directory (looked from {Path.cwd()})")
    return path


def named_run(value: object, setting: str) -> str | None:
    """The text that checkpoint=... or resume=... is; a directory may have a number for a name.

    Args:
        value: what was typed, as YAML reads it.
        setting: "checkpoint" or "resume".

    Returns:
        The text; None for null.

    Raises:
        ValueError: it is no text, so that it names no run.
    """
    if value is None or (isinstance(value, (str, int, float, Path)) and not isinstance(value, bool) and value != ""):
        return None if value is None else str(value)
    also = "resume=auto, resume=last or resume=PATH" if setting == "resume" else f"{setting}=last or {setting}=PATH"
    text = str(value).lower() if isinstance(value, bool) else shown(value, 60)
    raise ValueError(f"{setting}={text} names no run: {also}")


def refuse_links(directory: str | Path) -> None:
    """Refuse what would lead writing out of a run's directory, which others may have written.

    Weights may lie elsewhere: such links are replaced where they are, not followed.

    Args:
        directory: the run directory.

    Raises:
        ValueError: a link leads out of it, or something in it is no regular file.
    """
    for folder, inner, files in os.walk(directory):
        for path in (Path(folder, name) for name in (*inner, *files)):
            if path.is_symlink():
                weights = path.suffix in (".ckpt", ".safetensors")
                if not weights and not path.resolve().is_relative_to(Path(directory).resolve()):
                    raise ValueError(
                        f"{path} is a link that leads out of the run's directory: remove it to go on there"
                    )
            elif not path.is_file() and not path.is_dir():
                raise ValueError(f"{path} is no regular file: remove it to go on in this run's directory")


def run_directory(checkpoint: str | Path) -> Path | None:
    """The run directory a checkpoint lies in, if it lies in one."""
    path = Path(checkpoint).expanduser()
    directory = path if path.is_dir() else path.parent
    return directory if (directory / COMPOSED).is_file() else None


def check_settings(given: str | Path, setting: str) -> None:
    """Refuse a run's directory, or a checkpoint in it, that has lost the settings of the run.

    A file that lies in no run's directory is none of a run: what describes its model is said on the command line.

    Args:
        given: the path.
        setting: "checkpoint" or "resume", for the message.

    Raises:
        ValueError: COMPOSED is not there; one line.
    """
    path = Path(given).expanduser()
    directory = path if path.is_dir() else path.parent
    there = [name for name in (RESOLVED, "results.json") if (directory / name).is_file()]
    files = [directory / name for name in (BEST, LAST) if (directory / name).is_file()] if path.is_dir() else [path]
    if (directory / COMPOSED).is_file() or not path.exists() or not files or not (there or path.is_dir()):
        return
    instead = f"move {files[0]} out of it, and say" if there else f"name the file, {setting}={files[0]}, and say"
    raise ValueError(
        f"{setting}={given}: {directory} has no {COMPOSED}, the settings of its run: bring that back; or {instead} "
        "the settings on the command line"
    )


def save_config(cfg: DictConfig, directory: Path) -> None:
    """Write the configuration twice: resolved, to be read; and as composed, to be built on."""
    for name, resolve in ((RESOLVED, True), (COMPOSED, False)):
        write_whole(directory / name, OmegaConf.to_yaml(cfg, resolve=resolve))


def remove_unbegun(directory: Path) -> None:
    """Remove the directory of a run that did not begin: one with nothing but an empty log.

    Args:
        directory: of the run.
    """
    files = list(directory.glob("*"))
    if all(file.is_file() and file.stat().st_size == 0 for file in files):
        for file in files:
            file.unlink()
        directory.rmdir()
