"""Which methods are the best of a table's columns, and which cannot be told from them on the same images."""

from collections.abc import Sequence

from atc.report import paired
from atc.report.cells import RESULT, UNTRAINED, Cell
from atc.report.paired import ALPHA, Array
from atc.runs import predictions

SHARE = f"{100 * ALPHA:.0f} %"


def mark_best(cells: Sequence[Cell]) -> list[str]:
    """Say of cells whether they are the best of those that differ from them in the method alone, or tied with it.

    Tied is what McNemar's exact test does not tell from the best, corrected by Holm over the methods compared with it.
    It takes one run each, scored by accuracy, whose predictions are kept, of the same images.

    Args:
        cells: of a table; their `best` is set.

    Returns:
        What to say below the table.
    """
    groups: dict[tuple[tuple[str, str], ...], list[Cell]] = {}
    for cell in cells:
        if cell.where["reducer"] != "none" and cell.values and UNTRAINED not in cell.remarks:
            place = tuple((key, value) for key, value in cell.where.items() if key != "reducer")
            groups.setdefault(place, []).append(cell)
    several = [members for members in groups.values() if len(members) > 1]
    tested = [_mark(members) for members in several]
    if not several:
        return []
    said = "Bold (* on a terminal): the best of the methods at the same place"
    if any(tested):
        said += f", and what a paired test does not tell from it (McNemar, exact, Holm over the methods, {SHARE})"
    untested = len(tested) - sum(tested)
    if untested:
        of = f"In {untested} of {len(tested)} places" if any(tested) else "Here"
        said += f". {of} runs have no predictions of the same images, one run a method, to test ties by"
    return [f"{said}."]


def _mark(members: Sequence[Cell]) -> bool:
    """Mark the cells of a place; whether all of them could be tested."""
    means = [cell.mean or 0.0 for cell in members]
    best = members[0].metric.best(means)
    leaders = [cell for cell, value in zip(members, means, strict=True) if value == best]
    for cell in leaders:
        cell.best = "best"
    others = [cell for cell in members if cell.best is None]
    known = {id(cell): _correct(cell) for cell in members}
    first = known[id(leaders[0])]
    compared = [(cell, found) for cell in others if (found := known[id(cell)]) is not None]
    if first is None:
        return not others
    same = [(cell, right) for cell, (names, right) in compared if names == first[0]]
    ps = [paired.mcnemar(int((first[1] & ~right).sum()), int((right & ~first[1]).sum())) for _, right in same]
    for (cell, _), p in zip(same, paired.holm(ps), strict=True):
        if p >= ALPHA:
            cell.best = "tied"
    return len(same) == len(others)


def _correct(cell: Cell) -> tuple[str, Array] | None:
    """A hash of the images' names, and which of them are right; None where that is not known of one run."""
    if len(cell.records) != 1 or cell.metric.name != "accuracy":
        return None
    brief = (cell.records[0].predictions or {}).get(RESULT[cell.where["setting"]])
    right = None if brief is None else predictions.correct_of(brief)
    return None if brief is None or right is None else (str(brief.get("names")), right)
