"""docs/zero_shot.md: its prompts file and its commands as they stand, with small models under the names they give."""

import re
import shlex
from pathlib import Path

import pytest

from atc import run
from atc.tasks import probe
from tests import towers
from tests.harness import test_probe
from tests.harness.commands import composed

PAGE = (Path(__file__).parent.parent / "docs" / "zero_shot.md").read_text(encoding="utf-8")
COMMANDS = [line.strip() for line in PAGE.splitlines() if line.startswith("    python ")]
DEPTH = 12  # blocks, so that the default schedule fits


def test_there_are_commands() -> None:
    assert len(COMMANDS) == 6


@pytest.mark.parametrize("line", COMMANDS)
def test_commands(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for library in ("transformers", "open_clip"):
        pytest.importorskip(library)
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.S | re.M)
    exec(block, {})
    place = tmp_path / (re.findall(r"backbone\.name=(\S+)", line) or ["none"])[0]
    place.parent.mkdir(exist_ok=True)
    if "siglip" in line or "openai/clip" in line:
        towers.transformers_model(place, "siglip" if "siglip" in line else "clip", DEPTH, length=24)
    elif "dinov2" in line:
        test_probe.dino(place, DEPTH)
    elif "open_clip" in line:  # of which there is nothing on the network here
        towers.open_clip_model(place, layers=DEPTH)
        line = line.replace("ViT-B-32", f"'local-dir:{place}'").replace("backbone.weights=laion2b_s34b_b79k", "")
    _, script, *overrides = shlex.split(line.replace("'", "\\'"))
    assert script == "evaluate.py"
    whole = ["trainer.limit_train_batches=1.0"]  # of the training images, for 20 neighbours
    record = run.evaluate(composed("evaluate", tmp_path / "run", *overrides, *whole))
    assert record.status == "finished"
    assert ("dense" in record.results) == ("baselines=true" in line)
    assert "off_the_shelf" in record.results


def test_the_page_says_what_the_defaults_are() -> None:
    for setting, value in (("k", probe.K), ("temperature", probe.TEMPERATURE), ("C", probe.INVERSE_REGULARISATION)):
        assert f"| `task.{setting}` | {value} |" in PAGE
