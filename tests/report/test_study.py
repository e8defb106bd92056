"""Tables and figures of a study of reduction patterns."""

import csv
import io
import itertools
import re
import zlib
from pathlib import Path

import numpy as np
import pytest

from atc.report import layout, site, study
from atc.report.__main__ import main
from atc.runs.traces import TraceFiles
from atc.study import command, proxy
from atc.study.runs import AXES, NONE, TracedRun, pairs
from tests.tracked import tracked

METHODS = ("topk", "kmedoids", "atc_average")
FIXED = "radial_l2"
FILES = tracked("sweeps/study_*.yaml")
KINDS = re.compile(rf"^  kind: (?:{'|'.join(layout.STUDY)})$", re.M)
DRAWN = [path.stem for path in FILES if KINDS.search(path.read_text())]  # every worker collects: no YAML is read


def test_which_are_drawn() -> None:
    assert [path.stem for path in FILES if layout.load(path.stem).kind in layout.STUDY] == DRAWN


def run(method: str, rate: float | None, capacity: str, data_set: str, score: float) -> TracedRun:
    about = {"reducer": method, "keep_rate": rate, "backbone": capacity, "datamodule": data_set}
    trace = TraceFiles(Path(), 0, 60, (3, 3), (4, 7), 12, method != "atc_average", method != "topk", (12,), about)
    return TracedRun(method, rate, capacity, data_set, score, 4.0 if capacity == "base" else 1.0, trace)


def invented(axis: str, a: TracedRun, b: TracedRun) -> list[dict]:
    """Rows of a pair, each number another."""
    draw = np.random.default_rng(zlib.crc32(f"{axis} {a.key} {b.key}".encode()))
    sides = {
        f"{part}_{side}": getattr(one, part)
        for side, one in (("a", a), ("b", b))
        for part in ("method", "keep_rate", "capacity", "data_set", "score")
    }
    common = {"axis": axis, **sides, "std": 0.1, "images": 60, "chance": None}
    measures = ["iou", "ioa"] if "atc_average" not in (a.method, b.method) else []
    measures += ["nmi", "homogeneity"] if "topk" not in (a.method, b.method) else []
    measures = [] if NONE in (a.method, b.method) or axis == "data_set" else measures
    rows = [
        {**common, "block": block, "measure": name, "mean": draw.uniform()} for block in (4, 7) for name in measures
    ]
    for row in rows:
        row["chance" if row["measure"] in ("iou", "ioa") else "adjusted"] = 0.25
    if axis != "data_set":
        rows.append({**common, "block": 12, "measure": "cka", "mean": draw.uniform(), "enough": axis != "capacity"})
    elif "atc_average" not in (a.method, b.method) and NONE not in (a.method, b.method):
        rows.append({**common, "block": None, "measure": "pcc", "mean": draw.uniform()})
    if axis in ("keep_rate", "method") and "iou" in measures:
        rows.append({**common, "block": None, "measure": "pcc", "mean": -0.5})
    return rows


