"""What a file of sweeps/ says about its table or figure."""

import csv
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from atc import build
from atc.report import grid

KINDS = ("table", "curves", "ranks", "differences", "throughput")
_HERE = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Layout:
    """The `report` section of a sweep file, with the grids of the sweeps it shows.

    kind: table; or a figure: curves, ranks (mean rank of each method) or differences (each method less the best of
        `against`, averaged); or throughput, of which atc.report.throughput makes the table. sweeps: whose runs are
        shown. rows, columns: the coordinates that tell rows and columns, or panels, apart. x: the horizontal axis of
        curves. floor: a method, and the number of test images, to say which results cannot be told from it.
    """

    name: str
    title: str
    kind: str
    sweeps: tuple[str, ...]
    settings: tuple[str, ...]
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    points: tuple[grid.Point, ...]
    unreachable: tuple[grid.Point, ...]
    tuned: tuple[grid.Point, ...]  # the points that are fine-tuned
    x: str = "keep_rate"
    against: tuple[str, ...] = ()
    floor: str | None = None
    images: int | None = None
    metric: str = "top1"
    decimals: int = 1
    notes: tuple[str, ...] = ()
    published: tuple[dict[str, str], ...] = field(default=(), repr=False)

    @property
    def drawn(self) -> bool:
        """Whether it is a figure."""
        return self.kind not in ("table", "throughput")


def sweeps_dir() -> Path:
    """Where the files of sweeps/ are: inside the package when installed from a wheel, beside it in a checkout."""
    packaged = _HERE / "sweeps"
    return packaged if packaged.is_dir() else _HERE.parent / "sweeps"


def names(directory: Path | None = None) -> list[str]:
    """All tables and figures there are: the files with a `report` section."""
    files = sorted((directory or sweeps_dir()).glob("*.yaml"))
    return [file.stem for file in files if "report" in _load(file)]


def load(name: str, directory: Path | None = None) -> Layout:
    """The layout of sweeps/NAME.yaml; ValueError for one that does not exist or is not well-formed."""
    directory = directory or sweeps_dir()
    file = directory / f"{name}.yaml"
    section = OmegaConf.to_container(raw(name, directory).report, resolve=True)
    assert isinstance(section, dict)
    shown = section.pop("of", [name])
    unknown = set(section) - {*Layout.__dataclass_fields__}
    if unknown or section.get("kind") not in KINDS:
        raise ValueError(f"{file}: kind={section.get('kind')} of {', '.join(KINDS)}; unknown: {sorted(unknown)}")
    sweeps = [_load(directory / f"{one}.yaml") for one in shown]
    sweepers = [_sweeper(sweep) for sweep in sweeps]
    every = grid.points([one for sweeper in sweepers for one in sweeper.grids])
    outside = [part for sweeper in sweepers for part in sweeper.get("out_of_reach", [])]
    published = section.pop("published", [])
    lists = {key: tuple(value) if isinstance(value, list) else value for key, value in section.items()}
    return Layout(
        name=name,
        sweeps=tuple(shown),
        points=tuple(every),
        unreachable=tuple(point for point in every if grid.within(point, outside)),
        tuned=tuple(
            grid.points(
                [one for sweep in sweeps if "train" in sweep.get("defaults", []) for one in _sweeper(sweep).grids]
            )
        ),
        published=tuple(row for one in _listed(published) for row in read_published(directory / "published" / one)),
        **lists,
    )


def raw(name: str, directory: Path | None = None) -> DictConfig:
    """sweeps/NAME.yaml as it is; ValueError if there is none."""
    directory = directory or sweeps_dir()
    file = directory / f"{name}.yaml"
    if not file.is_file():
        raise ValueError(f"unknown table or figure '{name}': {build.nearest(name, names(directory))}")
    return _load(file)


def read_published(file: Path) -> list[dict[str, str]]:
    """The rows of a file of published numbers: what was measured, `metric`, `value` and `source`."""
    with file.open(encoding="utf-8", newline="") as lines:
        return [{key: value for key, value in row.items() if value} for row in csv.DictReader(lines)]


def _load(file: Path) -> DictConfig:
    loaded = OmegaConf.load(file)
    assert isinstance(loaded, DictConfig)
    return loaded


def _sweeper(sweep: DictConfig) -> DictConfig:
    """The grids of a sweep; what a benchmark measures is one grid."""
    return OmegaConf.create({"grids": [sweep.bench]}) if "bench" in sweep else sweep.hydra.sweeper


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list) else [value]
