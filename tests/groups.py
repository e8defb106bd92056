"""Tests that share what one of them makes, in one process: `pytest.mark.xdist_group` under pytest 9.2 and later.

pytest-xdist 3.8 writes the group into an attribute that pytest 9.2 no longer reads, so that each process made it anew.
"""

import pytest


def into_groups(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the group behind the node id, where pytest-xdist's scheduler looks for it.

    Args:
        config: that of a process of pytest-xdist, which knows whether tests go by groups.
        items: what it has collected.
    """
    if not getattr(config.option, "loadgroup", False):
        return
    for item in items:
        groups = {str(mark.args[0]) for mark in item.iter_markers("xdist_group")}
        node = getattr(item, "_id", None)
        if groups and node is not None and "@" not in item.nodeid.rpartition("]")[2]:
            item._id = type(node).parse(f"{item.nodeid}@{'_'.join(sorted(groups))}")  # type: ignore[attr-defined]
