"""The one table a run ends with."""

import io

from rich.console import Console
from rich.table import Table

from atc.core.metric import Metric
from atc.runs.record import Record, Result

REPLAYED = "images_per_second_replayed"
COLUMNS = {
    "dense": "without reduction",
    "off_the_shelf": "off the shelf",
    "checkpoint": "checkpoint",
    "fine_tuned": "fine-tuned",
}


def summary_text(record: Record, outputs: str) -> str:
    """What a record holds, to be read: the settings, then accuracy, speed and cost, with and without reduction.

    Args:
        record: that of a run that has ended.
        outputs: where the run's files are.

    Returns:
        Lines for the terminal.
    """
    out = io.StringIO()
    console = Console(file=out, width=110)
    facts = Table.grid(padding=(0, 2))
    facts.add_row("reducer", f"{record.reducer}, {record.schedule}" if record.reduces else "none")
    facts.add_row("backbone", f"{record.backbone} on {record.datamodule}")
    facts.add_row("tokens entering each block", " ".join(map(str, record.tokens_per_block)))
    for notice in record.notices or ():
        facts.add_row("note", notice)
    if record.corrupt_images is not None:
        facts.add_row("corrupt images skipped", f"{record.corrupt_images:,}")
    results = {name: result for name in record.results if (result := record.result(name)) is not None}
    if (part := _images(results.get("validation", {}))).count(" of "):
        facts.add_row("validation images", part)
    console.print()
    console.print(facts)

    shown = [name for name in COLUMNS if name in results or (name == "dense" and record.reduces)]
    table = Table(show_edge=False, pad_edge=False)
    table.add_column("")
    for name in shown:
        table.add_column(COLUMNS[name], justify="right")
    metric = record.scored_by
    table.add_row(f"test {metric.label}", *(_scored(results.get(name), metric) for name in shown))
    if any("images" in results.get(name, {}) for name in shown):
        table.add_row("test images", *(_images(results.get(name, {})) for name in shown))
    for label, key, form in _costs(record, REPLAYED in results):
        if key in results:
            table.add_row(label, *_cells(results[key], shown, form, _other_counts(record, shown)))
    console.print()
    console.print(table)
    console.print()
    console.print(f"outputs in {outputs}", soft_wrap=True, markup=False)  # a path is there to be copied
    return out.getvalue()


def _costs(record: Record, both: bool) -> list[tuple[str, str, str]]:
    """Label, key and form of each row about speed and cost; of two speeds, the first is the one of this run."""
    speeds = [("images/s", "images_per_second")]
    if both and record.config.get("cuda_graph"):
        speeds = [("images/s", REPLAYED), ("images/s, without a CUDA graph", "images_per_second")]
    elif both:
        speeds.append(("images/s as a CUDA graph", REPLAYED))
    return [*((label, key, ",.0f") for label, key in speeds), ("GFLOPs per image", "gflops", ".4g")]


def _scored(result: Result | None, metric: Metric) -> str:
    value = None if result is None else result.get(metric.name)
    return "not evaluated" if value is None else f"{metric.shown(value):.2f}"


def _images(result: Result) -> str:
    """How many images a score is over, beside how many there are where it is not over all."""
    count, of = result.get("images"), result.get("images_of")
    if count is None:
        return ""
    return f"{count:,}" if of in (None, count) else f"{count:,} of {of:,}"


def _other_counts(record: Record, shown: list[str]) -> str | None:
    """Before a training: where images keep different numbers of tokens, these are others than after it."""
    varying = any(float(tokens) % 1 for tokens in record.tokens_per_block)
    return "off_the_shelf" if varying and "fine_tuned" in shown else None


def _cells(values: Result, shown: list[str], form: str, unknown: str | None = None) -> list[str]:
    """One cell per column but the unknown; what is reduced also as a multiple of what is not."""
    cells, dense = [], values["dense"] or 0.0
    for name in shown:
        if name == unknown:
            cells.append("not measured")
            continue
        reduced = name != "dense" and "reduced" in values
        value = (values["reduced"] or 0.0) if reduced else dense
        ratio = f" (x{value / dense:.2f})" if reduced else ""
        cells.append(f"{value:{form}}{ratio}")
    return cells
