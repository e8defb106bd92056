"""Which methods there are: the files of conf/reducer, and the entry-point group ``atc.reducers`` of installed packages.

Nothing is imported but by `classes`.
"""

from __future__ import annotations

import functools
import importlib
import logging
import os
import sys
from collections.abc import Iterable, Iterator
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

import yaml

GROUP = "atc.reducers"
_log = logging.getLogger(__name__)
_HERE = Path(__file__).resolve().parent


def conf_dir() -> Path:
    """The configuration tree: inside the package when installed from a wheel, beside it in a checkout."""
    packaged = _HERE / "conf"
    return packaged if packaged.is_dir() else _HERE.parent / "conf"


def points(group: str) -> tuple[EntryPoint, ...]:
    """The entry points of installed packages.

    To find them, every installed package is looked into, which takes milliseconds: it is done again only where a
    directory that Python imports from has changed.

    Args:
        group: of entry points, such as "atc.reducers".

    Returns:
        The points, in the order of the packages.
    """
    return _points(group, tuple(_state(str(place)) for place in sys.path))


@functools.lru_cache(maxsize=8)
def _points(group: str, _: tuple[tuple[str, int], ...]) -> tuple[EntryPoint, ...]:
    found = tuple(entry_points(group=group))
    for point in found:
        if group == GROUP and (conf_dir() / "reducer" / f"{point.name}.yaml").is_file():
            text = "%s brings a method %r, a name that a method of this toolkit has and keeps: give it another"
            _log.warning(text, point.dist.name if point.dist else point.value, point.name)
    return found


def _state(place: str) -> tuple[str, int]:
    """A directory, and when something was last put there or removed, in nanoseconds."""
    path = os.path.abspath(place)
    try:
        return path, os.stat(path).st_mtime_ns
    except OSError:
        return path, 0


def installed() -> dict[str, EntryPoint]:
    """The methods that installed packages bring, by name."""
    return {point.name: point for point in points(GROUP)}


def targets(directories: Iterable[Path] = ()) -> dict[str, str]:
    """Where the class of each method is, by name: a file of conf/reducer counts, else one of one's own, else a package.

    Args:
        directories: of one's own, which may have a folder `reducer`.

    Returns:
        Dotted names.
    """
    found = {name: f"{point.module}.{point.attr}" for name, point in installed().items()}
    files = [path for place in (*directories, conf_dir()) for path in (place / "reducer").glob("*.yaml")]
    for path in files:
        node = yaml.safe_load(path.read_text(encoding="utf-8"))
        if isinstance(node, dict) and isinstance(node.get("_target_"), str):
            found[path.stem] = node["_target_"]
    return dict(sorted(found.items()))


def classes() -> Iterator[tuple[str, Any]]:
    """Name and class of each method, those of installed packages first; one that cannot be imported is passed over."""
    brought = installed()
    for name, dotted in sorted(targets().items(), key=lambda item: item[0] not in brought):
        module, _, attribute = dotted.rpartition(".")
        try:
            yield name, getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError):
            continue  # choosing it says why
