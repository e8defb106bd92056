"""Without libraries that extras install: the first run is the same, and what needs one says which in one line."""

import importlib
import importlib.util
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image

from atc import calibrate, run, visualise
from atc.bench.__main__ import main as bench
from atc.config.check import check
from atc.report.__main__ import main as report
from tests.harness.commands import composed
from tests.tracked import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PICTURES = "needs matplotlib, which is not installed: pip install 'atc-toolkit[pictures]'"
BLOCKED = ("matplotlib", "wandb")


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Neither Matplotlib nor W&B can be imported, nor is a module of ours there that did so before."""
    mine = {name for name in sys.modules if name.startswith(("atc.pictures", "atc.report.study_figures"))}
    for name in mine | {name for name in sys.modules if name.partition(".")[0] in BLOCKED}:
        monkeypatch.delitem(sys.modules, name)
    for name in BLOCKED:
        monkeypatch.setitem(sys.modules, name, None)
    assert importlib.util.find_spec("matplotlib") is None
    pictures = sys.modules["atc"].__dict__.get("pictures")
    yield
    if pictures is not None:  # a module imported above has replaced it
        monkeypatch.setattr(sys.modules["atc"], "pictures", pictures)


def test_what_is_optional_is_no_dependency() -> None:
    needed = {re.split(r"[<>=]", one)[0] for one in PROJECT["dependencies"]}
    assert not needed & set(BLOCKED)
    assert "jinja2" in needed  # PyTorch's own dependency: leaving it out would save nothing
    extras = PROJECT["optional-dependencies"]
    assert [one.partition(">")[0] for one in extras["pictures"] + extras["wandb"]] == list(BLOCKED)
    assert "atc-toolkit[pictures]" in extras["detection"]  # whose gallery writes names beside objects


def test_the_first_run(without: None, tmp_path: Path) -> None:
    """train.py as the README starts it, but short."""
    record = run.train(composed("train", tmp_path, "reducer=atc_average", "keep_rate=0.25"))
    assert record.status == "finished"
    assert "matplotlib.figure" not in sys.modules


def test_wandb(without: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = "needs wandb, which is not installed: pip install 'atc-toolkit[wandb]'"
    for name in ("train", "evaluate"):
        with pytest.raises(ValueError, match=re.escape(f"logger=wandb {line}")):
            check(composed(name, tmp_path, "logger=wandb"), name)
    assert report(["digits_all", "source=wandb"]) == 2
    assert capsys.readouterr().err == f"error: source=wandb {line}\n"


def test_pictures(without: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (32, 32)).save(tmp_path / "cat.png")
    assert visualise.main([f"image={tmp_path / 'cat.png'}", f"output={tmp_path / 'x.png'}"]) == 2
    assert capsys.readouterr().err == f"error: python -m atc.visualise {PICTURES}\n"
    images = ["datamodule=digits", "backbone=digits", "images=null", "keep_rate=0.5"]
    assert calibrate.main([*images, f"picture={tmp_path / 'x.svg'}"]) == 2
    assert PICTURES in capsys.readouterr().err
    draw = importlib.import_module("atc.pictures.draw").draw
    with pytest.raises(ValueError, match=re.escape(f"atc.draw {PICTURES}")):
        draw(torch.zeros(3, 8, 8), [])


def test_tables_without_figures(without: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A table is made; of a figure its numbers are, and then the line."""
    here = [f"--output={tmp_path}", "--store", str(tmp_path)]
    assert report(["digits_all", *here]) == 0
    assert (tmp_path / "digits_all.md").is_file()
    assert report(["deit_tiny_pareto", *here]) == 2
    printed, error = capsys.readouterr()
    assert error.endswith(f"{PICTURES}\n")
    assert error.count("\n") == 1
    assert "Traceback" not in printed


@pytest.mark.parametrize(("name", "module"), [("export", "onnxruntime"), ("diffusion", "diffusers")])
def test_benchmarks(
    name: str, module: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(SystemExit) as stop:
        bench([name])
    assert stop.value.code == 2
    line = f"error: python -m atc.bench {name} needs {module}, which is not installed: pip install 'atc-toolkit["
    assert capsys.readouterr().err.startswith(line)
