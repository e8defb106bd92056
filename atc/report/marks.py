"""Which cells of a table were not measured as the others: what the footnotes say."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from atc import constants
from atc.report import expected, remarks
from atc.report.cells import Cell
from atc.report.layout import Layout
from atc.report.matching import BASELINE
from atc.report.same_settings import Runs, Settings
from atc.runs import identity
from atc.runs.record import Record
from atc.runs.settings import command_of

CHOICES = ("experiment", "backbone", "datamodule", "schedule", "task", "optimizer", "trainer", "callbacks")
# What an evaluation has of its own, or does not use where it has it: compared among trainings, and among evaluations.
OF_THE_COMMAND = ("experiment", "datamodule", "optimizer", "trainer", "callbacks")
CONTENTS = (*identity.WEIGHTS, identity.ROOT)  # files, which other data sets and backbones have others of
AS_EXPECTED = "as expected"
MOST = 6  # differences that a footnote spells out


@dataclass
class _Run:
    """A cell as it was measured: the last of its runs stands for all, which differ in the seed alone."""

    cell: Cell
    record: Record
    settings: Settings
    directories: tuple[Path, ...] = ()

    @property
    def where(self) -> Mapping[str, str]:
        return self.cell.where

    def choice(self, group: str) -> object:
        return self.record.part(group)


def mark_cells(layout: Layout, cells: Iterable[Cell], runs: Runs) -> None:
    """Put into the `remarks` of each measured cell in what it differs from the table's usual ones.

    A setting counts as differing if it is neither an axis of the sweep nor what conf/ gives the cell's backbone, data
    set or method, and most cells have another value, or the value that conf/ gives theirs.

    Args:
        layout: what the sweep file says.
        cells: all of its cells.
        runs: the records behind them.
    """
    measured = [cell for cell in cells if cell.records]
    last_runs = [
        _Run(cell, cell.records[-1], runs.settings(cell.records[-1], _reduced(cell)), layout.directories)
        for cell in measured
    ]
    for one, differing in zip(last_runs, _settings_that_differ(last_runs), strict=True):
        if differing:
            one.cell.remarks.append(differing)
    _mark_code(last_runs)
    remarks.mark_tf32(measured)
    remarks.mark_images(measured)
    if len(set(map(reader, measured))) > 1:
        for cell in measured:
            if reader(cell):
                cell.remarks.append(f"pictures read {reader(cell)}")


def _reduced(cell: Cell) -> bool:
    return cell.where["setting"] != BASELINE and cell.where["reducer"] != "none"


def _settings_that_differ(runs: Sequence[_Run]) -> list[str]:
    """Per cell its differing settings as text, or nothing."""
    differences: list[dict[str, str]] = [{} for _ in runs]
    for group in CHOICES:
        asked = [number for number, one in enumerate(runs) if group not in one.where and one.choice(group)]
        values = {number: runs[number].choice(group) for number in asked}
        if group == "task" and len(set(values.values())) > 1:
            values = {n: _delta(runs[n], "task", value) for n, value in values.items()}
        for some in _comparable(runs, group, asked):
            _compare(differences, group, {n: values[n] for n in some}, {n: runs[n].choice(group) for n in some})
    for key in _varying(runs):
        asked = [number for number, one in enumerate(runs) if _applies(one, key)]
        if key in CONTENTS:
            for place in dict.fromkeys(_contents_of(runs[number]) for number in asked):
                same = {n: runs[n].settings.get(key) for n in asked if _contents_of(runs[n]) == place}
                _compare(differences, key, same, same)
        else:
            for some in _comparable(runs, key, asked):
                deltas = {n: _delta(runs[n], key, runs[n].settings.get(key)) for n in some}
                _compare(differences, key, deltas, {n: runs[n].settings.get(key) for n in some})
    return [_text(one) for one in differences]


def _comparable(runs: Sequence[_Run], key: str, asked: Sequence[int]) -> list[list[int]]:
    """Those of the cells that are compared in a setting: all, or trainings and evaluations apart.

    Apart from all others are methods whose files are not here, since nothing says what is theirs.
    """
    group = key.split(".")[0]
    if group in expected.FILES and key != group:
        of = {n: runs[n].choice(group) for n in asked}
        strange = {one for one in of.values() if not expected.knows(group, one, runs[0].directories)}
        parts = {n: one if one in strange else None for n, one in of.items()}
        return [[n for n in asked if parts[n] == one] for one in dict.fromkeys(parts.values())]
    if key.split(".")[0] not in OF_THE_COMMAND or key == "datamodule":
        return [list(asked)]
    commands = {number: command_of(runs[number].record.config) for number in asked}
    return [[n for n in asked if commands[n] == one] for one in dict.fromkeys(commands.values())]


def _varying(runs: Sequence[_Run]) -> list[str]:
    """Settings that differ between cells of the same method and schedule; nothing to look further into otherwise."""
    seen: dict[tuple[str, object], set[str]] = {}
    for one in runs:
        for key, value in one.settings.items():
            group = key.split(".")[0]
            of = one.choice(group) if group in expected.FILES else None
            seen.setdefault((key, of), set()).add(_json(value))
    keys = dict.fromkeys(key for key, _ in seen)
    varying = []
    for key in keys:
        values = set().union(*(seen[place] for place in seen if place[0] == key))
        lacking = any(key not in one.settings and _applies(one, key) for one in runs)
        if len(values) > 1 or lacking:
            varying.append(key)
    return varying


def _applies(one: _Run, key: str) -> bool:
    """Whether a cell could differ in a setting: not if the table's axes set it, or its method does not have it."""
    parts = key.split(".")
    if any(
        key == axis or key.startswith(f"{axis}.")
        for axis in (axis.lstrip("+~") for axis in one.where)
        if axis not in CHOICES and axis != "reducer"
    ):
        return False
    if parts[-1] in expected.COUNTS and parts[-1] in one.where:
        return False
    if parts[0] in (*expected.FILES, "merging") or key in ("proportional_attention", "size_weighted"):
        return _reduced(one.cell) and (len(parts) == 1 or key in one.settings or key in _expected(one))
    return True


