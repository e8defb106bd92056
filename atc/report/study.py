"""Tables and figures of a study of reduction patterns, from the files that `python -m atc.study all` wrote."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atc import provenance
from atc.files import listed
from atc.report import escape, fixed_patterns, study_figures
from atc.report.layout import Layout
from atc.report.report import Report
from atc.report.tables import Key
from atc.report.throughput import Lines

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Row = dict[str, Any]
SHOWN = {  # measures of a table, in the order of the paper's page
    "similarity": ("ioa", "iou", "homogeneity", "nmi", "procrustes", "cka", "pwcca", "mean_cca_corr"),
    "matrices": ("pcc",),
    "proxies": ("iou", "nmi", "procrustes", "cka", "pwcca", "mean_cca_corr"),
}
_ANCHORS = ("none", "topk", "kmedoids")  # as on the paper's page
_CHANCE = {"ioa": "chance", "iou": "chance", "nmi": "adjusted"}


@dataclass
class Study(Report):
    """A table or figure of a study.

    Attributes:
        rows: the numbers behind it.
        origin: when and from which code they are; None where there is no study yet.
    """

    rows: list[Row] = field(default_factory=list)
    origin: str | None = None

    @property
    def measured(self) -> bool:
        """Whether there is a number."""
        return bool(self.rows)

    def figure(self) -> Figure:
        """The figure."""
        return study_figures.draw(self.layout, self.rows)

    def csv(self) -> str:
        """All numbers."""
        out = io.StringIO()
        heads = list(dict.fromkeys(key for row in self.rows for key in row))
        lines = csv.writer(out, lineterminator="\n")
        lines.writerow(map(escape.csv, heads))
        lines.writerows([_plain(row.get(head)) for head in heads] for row in self.rows)
        return out.getvalue()

    def records(self) -> list[Row]:
        """The numbers."""
        return self.rows


def read(directories: Iterable[Path]) -> dict[str, Mapping[str, Any]]:
    """The studies of these directories.

    Args:
        directories: where files patterns_NAME.json are looked for; the first that has one counts.

    Returns:
        Studies by NAME, with `similarity` and `proxies` as rows.

    Raises:
        ValueError: a file is none; the message names it.
    """
    found: dict[str, Mapping[str, Any]] = {}
    for file in (file for directory in directories for file in listed(directory, "patterns_*.json")):
        name = file.stem.removeprefix("patterns_")
        if name in found:
            continue
        try:
            study = json.loads(file.read_text(encoding="utf-8"))
            runs, similarities = study["runs"], _rows(study["similarity"])
            for row in similarities:
                for side in "ab":
                    run = runs[row.pop(side)]
                    row |= {f"{part}_{side}": run[part] for part in ("method", "keep_rate", "capacity", "data_set")}
            found[name] = study | {"similarity": similarities, "proxies": _rows(study["proxies"])}
            _checked(found[name])
        except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
            raise ValueError(f"{file} is no result of python -m atc.study all: {error!r}") from error
    return found


def build_study(layout: Layout, studies: Mapping[str, Mapping[str, Any]]) -> Study:
    """The report of a layout: of the study named as its sweep, without `study_`.

    Args:
        layout: what the sweep file says.
        studies: from `read`.

    Returns:
        Table and figure; empty where there is no such study.
    """
    study = studies.get(layout.sweeps[0].removeprefix("study_"))
    rows = [] if study is None else _part(layout, study)
    keys, columns, cells = _table(layout, rows)
    origin = None
    notes = list(layout.notes)
    if study is None:
        name = layout.sweeps[0].removeprefix("study_")
        notes.append(f"Not yet computed: python -m atc.study all RUNS --name {name} --output runs/store")
    else:
        images = {run["images"] for run in study["runs"]}
        commit = provenance.short(study["commit"]) if study.get("commit") else "unknown"
        origin = f"{len(study['runs'])} runs on {', '.join(map(str, sorted(images)))} images; commit {commit}."
        notes.append(origin)
        if not rows:
            notes.append(f"The study has nothing along {layout.x}.")
    if any(row.get("enough") is False for row in rows):
        notes.append("*: fewer images than channels of both models: canonical correlations mean nothing.")
    return Study(layout, [], Lines(layout, keys, columns, cells, notes, rows), rows, origin)


def _part(layout: Layout, study: Mapping[str, Any]) -> list[Row]:
    """The rows of a study that a layout shows."""
    if layout.kind == "depth_maps":
        return [row for row in study["maps"] if row["kept"]]
    if layout.kind == "fixed_patterns":
        return fixed_patterns.rows_of(study["similarity"], layout.against)
    if layout.kind == "proxies":
        found = [row for row in study["proxies"] if row["axis"] == layout.x and row["measure"] in SHOWN["proxies"]]
        turn = {anchor: place for place, anchor in enumerate(_ANCHORS)}
        return sorted(found, key=lambda row: turn.get(row["anchor"], len(turn)))
    shown = SHOWN[layout.kind]
    rows = [row for row in study["similarity"] if row["axis"] == layout.x and row["measure"] in shown]
    several = [
        part
        for part, axis in (("capacity", "capacity"), ("data_set", "data_set"))
        if axis != layout.x and len({row[f"{part}_a"] for row in rows}) > 1
    ]
    return [row | {"label": " ".join([study_figures.label_of(row), *(row[f"{p}_a"] for p in several)])} for row in rows]


def _table(layout: Layout, rows: Sequence[Row]) -> tuple[list[Key], list[Key], dict[tuple[Key, Key], Any]]:
    """Keys of rows and columns, and texts."""
    cells: dict[tuple[Key, Key], Any] = {}
    for row in rows:
        if layout.kind == "depth_maps":
            key: Key = (row["method"], row["capacity"], row["data_set"], _text(row["keep_rate"]))
            mean, std = row["overall"]
            cells[key, ("mean depth",)] = f"{mean:.2f} ± {std:.2f}"
            for block, (left, spread) in zip(row["blocks"], row["rates"], strict=True):
                cells[key, (f"left at {block}",)] = f"{100 * left:.1f} ± {100 * spread:.1f} %"
        elif layout.kind == "fixed_patterns":
            key, texts = fixed_patterns.cells_of(row)
            cells |= {(key, column): text for column, text in texts.items()}
        elif layout.kind == "proxies":
            key = tuple(_text(row[name]) for name in ("anchor", "data_set", "capacity", "keep_rate", "block"))
            cells[key, (row["measure"],)] = _proxy(row)
        else:
            key = row["label"], study_figures.pair_of(layout.x, row), _text(row["block"])
            star = "*" if row.get("enough") is False else ""
            cells[key, (row["measure"],)] = "–" if row["mean"] is None else f"{row['mean']:.3f}{star}"
            beside = row.get(_CHANCE.get(row["measure"], ""))
            if beside is not None:
                cells[key, (f"{row['measure']} {_CHANCE[row['measure']]}",)] = f"{beside:.3f}"
    keys, columns = (list(dict.fromkeys(place[side] for place in cells)) for side in (0, 1))
    return keys, columns, cells


def _proxy(row: Row) -> str:
    """A correlation with n, its interval and its p."""
    if row["rho"] is None:
        return f"– (n={row['n']})"
    bounds = "" if row["rho_low"] is None else f" [{row['rho_low']:.2f}, {row['rho_high']:.2f}]"
    p = "" if row["permutation_p"] is None else f", p={row['permutation_p']:.2f}"
    return f"{row['rho']:.2f}{bounds} (n={row['n']}{p})"


def _rows(table: Mapping[str, Any]) -> list[Row]:
    return [dict(zip(table["columns"], row, strict=True)) for row in table["rows"]]


def _checked(study: Mapping[str, Any]) -> None:
    """Look at everything that is shown, so that what is not well-formed is found where it is read."""
    for row in study["similarity"]:
        row["axis"], row["block"], row["measure"], row["mean"], row["std"]
    for row in study["proxies"]:
        _proxy(row)
        tuple(row[name] for name in ("axis", "anchor", "data_set", "capacity", "keep_rate", "measure", "block"))
    for row in study["maps"]:
        tuple(row[name] for name in ("method", "capacity", "data_set", "keep_rate", "kept", "blocks", "mean", "depth"))


def _text(value: Any) -> str:
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _plain(value: Any) -> Any:
    return escape.csv(value) if isinstance(value, str) else "" if value is None else value
