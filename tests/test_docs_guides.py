"""The first pages, and those on a project of one's own, training, cost and W&B: their examples as they stand."""

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch

from atc import run
from atc.config.check import check
from tests.harness.commands import ROOT, composed, environment
from tests.test_docs import blocks
from tests.test_docs_own_parts import FILES

DOCS = ROOT / "docs"


def text(page: str) -> str:
    return (DOCS / page).read_text(encoding="utf-8")


def commands(page: str) -> list[list[str]]:
    """Those of train.py and evaluate.py, in words."""
    lines = re.findall(r"^    python (.*)$", text(page), re.M)
    return [words for line in lines if (words := shlex.split(line))[0] in ("train.py", "evaluate.py")]


@pytest.mark.parametrize("page", ["getting_started.md", "wandb.md"])
def test_commands_compose(page: str, tmp_path: Path) -> None:
    """But the one that shows what a mistake is told."""
    asked = [words for words in commands(page) if not {"--cfg", "keep_rate=1.5"} & set(words)]
    assert len(asked) >= 2
    for script, *settings in asked:
        name = script.removesuffix(".py")
        check(composed(name, tmp_path, *settings), name)


@pytest.mark.slow
def test_a_run_leaves_what_is_said(tmp_path: Path) -> None:
    run.train(composed("train", tmp_path, "reducer=tome", "keep_rate=0.5", "baselines=false"))
    table = text("getting_started.md").partition("| file | what it is |")[2].partition("\n\n")[0]
    named = [
        name
        for row in table.splitlines()
        for name in re.findall(r"`([\w./]+)`", row.partition("|")[2].partition("|")[0])
    ]
    left_by_the_command = {"composed.yaml", "train.log", "evaluate.log"}
    assert set(named) > left_by_the_command
    assert [name for name in named if name not in left_by_the_command and not (tmp_path / name).exists()] == []


@pytest.fixture
def scope(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.chdir(tmp_path)
    return {}


def test_first_lines_of_python(scope: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = blocks(DOCS / "getting_started.md")
    exec(block, scope)
    assert f"# {capsys.readouterr().out.strip()} of 196" in block
    assert scope["logits"].shape == (1, 1000)


def test_cost(scope: dict[str, Any]) -> None:
    for block in blocks(DOCS / "cost.md"):
        exec(block, scope)
    assert 0.5 < scope["reduced"] / scope["dense"] < 0.8
    assert 0 < scope["price"] < 0.05 * scope["reduced"]
    assert scope["speed"].keys() == {"dense", "reduced"}
    assert scope["grown"] is None or scope["grown"] >= 0


def test_training(scope: dict[str, Any]) -> None:
    pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    pytest.importorskip("peft")
    loop, trainer, adapters = blocks(DOCS / "training.md")
    exec(loop, scope)
    assert torch.isfinite(scope["losses"]["total"])
    exec(trainer, scope)
    assert scope["trainer"].state.global_step == 2
    assert scope["model"].trace.tokens() == [2, 1]
    exec(adapters, scope)
    assert Path("adapter", "adapter_config.json").is_file()


def test_the_package_of_a_project_has_the_host_of_the_page_on_hosts() -> None:
    package = tomllib.loads(dict(FILES.findall(text("project.md")))["pyproject.toml"])
    assert {"build-system", "project"} <= package.keys()
    (host,) = package["project"]["entry-points"]["atc.hosts"].values()
    module, name = host.split(":")
    assert module in package["tool"]["setuptools"]["py-modules"]
    assert f"`{module}.py`" in text("hosts.md")
    assert f"class {name}(Host)" in text("hosts.md")


@pytest.mark.slow
def test_a_project_of_your_own(tmp_path: Path) -> None:
    files = FILES.findall(text("project.md"))
    assert len(files) == 4
    for name, content in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    asked = [shlex.split(line) for line in re.findall(r"^    PYTHONPATH=\. (.*)$", text("project.md"), re.M)]
    scripts = {"atc-evaluate": "evaluate", "atc-train": "train"}
    ours = {script: settings for script, *settings in asked if script in scripts}
    assert [len(asked), ours.keys()] == [4, scripts.keys()]
    for script, *settings in asked:
        if script in scripts:
            assert settings[:2] == ["--config-dir", "my_conf"]
            mine = f"hydra.searchpath=['file://{tmp_path / 'my_conf'}']"
            cfg = composed(scripts[script], tmp_path, mine, *settings[2:])
            assert cfg.reducer._target_ == "my_methods.Central"
            assert list(cfg.blocks) == ([3, 6, 9] if "experiment=central_half" in settings else [4, 7, 10])
    env = environment()
    env["PYTHONPATH"] = f"{tmp_path}:{env.get('PYTHONPATH', '')}"
    quick = ["benchmark.seconds=0.02", "trainer.limit_test_batches=1"]
    line = [sys.executable, str(ROOT / "evaluate.py"), *ours["atc-evaluate"], *quick]
    done = subprocess.run(line, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "test accuracy" in done.stdout
