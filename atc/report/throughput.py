"""The table of the throughput benchmark, from the files that `python -m atc.bench throughput` wrote."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from atc import provenance
from atc.cost.throughput_table import COLUMNS, mode, texts
from atc.files import listed
from atc.report import escape
from atc.report.layout import Layout
from atc.report.matching import same
from atc.report.report import Report
from atc.report.tables import SHOWN, Key, Table

Row = dict[str, Any]
FILES = "throughput_*.json"
MISSING = SHOWN["missing"]
MEASURED_AXES = ("backbone", "reducer", "keep_rate", "batch_size", "precision", "compile")


@dataclass
class Lines(Table):
    """A table whose cells are texts, one line per combination.

    Attributes:
        values: what was measured.
    """

    values: list[Row] = field(default_factory=list)

    def parts(self, cell: Any) -> tuple[str, ...]:
        """The text itself."""
        return (cell or "",)

    @property
    def compared(self) -> bool:
        """There are no published numbers."""
        return False


@dataclass
class Throughput(Report):
    """Its report: all measurements, and what of the sweep is missing.

    Attributes:
        some: whether there is a measurement.
    """

    some: bool = False

    @property
    def measured(self) -> bool:
        """Whether there is a measurement."""
        return self.some

    def csv(self) -> str:
        """All measurements, and where they come from."""
        assert isinstance(self.table, Lines)
        out = io.StringIO()
        heads = dict.fromkeys(key for row in self.table.values for key in row)
        lines = csv.writer(out, lineterminator="\n")
        lines.writerow(map(escape.csv, heads))
        lines.writerows([_plain(row.get(key, "")) for key in heads] for row in self.table.values)
        return out.getvalue()

    def records(self) -> list[Row]:
        """The measurements."""
        assert isinstance(self.table, Lines)
        return self.table.values


def measurements(directories: Iterable[Path]) -> list[Row]:
    """The rows of all result files of these directories, each with the machine and the code that it is from.

    A combination that was measured again on a machine counts as last measured.

    Args:
        directories: where to look for files of the benchmark.

    Returns:
        The rows.

    Raises:
        ValueError: a file is none; the message names it.
    """
    last: dict[tuple[str, ...], Row] = {}
    files = {file.resolve(): file for directory in directories for file in listed(directory, FILES)}
    rows: list[Row] = []
    for file in files.values():
        try:
            read = json.loads(file.read_text(encoding="utf-8"))
            found_here = [_with_origin(row, read["environment"], read["settings"]) for row in read["rows"]]
            for row in found_here:  # what is not well-formed cannot be shown
                texts(row), _key(row), _origins([row]), tuple(row.get(key) for key in MEASURED_AXES)
            rows += found_here
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"{file} is no result of python -m atc.bench throughput: {error!r}") from error
    for row in sorted(rows, key=lambda row: str(row["date"])):
        last[*(str(row.get(key)) for key in ("machine", "schedule", "t", *MEASURED_AXES)), mode(row)] = row
    return list(last.values())


def build_throughput(layout: Layout, rows: Sequence[Row]) -> Throughput:
    """All that was measured of the sweep's backbones, then what it lists and no machine has measured."""
    backbones = {point["backbone"] for point in layout.points}
    rows = [row for row in rows if row["backbone"] in backbones]
    missing = [_unmeasured(point) for point in layout.points if not any(_is(row, point) for row in rows)]
    missing = sorted({tuple(row.items()): row for row in missing}.values(), key=_turn(layout))
    cells: dict[tuple[Key, Key], Any] = {}
    columns: list[Key] = [(head,) for head in COLUMNS]
    keys = []
    for row in [*rows, *missing]:
        shown = texts(row)
        keys.append(_key(row))
        cells |= {(keys[-1], column): text for column, text in zip(columns, shown, strict=True)}
    notes = [*layout.notes, _count(layout, missing), *_origins(rows)]
    table = Lines(layout, keys, columns, cells, notes, [*rows, *missing])
    return Throughput(layout, [], table, some=bool(rows))


def _with_origin(row: Row, environment: Mapping[str, Any], settings: Mapping[str, Any]) -> Row:
    machine = environment["machine"]
    computes = ", ".join(machine["gpus"]) if settings["device"] == "cuda" else _cpu(machine)
    kept = {key: environment[key] for key in ("date", "commit", "load")}
    origin = {key: settings[key] for key in ("weights", "warmup", "float32_matmul_precision")}
    return {"machine": computes, **row, **kept, **origin, "versions": environment["versions"]}


def _cpu(machine: Mapping[str, Any]) -> str:
    number = machine["threads"]
    return f"{machine['processor']}, {number} thread{'s' * (number > 1)}"


def _key(row: Row) -> Key:
    count = row.get("keep_rate") if row.get("t") is None else f"t={row['t']}"
    shown = (row["machine"], row["backbone"], row["precision"], mode(row), row["batch_size"], row["reducer"], count)
    return tuple("" if value is None else str(value) for value in shown)


def _is(row: Row, point: Mapping[str, str]) -> bool:
    """Whether a row measures a point; the keep rate means nothing without reduction."""
    axes = [key for key in MEASURED_AXES if key in point and not (key == "keep_rate" and point["reducer"] == "none")]
    return all(same(json.dumps(row[key]).strip('"'), point[key]) for key in axes)


def _unmeasured(point: Mapping[str, str]) -> Row:
    dense = point["reducer"] == "none"
    known = {key: None if dense and key == "keep_rate" else point.get(key) for key in MEASURED_AXES}
    return {"machine": "–", **known, "compile": point.get("compile") == "true", "status": MISSING}


def _turn(layout: Layout) -> Callable[[Row], tuple[int, ...]]:
    """The order in which the benchmark goes through a sweep: by batch size, precision and mode."""
    axes = ("batch_size", "precision")
    order = {axis: list(dict.fromkeys(point.get(axis) for point in layout.points)) for axis in axes}
    return lambda row: (*(order[axis].index(row[axis]) for axis in axes), row["compile"])


def _count(layout: Layout, missing: Sequence[Row]) -> str:
    points = {tuple(_unmeasured(point).items()) for point in layout.points}
    return f"{len(points) - len(missing)} of {len(points)} combinations of the sweep measured on some machine."


def _origins(rows: Sequence[Row]) -> list[str]:
    """Per machine, what the numbers come from."""
    lines: dict[str, None] = {}
    for row in rows:
        versions = ", ".join(f"{name} {row['versions'][name]}" for name in ("torch", "timm") if name in row["versions"])
        lines[
            f"{row['machine']}: {row['weights']} weights, {row['warmup']} forwards of warm-up, {versions}, commit "
            f"{provenance.short(row['commit'])}, {row['date']}, load before {row['load']}."
        ] = None
    return list(lines)


def _plain(value: object) -> object:
    if isinstance(value, dict):
        value = "; ".join(f"{name} {version}" for name, version in value.items())
    value = " ".join(map(str, value)) if isinstance(value, list) else value
    return escape.csv(value) if isinstance(value, str) else value
