"""Names that have moved: old modules and `_target_`s, and where they are now.

Run directories, stores and configurations of users name constructors by their dotted path. `target` and `targets`
read such a path as the present one, so that a run of before is evaluated, resumed and recognised. An import by an old
name still works for one release, with a DeprecationWarning.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

# Old name: present name. The longest old name that a dotted path begins with counts.
MODULES = {
    "atc.analysis": "atc.pictures",
    "atc.arguments": "atc.config.arguments",
    "atc.bench.flops": "atc.cost.flops",
    "atc.bench.forward": "atc.bench.throughput",
    "atc.bench.interleaved": "atc.cost.interleaved",
    "atc.bench.memory": "atc.cost.memory",
    "atc.bench.rivals": "atc.bench.baselines",
    "atc.bench.share": "atc.bench.reducer_share",
    "atc.bench.shown": "atc.cost.throughput_table",
    "atc.bench.tokens": "atc.cost.tokens",
    "atc.build": "atc.config.build",
    "atc.choices": "atc.config.combinations",
    "atc.complaint": "atc.config.errors",
    "atc.multirun": "atc.grids.multirun",
    "atc.ops.linkage.gpu": "atc.ops.linkage.triton.launch",
    "atc.ops.linkage.gpu_kernel": "atc.ops.linkage.triton.kernel",
    "atc.ops.linkage.op": "atc.ops.linkage.dispatch",
    "atc.ops.linkage.order": "atc.ops.linkage.sort_keys",
    "atc.ops.linkage.portable": "atc.ops.linkage.torch.steps",
    "atc.ops.linkage.rounds": "atc.ops.linkage.torch.rounds",
    "atc.report.alike": "atc.report.same_settings",
    "atc.report.checkpoints": "atc.runs.checkpoints",
    "atc.report.claim": "atc.grids.claim",
    "atc.report.csv_log": "atc.runs.csv_log",
    "atc.report.derived": "atc.report.ranks",
    "atc.report.grid": "atc.grids.grid",
    "atc.report.identity": "atc.runs.identity",
    "atc.report.local_conf": "atc.config.local_conf",
    "atc.report.lock": "atc.runs.lock",
    "atc.report.outcomes": "atc.grids.outcomes",
    "atc.report.progress": "atc.grids.progress",
    "atc.report.record": "atc.runs.record_file",
    "atc.report.released": "atc.config.released",
    "atc.report.runs": "atc.runs.directories",
    "atc.report.saved": "atc.config.saved",
    "atc.report.sections": "atc.config.sections",
    "atc.report.store": "atc.runs.store",
    "atc.report.summary": "atc.runs.summary",
    "atc.report.wandb_log": "atc.runs.wandb_log",
    "atc.report.wellformed": "atc.runs.wellformed",
    "atc.tasks.labels": "atc.config.labels",
    "atc.vit.keys": "atc.weights.keys",
    "atc.vit.released": "atc.weights.released",
    "atc.vit.torchvision_names": "atc.weights.torchvision_names",
    "atc.vit.weights": "atc.weights.loading",
    # As in datamodules.io.moved, which serves imports of these.
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
_FIRST = {now: before for before, now in MODULES.items()}


def target(dotted: str) -> str:
    """The present name of a module, or of something in it.

    Args:
        dotted: a dotted path, such as "atc.analysis.gallery.Gallery".

    Returns:
        Where it is now ("atc.pictures.gallery.Gallery"); `dotted` itself if it has not moved.
    """
    return _renamed(dotted, MODULES)


def first_name(dotted: str) -> str:
    """The name that something had before it moved: run identities are hashes of these names, so that they stay.

    Args:
        dotted: a dotted path, such as "atc.pictures.gallery.Gallery".

    Returns:
        Where it was first ("atc.analysis.gallery.Gallery"); `dotted` itself if it has not moved.
    """
    return _renamed(dotted, _FIRST)


def targets(node: Any, name: Callable[[str], str] = target) -> Any:
    """Settings with another name in every `_target_`.

    Args:
        node: plain containers (`OmegaConf.to_container`), which are left as they are.
        name: `target` for the present names, `first_name` for those of identities.

    Returns:
        A copy, with what has moved under its other name.
    """
    if isinstance(node, dict):
        return {
            key: name(value) if key == "_target_" and isinstance(value, str) else targets(value, name)
            for key, value in node.items()
        }
    return [targets(value, name) for value in node] if isinstance(node, list) else node


def _renamed(dotted: str, names: Mapping[str, str]) -> str:
    parts = dotted.split(".")
    for length in range(len(parts), 1, -1):
        found = names.get(".".join(parts[:length]))
        if found is not None:
            return ".".join([found, *parts[length:]])
    return dotted


class _OldNames(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports a module by its old name as the module it is now, with a DeprecationWarning."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The specification of a module that has moved; None for any other."""
        if not fullname.startswith("atc.") or _present(fullname) == fullname:
            return None
        return importlib.util.spec_from_loader(fullname, self)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        """The module under its present name."""
        found = _present(spec.name)
        module = importlib.import_module(found)
        warnings.warn(f"{spec.name} is now {found}; the old name goes with the next release", DeprecationWarning, 2)
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Nothing is run again; the module keeps the specification of its present name."""
        old = module.__spec__
        if old is not None and old.loader_state is not None:
            module.__spec__ = old.loader_state


_present = target  # under a name that the parameters of an importer do not hide


def serve_old_imports() -> None:
    """Let `import` find what has moved by its old name, too."""
    if not any(isinstance(finder, _OldNames) for finder in sys.meta_path):
        sys.meta_path.insert(0, _OldNames())  # a package that moved would find its modules by the old names
