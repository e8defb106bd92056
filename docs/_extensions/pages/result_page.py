"""The page of a table or figure: how it is made, on what, and what is kept of it."""

from collections.abc import Collection, Iterator

import yaml

from atc.config import build
from atc.report import layout
from atc.report.report import Report
from pages.numbers import markdown, published
from pages.prose import prose
from pages.sweep_head import Head, head

LONG = 60  # rows; of a figure with more, the table is left out
NOT_RUN = "**Not run.** No result of ours is kept."


def page(report: Report, pages: Collection[str]) -> str:
    """The page of a table or figure.

    Args:
        report: the table or figure.
        pages: the names of all of them.

    Returns:
        Markdown; of a figure with numbers of ours, the picture is NAME.svg in the same folder.
    """
    name = report.layout.name
    said = head(layout.sweeps_dir() / f"{name}.yaml")
    parts = [
        f"# {report.layout.title}",
        prose(said.about, pages),
        prose(said.more, pages),
        "## Result",
        _result(report),
        "## How it is made",
        *_made(report, said, pages),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def is_drawn(report: Report) -> bool:
    """Whether there is a figure with numbers of ours; those of the study on digits, which say nothing, are left out."""
    return report.layout.drawn and report.measured and not report.layout.name.startswith("study_digits")


def _result(report: Report) -> str:
    table, parts = report.table, []
    if not report.measured:
        parts.append(NOT_RUN)
        if table.compared:
            parts += ["The published numbers:", markdown(published(table))]
    elif is_drawn(report):
        name = report.layout.name
        parts.append(f"[![{report.layout.title}]({name}.svg)]({name}.svg)")
    if report.measured and (not report.layout.drawn or len(table.rows) <= LONG):
        parts.append(markdown(table))
    sources = dict.fromkeys(cell.source for cell in report.cells if cell.source)
    if sources:
        parts.append("Published in: " + "; ".join(prose(source) for source in sources) + ".")
    return "\n\n".join(parts)


def _made(report: Report, said: Head, pages: Collection[str]) -> Iterator[str]:
    commands, remarks = said.commands(), prose(said.remarks(), pages)
    if commands:
        yield "```\n" + "\n".join(commands) + "\n```"
    if remarks:
        yield f"{remarks}." if remarks[-1].isalnum() else remarks
    yield "```\n" + "\n".join(said.shown_by()) + "\n```"
    several, name = report.layout.sweeps, report.layout.name
    lines = [f"- Settings: `sweeps/{name}.yaml`"]
    if several != (name,):
        lines.append("- Runs: those of " + ", ".join(f"[{one}]({one}.md)" if one in pages else one for one in several))
    elif report.layout.points:
        lines.append(f"- Runs: {len(report.layout.points)}")
    data = ", ".join(f"`{one}`" for one in data_sets(report))
    lines.append(f"- Data: {data} ([where they are from, and how they lie on disk](../../data.md))")
    if said.hardware():
        lines.append(f"- Hardware and time: {prose(said.hardware(), pages)}")
    yield "\n".join(lines)


def data_sets(report: Report) -> list[str]:
    """The data sets of the runs, by their names in conf/datamodule.

    Args:
        report: the table or figure.

    Returns:
        Those of the grids, else that of the sweep file, its experiment or its command.
    """
    found = dict.fromkeys(point["datamodule"] for point in report.layout.points if "datamodule" in point)
    if found:
        return list(found)
    return list(dict.fromkeys(_data_set(sweep) for sweep in report.layout.sweeps))


def _data_set(sweep: str) -> str:
    chosen = _chosen((layout.sweeps_dir() / f"{sweep}.yaml").read_text(encoding="utf-8"))
    for name in (f"experiment/{chosen['experiment']}" if "experiment" in chosen else "", chosen.get("", "evaluate")):
        if name and "datamodule" not in chosen:
            chosen = _chosen((build.conf_dir() / f"{name}.yaml").read_text(encoding="utf-8")) | chosen
    return chosen.get("datamodule", "imagenet")


def _chosen(text: str) -> dict[str, str]:
    """The options that the defaults of a file choose, by group; under "" the file that it begins with."""
    found: dict[str, str] = {}
    for one in (yaml.safe_load(text) or {}).get("defaults", []):
        if isinstance(one, dict):
            found |= {key.removeprefix("override ").removeprefix("/"): str(value) for key, value in one.items()}
        elif one != "_self_":
            found[""] = one
    return found
