"""Writes `docs/api/`: a page for each room of the API reference, with a table of its modules and their docstrings."""

import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path

from sphinx.application import Sphinx

# Pages, and the packages on each: with their modules, or, where `__all__` says what is public, by themselves.
WITH_MODULES = {
    "atc.vit": ["atc.vit"],
    "atc.vit.hosts": ["atc.vit.hosts", "atc.vit.hosts.transformers", "atc.vit.hosts.open_clip"],
    "atc.cost": ["atc.cost"],
    "atc.study": ["atc.study", "atc.study.measures"],
    "reducers": ["reducers"],
    "datamodules": ["datamodules"],
    "datamodules.io": ["datamodules.io"],
}
ALONE = {
    **{name: [name] for name in ("atc", "atc.core", "atc.dense", "atc.diffusion")},
    "atc.ops": ["atc.ops.linkage", "atc.ops.matching", "atc.ops.merge", "atc.ops.segment"],
}


def modules(package: str) -> Iterator[str]:
    """The public modules of a package, not those of packages inside it."""
    for found in pkgutil.iter_modules(importlib.import_module(package).__path__):
        if not found.ispkg and not found.name.startswith("_"):
            yield f"{package}.{found.name}"


def page(title: str, shown: list[str]) -> str:
    """reStructuredText: a heading, a table where there are several modules, and each module's docstrings."""
    parts = [f"{title}\n{'=' * len(title)}\n"]
    if len(shown) > 1:
        parts.append(".. autosummary::\n\n" + "\n".join(f"   {name}" for name in shown) + "\n")
    for name in shown:
        heading = f"{name}\n{'-' * len(name)}\n\n" if len(shown) > 1 else ""
        parts.append(f"{heading}.. automodule:: {name}\n   :members:\n   :show-inheritance:\n")
    return "\n".join(parts)


def _write(app: Sphinx) -> None:
    """All pages; one that is there already, word for word, is left as it is, so that Sphinx need not read it again."""
    folder = Path(app.srcdir) / "api"
    folder.mkdir(exist_ok=True)
    for title, packages in (ALONE | WITH_MODULES).items():
        shown = packages
        if title in WITH_MODULES:
            shown = [name for package in packages for name in (package, *modules(package))]
        file, text = folder / f"{title}.rst", page(title, shown)
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("builder-inited", _write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
