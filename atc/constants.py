"""Values that source files give names, read without importing them."""

import ast
import functools
from collections.abc import Iterator
from typing import Any

from atc import code


@functools.cache
def constant(target: str, name: str) -> Any:
    """The value that the modules behind a target give a constant at their top level; None if they do not have it."""
    for tree in code.closure(target, also=code.OURS).values():
        for node in tree.body:
            if isinstance(node, ast.Assign) and any(isinstance(to, ast.Name) and to.id == name for to in node.targets):
                try:
                    return ast.literal_eval(node.value)
                except ValueError:
                    continue
    return None


@functools.cache
def sets_none(target: str, name: str) -> bool:
    """Whether the class that a target names gives an attribute None in its own body."""
    value = next(_given(target, name), None)
    return isinstance(value, ast.Constant) and value.value is None


@functools.cache
def sets_true(target: str, name: str) -> bool:
    """Whether the class that a target names gives an attribute True, in its own body or in that of the next base."""
    value = next(_given(target, name, inherited=True), None)
    return isinstance(value, ast.Constant) and value.value is True


@functools.cache
def sets_false(target: str, name: str) -> bool:
    """Whether the class that a target names gives an attribute False, likewise."""
    value = next(_given(target, name, inherited=True), None)
    return isinstance(value, ast.Constant) and value.value is False


def _given(target: str, name: str, inherited: bool = False) -> Iterator[ast.expr]:
    """The values that a class gives an attribute: in its own body, then, if these count, in those of its bases."""
    module, (*_, own) = code.module_of(target), target.split(".")
    trees = {} if module is None else code.closure(target)
    first = trees.get(module) if module is not None else None
    places, wanted, seen = [] if first is None else [first], [own], set[str]()
    while wanted:
        seen.add(own := wanted.pop(0))
        classes = (node for tree in places for node in tree.body if isinstance(node, ast.ClassDef) and node.name == own)
        for node in classes:
            for inner in node.body:
                to = inner.targets if isinstance(inner, ast.Assign) else [getattr(inner, "target", None)]
                value = getattr(inner, "value", None)
                if value is not None and any(isinstance(one, ast.Name) and one.id == name for one in to):
                    yield value
            bases = [getattr(base, "attr", getattr(base, "id", "")) for base in node.bases] if inherited else []
            wanted += [base for base in bases if base not in seen]
        places = list(trees.values())  # bases may be imported