def _expected(one: _Run) -> Settings:
    return expected.settings(one.record, one.where, one.directories) or {}


def _delta(one: _Run, key: str, value: object) -> str:
    """The value, or that it is the one that conf/ gives a run in this place."""
    known = expected.settings(one.record, one.where, one.directories)
    return AS_EXPECTED if known is not None and _json(known.get(key)) == _json(value) else _json(value)


def _contents_of(one: _Run) -> tuple[object, object]:
    return one.choice("backbone"), one.choice("datamodule")


def _compare(
    differences: list[dict[str, str]], key: str, compared: Mapping[int, object], values: Mapping[int, object]
) -> None:
    """Note which cells do not have what most have.

    compared: by cell, what is counted; values: by cell, what is shown.
    """
    counts = Counter(_json(value) for value in compared.values())
    if len(counts) < 2:
        return
    usual = counts.most_common(1)[0][0]  # of equally many, that of the first cells: of the sweep's own
    example = next(values[number] for number, value in compared.items() if _json(value) == usual)
    for number, value in compared.items():
        if _json(value) != usual:
            differences[number][key] = f"{key}={_shown(values[number])} instead of {_shown(example)}"


def _text(differences: Mapping[str, str]) -> str:
    """The differences on one line; of a group that is another one, not what all comes with it."""
    groups = [key for key in differences if key in CHOICES]
    kept = [text for key, text in differences.items() if key in groups or key.split(".")[0] not in groups]
    more = f" and {len(kept) - MOST} more" if len(kept) > MOST else ""
    return ", ".join(kept[:MOST]) + more


def _mark_code(runs: Sequence[_Run]) -> None:
    """Cells whose method had other code than in the last run of it; runs that do not say are unknown."""
    newest: dict[tuple[str, str], str] = {}
    every = [record for one in runs for record in one.cell.records]  # one for each seed
    for record in sorted(every, key=lambda record: record.finished or ""):
        for group, value in (record.code or {}).items():
            newest[group, str(record.part(group))] = value
    for one in runs:
        earlier = {
            f"measured with earlier code of {group} {record.part(group)}": None
            for record in one.cell.records
            for group, value in (record.code or {}).items()
            if newest[group, str(record.part(group))] != value and (group != "reducer" or _reduced(one.cell))
        }
        one.cell.remarks += earlier


def reader(cell: Cell) -> str | None:
    """By which version of the reader a cell's pictures were read, if not by today's.

    That of one of its seeds at least. A record that does not say, of a data set that has a reader, is of the first
    version.

    Args:
        cell: one that was measured.

    Returns:
        Words for a footnote; None for today's version.
    """
    node = cell.records[-1].config.get("datamodule")
    target = node.get("_target_") if isinstance(node, dict) else None
    if not isinstance(target, str) or constants.sets_none(target, "reader"):  # of no files of pictures
        return None
    today, own = constants.constant(target, "READER"), [record.reader for record in cell.records]
    earliest = min((one for one in own if one is not None), default=None)
    if today is None or earliest is None or earliest >= today:
        return None
    return f"as by version {earliest}, not {today} (CHANGELOG.md)"


def _json(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _shown(value: object) -> str:
    return _json(value)[:80]
