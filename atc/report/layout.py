"""What a file of sweeps/ says about its table or figure."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from atc.config import build, sections
from atc.core import metric as metrics
from atc.core.metric import Metric
from atc.files import listed
from atc.grids import grid
from atc.report import part_of_sweep
from atc.report.display_names import METHODS
from atc.report.escape import is_number

_HERE = Path(__file__).resolve().parents[1]
STUDY = sections.STUDY


@dataclass(frozen=True)
class Layout:
    """The `report` section of a sweep file, with the grids of the sweeps it shows.

    Attributes:
        name: that of the sweep file.
        title: the heading.
        kind: table; or a figure: curves, ranks (mean rank of each method) or differences (each method less the best of
            `against`, averaged), or pictures (an image of each run); or throughput, of which atc.report.throughput
            makes the table; or a part of a study of reduction patterns, which atc.report.study makes: similarity,
            matrices, proxies, depth_maps, fixed_patterns.
        sweeps: whose runs are shown.
        settings: which results of a run, such as off_the_shelf.
        rows: the coordinates that tell rows, or panels, apart.
        columns: the coordinates that tell columns, or panels, apart.
        points: the runs of the grids.
        unreachable: those of them that a method cannot do.
        tuned: those of them that are fine-tuned.
        x: the horizontal axis of curves: an axis of numbers, or one of `atc.report.costs.COSTS`.
        against: the methods that differences are taken from, or whose patterns are the fixed ones.
        floor: the method that results are compared with, to say which cannot be told from it.
        images: how many test images there are.
        image: of generated images, the one that is shown of each run; None: the first.
        metrics: what is shown, by the names of the published numbers; several of them are an axis "metric".
        decimals: of the numbers shown.
        best: whether the best of each place is bold, and what cannot be told from it.
        cost: of `atc.report.costs.COSTS`, shown beside each number.
        names: what values of axes, such as methods, are called.
        notes: lines below the table.
        published: the published numbers, a mapping for each, with our names for what they are of.
        directories: those of one's own with files of the sweeps' groups.
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
    tuned: tuple[grid.Point, ...]
    x: str = "keep_rate"
    against: tuple[str, ...] = ()
    floor: str | None = None
    images: int | None = None
    image: str | None = None
    metrics: tuple[Metric, ...] = (metrics.PUBLISHED["top1"],)
    decimals: int = 1
    best: bool = False
    cost: tuple[str, ...] = ()
    names: Mapping[str, str] = field(default_factory=dict, repr=False)
    notes: tuple[str, ...] = ()
    published: tuple[dict[str, str], ...] = field(default=(), repr=False)
    directories: tuple[Path, ...] = field(default=(), repr=False)

    @property
    def over_cost(self) -> bool:
        """Whether it is a figure of results over what they cost."""
        return self.kind == "curves" and self.x in sections.COSTS

    @property
    def drawn(self) -> bool:
        """Whether it is a figure."""
        return self.kind not in ("table", "throughput")


def sweeps_dir() -> Path:
    """Where the files of sweeps/ are: inside the package when installed from a wheel, beside it in a checkout."""
    packaged = _HERE / "sweeps"
    return packaged if packaged.is_dir() else _HERE.parent / "sweeps"


def names(directory: Path | None = None) -> list[str]:
    """All tables and figures there are: the files with a `report` section.

    Args:
        directory: where they are; None: `sweeps_dir`.

    Returns:
        Their names.

    Raises:
        ValueError: a file is no sweep file; the message names it.
    """
    files = listed(directory or sweeps_dir(), "*.yaml")
    return [file.stem for file in files if "report" in sections.load(file)]


