"""docs/study.md: its examples, and its commands on a few runs of digits."""

import doctest
import re
from pathlib import Path

import pytest

from atc import run
from atc.report.__main__ import main as report
from atc.study import similarity
from atc.study.__main__ import main as study
from tests.harness.commands import composed
from tests.tracked import ROOT

pytest.importorskip("pyarrow")

PAGE = ROOT / "docs" / "study.md"


def test_the_examples_in_python() -> None:
    failed, tried = doctest.testfile(str(PAGE), module_relative=False)
    assert (failed, tried > 2) == (0, True)


def test_what_is_named_is_there() -> None:
    text = PAGE.read_text()
    for name in re.findall(r"-cn (\w+)|report ((?:study_\w+ ?)+)", text):
        for sweep in "".join(name).split():
            assert (ROOT / "sweeps" / f"{sweep}.yaml").is_file(), sweep
    for file in re.findall(r"`((?:study|patterns)_\w+\.json)`", text):
        assert (ROOT / "benchmarks" / file).is_file(), file


def test_from_traces_to_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(similarity, "CHANCE_IMAGES", 4)
    asked = ["trace=true", "cls_features=[4,12]", "trainer.limit_test_batches=9"]
    methods = ("topk", "kmedoids", "atc_average", "radial_l2")
    points = [("none", 1.0), *((name, rate) for name in methods for rate in (0.5, 0.9))]
    for name, rate in points:
        place = tmp_path / "runs" / f"{name}{rate}"
        run.evaluate(composed("evaluate", place, *asked, f"reducer={name}", f"keep_rate={rate}"))
    lines = [
        line.strip()
        for line in PAGE.read_text().splitlines()
        if re.match(r"    python -m atc.study .*study_digits", line)
    ]
    assert len(lines) == 5
    for line in dict.fromkeys(lines):
        arguments = line.replace("runs/sweeps/study_digits", "runs").split()[3:]
        assert study(arguments) == 0, line
    capsys.readouterr()
    line = next(line for line in PAGE.read_text().splitlines() if "atc.report study_digits_keep_rate" in line)
    assert report(line.split()[3:]) == 0
    shown = capsys.readouterr().out
    assert "9 runs on 144 images" in shown
    assert "radial_l2 chance" in (tmp_path / "reports" / "study_digits_fixed.md").read_text()
    assert "not yet" not in shown.lower()
    assert len(list((tmp_path / "reports").glob("study_digits_*.png"))) == 6
    assert (tmp_path / "reports" / "depth_digits.html").is_file()
