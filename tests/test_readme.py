"""The examples of the README and of the page on reducers, run as they stand."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import timm
import torch

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
REDUCER = (ROOT / "docs" / "reducer.md").read_text()


def block(page: str, after: str, language: str) -> str:
    """The first fenced code block of a language that follows some text of a page."""
    rest = page[page.index(after) :]
    found = re.search(rf"```{language}\n(.*?)```", rest, re.S)
    assert found, f"no {language} block after {after!r}"
    return found[1]


@pytest.mark.slow
def test_your_own_reducer(tmp_path):
    """Two new files in a copy of the checkout, and the command the README names."""
    for name in ("atc", "conf", "reducers", "datamodules", "evaluate.py"):
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, tmp_path / name)
    source = block(REDUCER, "Write `reducers/largest_norm.py`", "python")
    assert len(source.strip().splitlines()) <= 15
    (tmp_path / "reducers/largest_norm.py").write_text(source)
    (tmp_path / "conf/reducer/largest_norm.yaml").write_text(
        block(REDUCER, "and `conf/reducer/largest_norm.yaml`", "yaml")
    )
    command = re.search(r"run `python (evaluate.py reducer=largest_norm .*?)`", REDUCER)
    assert command
    env = os.environ | {"PYTHONPATH": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    run = subprocess.run(
        [sys.executable, *command[1].split()], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert "largest_norm" in run.stdout


def test_five_lines_without_the_harness(monkeypatch):
    create = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda name, pretrained: create(name, pretrained=False))  # no network
    scope = {}
    code = block(README, "## In five lines", "python")
    (other,) = re.findall(r"# or, at every block: (.*)", code)
    with torch.no_grad():
        exec(code, scope)
        every = eval(other, scope)
        every(torch.randn(1, 3, 224, 224))
    assert scope["logits"].shape == (1, 1000)
    assert [stage.tokens_out for stage in scope["trace"]] == [49, 12, 3]
    assert every.trace[-1].tokens_out == 100
    assert type(scope["vit"]) is timm.models.VisionTransformer


def test_setup_lines_are_the_promised_ones():
    lines = [line.strip() for line in README.splitlines()]
    assert "pip install -c constraints.txt -e . && python train.py reducer=atc_average keep_rate=0.25" in lines
    assert 'pip install -c constraints.txt -e ".[test]" && pytest' in lines


def test_it_is_short():
    assert len(README.splitlines()) <= 110
