"""Modules that have moved into `datamodules.io`: an import by the old name works for one release.

`atc.moved` does the same for the framework, of which data sets import nothing.
"""

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
import warnings
from collections.abc import Sequence
from types import ModuleType

# Old name: present name
MODULES = {
    "datamodules.decode": "datamodules.io.decode",
    "datamodules.devkit": "datamodules.io.imagenet_devkit",
    "datamodules.files": "datamodules.io.files",
    "datamodules.hub": "datamodules.io.parquet",
    "datamodules.layout": "datamodules.io.layout",
    "datamodules.listing": "datamodules.io.listing",
    "datamodules.loaders": "datamodules.io.loaders",
    "datamodules.matlab": "datamodules.io.matlab",
    "datamodules.pictures": "datamodules.io.pictures",
    "datamodules.ranges": "datamodules.io.ranges",
    "datamodules.shards": "datamodules.io.shards",
    "datamodules.targets": "datamodules.io.targets",
    "datamodules.workers": "datamodules.io.workers",
}


class _OldNames(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports a module by its old name as the module it is now, with a DeprecationWarning."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The specification of a module that has moved; None for any other."""
        return importlib.util.spec_from_loader(fullname, self) if fullname in MODULES else None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        """The module under its present name."""
        now = MODULES[spec.name]
        module = importlib.import_module(now)
        warnings.warn(f"{spec.name} is now {now}; the old name goes with the next release", DeprecationWarning, 2)
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Nothing is run again; the module keeps the specification of its present name."""
        if module.__spec__ is not None:
            module.__spec__ = module.__spec__.loader_state


def serve_old_imports() -> None:
    """Let `import` find what has moved by its old name, too."""
    if not any(isinstance(finder, _OldNames) for finder in sys.meta_path):
        sys.meta_path.append(_OldNames())
