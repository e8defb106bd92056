"""Kept records, changed, with sweeps and layouts to show them in; tests import what they need, fixtures included."""

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from atc.config import untrained
from atc.report import layout, report
from tests.report.records import Parts

KEPT = layout.sweeps_dir().parent / "benchmarks" / "digits_all.json"


@pytest.fixture(scope="module")
def kept() -> list[Parts]:
    """Real records of every method that works without training, at four keep rates."""
    found: list[Parts] = json.loads(KEPT.read_text(encoding="utf-8"))
    learning = untrained.names({record["reducer"] for record in found})
    return [record for record in found if record["reducer"] not in learning]


def changed(record: Parts, number: int = 0, sweep: str | None = None, **settings: Any) -> Parts:
    """A record with other settings, by dotted key, or with another seed."""
    record = copy.deepcopy(record)
    for key, value in settings.items():
        node = record["config"]
        *parents, leaf = key.split(".")
        for part in parents:
            node = node.setdefault(part, {})
        node[leaf] = value
    record["identity"] += f"{number}{len(settings)}"
    record["seed"] = record["config"].get("seed", 0)
    record["sweep"] = sweep or record["sweep"]
    return record


def sweeps(tmp_path: Path, **grids: list[dict[str, Any]]) -> Path:
    """A directory with digits_all, and sweeps of one's own that have these grids."""
    shutil.copy(layout.sweeps_dir() / "digits_all.yaml", tmp_path)
    for name, own in grids.items():
        sweep = OmegaConf.load(layout.sweeps_dir() / "digits_all.yaml")
        sweep.sweep, sweep.hydra.sweeper.grids = name, own
        OmegaConf.save(sweep, tmp_path / f"{name}.yaml")
    return tmp_path


def both(directory: Path, name: str = "both", **section: Any) -> layout.Layout:
    base = OmegaConf.load(directory / "digits_all.yaml").report
    OmegaConf.save({"report": {**base, **section}}, directory / f"{name}.yaml")
    return layout.load(name, directory)


def text(made: report.Report, *row: str) -> list[str]:
    return made.table.texts(row)
