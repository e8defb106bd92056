"""What was named before the rooms were laid out anew still means the same thing."""

import importlib
import importlib.util
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from atc import code, moved, run
from atc.config.check import check
from atc.config.taken_over import with_saved
from atc.runs import directories
from atc.runs.identity import identity
from tests.harness.commands import composed

OF_BEFORE, NOW = "atc.analysis.gallery.Gallery", "atc.pictures.gallery.Gallery"


@pytest.mark.parametrize(("before", "now"), sorted(moved.MODULES.items()))
def test_an_old_import_is_the_present_module(before: str, now: str) -> None:
    """In this process it may have been imported before: then it does not warn again."""
    if "triton" in before + now:
        pytest.importorskip("triton", reason="Triton is not installed")
    check_old_import(before, now)


def check_old_import(before: str, now: str) -> None:
    """An import by the old name warns, and gives the module under its present name."""
    sys.modules.pop(before, None)
    with pytest.warns(DeprecationWarning, match=f"{before} is now {now};"):
        found = importlib.import_module(before)
    assert found is importlib.import_module(now)
    assert found.__spec__ is not None
    assert found.__spec__.name == found.__name__ == now


def test_no_old_name_is_a_module_again() -> None:
    """Else the table would hide it."""
    for before in moved.MODULES:
        path = Path(moved.__file__).parents[1].joinpath(*before.split("."))
        assert not path.is_dir(), before
        assert not path.with_suffix(".py").exists(), before


def test_a_module_of_a_package_that_moved() -> None:
    sys.modules.pop("atc.analysis.gallery", None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        assert importlib.import_module("atc.analysis.gallery") is importlib.import_module("atc.pictures.gallery")


def test_what_has_not_moved_and_never_was() -> None:
    assert moved.target("atc.tasks.optim.configure") == "atc.tasks.optim.configure"
    assert moved.target("atc.analysisx.a") == "atc.analysisx.a"
    assert importlib.util.find_spec("atc.nowhere") is None


def test_names_go_both_ways() -> None:
    assert moved.target(OF_BEFORE) == NOW
    assert moved.first_name(NOW) == OF_BEFORE
    node = {"a": [{"_target_": OF_BEFORE, "b": OF_BEFORE}], "_target_": 3}
    there = moved.targets(node)
    assert there == {"a": [{"_target_": NOW, "b": OF_BEFORE}], "_target_": 3}
    assert moved.targets(there, moved.first_name) == node


@pytest.mark.parametrize("target", [OF_BEFORE, NOW])
def test_identities_stay(tmp_path: Path, target: str) -> None:
    """These are what the version before the move gave."""
    assert identity(composed("train", tmp_path / "run")) == "977bfd66c332"
    mine = [f"+callbacks.mine._target_={target}", "+callbacks.mine.images=2"]
    assert identity(composed("train", tmp_path / "run", *mine)) == "dfb506a6d5fd"
    assert identity(composed("evaluate", tmp_path / "run", *mine)) == "5009c8a27ce8"


def test_values_of_an_old_target_are_checked(tmp_path: Path) -> None:
    mine = [f"+callbacks.mine._target_={OF_BEFORE}", "+callbacks.mine.images=-1"]
    with pytest.raises(ValueError, match=r"callbacks\.mine\.images=-1"):
        check(composed("evaluate", tmp_path / "run", *mine), "evaluate")


def test_the_code_of_an_old_target_is_found() -> None:
    assert code.of_target(OF_BEFORE) == code.of_target(NOW) is not None


def test_a_run_directory_of_before_is_evaluated_and_resumed(tmp_path: Path) -> None:
    run.train(
        composed("train", tmp_path / "run", "trainer.max_epochs=1", "optimizer.warmup_epochs=0", "baselines=false")
    )
    for name in (directories.COMPOSED, directories.RESOLVED):
        file = tmp_path / "run" / name
        text = file.read_text()
        assert NOW in text
        file.write_text(text.replace(NOW, OF_BEFORE))
    here = f"checkpoint={tmp_path / 'run'}"
    cfg = with_saved(
        composed("evaluate", tmp_path / "again", here),
        tmp_path / "run",
        [here],
        directories.OF_THE_EVALUATION - {"callbacks"},
    )
    assert run.evaluate(cfg).status == "finished"
    said = [f"resume={tmp_path / 'run'}", "trainer.max_epochs=2"]
    cfg = with_saved(composed("train", tmp_path / "run", *said), tmp_path / "run", said, set())
    assert cfg.callbacks.gallery._target_ == NOW
    assert run.train(cfg).status == "finished"


@pytest.mark.slow
def test_the_harness_itself_uses_no_old_name() -> None:
    code_ = "import atc.cli, atc.run, atc.report.__main__, atc.bench.__main__, atc.visualise, atc.pictures.outputs"
    subprocess.run([sys.executable, "-W", "error::DeprecationWarning:__main__", "-c", code_], check=True)
    root = Path(moved.__file__).parents[1]
    files = subprocess.run(["git", "ls-files", "*.py"], cwd=root, capture_output=True, text=True, check=False).stdout
    old = tuple(f"from {name} import" for name in moved.MODULES)
    for file in (name for name in files.split() if not name.endswith("test_moved.py")):  # they quote old names
        lines = (line.strip() for line in (root / file).read_text().splitlines())
        assert not [line for line in lines if line.startswith(old)], file
