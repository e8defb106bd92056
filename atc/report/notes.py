"""The notes below a table, from the runs behind it."""

from collections.abc import Collection, Iterable, Sequence
from math import sqrt

from atc import provenance
from atc.report import marks, remarks, same_settings
from atc.report.cells import RESULT, UNREACHABLE, UNTRAINED, Cell, is_finite
from atc.report.layout import Layout
from atc.report.matching import BASELINE
from atc.runs.record import Record


def table_notes(layout: Layout, cells: Sequence[Cell]) -> list[str]:
    """How complete the table is, what it was measured with, and what cannot be read off it."""
    return [
        *_completeness(cells),
        *_left_out(cells),
        *_images(cells),
        *_reader(cells),
        *_origins(cells),
        *_scatter(cells),
        *_sources(cells),
        *_floor(layout, cells),
    ]


def _completeness(cells: Sequence[Cell]) -> list[str]:
    wanted = [cell for cell in cells if cell.state not in UNREACHABLE]
    done = sum(cell.state == "measured" for cell in wanted)
    failed = sum(cell.state == "failed" for cell in wanted)
    seeds = sorted({len(cell.values) for cell in wanted if cell.values})
    parts = [f"{done} of {len(wanted)} cells measured" + (f", {failed} failed" if failed else "")]
    if seeds and seeds[-1] > 1:
        parts.append(f"mean ± standard deviation over {'-'.join(map(str, seeds))} seeds")
    elif done:
        parts.append("one seed")
    if any(cell.state == "out of reach" for cell in cells):
        parts.append("– is out of the method's reach")
    return ["; ".join(parts) + "."]


def _left_out(cells: Sequence[Cell]) -> list[str]:
    """Runs that would stand in the table were it not for settings that the others do not have, or a score missing."""
    lines = []
    shown = {one.identity for cell in cells for one in cell.records}
    pairs = [(one, cell) for cell in cells for one in cell.other_settings if one.identity not in shown]
    if pairs:
        runs = _count({str(one.identity) for one, _ in pairs})
        differing = {text for one, cell in pairs for text in _differences(one, cell)}
        lines.append(f"Left out, for settings that most runs do not have: {runs} ({_few(differing, 5)}).")
    unscored = {str(record.identity): record for cell in cells for record in cell.without_score}
    if unscored:
        scores = {str(record.score) for record in unscored.values()}
        lines.append(f"Left out, for want of the number they are scored by, {_few(scores)}: {_count(unscored)}.")
    return lines


def _images(cells: Sequence[Cell]) -> list[str]:
    """That a whole table was measured on a part of the images; a cell that was is marked by itself."""
    known = [remarks.images(cell) for cell in cells if cell.records]
    if not known or any(used is None or of is None or used >= of for used, of in known):
        return []
    shares = dict.fromkeys(f"{used:,} of {of:,}" for used, of in known)
    return [f"Every number is from a part of the images: {_few(shares)}."]


def _reader(cells: Sequence[Cell]) -> list[str]:
    """That a whole table is of an earlier reader of pictures; a cell that is alone in that is marked by itself."""
    readers = {marks.reader(cell) for cell in cells if cell.records}
    (only,) = readers if len(readers) == 1 else (None,)
    return [f"All pictures were read {only}."] if only else []


def _differences(other: Record, cell: Cell) -> list[str]:
    reduced = cell.where["setting"] != BASELINE
    theirs, ours = same_settings.settings(other, reduced), same_settings.settings(cell.records[0], reduced)
    return [
        f"{key}={theirs.get(key, 'null')}, not {ours.get(key, 'null')}"
        for key in same_settings.difference([theirs, ours])
    ]


def _count(runs: Collection[str]) -> str:
    return f"{len(runs)} run{'s' * (len(runs) > 1)}"


def _origins(cells: Sequence[Cell]) -> list[str]:
    """On what, with what and from which code the numbers come."""
    records = {id(record): record for cell in cells for record in cell.records}.values()
    if not records:
        return []
    gpus = {", ".join(record.machine.get("gpus", [])) or "CPU" for record in records}
    versions = {f"{name} {version}" for record in records for name, version in record.versions.items()}
    main = sorted(item for item in versions if item.split()[0] in ("torch", "timm"))
    commits = {provenance.short(record.commit) for record in records if record.commit is not None}
    releases = {f"atc-toolkit {record.versions.get('atc-toolkit', '?')}" for record in records if record.commit is None}
    code = [*([f"commit {_few(commits)}"] if commits else []), *sorted(releases)]
    hours = sum(record.wall_time_s or 0 for record in records) / 3600
    return [f"{len(records)} runs, {hours:.2g} hours in all, on {_few(gpus)}; {', '.join(main)}; {', '.join(code)}."]


def _scatter(cells: Sequence[Cell]) -> list[str]:
    """How far FID scatters within runs, which have measured it on parts of the images and of the reference."""
    said = {"reference_subsets": "other photographs", "seeds": "images of other seeds"}
    parts = []
    for key, words in said.items():
        values = _values(cells, f"_std_{key}")
        if values:
            low, high = (f"{value:.2f}" for value in (min(values), max(values)))
            parts.append(f"{low} with {words}" if low == high else f"{low} to {high} with {words}")
    return [f"Within a run, between parts of it, the standard deviation is {' and '.join(parts)}."] if parts else []


def _values(cells: Sequence[Cell], ending: str) -> list[float]:
    results = [(cell, record.result(RESULT[cell.where["setting"]]) or {}) for cell in cells for record in cell.records]
    found = [result.get(f"{cell.metric.name}{ending}") for cell, result in results]
    return [value for value in found if value is not None and is_finite(value)]


def _sources(cells: Sequence[Cell]) -> list[str]:
    sources = sorted({cell.source for cell in cells if cell.source})
    return [f"Published numbers: {'; '.join(sources)}."] if sources else []


def _floor(layout: Layout, cells: Sequence[Cell]) -> list[str]:
    """Which results cannot be told from those of the floor: two standard errors of a difference."""
    if layout.floor is None or layout.images is None:
        return []
    floors = {_place(cell): cell for cell in cells if cell.where["reducer"] == layout.floor}
    groups = []
    for place, floor in floors.items():
        above = [c.mean for c in cells if _place(c) == place and c is not floor and _is_compared(c)]
        means = [value for value in above if value is not None]
        if floor.mean is None or not means:
            continue
        share = min(max(floor.mean / floor.metric.scale, 0.0), 1.0)
        images = remarks.images(floor)[0] or layout.images
        margin = 200 * sqrt(2 * share * (1 - share) / images)
        level = sum(value <= floor.mean + margin for value in means)
        if level:
            where = " ".join(value.replace("_", " ") for _, value in place)
            groups.append(f"{where}: {level} of {len(means)} methods (± {margin:.1f})")
    if not groups:
        return []
    return [
        f"Not better than {layout.floor} pruning by more than two standard errors on {layout.images} images: "
        + "; ".join(groups)
        + "."
    ]


def _is_compared(cell: Cell) -> bool:
    return cell.where["reducer"] != "none" and UNTRAINED not in cell.remarks


def _place(cell: Cell) -> tuple[tuple[str, str], ...]:
    return tuple((key, value) for key, value in cell.where.items() if key != "reducer")


def _few(values: Iterable[str], most: int = 3) -> str:
    ordered = sorted(values)
    return ", ".join(ordered[:most]) + (f" and {len(ordered) - most} more" if len(ordered) > most else "")
