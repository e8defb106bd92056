"""A training whose terminal is closed, or whose processes all get a cluster's signal: as after Ctrl-C."""

import fcntl
import json
import os
import pty
import signal
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path

import pytest

from tests.harness import forked
from tests.harness.commands import ROOT, TINY, environment

ENDLESS = [*TINY, "trainer.max_epochs=100000", "trainer.limit_train_batches=20", "reducer=topk"]
LONG_TEST = [*TINY, "trainer.limit_test_batches=1.0", "datamodule.eval_batch_size=1", "reducer=topk"]


def wait_for(folder: Path, file: str, process: subprocess.Popen[bytes] | forked.Child) -> Path:
    """The file of that name in the only run directory."""
    end = time.monotonic() + 250
    while time.monotonic() < end and process.poll() is None:
        for found in folder.glob(f"runs/train/*/{file}"):
            return found
        time.sleep(0.05)
    process.kill()
    raise AssertionError(process.said() if isinstance(process, forked.Child) else f"no {file}")


def command(*settings: str) -> list[str]:
    return [sys.executable, str(ROOT / "train.py"), *settings]


@pytest.mark.slow
def test_a_closed_terminal(tmp_path: Path) -> None:
    """The progress bar writes to the terminal until it is gone."""
    ours, theirs = pty.openpty()

    def in_the_terminal() -> None:
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    settings = [part for part in ENDLESS if "progress" not in part]
    process = subprocess.Popen(
        command(*settings, "baselines=false"),
        cwd=tmp_path,
        env=environment(),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        preexec_fn=in_the_terminal,
    )
    os.close(theirs)
    closing = threading.Event()

    def read() -> None:
        while not closing.is_set():
            os.read(ours, 4096)

    reader = threading.Thread(target=read)
    reader.start()
    last = wait_for(tmp_path, "last.ckpt", process)
    closing.set()
    reader.join()
    os.close(ours)
    assert process.wait(250) == 128 + signal.SIGHUP
    record = json.loads((last.parent / "results.json").read_text())
    assert (record["status"], record["error"]) == ("interrupted", "SIGHUP")
    log = (last.parent / "train.log").read_text()
    assert f"interrupted; to resume: python {ROOT / 'train.py'} resume={last.parent}" in log
    assert "Traceback" not in log


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "begun", "number"),
    [
        ([*ENDLESS, "baselines=false"], "last.ckpt", signal.SIGUSR1),
        ([*ENDLESS, "baselines=false"], "last.ckpt", signal.SIGTERM),
        (LONG_TEST, "composed.yaml", signal.SIGQUIT),
    ],
    ids=["training-SIGUSR1", "training-SIGTERM", "evaluation-SIGQUIT"],
)
def test_a_signal_to_all_processes(tmp_path: Path, settings: list[str], begun: str, number: signal.Signals) -> None:
    """Loader workers among them."""
    line = [str(ROOT / "train.py"), *settings, "datamodule.num_workers=2"]
    process = forked.start(line, tmp_path, environment(), session=True)
    directory = wait_for(tmp_path, begun, process).parent
    time.sleep(1)
    os.killpg(process.pid, number)
    said = process.communicate(timeout=250)[0]
    assert process.returncode == 128 + number, said
    assert "Traceback" not in said
    assert "interrupted" in said.splitlines()[-1]
    record = json.loads((directory / "results.json").read_text())
    assert (record["status"], record["error"]) == ("interrupted", number.name)
