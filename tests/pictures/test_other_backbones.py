"""`python -m atc.visualise` with backbones of other libraries, off the shelf and without a classifier."""

from pathlib import Path

import pytest
from PIL import Image

from atc.visualise import main
from tests import towers
from tests.harness import test_other_backbones, test_probe

REDUCED = ["reducer=[atc_average,topk]", "blocks=[2,3]", "look=mean"]


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    pytest.importorskip("transformers")
    pytest.importorskip("open_clip")
    monkeypatch.chdir(tmp_path)
    Image.radial_gradient("L").convert("RGB").save("cat.png")
    return tmp_path


@pytest.mark.parametrize("family", ["clip", "siglip", "dinov2", "open_clip", "torchvision"])
def test_a_picture(family: str, directory: Path, capfd: pytest.CaptureFixture[str]) -> None:
    if family in ("clip", "siglip"):
        towers.transformers_model(directory / "model", family)
    elif family == "dinov2":
        test_probe.dino(directory / "model")
    elif family == "open_clip":
        towers.open_clip_model(directory / "model")
    backbone = {
        "open_clip": ["backbone=open_clip", "backbone.name=local-dir:model"],
        "torchvision": [
            *("backbone=torchvision", "backbone.pretrained=false"),
            f"backbone.name={test_other_backbones.vit_test_4.__name__}",
        ],
    }.get(family, ["backbone=transformers", "backbone.name=model"])
    capfd.readouterr()
    reducers = ["reducer=[atc_average,random]" if family == "siglip" else REDUCED[0], *REDUCED[1:]]  # without a CLS
    assert main(["image=cat.png", *backbone, *reducers, "output=drawn.svg"]) == 0
    said = capfd.readouterr()
    assert said.out == "drawn.svg\n"
    assert "MISSING" not in said.err
    drawn = (directory / "drawn.svg").read_text()
    for words in ("atc_average", "stage 2, block 3", "12 tokens", "49 patches"):
        assert f">{words}</text>" in drawn
    assert main(["image=digits:3", *backbone, *reducers, "output=drawn.gif", "html=page.html"]) == 0
    assert (directory / "page.html").read_text().count('"reducer":"atc"') == 4


def test_a_method_that_needs_a_cls_token(directory: Path, capfd: pytest.CaptureFixture[str]) -> None:
    towers.transformers_model(directory / "model", "siglip")
    capfd.readouterr()
    backbone = ["backbone=transformers", "backbone.name=model"]
    assert main(["image=cat.png", *backbone, "reducer=evit", "blocks=[2,3]"]) == 2
    (line,) = (line for line in capfd.readouterr().err.splitlines() if line.startswith("error"))
    assert "CLS" in line
