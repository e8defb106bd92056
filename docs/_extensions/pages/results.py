"""The tables and figures of sweeps/, built from the results that are kept in benchmarks/."""

from collections.abc import Sequence
from pathlib import Path

from atc.report import layout, report, study, throughput
from atc.report.report import Report
from atc.runs.store import Store
from pages.method import CHECKOUT

KEPT = CHECKOUT / "benchmarks"


def reports(kept: Path = KEPT, names: Sequence[str] | None = None) -> dict[str, Report]:
    """Every table and figure there is, by name, whether it was measured or not.

    Args:
        kept: where the results are.
        names: of some of them; None: all.

    Returns:
        The reports, in the order of the names.
    """
    records = Store(kept).records()
    studies = study.read([kept])
    measured = throughput.measurements([kept])
    found: dict[str, Report] = {}
    for name in layout.names() if names is None else names:
        shown = layout.load(name)
        if shown.kind in layout.STUDY:
            found[name] = study.build_study(shown, studies)
        elif shown.kind == "throughput":
            found[name] = throughput.build_throughput(shown, measured)
        else:
            found[name] = report.build_report(shown, records)
    return found
