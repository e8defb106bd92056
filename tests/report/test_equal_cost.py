"""Methods at equal cost: differences by hand, the Pareto front by loops, and the figure from records."""

import csv
import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from atc.report import equal_cost, layout, report
from atc.report.__main__ import main
from atc.report.cells import Cell
from atc.report.equal_cost import EqualCost, Spot, difference, front
from tests.report.kept import both, sweeps
from tests.report.records import Parts, parts, report_of

NOTHING = Cell({}, [], "measured")
GRID: list[dict[str, Any]] = [
    {"reducer": "none"},
    {"reducer": ["tome", "topk"], "schedule": ["stages"], "keep_rate": [0.25, 0.5, 0.9]},
    {"reducer": ["topk"], "schedule": ["constant"], "t": [2, 4]},
]
RUNS = (  # reducer, keep rate or t, score, GFLOPs, images/s
    ("tome", 0.5, 0.70, 1.0, 200.0),
    ("tome", 0.9, 0.80, 2.0, 100.0),
    ("topk", 0.25, 0.40, 0.5, 400.0),
    ("topk", 0.5, 0.60, 1.0, 300.0),
    ("topk", 0.9, 0.84, 2.2, 110.0),
    ("topk", 2, 0.62, 2.1, 90.0),
    ("topk", 4, 0.50, 1.1, 150.0),
)


def line(*spots: tuple[float, float]) -> list[Spot]:
    return [Spot(cost, score, NOTHING) for cost, score in spots]


def test_differences_by_hand() -> None:
    one, other = line((1, 10), (3, 30)), line((4, 30), (2, 10), (0, 10))
    # On [1, 3]: 10 to 30 against 10, 10, 20: gaps 0, 10, 10
    assert difference(one, other) == (1, 3, pytest.approx((5 + 10) / 2), 0, 10)
    assert difference(other, one) == (1, 3, pytest.approx(-7.5), -10, 0)
    assert difference(line((1, 5)), line((0, 1), (2, 5))) == (1, 1, 2, 2, 2)  # one cost in common
    assert difference(line((1, 5)), line((2, 5), (3, 6))) is None
    assert difference(line((1, 4), (1, 6), (2, 9)), line((1, 4), (2, 4))).least == 1  # 5 of two of one cost


def test_the_mean_is_that_of_many_points() -> None:
    generator = np.random.default_rng(0)
    one, other = (line(*generator.random((6, 2)).tolist()) for _ in range(2))
    found = difference(one, other)
    assert found is not None
    x = np.linspace(found.low, found.high, 200_001)
    gaps = np.subtract(
        *(np.interp(x, *zip(*sorted((s.cost, s.score) for s in spots), strict=True)) for spots in (one, other))
    )
    assert found.mean == pytest.approx(gaps.mean(), abs=1e-4)
    assert (found.least, found.most) == (pytest.approx(gaps.min(), abs=1e-3), pytest.approx(gaps.max(), abs=1e-3))


@pytest.mark.parametrize("less", [True, False])
@pytest.mark.parametrize("higher", [True, False])
def test_the_front_by_loops(less: bool, higher: bool) -> None:
    generator = np.random.default_rng(1)
    spots = line(*generator.integers(0, 9, size=(40, 2)).tolist())

    def beats(one: Spot, other: Spot) -> bool:
        cost = (other.cost - one.cost) * (1 if less else -1)
        score = (one.score - other.score) * (1 if higher else -1)
        return cost >= 0 and score >= 0 and cost + score > 0

    wanted = {(one.cost, one.score) for one in spots if not any(beats(other, one) for other in spots)}
    found = front(spots, less, higher)
    assert {(one.cost, one.score) for one in found} == wanted
    assert len(found) == len(wanted)


