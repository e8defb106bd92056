"""python -m atc.report compare on files of predictions."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import scipy.stats

from atc.report.__main__ import main
from atc.runs import predictions

pytest.importorskip("pyarrow")


def of_classes(place: Path, correct: Sequence[int], names: Sequence[str] = (), target: int = 3, **record: str) -> Path:
    """A run directory with predictions of some images."""
    right = np.array(correct, dtype=bool)
    targets = np.full(len(right), target, dtype=np.int32)
    columns = {"target": targets, "prediction": np.where(right, targets, 9).astype(np.int32), "correct": right}
    predictions.write(place, "off_the_shelf", names or [f"val/{n}.jpg" for n in range(len(right))], columns)
    if record:
        (place / "results.json").write_text(json.dumps(record))
    return place


def said(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    status = main(["compare", *map(str, arguments)])
    found = capsys.readouterr()
    return status, found.out + found.err


def test_runs_are_joined_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = of_classes(tmp_path / "a", [1] * 14 + [0] * 6, reducer="tome", schedule="stages: keep_rate=0.5, blocks=[4]")
    right = [1] * 4 + [0] * 10 + [1] * 6
    turned = [f"val/{n}.jpg" for n in range(20)][::-1]
    of_classes(tmp_path / "b", right[::-1], turned, reducer="topk", schedule="constant: t=8")
    status, text = said(
        capsys, first, tmp_path / "b" / "predictions_off_the_shelf.parquet", "--output", tmp_path / "out"
    )
    assert status == 0
    assert "topk constant t=8" in text
    (row,) = csv.DictReader((tmp_path / "out" / "compare.csv").open(encoding="utf-8"))
    assert (row["run"], row["against"], row["gained"], row["lost"]) == ("topk constant t=8", "tome 0.5", "6", "10")
    assert float(row["difference"]) == pytest.approx(-20)
    assert float(row["p"]) == pytest.approx(scipy.stats.binomtest(6, 16).pvalue)
    assert json.loads((tmp_path / "out" / "compare.json").read_text())[0]["p_holm"] == float(row["p"])
    assert "| topk constant t=8 | tome 0.5 | 50.0 | −20.0 |" in (tmp_path / "out" / "compare.md").read_text()
    assert r"\toprule" in (tmp_path / "out" / "compare.tex").read_text()


def test_all_pairs_are_corrected_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = ([1] * 30, [1] * 22 + [0] * 8, [1] * 20 + [0] * 10)
    places = [of_classes(tmp_path / name, row) for name, row in zip("abc", rows, strict=True)]
    assert said(capsys, *places, "--all-pairs", "--output", tmp_path)[0] == 0
    found = json.loads((tmp_path / "compare.json").read_text())
    assert [(row["run"][-1], row["against"][-1]) for row in found] == [("b", "a"), ("c", "a"), ("c", "b")]
    own = [scipy.stats.binomtest(0, lost).pvalue for lost in (8, 10, 2)]
    assert [row["p"] for row in found] == pytest.approx(own)
    assert [row["p_holm"] for row in found] == pytest.approx([2 * own[0], 3 * own[1], own[2]])


def test_several_labels_are_compared_by_map(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    targets = np.array([[1, 0], [0, 1], [1, 1], [0, 0]], dtype=np.uint8)
    names = [str(n) for n in range(4)]
    for name, scores in (("a", targets - 0.5), ("b", 0.5 - targets)):
        columns = {"targets": targets, "scores": scores.astype(np.float32)}
        predictions.write(tmp_path / name, "off_the_shelf", names, columns)
    assert np.array_equal(predictions.read(tmp_path / "a").targets, targets)
    status, text = said(capsys, tmp_path / "a", tmp_path / "b", "--resamples", 200, "--output", tmp_path)
    (row,) = json.loads((tmp_path / "compare.json").read_text())
    assert (status, row["metric"], row["against_percent"]) == (0, "map", pytest.approx(100, abs=1e-4))
    assert row["difference"] == pytest.approx(100 * ((1 / 3 + 2 / 4) / 2 - 1), abs=1e-4)  # the positives come last
    assert "mAP" in text


def test_what_cannot_be_compared_is_said_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a = of_classes(tmp_path / "a", [1, 0, 1])
    others = of_classes(tmp_path / "others", [1, 0, 1], ["val/0.jpg", "val/1.jpg", "val/x.jpg"])
    fewer = of_classes(tmp_path / "fewer", [1, 0])
    twice = of_classes(tmp_path / "twice", [1, 0, 1], ["val/0.jpg", "val/1.jpg", "val/1.jpg"])
    labelled = of_classes(tmp_path / "labelled", [1, 0, 1], target=4)
    (tmp_path / "bare").mkdir()
    (tmp_path / "broken.parquet").write_bytes(b"PAR1")
    several = tmp_path / "several"
    predictions.write(
        several, "a", ["x"], {"targets": np.eye(1, dtype=np.uint8), "scores": np.eye(1, dtype=np.float32)}
    )
    for runs, wanted in (
        ((a, others), "not of the same images: 1 only in"),
        ((a, fewer), "not of the same images: 1 only in"),
        ((a, twice), "the image val/1.jpg is there 2 times"),
        ((a, labelled), "of the same images with other labels"),
        ((a, several), "one has a class for each image, and the other several labels"),
        ((a, a), "is named twice"),
        ((a, tmp_path / "bare"), "has no predictions: evaluate.py predictions=true writes them"),
        ((a, tmp_path / "none"), "there is no such run directory or file"),
        ((a, tmp_path / "broken.parquet"), "broken.parquet is no file of predictions"),
        ((a,), "compare takes two runs or more, got 1"),
        ((a, fewer, "--resamples", 0), "--resamples 0 must be 1 or more"),
        ((a, fewer, "--seed", -1), "--seed -1 must be 0 or more"),
    ):
        status, text = said(capsys, *runs)
        assert (status, text.count("\n")) == (2, 1), text
        assert wanted in text
