"""What of a test run was skipped, for `.ci/run`: nothing but what needs a GPU may be.

ATC_SKIPS_TO=FILE writes the tests that were skipped, and the files that were as a whole, one a line; with
ATC_SLOW_AND=FILE, those and the slow tests are run (`pytest -m ""`) and no others. ATC_NO_SKIPS=1 fails the run where
something is skipped. ATC_CI_NO_BROWSER=1 lets tests of the browser be skipped.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

NO_BROWSER = "needs Chromium"  # how the reason begins where the browser is not there
_OF_A_GPU = {"gpu", "no_gpu"}  # markers


def skipped(reports: Iterable[Any]) -> dict[str, str]:
    """The tests, or files, that were skipped for another reason than a GPU.

    Args:
        reports: pytest's, of tests or of collecting files.

    Returns:
        Reasons by node id.
    """
    found = {}
    for report in reports:
        reason = str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr)
        reason = reason.removeprefix("Skipped: ")
        of_browser = os.environ.get("ATC_CI_NO_BROWSER") == "1" and reason.startswith(NO_BROWSER)
        if not (_OF_A_GPU & set(getattr(report, "keywords", ())) or of_browser):
            found[_ungrouped(report.nodeid)] = reason
    return found


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the slow tests and those of a list of skipped ones, where there is such a list."""
    place = os.environ.get("ATC_SLOW_AND")
    if place is None:
        return
    before = set(Path(place).read_text().splitlines())
    chosen, others = [], []
    for item in items:
        test = _ungrouped(item.nodeid)
        wanted = item.get_closest_marker("slow") or {test, test.partition("::")[0]} & before
        (chosen if wanted else others).append(item)
    config.hook.pytest_deselected(items=others)
    items[:] = chosen


def _ungrouped(node: str) -> str:
    """A node id without the group that pytest-xdist adds: `file::test[parameter]@group`."""
    name, at, group = node.rpartition("@")
    return name if at and "]" not in group else node


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the files, or fail the run; in the process that has the reports of all others."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or hasattr(session.config, "workerinput"):
        return
    found = skipped(reporter.stats.get("skipped", []))
    if place := os.environ.get("ATC_SKIPS_TO"):
        Path(place).write_text("".join(f"{name}\n" for name in sorted(found)))
    if found and os.environ.get("ATC_NO_SKIPS") == "1":
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        for name, reason in found.items():
            reporter.write_line(f"ERROR: {name} may not be skipped: {reason}", red=True)
