"""What several data sets share is imported by the names it had beside them, too."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import datamodules
from atc import constants
from atc import moved as framework
from datamodules.io import moved
from tests.test_moved import check_old_import
from tests.tracked import ROOT, tracked

BESIDE_DATA_SETS = {"__init__", "base", "check", "scenes", "segmentation"}


@pytest.mark.parametrize(("before", "now"), sorted(moved.MODULES.items()))
def test_an_old_import_is_the_present_module(before: str, now: str) -> None:
    check_old_import(before, now)


def test_the_framework_has_the_same_table() -> None:
    """For the code and the settings behind a `_target_`, which it reads without importing."""
    known = {before: now for before, now in framework.MODULES.items() if before.startswith("datamodules.")}
    assert known == moved.MODULES


def test_no_old_name_is_a_module_again() -> None:
    for before in moved.MODULES:
        assert not ROOT.joinpath(*before.split(".")).with_suffix(".py").exists(), before


def test_old_names_need_nothing_of_the_framework() -> None:
    """`python -m datamodules.check` imports data sets of users without it."""
    program = """
import sys, warnings
warnings.simplefilter("error", DeprecationWarning)
try:
    import datamodules.files
except DeprecationWarning as error:
    print(error)
warnings.simplefilter("ignore", DeprecationWarning)
from datamodules import files
from datamodules.files import join
assert join.__module__ == files.__name__ == "datamodules.io.files"
assert "atc" not in sys.modules
try:
    import datamodules.nowhere
except ModuleNotFoundError as error:
    print(error.name)
"""
    found = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.splitlines() == [
        "datamodules.files is now datamodules.io.files; the old name goes with the next release",
        "datamodules.nowhere",
    ]


def test_a_data_set_that_imports_old_names_is_read_by_the_present_reader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "of_before.py").write_text(
        "from datamodules.base import Part, PictureData\nfrom datamodules.layout import Layout\n"
        "class Mine(PictureData):\n    layout = Layout('Mine', (), '', '')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "by_itself.py").write_text("from datamodules.pictures import Pictures\nclass Mine: ...\n")
    assert constants.constant("of_before.Mine", "READER") == datamodules.io.pictures.READER
    assert constants.constant("by_itself.Mine", "READER") == datamodules.io.pictures.READER
    sys.modules.pop("datamodules.layout", None)
    with pytest.warns(DeprecationWarning, match=r"datamodules\.layout is now datamodules\.io\.layout"):
        importlib.import_module("of_before")


def test_one_data_set_a_file() -> None:
    """A file beside the data sets is named in conf/datamodule, or it belongs into datamodules/io."""
    named = "".join(path.read_text() for path in tracked("conf/datamodule/*.yaml"))
    files = {path.stem for path in tracked("datamodules/*.py") if path.parent.name == "datamodules"}
    assert {name for name in files if f"_target_: datamodules.{name}." not in named} == BESIDE_DATA_SETS


def test_what_is_shared_imports_nothing_beside_it() -> None:
    for path in tracked("datamodules/io/*.py"):
        assert set(re.findall(r"^\s*(?:from|import) datamodules\.?(\w*)", path.read_text(), re.M)) <= {"io"}, path
