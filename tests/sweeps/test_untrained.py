"""Methods that need training: left out of sweeps off the shelf, and said to be in tables."""

from pathlib import Path

import pytest

from atc import run
from atc.config import build, untrained
from atc.core import Reducer
from atc.report import layout
from atc.report.wandb_source import write_sweeps
from atc.vit.reduced import reducer_class
from tests.harness.commands import composed
from tests.report.records import parts, report_of
from tests.sweeps.test_grid import points

GRIDS = "[{reducer: [topk, sit], keep_rate: [0.25, 0.5]}]"


def sweep(directory: Path, command: str = "evaluate", more: str = "") -> layout.Layout:
    (directory / "own.yaml").write_text(
        f"defaults: [{command}]\n{more}hydra: {{sweeper: {{grids: {GRIDS}}}}}\n"
        "report: {title: Own, kind: table, settings: [off_the_shelf], rows: [reducer], columns: [keep_rate], "
        "floor: topk, images: 100}\n"
    )
    return layout.load("own", directory)


def test_the_source_says_what_the_class_says() -> None:
    """Read without importing it, for every method there is."""
    names = build.names("reducer")
    found = {name for name in names if reducer_class(build.find_reducer(name)).needs_training}
    assert untrained.names(names) == found
    assert found
    assert untrained.names(["no_such_method"]) == set()


def test_a_subclass_needs_training_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from atc import constants

    (tmp_path / "mine_a.py").write_text("class Base:\n    needs_training: bool = True\n")
    (tmp_path / "mine_b.py").write_text(
        "import mine_a\nfrom mine_a import Base\n\n\nclass Own(mine_a.Base):\n    pass\n\n\n"
        "class Other(Base):\n    needs_training = False\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert constants.sets_true("mine_b.Own", "needs_training")
    assert not constants.sets_true("mine_b.Other", "needs_training")
    assert not constants.sets_true("mine_b.Missing", "needs_training")
    assert Reducer.needs_training is False


@pytest.mark.parametrize(
    ("settings", "left"),
    [
        ({"defaults": ["evaluate"]}, [{"reducer": "sit"}]),
        ({"defaults": ["train"]}, []),
        ({"optimizer": {}}, []),
        ({"defaults": ["evaluate"], "checkpoint": "runs/a"}, []),
    ],
)
def test_what_is_left_out(settings: dict, left: list) -> None:
    assert untrained.points(settings, [{"reducer": ["topk", "sit"]}, {"reducer": "none"}]) == left
    assert untrained.points(settings, [{"reducer": "sit", "checkpoint": "runs/a"}]) == []


def test_in_a_table(tmp_path: Path) -> None:
    made = report_of(sweep(tmp_path), [parts("own", 0.8, reducer="topk", keep_rate=0.5)])
    states = {(cell.where["reducer"], cell.where.get("keep_rate")): cell.state for cell in made.cells}
    assert states["sit", "0.25"] == states["sit", "0.5"] == "needs training"
    assert states["topk", "0.25"] == "missing"
    assert made.text().count("needs training") == 2
    assert "of 3 cells" in made.text()  # without reduction, and two of topk
    made.write(tmp_path / "out")
    assert "| sit | needs training | needs training |" in (tmp_path / "out" / "own.md").read_text()


def test_a_result_off_the_shelf_carries_a_note(tmp_path: Path) -> None:
    own = sweep(tmp_path, "train")
    runs = [parts("own", score, reducer=name, keep_rate=0.5) for name, score in (("sit", 0.2), ("topk", 0.8))]
    made = report_of(own, runs)
    by_name = {cell.where["reducer"]: cell for cell in made.cells if cell.where.get("keep_rate") == "0.5"}
    assert by_name["sit"].remarks == ["needs training: layers that it learns start at random"]
    assert not by_name["topk"].remarks
    assert "Not better than" not in made.text()  # nothing is compared with the floor


def test_grids_of_weights_and_biases_leave_them_out(tmp_path: Path) -> None:
    sweep(tmp_path)
    (file,) = write_sweeps("own", layout.raw("own", tmp_path), tmp_path / "out")
    assert "sit" not in file.read_text()
    assert "topk" in file.read_text()


def test_an_evaluation_says_so(tmp_path: Path) -> None:
    found = run.evaluate(composed("evaluate", tmp_path, "reducer=patch_merger", "keep_rate=0.5"))
    assert any("PatchMerger needs training" in notice for notice in found.notices)


def test_a_sweep_has_no_runs_of_them() -> None:
    grids = [{"reducer": ["topk", "sit"], "keep_rate": [0.25, 0.5]}]
    assert points(grids, "keep_rate=0.25") == ["reducer=topk keep_rate=0.25"]
    assert points(grids, "keep_rate=0.25", "checkpoint=runs/a") == [
        "reducer=topk keep_rate=0.25 checkpoint=runs/a",
        "reducer=sit keep_rate=0.25 checkpoint=runs/a",
    ]
    with pytest.raises(ValueError, match="no run of small has reducer=sit; off the shelf, sit would be untrained"):
        points(grids, "reducer=sit")


def test_nor_of_those_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Methods whose files lie in a directory that --config-dir names."""
    (tmp_path / "my_untrained.py").write_text("class Mine:\n    needs_training = True\n")
    (tmp_path / "my conf" / "reducer").mkdir(parents=True)
    (tmp_path / "my conf" / "reducer" / "mine.yaml").write_text("_target_: my_untrained.Mine\n_partial_: true\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    source = {"schema": "file", "path": str(tmp_path / "my conf"), "provider": "command-line"}
    grids = [{"reducer": ["topk", "mine"]}]
    assert points(grids) == ["reducer=topk", "reducer=mine"]
    assert points(grids, sources=[source]) == ["reducer=topk"]
