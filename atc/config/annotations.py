"""Annotations in source files as the types they name, without importing what they belong to."""

import ast
import os
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Union

from atc.config.source import TYPING, Definition, Module, lookup
from atc.values.kinds import Built

_DEPTH = 20  # of aliases for aliases


_BUILTINS: dict[str, Any] = {
    **{kind.__name__: kind for kind in (int, float, bool, str, list, tuple, dict)},
    **{"set": list, "frozenset": list, "None": None, "object": Any},
}
_NAMED: dict[str, Any] = {
    **dict.fromkeys(("Any", "TypeVar", "Self"), Any),
    **dict.fromkeys(("Sequence", "Iterable", "Collection", "List", "Set", "MutableSequence"), Sequence),
    **dict.fromkeys(("Mapping", "MutableMapping", "Dict"), Mapping),
    **dict.fromkeys(("PathLike", "Path", "PurePath"), os.PathLike),
    **dict.fromkeys(("Callable", "Type", "timedelta", "datetime"), Built),
    "Tuple": tuple,
}


def evaluated(node: ast.expr | None, module: Module, depth: int = 0) -> Any:
    """The type that an annotation names; Any where the source does not say.

    Args:
        node: the annotation.
        module: where it stands.
        depth: how many aliases led there.
    """
    if node is None or depth > _DEPTH:
        return Any
    if isinstance(node, ast.Constant):
        if isinstance(node.value, str):
            try:
                return evaluated(ast.parse(node.value, mode="eval").body, module, depth + 1)
            except SyntaxError:
                return Any
        return None if node.value is None else Any
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return _union([evaluated(node.left, module, depth), evaluated(node.right, module, depth)])
    if isinstance(node, ast.Subscript):
        return _subscript(node, module, depth)
    name = _dotted(node)
    return Any if name is None else _named(name, module, depth)


def _union(members: Sequence[Any]) -> Any:
    return Union[tuple(members)]  # noqa: UP007 - of None alone, X | Y is an error


def special(node: ast.expr, module: Module) -> str:
    """The bare name of a form of typing's, as "Literal"; "" for anything else."""
    name = _dotted(node) or ""
    found = lookup(name, module)
    full = found if isinstance(found, str) else ""
    return full.rpartition(".")[2] if full.startswith("typing") else ""


def _subscript(node: ast.Subscript, module: Module, depth: int) -> Any:
    inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    form = special(node.value, module)
    if form == "Literal":
        return _literal(inner, module, depth)
    if form in ("Optional", "Union"):
        members = [evaluated(member, module, depth) for member in inner]
        return _union([*members, None] if form == "Optional" else members)
    if form == "Annotated":
        notes = [note.value for note in inner[1:] if isinstance(note, ast.Constant) and isinstance(note.value, str)]
        kind = evaluated(inner[0], module, depth)
        return Annotated[(kind, *notes)] if notes else kind
    if form in ("ClassVar", "Final", "Required", "NotRequired"):
        return evaluated(inner[0], module, depth)
    outer = evaluated(node.value, module, depth)
    if outer in (list, tuple, Sequence):
        rest = [... if isinstance(one, ast.Constant) and one.value is ... else one for one in inner]
        kinds = [one if one is ... else evaluated(one, module, depth) for one in rest]
        return outer[tuple(kinds) if outer is tuple else kinds[0]]
    return outer if outer in (dict, Mapping, os.PathLike, Built) else Any


def _literal(inner: Sequence[ast.expr], module: Module, depth: int) -> Any:
    options: list[Any] = []
    for option in inner:
        try:
            options.append(ast.literal_eval(option))
        except ValueError:
            return Any  # a member of an Enum
    return Literal[tuple(options)]


def _named(name: str, module: Module, depth: int) -> Any:
    found = lookup(name, module)
    if isinstance(found, Definition):
        return _defined(found, depth)
    if isinstance(found, str):
        home, _, leaf = found.rpartition(".")
        return _NAMED.get(leaf, Any) if home in TYPING else Any
    return _BUILTINS.get(name, Any)


def _defined(found: Definition, depth: int) -> Any:
    node = found.node
    if isinstance(node, ast.ClassDef):
        plain = {"Enum", "str", "int", "float", "StrEnum", "IntEnum", "dict", "TypedDict", "NamedTuple"}
        return Any if plain & {(_dotted(base) or "").rpartition(".")[2] for base in node.bases} else Built
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return Any
    return evaluated(getattr(node, "value", None), found.module, depth + 1)


def _dotted(node: ast.expr) -> str | None:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        base = _dotted(node.value)
        return None if base is None else f"{base}.{node.attr}"
    return None
