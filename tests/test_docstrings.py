"""Docstrings say what is called with what: ruff's rules see to functions, this to constructors."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tracked import ROOT, tracked

SOURCES = tracked("atc/*.py", "reducers/*.py", "datamodules/*.py", "hydra_plugins/*.py")


def constructors(tree: ast.Module) -> Iterator[tuple[ast.ClassDef, list[str]]]:
    """The public classes of a module that have a constructor of their own, with its parameters.

    Left out is the `stage` of reducers, which `Reducer` describes.
    """
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            for own in node.body:
                if isinstance(own, ast.FunctionDef) and own.name == "__init__":
                    arguments = own.args
                    several = [one for one in (arguments.vararg, arguments.kwarg) if one is not None]
                    named = [*arguments.args[1:], *arguments.kwonlyargs, *several]
                    yield node, [one.arg for one in named if one.arg != "stage" and not one.arg.startswith("_")]


def left_out(text: str) -> list[str]:
    """The constructors' parameters that the docstrings of a module's classes do not describe under Args."""
    found = []
    for node, parameters in constructors(ast.parse(text)):
        section = (ast.get_docstring(node) or "").partition("Args:\n")[2]
        section = re.split(r"^\w+:$", section, maxsplit=1, flags=re.M)[0]
        described = re.findall(r"^    \*{0,2}(\w+): ", section, re.M)
        found += [f"{node.name}({name})" for name in parameters if name not in described]
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_constructors_are_described_in_their_classes(path: Path) -> None:
    assert left_out(path.read_text()) == []


def test_what_is_left_out_is_found() -> None:
    text = 'class A:\n    """One.\n\n    Args:\n        x: this.\n\n    Raises:\n        y: that.\n    """\n'
    assert left_out(f"{text}    def __init__(self, x, y, *z): ...\n") == ["A(y)", "A(z)"]
