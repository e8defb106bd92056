"""Commands in children of a process that has imported PyTorch and Lightning, so that each is spared those seconds.

What a child runs is the script or module itself, as `__main__`, with its own arguments, directory, environment, streams
and signals. Some tests start theirs from nothing (`subprocess`), as a user does.
"""

import atexit
import importlib
import json
import os
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
IMPORTED = (
    "atc.cli",
    "atc.run",
    "atc.visualise",
    "atc.pictures.gallery",
    "datamodules.digits",
    "datamodules.shapes",
    "timm",
)


class Child:
    """A command that runs, with the part of `subprocess.Popen` that tests use; what it says goes to a file.

    Args:
        pid: its process.
        said: the file with its streams, the second for stderr where that is another.
    """

    def __init__(self, pid: int, *said: Path) -> None:
        self.pid, self._said = pid, said
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """The exit status, if it has ended."""
        if self.returncode is None:
            self.returncode = _server().ask({"do": "poll", "pid": self.pid})
        return self.returncode

    def wait(self, timeout: float) -> int:
        """The exit status; after `timeout` seconds it is killed.

        Raises:
            TimeoutError: it was.
        """
        end = time.monotonic() + timeout
        while (status := self.poll()) is None:
            if time.monotonic() > end:
                self.kill()
                raise TimeoutError(f"no end within {timeout} s: {self.said()}")
            time.sleep(0.01)
        return status

    def said(self) -> str:
        """What it has written to stdout so far, and to stderr where that has no file of its own."""
        return self._said[0].read_text(errors="replace")

    def communicate(self, timeout: float = 250) -> tuple[str, str]:
        """What it wrote to stdout and to stderr, when it has ended."""
        self.wait(timeout)
        first, *other = (file.read_text(errors="replace") for file in self._said)
        return first, other[0] if other else ""

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once, and wait until it has."""
        self.send_signal(signal.SIGKILL)
        while self.poll() is None:
            time.sleep(0.01)


def start(
    line: Sequence[str],
    cwd: Path,
    env: Mapping[str, str],
    *,
    session: bool = False,
    together: bool = True,
    also: str = "",
) -> Child:
    """Start `python LINE`, where a line is a script or `-m` and a module, and arguments.

    Args:
        line: the script with its path, or `-m` and a module; then arguments.
        cwd: its directory.
        env: its environment.
        session: it leads a session, and so a process group, of its own.
        together: stderr goes where stdout does.
        also: a library that is imported before, once for all such lines.
    """
    folder = Path(tempfile.mkdtemp(dir=_server().folder))
    said = [folder / "stdout", *([] if together else [folder / "stderr"])]
    asked = {"do": "start", "line": list(line), "cwd": str(cwd), "env": dict(env), "said": [str(file) for file in said]}
    return Child(_server().ask(asked | {"session": session, "also": also}), *said)


def run(
    line: Sequence[str], cwd: Path, env: Mapping[str, str], *, timeout: float = 250, also: str = ""
) -> subprocess.CompletedProcess[str]:
    """The same, to its end."""
    child = start(line, cwd, env, together=False, also=also)
    out, error = child.communicate(timeout)
    return subprocess.CompletedProcess(list(line), child.wait(0), out, error)


class _Server:
    """The process that has imported everything."""

    def __init__(self) -> None:
        self.folder = tempfile.mkdtemp(prefix="atc-forked-")
        code = "from tests.harness.forked import serve; serve()"
        env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        pipe = subprocess.PIPE
        self.process = subprocess.Popen([sys.executable, "-c", code], env=env, stdin=pipe, stdout=pipe, text=True)

    def ask(self, asked: dict[str, Any]) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(json.dumps(asked), file=self.process.stdin, flush=True)
        return json.loads(self.process.stdout.readline())

    def close(self) -> None:
        self.process.communicate()
        shutil.rmtree(self.folder, ignore_errors=True)


_started: list[_Server] = []


def _server() -> _Server:
    if not _started:
        _started.append(_Server())
        atexit.register(_started[0].close)
    return _started[0]


def serve() -> None:
    """What runs in it: answers a line of JSON with a line of JSON; a child returns, to run its command."""
    for module in IMPORTED:
        importlib.import_module(module)
    for text in sys.stdin:
        asked = json.loads(text)
        if asked["do"] == "poll":
            found, status = os.waitpid(asked["pid"], os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if found else None
        else:
            if asked["also"]:
                importlib.import_module(asked["also"])
            sys.stdout.flush()
            answer = os.fork()
            if answer == 0:
                break
        print(json.dumps(answer), flush=True)
    else:
        return
    _become(asked)


def _become(asked: dict[str, Any]) -> None:
    """Run the command in this process, which is a child made for it."""
    if asked["session"]:
        os.setsid()
    _leave_shared_directories()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    said = asked["said"]
    for stream, file in ((1, said[0]), (2, said[-1])):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), stream)
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["env"])
    sys.path[:0] = [part for part in asked["env"].get("PYTHONPATH", "").split(":") if part and part not in sys.path]
    importlib.invalidate_caches()
    first, *others = asked["line"]
    if first == "-m":
        sys.argv = others
        runpy.run_module(others[0], run_name="__main__", alter_sys=True)
    else:
        sys.argv = [first, *others]
        runpy.run_path(first, run_name="__main__")


def _leave_shared_directories() -> None:
    """Keep the end of this child from removing W&B's directory of pictures, which other children write to as well."""
    shared = getattr(sys.modules.get("wandb.sdk.data_types._private"), "MEDIA_TMP", None)
    if isinstance(shared, tempfile.TemporaryDirectory):
        atexit.unregister(shared.cleanup)
        shared._finalizer.detach()
