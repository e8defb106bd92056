"""The pages that list all methods, and all tables and figures."""

from collections.abc import Mapping, Sequence

from atc.report.report import Report
from pages.method import Method
from pages.table import table

NOT_RUN = "not\u00a0run"  # on one line
TREE = "```{toctree}\n:hidden:\n:glob:\n\n*\n```"
GROUPS = {
    "Of the papers": ("atc_", "token_reduction_", "ots_"),
    "Studies of reduction patterns": ("study_",),
    "Other": ("",),
}


def of_methods(every: Sequence[Method]) -> str:
    """The page that lists all methods.

    Args:
        every: all methods.

    Returns:
        Markdown.
    """
    about = "What one types, what it is called, where it is from, and what it does with tokens."
    return "\n\n".join(["# All methods", about, table(every, "{}.md"), TREE]) + "\n"


def of_results(reports: Mapping[str, Report]) -> str:
    """The page that lists all tables and figures.

    Args:
        reports: all of them, by name.

    Returns:
        Markdown.
    """
    parts = ["# Tables and figures", "Each is one file of `sweeps/`, and one command."]
    left = dict(reports)
    for heading, begins in GROUPS.items():
        shown = {name: left.pop(name) for name in list(left) if name.startswith(begins)}
        lines = ["| file | what it shows | ours |", "| --- | --- | --- |"]
        for name, report in shown.items():
            lines.append(f"| [{name}]({name}.md) | {report.layout.title} | {'kept' if report.measured else NOT_RUN} |")
        parts += [f"## {heading}", "\n".join(lines)]
    return "\n\n".join([*parts, TREE]) + "\n"
