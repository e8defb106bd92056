"""Reports from a W&B project, and grids as W&B sweeps; W&B itself is never called."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from atc.grids import grid
from atc.report import layout, report, wandb_source
from atc.report.__main__ import main
from tests.harness.commands import command, composed
from tests.sweeps.test_grid import GRID, QUICK


def test_a_project_instead_of_the_store(tmp_path: Path) -> None:
    cfg = composed("train", tmp_path, "reducer=tome", "keep_rate=0.7")
    config = OmegaConf.to_container(cfg, resolve=True) | {"sweep": "digits_all"}
    summary = {"off_the_shelf/accuracy": 0.9, "fine_tuned/accuracy": 0.95, "val/accuracy": 0.5, "_timestamp": 1.7e9}
    runs = [
        SimpleNamespace(config=config, summary=summary, state="finished"),
        SimpleNamespace(config={"somebody": "else's run"}, summary={}, state="finished"),
    ]
    api = SimpleNamespace(runs=lambda project: runs if project == "me/atc" else [])
    found = wandb_source.records("me/atc", api)
    assert len(found) == 1
    assert found[0].finished.startswith("2023-11-14")
    made = report.build_report(layout.load("digits_all"), found)
    assert made.table.texts(("off_the_shelf", "tome")) == ["–", "not run", "90.0", "not run"]
    assert made.table.texts(("fine_tuned", "tome"))[2] == "95.0"


def test_sweep_files_have_the_same_points(tmp_path: Path) -> None:
    assert main(["digits_all", "--wandb-sweep", str(tmp_path)]) == 0
    files = [OmegaConf.to_container(OmegaConf.load(file)) for file in sorted(tmp_path.glob("digits_all_*.yaml"))]
    points = grid.points([{axis: one["values"] for axis, one in file["parameters"].items()} for file in files])
    wanted = layout.load("digits_all")
    reachable = [point for point in wanted.points if point not in wanted.unreachable]
    assert sorted(map(sorted, map(dict.items, points))) == sorted(map(sorted, map(dict.items, reachable)))
    assert all(file["method"] == "grid" and "hydra.mode=RUN" in file["command"] for file in files)
    typed = [f"{axis}={value}" for axis, value in points[-1].items()]
    assert len(OverridesParser.create().parse_overrides(typed)) == len(typed)


@pytest.mark.parametrize(("name", "of"), [("atc_fig2_ranks", "atc_fig4_deit"), ("throughput", "python -m atc.bench")])
def test_what_has_no_grid_says_so(name: str, of: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--wandb-sweep", str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"error: {name} has no grid of runs: its numbers come from {of}\n"


@pytest.mark.slow
def test_what_an_agent_starts_is_the_run_of_the_sweep(tmp_path: Path) -> None:
    """The command of a sweep file as `wandb agent` fills it in, offline: it runs, and the sweep takes it for done."""
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps" / "small.yaml").write_text(GRID)
    sweep_file, *_ = wandb_source.write_sweeps("small", OmegaConf.load(tmp_path / "sweeps" / "small.yaml"), tmp_path)
    said = OmegaConf.to_container(OmegaConf.load(sweep_file))
    point = [f"{axis}={values['values'][0]}" for axis, values in said["parameters"].items()]
    _, python, script, *arguments, place = said["command"]
    assert (python, script, place) == ("python", "train.py", "${args_no_hyphens}")
    done = command(script, *arguments, *point, *QUICK, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    looked = command(script, "--config-dir", "sweeps", "-cn", "small", *QUICK, "--dry-run", cwd=tmp_path)
    assert "small: 5 runs; 4 missing, 1 done" in looked.stdout + looked.stderr
    assert re.search(r"done +\w+ +reducer=none baselines=true", looked.stdout + looked.stderr)


def test_parts_of_a_grid() -> None:
    whole = {"a": [1, 2], "b": [3, 4], "c": 5}
    parts = list(wandb_source.products(whole, [{"a": 1, "b": 3}]))
    assert parts == [{"a": [2], "b": [3, 4], "c": [5]}, {"a": [1], "b": [4], "c": [5]}]
