"""Where a dotted name is defined, read from source files: nothing is imported."""

import ast
import functools
import importlib.util
from pathlib import Path
from typing import NamedTuple

from atc import moved

# Whose names mean something in annotations by themselves.
TYPING = ("typing", "typing_extensions", "collections.abc", "os", "pathlib", "datetime")
_DEPTH = 20  # of names that stand for other names


class Module(NamedTuple):
    """A module's source."""

    name: str
    path: Path

    @property
    def package(self) -> str:
        """What its relative imports start from."""
        return self.name if self.path.name == "__init__.py" else self.name.rpartition(".")[0]


class Definition(NamedTuple):
    """A class, a function or an assignment, and the module it stands in."""

    node: ast.stmt
    module: Module


@functools.cache
def find(dotted: str) -> Definition | None:
    """The definition behind a dotted name such as `lightning.pytorch.Trainer`, through all re-exports.

    Args:
        dotted: a module's name, a dot, and a name in it.

    Returns:
        The class, the function or the assignment; None where there is no source that says.
    """
    return _find(moved.target(dotted), 0)


def lookup(name: str, module: Module) -> Definition | str | None:
    """What a name or a dotted name means in a module.

    Returns:
        Its definition; else the full dotted name of what is imported, which may lie where no source is (typing.Any);
        None if nothing there says.
    """
    first, _, rest = name.partition(".")
    found = _names(module).get(first)
    if found is None:
        return None
    if isinstance(found, str):
        full = f"{found}.{rest}" if rest else found
        return full if full.rpartition(".")[0] in TYPING else find(full) or full
    return Definition(found, module) if not rest else None


def _find(dotted: str, depth: int) -> Definition | None:
    parts = dotted.split(".")
    if depth > _DEPTH or not all(part.isidentifier() for part in parts):
        return None
    for length in range(len(parts) - 1, 0, -1):
        module = _module(".".join(parts[:length]))
        if module is None:
            continue
        if len(parts) != length + 1:
            return None  # something inside of a class
        found = _names(module).get(parts[-1])
        if isinstance(found, str):
            return _find(found, depth + 1) if found != dotted else None
        return None if found is None else Definition(found, module)
    return None


@functools.cache
def _module(name: str) -> Module | None:
    """The source file of a module: its package's folder is looked up, and not imported."""
    first, *rest = name.split(".")
    try:
        spec = importlib.util.find_spec(first)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    if spec.submodule_search_locations is None:
        path = Path(spec.origin or "")
        return Module(name, path) if not rest and path.suffix == ".py" else None
    for location in spec.submodule_search_locations:
        folder = Path(location, *rest)
        for path in (folder / "__init__.py", folder.with_name(f"{folder.name}.py")):
            if path.is_file() and (rest or path.name == "__init__.py"):
                return Module(name, path)
    return None


@functools.cache
def _names(module: Module) -> dict[str, ast.stmt | str]:
    """What the names at a module's top level stand for: a definition there, or the dotted name of an import."""
    try:
        tree = ast.parse(module.path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return {}
    found: dict[str, ast.stmt | str] = {}
    _collect(tree.body, module, found)
    return found


def _collect(body: list[ast.stmt], module: Module, found: dict[str, ast.stmt | str]) -> None:
    for node in body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            found[node.name] = node
        elif isinstance(node, ast.Assign):
            found.update({target.id: node for target in node.targets if isinstance(target, ast.Name)})
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found[node.target.id] = node
        elif isinstance(node, ast.Import):
            for alias in node.names:
                first = alias.name.split(".")[0]
                found[alias.asname or first] = alias.name if alias.asname else first
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = module.package.split(".")
                base = ".".join([*parts[: len(parts) - node.level + 1], *([node.module] if node.module else [])])
            found.update({alias.asname or alias.name: f"{base}.{alias.name}" for alias in node.names})
        elif type(node).__name__ == "TypeAlias":  # type X = ..., of Python 3.12
            found[node.name.id] = node  # type: ignore[attr-defined]  # not known to Python 3.11's ast
        for inner in ("body", "orelse", "finalbody"):
            if isinstance(node, (ast.If, ast.Try, ast.With)):
                _collect(getattr(node, inner, []), module, found)
