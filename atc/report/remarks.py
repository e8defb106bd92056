"""Remarks on how a cell was measured: in which arithmetic, on how many images."""

from collections import Counter
from collections.abc import Iterable, Sequence

from atc.report.cells import RESULT, Cell


def mark_tf32(cells: Sequence[Cell]) -> None:
    """Mark cells in whose runs TF32 rounded what it did not in most others; `trainer.precision` is marked as a setting.

    Args:
        cells: those that were measured.
    """
    used = {id(cell): _tf32(cell) for cell in cells}
    counts = Counter(words for words in used.values() if words is not None)
    if len(counts) < 2:
        return
    usual = counts.most_common(1)[0][0]
    for cell in cells:
        words = used[id(cell)]
        if words is not None and words != usual:
            cell.remarks.append(f"computed with {words} instead of {usual}")


def _tf32(cell: Cell) -> str | None:
    """What TF32 rounded in the last run of a cell, in words; None if its record does not say."""
    known = cell.records[-1].tf32
    if known is None:
        return None
    rounded = [name.replace("_", " ") for name, value in known.items() if value]
    return f"TF32 {' and '.join(rounded)}" if rounded else "no TF32"


def mark_images(cells: Sequence[Cell]) -> None:
    """Mark cells measured on fewer images than there are, or than the others of the data set.

    Args:
        cells: those that were measured.
    """
    behind = {id(cell): images(cell) for cell in cells}
    usual: dict[str | None, int] = {}
    for cell in cells:
        used, of = behind[id(cell)]
        if used is not None:
            place = cell.records[-1].datamodule
            usual[place] = max(usual.get(place, 0), of or 0, used)
    for cell in cells:
        used, _ = behind[id(cell)]
        whole = usual.get(cell.records[-1].datamodule)
        if used is not None and whole is not None and used < whole:
            cell.remarks.append(f"measured on {used:,} of {whole:,} images")


def images(cell: Cell) -> tuple[int | None, int | None]:
    """How many images a cell was measured on, the least of its runs, and how many there are; None if not known."""
    results = [record.result(RESULT[cell.where["setting"]]) or {} for record in cell.records]
    used, of = (_counts(result.get(key) for result in results) for key in ("images", "images_of"))
    return min(used, default=None), max(of, default=None)


def _counts(values: Iterable[object]) -> list[int]:
    return [value for value in values if isinstance(value, int)]
