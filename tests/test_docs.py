"""The pages of docs/: their Python runs as it stands, their commands compose, their links lead somewhere."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from PIL import Image

from atc.config import build
from atc.config.check import check

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [*sorted(DOCS.glob("*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]


def blocks(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.S | re.M)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of the reader's, a photograph in it, and no network."""
    create = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda name, pretrained=False: create(name, depth=12, embed_dim=24))
    monkeypatch.chdir(tmp_path)
    pixels = np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    Image.fromarray(pixels).save("cat.jpg")
    return tmp_path


def test_the_page_on_the_library(here: Path) -> None:
    scope: dict[str, object] = {}
    for block in blocks(DOCS / "library.md"):
        exec(block, scope)
    assert scope["logits"].shape == (2, 1000)
    assert scope["patches"].shape == (2, 196, 24)
    assert [tuple(found.shape) for found in scope["maps"]] == [(2, 24, 14, 14)] * 2
    assert scope["stream"].num_tokens == 98
    assert (here / "tokens.png").is_file()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_page_on_export(here: Path) -> None:
    pytest.importorskip("onnxruntime", reason="an extra: pip install 'atc-toolkit[export]'")
    scope: dict[str, object] = {}
    *first, last = blocks(DOCS / "export.md")
    for block in first:
        exec(block, scope)
    with torch.no_grad():
        torch.testing.assert_close(scope["logits"], scope["model"](scope["images"]))
    exec(last, scope)
    graphs = [module.graph for module in scope["program"].graph_module.modules()]  # of the parts under no_grad too
    assert any("atc.linkage" in str(node.target) for graph in graphs for node in graph.nodes)


COMMANDS = [
    line.strip().partition(" # ")[0].strip()
    for line in (DOCS / "harness.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("    python ")
]
COMPOSED = [
    line
    for line in COMMANDS
    if re.match(r"python (train|evaluate)\.py", line) and not re.search(r"checkpoint=|-cn |--cfg|hydra/", line)
]


def test_there_are_commands() -> None:
    assert len(COMPOSED) >= 8


@pytest.mark.parametrize("line", COMPOSED)
def test_commands_of_the_harness_compose(line: str) -> None:
    """With the first of several values; what no document may assume, a folder of data, is not looked at."""
    _, script, *overrides = shlex.split(line)
    several = "-m" in overrides
    overrides = [one.split(",")[0] if several else one for one in overrides if one != "-m"]
    if {"trace=true", "predictions=true"} & set(overrides):
        pytest.importorskip("pyarrow")
    GlobalHydra.instance().clear()
    name = script.removesuffix(".py")
    with initialize_config_dir(str(build.conf_dir()), version_base="1.3"):
        check(compose(name, overrides), name)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        if not link.startswith("http"):
            assert (page.parent / link).exists(), link