def load(name: str, directory: Path | None = None) -> Layout:
    """The layout of sweeps/NAME.yaml.

    Args:
        name: NAME.
        directory: where the file is; None: `sweeps_dir`.

    Returns:
        The layout.

    Raises:
        ValueError: there is no such file, or it is not well-formed.
    """
    directory = directory or sweeps_dir()
    file = directory / f"{name}.yaml"
    section = sections.report_section(file, raw(name, directory))
    shown, published, ours = (section.pop(part) for part in ("of", "published", "published_names"))
    if "names" in section:
        section["names"] = METHODS if section["names"] == "paper" else section["names"]
    if "metric" in section:
        section["metrics"] = _metrics(section.pop("metric"), file)
    sweeps = [raw(one, directory) for one in shown]
    sweepers = [sections.sweeper_section(directory / f"{one}.yaml", raw(one, directory)) for one in shown]
    only = section.pop("only", {})
    runs = grid.points([one for sweeper in sweepers for one in sweeper["grids"]])
    part_of_sweep.check(runs, only, file)
    every = part_of_sweep.chosen(runs, only)
    outside = [part for sweeper in sweepers for part in sweeper["out_of_reach"]]
    tuned = [
        one
        for sweep, sweeper in zip(sweeps, sweepers, strict=True)
        if "train" in (sweep.get("defaults") or [])
        for one in sweeper["grids"]
    ]
    made = Layout(
        name=name,
        sweeps=tuple(shown),
        points=every,
        unreachable=tuple(point for point in every if grid.within(point, outside)),
        tuned=part_of_sweep.chosen(grid.points(tuned), only),
        directories=tuple(dict.fromkeys(place for one in sweeps for place in sections.directories(file, one))),
        published=tuple(
            {key: ours.get(value, value) for key, value in row.items()}
            for one in published
            for row in sections.read_published(directory / "published" / one)
        ),
        **section,
    )
    _check_axes(made, file)
    return made


def of_image(layout: Layout, image: str | None) -> Layout:
    """The layout with another image than its file says, for one of pictures.

    Args:
        layout: what the sweep file says.
        image: such as "134_0.png"; None: as the file says.

    Returns:
        A layout.

    Raises:
        ValueError: it shows no pictures, or that is no name of one.
    """
    if image is None:
        return layout
    if layout.kind != "pictures":
        raise ValueError(f"image={image} is for figures of generated images, and {layout.name} is none")
    if not sections.IMAGE.fullmatch(image):
        raise ValueError(f"image={image} must be the name of a generated image, as in 134_0.png")
    return replace(layout, image=image)


def _metrics(given: Any, file: Path) -> tuple[Metric, ...]:
    try:
        several = tuple(metrics.of_layout(one) for one in (given if isinstance(given, tuple) else (given,)))
        if not several or len({one.name for one in several}) < len(several):
            raise ValueError(f"{list(given)} must be different metrics, one or more")
    except ValueError as error:
        raise ValueError(f"{file}: report.metric: {error}") from None
    return several


def _check_axes(layout: Layout, file: Path) -> None:
    """ValueError for an axis that no run has, and for one of a figure that has no numbers along it."""
    if layout.kind == "throughput":
        return
    if layout.kind in STUDY:
        if layout.x not in sections.STUDY_AXES:
            raise ValueError(f"{file}: report.x={layout.x}: {build.nearest(layout.x, list(sections.STUDY_AXES))}")
        if layout.kind == "fixed_patterns" and not layout.against:
            raise ValueError(f"{file}: report.against is missing: it must name the fixed patterns, such as [radial_l2]")
        return
    axes = list(dict.fromkeys(["setting", "reducer", *(axis for point in layout.points for axis in point)]))
    axes += ["metric"] if len(layout.metrics) > 1 else []
    along = [("x", layout.x)] if layout.drawn and not layout.over_cost else []
    of = [("rows", axis) for axis in layout.rows] + [("columns", axis) for axis in layout.columns]
    for part, axis in [*of, *along]:
        if axis not in axes and not (part != "x" and axis == "seed"):
            raise ValueError(f"{file}: report.{part}: no run has an axis '{axis}': {build.nearest(axis, axes)}")
    reduced = [point for point in layout.points if point.get("reducer", "none") != "none"]
    for value in (point.get(layout.x) for point in reduced if along):
        if value is None or not is_number(value):
            other = "a run without it" if value is None else f"'{value}'"
            raise ValueError(f"{file}: report.x={layout.x} must be an axis of numbers, and there is {other}")
    if layout.drawn and not layout.settings:
        raise ValueError(f"{file}: report.settings=[] leaves nothing to draw")


def raw(name: str, directory: Path | None = None) -> DictConfig:
    """sweeps/NAME.yaml as it is.

    Args:
        name: NAME.
        directory: where the file is; None: `sweeps_dir`.

    Returns:
        What it holds.

    Raises:
        ValueError: there is none.
    """
    directory = directory or sweeps_dir()
    file = directory / f"{name}.yaml"
    # A name leads to a file of the directory, and names those that are written.
    if not name or Path(name).name != name or "\\" in name or not file.is_file():
        own = "" if directory != sweeps_dir() else "; --sweeps DIRECTORY names that of sweep files of your own"
        raise ValueError(f"unknown table or figure '{name}': {build.nearest(name, names(directory))}{own}")
    return sections.load(file)
