"""The hash of the code behind a name: of what it does, not of how it is written, and without importing it."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from atc import code, constants, provenance
from atc.config import build

METHOD = '''
"""A method."""
from mine_base import Base


class Method(Base):
    """What it does."""

    def forward(self, view, keep):  # a comment
        return view[:keep]
'''
BASE = """
import torch
from mine_parts.inner import helper


class Base:
    def setup(self):
        return helper(1.5)
"""
# Every kind of syntax that versions of Python give other trees.
SNIPPET = '''
"""doc"""
import os, math as m
from typing import *
X: int = 3
class A(object, metaclass=type):
    """D"""
    y = f"a{{b{X!r:>{X}}c" "d" f"{X=}"
    async def f(self, a, /, b=1, *c, d: "int"=2.5, **e) -> None:
        """x"""
        async with a as b: pass
        try: x = [i for i in b if i]
        except* ValueError: raise
        match a:
            case {"k": [1, *_]} | None: return (yield 1j)
        lambda: (z := b"q", ..., -1, not a, a[1:2, ::3])
    @property
    def g(self): global X; assert X, "no"; del self.y
'''


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A method of one's own: its class, the base class's module, and what that imports."""
    (tmp_path / "mine_parts").mkdir()
    (tmp_path / "mine_parts" / "__init__.py").write_text("")
    (tmp_path / "mine_parts" / "inner.py").write_text(
        "from . import outer\n\ndef helper(x):\n    return outer.twice(x)\n"
    )
    (tmp_path / "mine_parts" / "outer.py").write_text("def twice(x):\n    return 2 * x\n")
    (tmp_path / "mine_base.py").write_text(BASE)
    (tmp_path / "mine_method.py").write_text(METHOD)
    monkeypatch.syspath_prepend(tmp_path)
    forget()
    return tmp_path


def forget() -> None:
    """What a new process would not know."""
    for cached in (code.of_target, code.find, constants.constant):
        cached.cache_clear()


def now(target: str = "mine_method.Method") -> str | None:
    """As a new process finds it."""
    forget()
    return code.of_target(target)


def test_what_does_not_count(mine: Path) -> None:
    before = now()
    text = METHOD.replace("A method.", "Another text.").replace("What it does.", "").replace("# a comment", "")
    (mine / "mine_method.py").write_text(text.replace("view[:keep]", "(\n            view[ : keep]\n        )"))
    assert now() == before
    assert not {"mine_method", "mine_base", "mine_parts"} & set(sys.modules)


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("mine_method.py", "view[:keep]", "view[keep:]"),
        ("mine_base.py", "helper(1.5)", "helper(2.5)"),
        ("mine_parts/outer.py", "2 * x", "3 * x"),
        ("mine_parts/inner.py", "twice(x)", "twice(-x)"),
    ],
)
def test_what_counts(mine: Path, file: str, old: str, new: str) -> None:
    before = now()
    (mine / file).write_text((mine / file).read_text().replace(old, new))
    assert now() not in (before, None)


def test_the_same_in_every_version_of_python() -> None:
    digits = code._digest(code._normal(ast.parse(SNIPPET)))
    assert digits == "db232460b74d", "or every record of before counts as one of other code"


def test_what_is_recorded(mine: Path) -> None:
    """The reducer's always, other parts from outside alone, wherever in the settings they stand."""
    ours = {
        "reducer": {"_target_": "reducers.tome.ToMe"},
        "datamodule": {"_target_": "datamodules.digits.Digits"},
        "backbone": {"_target_": "timm.create_model"},
        "task": {"_target_": "atc.tasks.classification.Classification"},
    }
    assert set(code.of_config(ours)) == {"reducer"}
    folder = {"_target_": "datamodules.folder.Folder", "transforms": [{"_target_": "mine_base.Base"}]}
    found = code.of_config(ours | {"datamodule": folder})
    assert found["datamodule"] == now("mine_base.Base")
    assert code.of_config({"reducer": None, "schedule": "x", "datamodule": {"_target_": 5}}) == {}
    assert code.of_target("nowhere.Method") is None
    assert code.of_target("Method") is None


def test_every_method_has_one() -> None:
    from omegaconf import OmegaConf

    for name in build.names("reducer"):
        target = OmegaConf.load(build.conf_dir() / "reducer" / f"{name}.yaml")._target_
        assert target.rpartition(".")[0] in {module.name for module in code.closure(target)}


def test_modules_that_cannot_be_read_or_import_each_other(mine: Path) -> None:
    (mine / "mine_base.py").write_text("import mine_method\n" + BASE)
    assert now() is not None
    (mine / "mine_base.py").write_text("def (")
    assert now() is not None  # the run that imports it says so
    (mine / "mine_method.py").write_bytes(b"\xff\x00")
    assert now() is None


def test_folders_without_an_init_file(mine: Path) -> None:
    """Three deep, none of them imported, one of them in two places."""
    deep = mine / "mine_space" / "inner" / "deeper"
    deep.mkdir(parents=True)
    (deep / "part.py").write_text("X = 1\n")
    (mine / "mine_method.py").write_text(
        METHOD + "\nfrom mine_space.inner.deeper.part import X\nimport mine_space.no.such\n"
    )
    first = now()
    (deep / "part.py").write_text("X = 2\n")
    assert None is not now() != first
    assert "mine_space" not in sys.modules
    assert now("mine_space.inner.deeper.part.X") is not None
    assert now("mine_space.inner.X") is None


def test_what_another_environment_lends_is_a_library(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = mine / "lent" / "lib" / "site-packages"
    (site / "lent_library").mkdir(parents=True)
    (site / "lent_library" / "__init__.py").write_text("X = 1\n")
    monkeypatch.syspath_prepend(site)
    (mine / "mine_method.py").write_text(METHOD + "\nimport lent_library\n")
    first = now()
    assert "lent_library" not in {module.name for module in code.closure("mine_method.Method")}
    (site / "lent_library" / "__init__.py").write_text("X = 2\n")
    assert now() == first
    assert not code.is_outside("lent_library.X")


def test_untracked_code_makes_a_commit_dirty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("atc", "reducers", "notes"):
        (tmp_path / name).mkdir()
    (tmp_path / "atc" / "provenance.py").write_text("")
    (tmp_path / ".gitignore").write_text("*.so\n")
    git = [
        "git",
        "-C",
        str(tmp_path),
        "-c",
        "user.name=x",
        "-c",
        "user.email=x@example.org",
        "-c",
        "commit.gpgsign=false",
    ]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "Begin"]):
        subprocess.run([*git, *command], check=True, capture_output=True)
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "atc" / "provenance.py"))

    def dirty() -> bool:
        provenance.commit.cache_clear()
        found = provenance.commit()
        assert found is not None
        return found.endswith("-dirty")

    try:
        assert not dirty()
        (tmp_path / "notes" / "x.txt").write_text("")
        (tmp_path / "atc" / "x.so").write_text("")
        assert not dirty()
        (tmp_path / "reducers" / "x.py").write_text("")
        assert dirty()
        subprocess.run([*git, "add", "reducers"], check=True)
        assert dirty()  # added, in no commit yet
        subprocess.run([*git, "commit", "-qm", "Add x"], check=True)
        assert not dirty()
    finally:
        provenance.commit.cache_clear()
