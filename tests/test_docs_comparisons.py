"""docs/comparisons.md: its commands, on predictions of a few images."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from atc.config.check import check
from atc.report.__main__ import main
from atc.runs import predictions
from tests.harness.commands import composed
from tests.tracked import ROOT

pytest.importorskip("pyarrow")

LINES = [
    shlex.split(line) for line in re.findall(r"^    (python .*)", (ROOT / "docs/comparisons.md").read_text(), re.M)
]


def test_the_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    asked = [line[2:] for line in LINES if line[1] == "evaluate.py" and "--config-dir" not in line]
    for number, line in enumerate(asked):
        *settings, place = line
        check(composed("evaluate", tmp_path, *settings), "evaluate")
        correct = np.arange(40) % (number + 2) > 0
        classes = np.zeros(40, dtype=np.int32)
        columns = {"target": classes, "prediction": classes + ~correct, "correct": correct}
        predictions.write(
            Path(place.removeprefix("hydra.run.dir=")), "off_the_shelf", list(map(str, range(40))), columns
        )
    compared = [line[3:] for line in LINES if line[1:3] == ["-m", "atc.report"] and line[3] == "compare"]
    assert (len(asked), len(compared)) == (3, 2)
    for line in compared:
        assert main(line) == 0
    assert "p (Holm)" in (tmp_path / "reports" / "compare.md").read_text()
    (query,) = [line[-1] for line in LINES if line[1] == "-c"]
    pytest.importorskip("duckdb")
    exec(query)
    assert "avg" in capsys.readouterr().out
