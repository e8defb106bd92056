"""Ctrl-C ends a command with one line, and a reader that has gone with none, whichever command it is."""

import importlib
import subprocess
import sys
from collections.abc import Callable

import pytest

from atc.config import streams
from tests.harness.commands import environment

# By module: what of it to interrupt, and a command line that gets there.
COMMANDS = {
    "atc.visualise": ("_run", ["image=digits:1"]),
    "atc.calibrate": ("_run", []),
    "atc.choose.__main__": ("_run", ["datamodule=digits"]),
    "atc.bench.__main__": ("importlib.import_module", ["linkage"]),
    "atc.bench.command": ("_run", []),
    "atc.info": ("collect", []),
    "atc.report.__main__": ("_report", ["--list"]),
    "atc.study.__main__": ("_run", ["all", "runs"]),
    "atc.diffusion.fid.command": ("_run", ["generated=a", "reference=b"]),
    "atc.diffusion.reference": ("build_reference", ["root=a", "output=b"]),
    "atc.diffusion.tiny": ("Path.exists", ["there"]),
    "datamodules.check": ("_answer", ["datamodule=digits"]),
}


def _stop(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def _status(main: Callable[[list[str]], int | None], line: list[str]) -> int | str | None:
    try:
        return main(line)
    except SystemExit as stop:
        return stop.code


@pytest.mark.parametrize("name", COMMANDS)
def test_ctrl_c_ends_each_command_with_one_line(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    attribute, line = COMMANDS[name]
    module = importlib.import_module(name)
    monkeypatch.setattr(f"{name}.{attribute}", _stop)
    status = _status(module.main, line)
    monkeypatch.undo()
    assert (status, capsys.readouterr().err) == (130, "interrupted\n")


@pytest.mark.parametrize("line", [["atc.info"], ["atc.report", "--list"], ["atc.visualise", "--help"]])
def test_a_reader_that_has_gone_is_no_error(line: list[str]) -> None:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-m", *line], env=environment(), **pipes) as process:  # type: ignore[call-overload]
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 141


def test_other_errors_stay_what_they_are() -> None:
    def broken() -> int:
        raise ValueError("of the command")

    with pytest.raises(ValueError, match="of the command"):
        streams.ended(broken)
    assert streams.ended(lambda: 2) == 2


def test_a_closed_stdout_is_no_error() -> None:
    """As of a daemon."""
    line = f"{sys.executable} -m atc.info >&-"
    done = subprocess.run(["sh", "-c", line], env=environment(), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
