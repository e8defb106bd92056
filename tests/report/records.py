"""Records of runs that were never made, for tests of what is done with records."""

import hashlib
from collections.abc import Iterable
from typing import Any

from atc.report import report
from atc.report.layout import Layout
from atc.runs.record import Record

Parts = dict[str, Any]  # of a record, as its file has them


def report_of(layout: Layout, records: Iterable[Parts]) -> report.Report:
    """A report on records that are given by their parts."""
    return report.build_report(layout, [Record.read(one) for one in records])


def parts(sweep: str, score: float | None = None, **columns: Any) -> Parts:
    """What the store holds of a finished run: `score` off the shelf, a point less without reduction, one more tuned."""
    results = {} if score is None else {"dense": score - 0.01, "off_the_shelf": score, "fine_tuned": score + 0.01}
    return {
        # Not hash(), which differs between the processes of one suite.
        "identity": hashlib.sha256(repr((sweep, *columns.items())).encode()).hexdigest()[:12],
        "sweep": sweep,
        "status": "finished",
        "finished": "2026-01-31T12:00:00+00:00",
        "seed": 0,
        "score": "accuracy",
        "commit": "0" * 40,
        "command": "train.py paths.data=/home/somebody",
        "machine": {"platform": "somewhere", "gpus": []},
        "versions": {"torch": "2.6", "timm": "1.0.20"},
        "wall_time_s": 60.0,
        "results": {name: {"accuracy": value} for name, value in results.items()},
        "config": {"task": {"mixup": 0.8, "cutmix": 1.0}},
        **columns,
    }
