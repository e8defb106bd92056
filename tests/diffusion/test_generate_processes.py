"""Generation over the real command line: killed in the middle, and several processes at once."""

import json
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.diffusion.generating import pipeline
from tests.harness import forked
from tests.harness.commands import environment

pytest.importorskip("diffusers")
pytestmark = pytest.mark.slow


def start(here: Path, *more: str) -> forked.Child:
    settings = [f"pipeline={pipeline()}", "classes=[0,1,2,3,4,5]", "per_class=1", "sampling.steps=8", "device=cpu"]
    line = ["-m", "atc.diffusion.generate", *settings, *more]
    return forked.start(
        line, here, environment(), also="diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion"
    )


def images(here: Path) -> dict[str, bytes]:
    return {path.name: np.asarray(Image.open(path)).tobytes() for path in (here / "runs" / "images").glob("*/*.png")}


def wait_for_image(here: Path, process: forked.Child) -> None:
    end = time.monotonic() + 240
    while not list((here / "runs" / "images").glob("*/*.png")) and time.monotonic() < end and process.poll() is None:
        time.sleep(0.01)


def record(here: Path) -> dict[str, object]:
    (file,) = (here / "runs" / "generate").glob("*/results.json")
    return json.loads(file.read_text())


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_goes_on_after_a_signal(tmp_path: Path, number: signal.Signals) -> None:
    process = start(tmp_path)
    wait_for_image(tmp_path, process)
    process.send_signal(number)
    said, _ = process.communicate(timeout=400)
    before = images(tmp_path)
    assert 1 <= len(before) <= 6, said
    if number == signal.SIGINT:
        assert process.returncode == 130, said
        assert "to go on, start the same command again" in said
        assert "Traceback" not in said
    again = start(tmp_path)
    said, _ = again.communicate(timeout=300)
    assert again.returncode == 0, said
    after = images(tmp_path)
    assert len(after) == 6
    assert {name: after[name] for name in before} == before
    assert record(tmp_path)["status"] == "finished"
    assert not list((tmp_path / "runs" / "images").glob("*/.*"))


def test_two_processes_share_the_images(tmp_path: Path) -> None:
    both = [start(tmp_path) for _ in range(2)]
    said = [one.communicate(timeout=400)[0] for one in both]
    assert [one.returncode for one in both] == [0, 0], said
    assert len(images(tmp_path)) == 6
    assert record(tmp_path)["status"] == "finished"
    assert len(list((tmp_path / "runs" / "store").glob("*.json"))) == 1
