"""Every file of sweeps/: says what it is, and its runs compose."""

import re
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, OmegaConf, open_dict

from atc.config import build, from_files, sections
from atc.grids import grid
from atc.report import layout
from atc.runs import identity
from atc.runs.settings import command_of
from tests.tracked import tracked

SWEEPS = layout.sweeps_dir()
FILES = sorted(path for path in tracked("sweeps/*.yaml") if path.parent.name == "sweeps")
RUN = [file for file in FILES if "\nhydra:\n" in file.read_text()]  # every worker collects: no YAML is read


class AllConfigurations(SearchPathPlugin):
    """What --config-dir does on the command line, for compose()."""

    def manipulate_search_path(self, search_path: object) -> None:
        search_path.append("test", f"file://{build.conf_dir()}")  # type: ignore[attr-defined]


@pytest.fixture(autouse=True)
def _search_path(monkeypatch: pytest.MonkeyPatch) -> None:
    known = Plugins.instance().plugin_type_to_subclass_list
    monkeypatch.setitem(known, SearchPathPlugin, [*known[SearchPathPlugin], AllConfigurations])


def composed(name: str, *overrides: str) -> DictConfig:
    with initialize_config_dir(str(SWEEPS), version_base="1.3"):
        return compose(name, list(overrides), return_hydra_config=True)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_says_what_it_is(file: Path) -> None:
    head = [line for line in file.read_text().splitlines() if line.startswith("#")]
    for part in ("# Command:", "# Hardware:" if file in RUN else "#", f"python -m atc.report {file.stem}"):
        assert any(part in line for line in head), part
    assert file not in RUN or any(said in line for line in head for said in ("not yet run", " hours;"))
    assert layout.load(file.stem).points
    content = OmegaConf.load(file)
    assert ("hydra" in content) == (file in RUN)
    own = [content.hydra.sweeper] if file in RUN else []
    for sweeper in own:
        runs = [
            point for point in grid.points(sweeper.grids) if not grid.within(point, sweeper.get("out_of_reach", []))
        ]
        for number in re.findall(r"([\d,]+) (?:evaluations|trainings)", " ".join(head)):
            assert int(number.replace(",", "")) == len(runs)


@pytest.mark.parametrize("file", RUN, ids=lambda file: file.stem)
def test_runs_compose(file: Path) -> None:
    cfg = composed(file.stem)
    assert cfg.sweep == file.stem
    assert f"-cn {file.stem}" in file.read_text()
    assert cfg.hydra.sweeper._target_ == "hydra_plugins.atc_grid.Grid"
    script = grid.COMMANDS[command_of(cfg)]
    assert f"python {script.removeprefix('python ')} --config-dir sweeps" in file.read_text()
    different = {
        tuple(one): grid.points([one])[-1] for one in cfg.hydra.sweeper.grids
    }  # one of those with the same axes
    seen = set()
    for point in different.values():
        job = composed(file.stem, *(f"{axis}={value}" for axis, value in point.items()))
        from_files.check(job, command_of(job), job.hydra)
        with open_dict(job):
            del job["hydra"]
        seen.add(identity.identity(job))
    assert len(seen) == len(different)


@pytest.mark.parametrize(
    "name", ["atc_table1_mae", "atc_table1_mae_ots", "ots_sweep_augreg", "ots_sweep_mae", "ots_sweep_swag"]
)
def test_tome_gets_through_every_schedule(name: str) -> None:
    """Where it cannot remove t tokens, it removes what it can: the authors published such numbers."""
    tome = build.find_reducer("tome")
    points = [point for point in layout.load(name).points if point["reducer"] == "tome"]
    places = {(point["backbone"], point["schedule"]) for point in points}
    assert len(places) >= 6
    clamped = 0
    vits, schedules = {}, {}  # composed once each, whatever they are combined with
    for backbone in {backbone for backbone, _ in places}:
        cfg = composed(name, f"backbone={backbone}", "backbone.pretrained=false")
        with torch.device("meta"):
            vits[backbone] = build.instantiate(cfg.backbone, num_classes=1000)
    for schedule in {schedule for _, schedule in places}:
        schedules[schedule] = composed(name, f"schedule={schedule}").schedule
    for backbone, schedule in sorted(places):
        vit = vits[backbone]
        for point in points:
            if (point["backbone"], point["schedule"]) == (backbone, schedule):
                made = build.instantiate(schedules[schedule], t=int(point["t"]))
                counts = made.resolve(vit.patch_embed.num_patches, len(vit.blocks), tome.func.least)
                clamped += any(count.keep > count.target for count in counts)
    assert clamped


def test_published_numbers_carry_their_source() -> None:
    for file in (SWEEPS / "published").glob("*.csv"):
        rows = sections.read_published(file)
        assert rows
        for row in rows:
            assert row["source"]
            assert float(row["value"]) > 0
