"""docs/hosts.md: its Python runs as it stands, its commands compose, and its own host is found in a package."""

import re
import shlex
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

import atc
from atc.config import build
from atc.config.check import check
from atc.vit.hosts.transformers.heads import HEADS
from tests.harness import forked
from tests.harness.commands import ROOT, environment
from tests.test_docs_own_parts import FILES, QUICK

PAGE = (Path(__file__).parent.parent / "docs" / "hosts.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE, re.S | re.M)
BRIEFLY = ["batch_size=2", "seconds=0.02", "output=throughput.json"]
COMMANDS = [line.strip() for line in PAGE.splitlines() if line.startswith("    python ")]


def test_models_of_transformers() -> None:
    pytest.importorskip("transformers")
    scope: dict[str, object] = {}
    exec(BLOCKS[0], scope)
    assert scope["out"].logits.shape == (2, 2)
    assert scope["model"].trace.tokens() == [8, 4]
    assert "ReducedPretrained" in type(scope["model"]).__name__


def test_towers_of_clip() -> None:
    pytest.importorskip("open_clip")
    scope: dict[str, object] = {"atc": atc, "torch": torch}
    exec(BLOCKS[1], scope)
    assert scope["features"].shape == (1, 512)


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_compose(line: str) -> None:
    _, script, *overrides = shlex.split(line)
    GlobalHydra.instance().clear()
    name = script.removesuffix(".py")
    with initialize_config_dir(str(build.conf_dir()), version_base="1.3"):
        check(compose(name, overrides), name)


def test_there_are_commands() -> None:
    assert len(COMMANDS) == 3


def package(place: Path) -> None:
    """What `pip install` would leave of the page's package."""
    (place / "my_models.py").write_text(BLOCKS[2])
    (points,) = re.findall(r"^```toml\n(.*?)^```", PAGE, re.S | re.M)
    info = place / "mine-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(points.replace('[project.entry-points."atc.hosts"]', "[atc.hosts]").replace(
        '"', ""))  # fmt: skip


@torch.no_grad()
def test_a_host_of_a_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    import my_models  # type: ignore[import-not-found]

    model, images = my_models.Mine().eval(), torch.randn(2, 3, 64, 64)
    assert torch.equal(atc.wrap(model, "none")(images), model(images))
    wrapped = atc.wrap(model, "atc_average", 0.5, blocks=(2, 3))
    assert wrapped(images).shape == (2, 5)
    assert wrapped.trace.tokens() == [32, 16]
    model.layers[0].register_forward_hook(print)
    with pytest.raises(ValueError, match="hook"):
        atc.wrap(model, "atc_average", 0.5, blocks=(2, 3))


@pytest.mark.slow
def test_a_backbone_of_a_package(tmp_path: Path) -> None:
    """Trained, evaluated, resumed and drawn by the commands."""
    package(tmp_path)
    for name, content in FILES.findall(PAGE):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    (line,) = re.findall(r"^    PYTHONPATH=\. python (.*)$", PAGE, re.M)
    quick = ["benchmark.seconds=0.02", "trainer.limit_test_batches=1"]
    trained = [*shlex.split(line)[1:], *QUICK, "hydra.run.dir=run"]
    report = ["-m", "atc.visualise", "--config-dir", "my_conf", "backbone=mine", "blocks=[2,3]", "image=digits:1"]
    for command in (
        [str(ROOT / "train.py"), *trained],
        [str(ROOT / "train.py"), *trained, "resume=run"],
        [str(ROOT / "evaluate.py"), "--config-dir", "my_conf", "checkpoint=run", *quick],
        [*report, "output=drawn.png"],
        ["-m", "atc.bench", "throughput", "--config-dir", "my_conf", "backbone=mine", "blocks=[2,3]", *BRIEFLY],
    ):
        env = environment()
        env["PYTHONPATH"] = f"{tmp_path}:{env.get('PYTHONPATH', '')}"
        done = forked.run(command, tmp_path, env)
        assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "drawn.png").is_file()


def test_a_package_that_cannot_be_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "broken-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[atc.hosts]\nmine = there_is_no_such_module:Host\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        ValueError, match=r"the host 'mine' \(there_is_no_such_module:Host\) cannot be imported: No mod"
    ):
        atc.wrap(torch.nn.Linear(2, 2), "tome", 0.5)


def test_the_page_names_what_there_is() -> None:
    (row,) = (line for line in PAGE.splitlines() if line.startswith("| transformers"))
    for family in ("ViT", "DeiT", "DINOv2", "registers", "DINOv3", "MAE", "CLIP", "SigLIP"):
        assert family in row
    assert len(HEADS) == 18
