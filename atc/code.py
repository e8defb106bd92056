"""The code behind a name, read from its source files without importing it: a hash that changes with what it does."""

import ast
import functools
import hashlib
import importlib.machinery
import importlib.util
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from atc import moved

GROUPS = ("reducer", "schedule", "datamodule", "task", "backbone", "optimizer")
OURS = ("atc", "datamodules")  # of the package itself: the commit and the version say which code it is
_LIBRARIES = tuple(
    {Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib", "purelib", "platlib")}
)
_SITES = {"site-packages", "dist-packages"}  # where packages are installed, another environment's among them
_SOURCES = (importlib.machinery.SourceFileLoader, importlib.machinery.SOURCE_SUFFIXES)


class Module(NamedTuple):
    """A module that was found, not imported.

    Attributes:
        name: its dotted name.
        file: its source.
        package: what relative imports in it start from.
    """

    name: str
    file: Path
    package: str


def of_config(config: Mapping[str, Any]) -> dict[str, str]:
    """The hashes to record of a run: of its reducer, and of each other part that is from outside this package.

    Args:
        config: the settings of the run; of each group, `_target_` counts.

    Returns:
        By group, 12 hexadecimal digits.
    """
    found = {}
    for group in GROUPS:
        node = config.get(group)
        named = dict.fromkeys(_targets(node))
        own = node.get("_target_") if isinstance(node, Mapping) else None
        counted = [target for target in named if (group == "reducer" and target == own) or is_outside(target)]
        digits = [one for one in map(of_target, counted) if one is not None]
        if digits:
            found[group] = digits[0] if len(digits) == 1 else _digest(" ".join(digits))
    return found


def _targets(node: Any) -> Iterator[str]:
    """What a group's settings name in `_target_`, at any depth."""
    if isinstance(node, Mapping):
        if isinstance(node.get("_target_"), str):
            yield node["_target_"]
        for value in node.values():
            yield from _targets(value)
    elif isinstance(node, list):
        for value in node:
            yield from _targets(value)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]


@functools.cache  # the code of a process is that of its start
def of_target(target: str) -> str | None:
    """A hash of the module that defines a class or function, and of the modules it imports that are no libraries.

    Docstrings, comments and layout do not count.

    Args:
        target: what `_target_` says, such as "reducers.tome.ToMe".

    Returns:
        12 hexadecimal digits; None if there is no source to be found.
    """
    modules = closure(target)
    if not modules:
        return None
    texts = [f"{module.name} {_normal(tree)}" for module, tree in sorted(modules.items())]
    return _digest("\n".join(texts))


def is_outside(target: str) -> bool:
    """Whether a target is neither of this package nor of an installed library."""
    module = module_of(target)
    return module is not None and module.name.split(".")[0] not in (*OURS, "reducers") and not _is_library(module)


def closure(target: str, also: tuple[str, ...] = ()) -> dict[Module, ast.Module]:
    """The module of a target and those it imports, and they in turn, with their syntax trees.

    Left out are libraries and, but for those named in `also`, the modules of this package; a module of the target's
    own package is none of a library, wherever it is installed.
    """
    first = module_of(target)
    if first is None:
        return {}
    own, found, waiting = first.name.split(".")[0], {}, [first]
    while waiting:
        module = waiting.pop()
        if module in found:
            continue
        try:
            found[module] = ast.parse(module.file.read_bytes())
        except (OSError, SyntaxError, ValueError, RecursionError):
            continue  # the run that imports it will say so
        for name in _imported(found[module], module.package):
            other = find(moved.target(name))
            if other is None:
                continue
            top = other.name.split(".")[0]
            if top == own or top in also or (top not in OURS and not _is_library(other)):
                waiting.append(other)
    return found


@functools.cache
def find(name: str) -> Module | None:
    """A module by its dotted name, without importing it or its packages; None if it has no source file."""
    head, *rest = name.split(".")
    try:
        spec = importlib.util.find_spec(head)
        for place, _ in enumerate(rest, start=1):
            if spec is None or spec.submodule_search_locations is None:
                return None
            spec = _inside(".".join([head, *rest[:place]]), list(spec.submodule_search_locations))
    except (ImportError, ValueError, AttributeError):
        return None
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    package = name if spec.submodule_search_locations is not None else name.rpartition(".")[0]
    return Module(name, Path(spec.origin), package)


def _inside(name: str, folders: list[str]) -> importlib.machinery.ModuleSpec | None:
    """The source of a module that lies in the folders of its package; of a folder without `__init__.py`, its places.

    `PathFinder` would need the packages of a folder without `__init__.py` to be imported.
    """
    places: list[str] = []
    for folder in folders:
        spec = importlib.machinery.FileFinder(folder, _SOURCES).find_spec(name)
        if spec is not None and spec.loader is not None:
            return spec
        places += [] if spec is None else spec.submodule_search_locations or []
    if not places:
        return None
    spec = importlib.machinery.ModuleSpec(name, None, is_package=True)
    spec.submodule_search_locations = places
    return spec


def module_of(target: str) -> Module | None:
    """The module of a target: the longest part of it that is one."""
    parts = moved.target(target).split(".")
    found = (find(".".join(parts[:end])) for end in range(len(parts) - 1, 0, -1) if all(parts[:end]))
    return next((module for module in found if module is not None), None)


def _is_library(module: Module) -> bool:
    file = module.file.resolve()
    installed = any(place in file.parents for place in _LIBRARIES) or not _SITES.isdisjoint(file.parts)
    return installed or module.name.split(".")[0] in sys.stdlib_module_names


def _imported(tree: ast.Module, package: str) -> Iterator[str]:
    """The names that a module imports, each with the packages it lies in; names that are no modules among them."""
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")
            base = ".".join(parents[: len(parents) - node.level + 1]) if node.level else ""
            start = ".".join(part for part in (base, node.module) if part)
            names = [start, *(f"{start}.{alias.name}" for alias in node.names if alias.name != "*")]
        for name in names:
            parts = name.split(".")
            yield from (".".join(parts[:end]) for end in range(1, len(parts) + 1))


def _normal(node: Any) -> str:
    """A syntax tree as text that is the same in every version of Python and for every layout of the source."""
    if isinstance(node, list):
        return f"[{','.join(_normal(one) for one in node if not _is_bare_text(one))}]"
    if isinstance(node, ast.JoinedStr):
        return f"JoinedStr({_normal(_joined(node.values))})"
    if isinstance(node, ast.Constant):
        return f"{type(node.value).__name__} {node.value!r}"
    if isinstance(node, ast.AST):
        fields = {name: value for name, value in ast.iter_fields(node) if name not in ("ctx", "type_comment", "kind")}
        said = [f"{name}={_normal(value)}" for name, value in sorted(fields.items()) if value not in (None, [])]
        return f"{type(node).__name__}({','.join(said)})"
    return repr(node)


def _is_bare_text(node: Any) -> bool:
    """Whether a statement is a docstring, or text that stands by itself as one does."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _joined(values: list[ast.expr]) -> list[ast.expr]:
    """The parts of an f-string, of which versions of Python split the fixed text at other places."""
    found: list[ast.expr] = []
    for value in values:
        if isinstance(value, ast.Constant) and found and isinstance(found[-1], ast.Constant):
            found[-1] = ast.Constant(str(found[-1].value) + str(value.value))
        elif not (isinstance(value, ast.Constant) and value.value == ""):
            found.append(value)
    return found
