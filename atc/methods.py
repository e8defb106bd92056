"""Which methods there are: the files of conf/reducer, and the entry-point group ``atc.reducers`` of installed packages.

Nothing is imported but by `classes`.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

import yaml

GROUP = "atc.reducers"
_HERE = Path(__file__).resolve().parent


def conf_dir() -> Path:
    """The configuration tree: inside the package when installed from a wheel, beside it in a checkout."""
    packaged = _HERE / "conf"
    return packaged if packaged.is_dir() else _HERE.parent / "conf"


def installed() -> dict[str, EntryPoint]:
    """The methods that installed packages bring, by name."""
    return {point.name: point for point in entry_points(group=GROUP)}


def targets() -> dict[str, str]:
    """Where the class of each method is, by name: a file of conf/reducer counts, else an installed package."""
    found = {name: f"{point.module}.{point.attr}" for name, point in installed().items()}
    for path in (conf_dir() / "reducer").glob("*.yaml"):
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
