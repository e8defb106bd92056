"""What the configuration files of this machine name: constructors and texts that a saved configuration may have.

The files are those of Hydra's search path: conf/, --config-dir, and what installed plug-ins add.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra import initialize_config_dir
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigSource
from omegaconf import OmegaConf

from atc.config import build

Keys = tuple[str, ...]
SPECIAL = "_target_"


class LocalConf:
    """What the files name, by where in a configuration it stands.

    Attributes:
        constructors: by top-level key, what `signature` says of every mapping with a `_target_`.
        settings: by top-level key and target, the settings that files have beside that target.
        texts: by path, the texts with interpolations that stand there.
    """

    def __init__(self) -> None:
        self.constructors: dict[str, set[str]] = defaultdict(set)
        self.settings: dict[tuple[str, str], set[str]] = defaultdict(set)
        self.texts: dict[Keys, set[str]] = defaultdict(set)

    def add(self, node: Any, path: Keys = ()) -> None:
        """Note what a configuration, as plain containers with interpolations as they stand, names."""
        if isinstance(node, dict):
            if path and (special := signature(node)):
                self.constructors[path[0]].add(special)
                self.settings[path[0], str(node.get(SPECIAL))] |= {str(key) for key in node}
            for key, value in node.items():
                self.add(value, (*path, str(key)))
        elif isinstance(node, list):
            for place, value in enumerate(node):
                self.add(value, (*path, str(place)))
        elif isinstance(node, str) and "${" in node:
            self.texts[path].add(node)

    def add_files(self) -> None:
        """Note what the files of Hydra's search path name."""
        # A directory given with --config-dir may hold anything, received runs too: of it, only our groups count.
        own = {path.name for path in build.conf_dir().iterdir() if path.is_dir()} - {"hydra"}
        with _loader() as loader:
            for source in _sources(loader):
                if source.available():
                    for name in _files(source, "", own):
                        _add_file(self, source, name)


def signature(node: dict[Any, Any]) -> str:
    """What decides which object is built of a mapping: `_target_` and its like with their values; "" for none."""
    special = {str(key): value for key, value in node.items() if str(key).startswith("_") and str(key).endswith("_")}
    return json.dumps(special, sort_keys=True, default=str) if special else ""


@contextmanager
def _loader() -> Iterator[ConfigLoader]:
    if GlobalHydra.instance().is_initialized():
        yield GlobalHydra.instance().config_loader()
        return
    with initialize_config_dir(str(build.conf_dir()), version_base="1.3"):
        yield GlobalHydra.instance().config_loader()


def _sources(loader: ConfigLoader) -> list[ConfigSource]:
    """Those that every command has, and those of hydra.searchpath."""
    sources = loader.get_sources()
    of_files = next((type(source) for source in sources if source.scheme() == "file"), None)
    if HydraConfig.initialized() and of_files is not None:
        there = {source.path for source in sources}
        for found in HydraConfig.get().runtime.config_sources:
            if found.schema == "file" and found.path not in there:
                sources = [*sources, of_files(provider=found.provider, path=f"file://{found.path}")]
    return sources


def _files(source: ConfigSource, group: str, own: set[str]) -> Iterator[str]:
    for name in source.list(group, ObjectType.CONFIG):
        yield f"{group}/{name}".lstrip("/")
    for name in source.list(group, ObjectType.GROUP):
        # Nothing of the group hydra is ever taken from a saved configuration.
        if name != "hydra" and (group or name in own or source.scheme() != "file"):
            yield from _files(source, f"{group}/{name}".lstrip("/"), own)


def _add_file(found: LocalConf, source: ConfigSource, name: str) -> None:
    file = Path(source.path, f"{name}.yaml")
    state = file.stat() if source.scheme() == "file" and file.is_file() else None
    content, package = _content(source, name, state and (state.st_mtime_ns, state.st_size))
    if package is None:
        package = name.rpartition("/")[0].replace("/", ".")
    package = "" if package == "_global_" else package
    if isinstance(content, dict):
        found.add(content, tuple(part for part in package.split(".") if part))


def _content(source: ConfigSource, name: str, state: tuple[int, int] | None) -> tuple[Any, str | None]:
    """What a file holds, as plain containers, and its package; from the memory of this process if it is unchanged."""
    place = (source.full_path(), name, state)
    if state is None or place not in _READ:
        try:
            file = source.load_config(name)
            content = OmegaConf.to_container(file.config, resolve=False)
            _READ[place] = content, file.header.get("package")
        except Exception:  # a file that cannot be read names nothing; composing says what is wrong with it
            _READ[place] = None, None
    return _READ[place]


_READ: dict[tuple[str, str, tuple[int, int] | None], tuple[Any, str | None]] = {}