@pytest.fixture(scope="module", params=["digits", "deit_tiny", "deit"])
def store(request, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A study of invented numbers, written as the command writes it."""
    runs = [run(NONE, None, capacity, "a<b>", 80) for capacity in ("base", "tiny")]
    for number, point in enumerate(itertools.product(METHODS, (0.9, 0.5), ("base", "tiny"), ("a<b>", "$x$"))):
        runs.append(run(*point, 70 + number / 10))
    for number, point in enumerate(itertools.product((FIXED,), (0.9, 0.5), ("base",), ("a<b>",))):
        runs.append(run(*point, 60 + number))
    rows = [row for axis in AXES for a, b in pairs(runs, axis) for row in invented(axis, a, b)]
    place = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command, "_similarities", lambda *_: rows)
        maps = [
            {"key": one.key, "method": one.method, "keep_rate": one.keep_rate, "capacity": one.capacity,
             "data_set": one.data_set, "kept": one.trace.kept, "blocks": (4, 7), "depth": 12, "images": 60,
             "mean": [[3.0, 6.0], [12.0, 7.5]], "std": [[0.0, 1.0], [0.5, 2.0]], "overall": (7.1, 3.2),
             "rates": [(0.5, 0.0), (0.25, 0.1)]}
            for one in runs
        ]  # fmt: skip
        patch.setattr(command, "_maps", lambda _: maps)
        command.all_of(runs, None, request.param, place, proxy.ANCHORS, 10)
    return request.param, place


@pytest.mark.parametrize("name", DRAWN)
def test_each_is_drawn_and_written(store, name: str, tmp_path: Path, capsys) -> None:
    which, place = store
    shown = layout.load(name)
    if shown.sweeps != (f"study_{which}",):
        return
    made = study.build_study(shown, study.read([place]))
    assert made.measured
    assert "28 runs on 60 images" in made.text()
    assert main([name, "--store", str(place), "--output", str(tmp_path)]) == 0
    files = {path.suffix for path in tmp_path.iterdir()}
    assert files == {".md", ".tex", ".csv", ".json", ".png", ".svg", ".pdf"}
    lines = list(csv.DictReader(io.StringIO((tmp_path / f"{name}.csv").read_text())))
    assert len(lines) == len(made.rows)
    assert "a<b>" not in made.svg()
    site.write_site([made], tmp_path)


def test_what_was_not_computed_says_how(tmp_path: Path) -> None:
    made = study.build_study(layout.load("study_digits_proxy"), {})
    assert not made.measured
    assert "python -m atc.study all RUNS --name digits" in made.text()
    assert {path.suffix for path in made.write(tmp_path)} >= {".png", ".svg", ".pdf"}


def test_chance_and_significance_stand_beside_the_numbers(store) -> None:
    which, place = store
    found = study.read([place])[which]
    assert len(found["similarity"]) > 100
    similar = study.build_study(layout.load(f"study_{which}_keep_rate"), {which: found}).text()
    assert "chance" in similar
    assert "adjusted" in similar
    assert "0.250" in similar
    proxies = study.build_study(layout.load(f"study_{which}_proxy"), {which: found}).text()
    assert "n=3, p=" in proxies  # the dense anchor: with three methods nothing can be significant
    row = next(row for row in found["proxies"] if row["anchor"] == NONE and row["rho"] is not None)
    assert row["permutation_p"] >= 1 / 3 - 1e-6


def test_too_few_images_are_marked(store) -> None:
    which, place = store
    shown = layout.load(f"study_{which}_keep_rate")
    from dataclasses import replace

    capacity = study.build_study(replace(shown, x="capacity"), study.read([place]))
    assert "*: fewer images than channels" in capacity.text()
    assert "base-tiny 90" in capacity.text()


@pytest.mark.parametrize("kind", ["matrices", "similarity"])
@pytest.mark.parametrize("axis", AXES)
def test_every_axis_can_be_drawn(store, axis: str, kind: str, tmp_path: Path) -> None:
    from dataclasses import replace

    which, place = store
    shown = replace(layout.load(f"study_{which}_keep_rate"), x=axis, kind=kind)
    assert study.build_study(shown, study.read([place])).write(tmp_path)


@pytest.mark.parametrize(
    "text", ["{", "{}", '{"runs": [], "similarity": {"columns": ["axis"], "rows": [[1]]}, "proxies": 3, "maps": []}']
)
def test_another_file_is_named(tmp_path: Path, text: str, capsys) -> None:
    (tmp_path / "patterns_digits.json").write_text(text)
    assert main(["study_digits_proxy", "--store", str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "patterns_digits.json is no re" in line  # no result of python -m atc.study all; what is cut off, no record


def test_an_axis_that_there_is_not(tmp_path: Path) -> None:
    text = (layout.sweeps_dir() / "study_digits_proxy.yaml").read_text().replace("x: method", "x: methods")
    (tmp_path / "study_digits.yaml").write_text((layout.sweeps_dir() / "study_digits.yaml").read_text())
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(ValueError, match=r"report\.x=methods.*method"):
        layout.load("mine", tmp_path)


def test_similarity_to_fixed_patterns(store) -> None:
    which, place = store
    shown = layout.load(f"study_{which}_fixed")
    made = study.build_study(shown, study.read([place]))
    assert {row["method"] for row in made.rows} == {"topk", "kmedoids"}  # what merges alone keeps no patches
    assert {row["pattern"] for row in made.rows} == {FIXED}
    assert {(row["keep_rate"], row["block"]) for row in made.rows} == {(0.9, 4), (0.9, 7), (0.5, 4), (0.5, 7)}
    assert all(row["chance"] == 0.25 for row in made.rows)
    known = {
        (row["method_a"], row["keep_rate_a"], row["block"]): row["mean"]
        for row in study.read([place])[which]["similarity"]
        if (row["axis"], row["measure"], row["method_b"]) == ("method", "iou", FIXED)
        and row["keep_rate_a"] == row["keep_rate_b"]
    }
    assert len(known) == len(made.rows) == 8
    for row in made.rows:
        assert row["mean"] == known[row["method"], row["keep_rate"], row["block"]]
    assert made.table.columns == [("radial_l2",), ("radial_l2 chance",)]


def test_fixed_patterns_are_named(tmp_path: Path) -> None:
    text = (layout.sweeps_dir() / "study_digits_fixed.yaml").read_text()
    (tmp_path / "study_digits.yaml").write_text((layout.sweeps_dir() / "study_digits.yaml").read_text())
    (tmp_path / "mine.yaml").write_text(text[: text.index("  against")])
    with pytest.raises(ValueError, match=r"report\.against is missing: it must name the fixed patterns"):
        layout.load("mine", tmp_path)
