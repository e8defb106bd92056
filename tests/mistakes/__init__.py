"""Command lines with a mistake in them, lists of them run by test_mistakes.py."""

import contextlib
import os
import runpy
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCRIPTS = {"train": "train.py", "evaluate": "evaluate.py"}
MODULES = {
    "bench": "atc.bench",
    "calibrate": "atc.calibrate",
    "check": "datamodules.check",
    "choose": "atc.choose",
    "fid": "atc.diffusion.fid",
    "reference": "atc.diffusion.reference",
    "report": "atc.report",
    "study": "atc.study",
    "generate": "atc.diffusion.generate",
    "predict": "atc.dense.predict",
    "visualise": "atc.visualise",
}


@dataclass(frozen=True)
class Mistake:
    """A command line and the one line that answers it.

    Attributes:
        line: the command (train, evaluate or one of MODULES) and its arguments, separated by spaces; an argument that
            holds spaces is written in `arguments` instead.
        says: what the line has to contain.
        arguments: further arguments.
        status: the exit status.
        prepare: puts what the command needs into its working directory.
        without_torch: the answer must come without PyTorch being imported.
        slow: it takes a model that is built and run to find it.
        lines: how many lines the answer has; more than one only where it shows a layout on disk.
    """

    line: str
    says: tuple[str, ...]
    arguments: tuple[str, ...] = ()
    status: int = 2
    prepare: Callable[[Path], None] | None = None
    without_torch: bool = False
    slow: bool = False
    lines: int = 1


def run(mistake: Mistake, directory: Path) -> None:
    """Run the command in this process, a child made for it, and end it as the command does."""
    command, *arguments = mistake.line.split()
    os.chdir(directory)
    for stream, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(directory / f".{name}", os.O_WRONLY | os.O_CREAT, 0o600), stream)
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - they live as long as the process
    sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    status = 0
    try:
        if command in SCRIPTS:
            path = str(ROOT / SCRIPTS[command])
            sys.argv = [path, *arguments, *mistake.arguments]
            runpy.run_path(path, run_name="__main__")
        else:
            sys.argv = [command, *arguments, *mistake.arguments]
            sys.modules.pop(f"{MODULES[command]}.__main__", None)  # lists of mistakes may have imported it
            runpy.run_module(MODULES[command], run_name="__main__", alter_sys=True)
    except SystemExit as stop:
        if isinstance(stop.code, str):
            print(stop.code, file=sys.stderr)
        status = 1 if isinstance(stop.code, str) else stop.code or 0
    except BaseException:
        traceback.print_exc()
        status = 1
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        (directory / ".torch").write_text(str("torch" in sys.modules))
        os._exit(status)