def made(tmp_path: Path, x: str = "gflops", records: bool = True, **section: Any) -> EqualCost:
    runs: list[Parts] = []
    for reducer, count, score, gflops, speed in RUNS:
        at = {"keep_rate": count, "schedule": "stages"} if count < 1 else {"t": count, "schedule": "constant"}
        run = parts("mine", score, reducer=reducer, **at)
        run["results"] |= {"gflops": {"dense": 2.5, "reduced": gflops}, "measured_at_batch_size": 8}
        run["results"]["images_per_second"] = {"dense": 80.0, "reduced": speed}
        run["results"]["dense"] = {"accuracy": 0.82}
        runs.append(run)
    shown = {"of": ["mine"], "settings": ["off_the_shelf"], "rows": [], "columns": [], "kind": "curves", "x": x}
    found = report_of(both(sweeps(tmp_path, mine=GRID), **shown | section), runs if records else [])
    assert isinstance(found, EqualCost)
    return found


def test_a_report_from_records(tmp_path: Path) -> None:
    found = made(tmp_path, names="paper")
    assert found.table.rows == [("ToMe †",), ("Top-K †",), ("Top-K, constant",)]
    # On [1, 2] Top-K is 60 to 80, on [1.1, 2] its constant schedule 50 to 60.8
    assert found.table.texts(("ToMe †",)) == ["1.00", "2.00", "", "+5.0", "+20.1"]
    assert found.table.texts(("Top-K †",)) == ["0.50", "2.20", "−5.0", "", "+16.0"]
    rows = list(csv.DictReader(io.StringIO(found.csv())))
    assert (rows[0]["method"], rows[0]["against"]) == ("ToMe", "Top-K")
    assert (rows[0]["gflops_from"], rows[0]["to"], float(rows[0]["most"])) == ("1", "2", pytest.approx(10))
    svg = found.svg()
    assert svg is not None
    for said in ("GFLOPs per image", "Pareto front", "Top-K, constant", "no reduction", "top-1 accuracy, %"):
        assert f">{said}<" in svg
    files = {path.name: path for path in found.write(tmp_path / "out")}
    assert files["both.pdf"].read_bytes().startswith(b"%PDF")
    assert "| method | measured from | to | ToMe | Top-K | Top-K, constant |" in files["both.md"].read_text()


def test_over_what_was_measured_in_time(tmp_path: Path) -> None:
    speed, latency = (
        made(tmp_path / x, x) if (tmp_path / x).mkdir() is None else None for x in ("images_per_second", "latency")
    )
    assert speed is not None
    assert latency is not None
    assert speed.table.texts(("tome †",))[:2] == ["100", "200"]
    assert latency.table.texts(("tome †",))[:2] == ["40.0", "80.0"]
    assert "latency of a batch, ms" in str(latency.svg())


def test_what_was_not_run_is_said(tmp_path: Path) -> None:
    found = made(tmp_path, records=False)
    assert not found.measured
    assert "not yet run" in str(equal_cost.EqualCost.svg(found))


def test_a_part_of_the_runs() -> None:
    whole, part = layout.load("deit_tiny_pareto"), layout.load("deit_tiny_front")
    methods = {point["reducer"] for point in part.points}
    assert {"none", "tome", "atc_average_dynamic"} < methods < {point["reducer"] for point in whole.points}
    assert {point.get("schedule") for point in part.points} == {None, "stages"}
    kept = [
        point for point in whole.points if point["reducer"] in methods and point.get("schedule", "stages") == "stages"
    ]
    assert list(part.points) == kept


def test_the_sweep_over_all_methods_has_three_figures() -> None:
    for name, x in (("", "gflops"), ("_speed", "images_per_second"), ("_latency", "latency")):
        shown = layout.load(f"deit_tiny_pareto{name}")
        assert (shown.x, shown.over_cost, shown.sweeps) == (x, True, ("deit_tiny_pareto",))
        assert isinstance(report.build_report(shown, []), EqualCost)


def test_a_table_wider_than_the_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its place is said instead; where nobody looks at a terminal, as in a pipe, it is written out."""
    command = ["deit_tiny_pareto", "--store", str(layout.sweeps_dir().parent / "benchmarks"), "--output", str(tmp_path)]
    assert main(command) == 0
    whole = capsys.readouterr().out
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "┃" in whole
    assert "┃" not in said
    assert f"and the terminal 100: it is in {tmp_path / 'deit_tiny_pareto.md'}" in said
    assert said.splitlines()[-3:] == whole.splitlines()[-3:]
    assert "172 of 172 cells measured" in said
