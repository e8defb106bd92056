"""Reports of sweeps in a directory of one's own, whose methods have files beside those of conf/."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from atc.config import untrained
from atc.report import layout
from tests.report.kept import changed, kept, sweeps
from tests.report.records import Parts, report_of

__all__ = ["kept"]  # a fixture

NAMES = ("central", "learned")
GRIDS = [{"reducer": ["central", "learned", "tome", "topk"], "keep_rate": [0.5, 0.9]}]
CODE = "class Central:\n    pass\n\n\nclass Learned:\n    needs_training = True\n"


def project(directory: Path, module: str = "my_methods") -> layout.Layout:
    """A sweep whose files name the methods central and learned; its layout."""
    for name in NAMES:
        file = directory / "my_conf" / "reducer" / f"{name}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"_target_: {module}.{name.title()}\n_partial_: true\nwidth: 3\n")
    (directory / f"{module}.py").write_text(CODE)
    (directory / "sweeps").mkdir()
    sweeps(directory / "sweeps", mine=GRIDS)
    mine = OmegaConf.load(directory / "sweeps" / "mine.yaml")
    mine.hydra.searchpath = [f"file://{directory / 'my_conf'}"]
    mine.report.floor = None
    OmegaConf.save(mine, directory / "sweeps" / "mine.yaml")
    return layout.load("mine", directory / "sweeps")


def runs(kept: list[Parts]) -> list[Parts]:
    """Runs of the sweep: those of topk, under the names of one's own methods too, and of tome."""
    found = []
    for record in kept:
        if record["reducer"] in ("tome", "topk") and record["keep_rate"] in (0.5, 0.9):
            found.append(changed(record, sweep="mine"))
    for number, name in enumerate(NAMES, start=1):
        for record in [one for one in found if one["reducer"] == "topk"]:
            own = changed(record, number, sweep="mine")
            own["config"]["reducer"] = {"_target_": f"my_methods.{name.title()}", "_partial_": True, "width": 3}
            found.append(own | {"reducer": name, "code": {}})
    return found


@pytest.mark.parametrize("there", [True, False], ids=["files here", "files elsewhere"])
def test_the_methods_of_a_project_are_no_differences(tmp_path: Path, kept: list[Parts], there: bool) -> None:
    shown = project(tmp_path)
    if not there:
        (tmp_path / "my_conf").rename(tmp_path / "moved")
        shown = layout.load("mine", tmp_path / "sweeps")
    made = report_of(shown, runs(kept))
    assert not [note for note in made.table.notes if "instead of" in note]
    assert sum(bool(cell.values) for cell in made.cells if cell.where["reducer"] in NAMES) == 8


def test_what_one_run_has_otherwise_is_one(tmp_path: Path, kept: list[Parts]) -> None:
    shown = project(tmp_path)
    found = [
        changed(one, 9, sweep="mine", **{"reducer.width": 4})
        if (one["reducer"], one["keep_rate"]) == ("central", 0.9)
        else one
        for one in runs(kept)
    ]
    assert "[a] reducer.width=4 instead of 3" in report_of(shown, found).table.notes


def test_own_methods_that_need_training(tmp_path: Path, kept: list[Parts], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    shown = project(tmp_path, "my_learned_methods")  # whose source no other test has looked for
    assert untrained.names([*NAMES, "topk"], [tmp_path / "my_conf"]) == {"learned"}
    marked = {
        (cell.where["setting"], cell.where["reducer"])
        for cell in report_of(shown, runs(kept)).cells
        if any("needs training" in remark for remark in cell.remarks)
    }
    assert marked == {("off_the_shelf", "learned")}
    file = tmp_path / "sweeps" / "mine.yaml"
    sweep = OmegaConf.load(file)
    del sweep["optimizer"]
    sweep.defaults[0] = "evaluate"
    OmegaConf.save(sweep, file)
    assert {point["reducer"] for point in layout.load("mine", file.parent).unreachable} == {"learned"}
