"""evaluate.py task=zero_shot, against the library's own pipeline on the same images."""

import hashlib
import json
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from safetensors import safe_open

from atc import run
from atc.runs import identity
from datamodules.digits import Digits
from tests import towers
from tests.harness.commands import composed

BLOCKS = ["blocks=[2,3]", "reducer=atc_average", "keep_rate=0.5", "trainer.limit_test_batches=1.0"]


def _images(size: int = 28) -> tuple[torch.Tensor, torch.Tensor]:
    data = Digits(32, 450, None, 0, 0)
    data.adapt({"input_size": (3, size, size), "mean": (0.4,) * 3, "std": (0.3,) * 3})
    images, targets = next(iter(data.test_dataloader()))
    return images, targets


@pytest.mark.parametrize("library", ["clip", "siglip", "open_clip"])
@torch.no_grad()
def test_accuracy(library: str, tmp_path: Path) -> None:
    transformers, open_clip = pytest.importorskip("transformers"), pytest.importorskip("open_clip")
    place, file = tmp_path / "the model", towers.prompts(tmp_path / "my prompts.tsv", towers.DIGITS)
    file.write_text("".join(f"{name}\ta photo of the digit {{}}\n" for name in towers.DIGITS))
    texts = [f"a photo of the digit {name}" for name in towers.DIGITS]
    images, targets = _images()
    if library == "open_clip":
        whole, backbone = towers.open_clip_model(place), ["backbone=open_clip", f"backbone.name='local-dir:{place}'"]
        logits = whole.get_logits(images, open_clip.get_tokenizer(f"local-dir:{place}")(texts))[0]
    else:
        whole, backbone = towers.transformers_model(place, library), [
            "backbone=transformers", f"backbone.name='{place}'"]  # fmt: skip
        fill = {"padding": "max_length", "max_length": towers.LENGTH} if library == "siglip" else {"padding": True}
        tokens = transformers.AutoTokenizer.from_pretrained(place)(texts, return_tensors="pt", **fill)
        tokens = {key: tokens[key] for key in ("input_ids", "attention_mask")}
        logits = whole(pixel_values=images, **tokens).logits_per_image
    cfg = composed("evaluate", tmp_path / "run", *backbone, "task=zero_shot", f"task.prompts='{file}'", *BLOCKS,
        "baselines=true")  # fmt: skip
    record = run.evaluate(cfg)
    predicted = logits.argmax(dim=1)
    assert len(predicted.unique()) > 1
    assert record.results["dense"]["accuracy"] == pytest.approx(float((predicted == targets).float().mean()))
    assert record.results["dense"]["images"] == record.results["off_the_shelf"]["images"] == 450
    assert record.tokens_per_block == [49, 49, 24, 12]
    assert record.as_dict()["metric"] == {"name": "accuracy", "unit": "%", "scale": 100.0, "higher_is_better": True}
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert record.prompts == {"sha256": digest, "classes": 10, "texts": 10}
    assert json.loads((tmp_path / "run" / "results.json").read_text())["prompts"]["sha256"] == digest
    assert identity.settings(cfg)["task"]["prompts"] == f"sha256:{digest}"
    with safe_open(tmp_path / "run" / "text_features.safetensors", "pt") as kept:
        assert kept.metadata()["sha256"] == digest
        text = kept.get_tensor("text_features")
    assert text.shape[0] == 10
    torch.testing.assert_close(text.norm(dim=1), torch.ones(10))


def test_other_prompts_are_another_run(tmp_path: Path) -> None:
    file = towers.prompts(tmp_path / "p.tsv")
    cfg = composed("evaluate", tmp_path / "run", "backbone=open_clip", "backbone.name=ViT-B-32", "task=zero_shot",
        f"task.prompts='{file}'")  # fmt: skip
    one = identity.identity(cfg)
    moved = OmegaConf.merge(cfg, {"task": {"prompts": str(towers.prompts(tmp_path / "elsewhere.tsv"))}})
    assert identity.identity(moved) == one  # type: ignore[arg-type]  # of a mapping
    file.write_text(file.read_text().replace("photo", "picture"))
    assert identity.identity(cfg) != one
