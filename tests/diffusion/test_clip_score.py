"""The CLIP score on a small random model, against what the model itself says."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, PngImagePlugin

from atc.diffusion import tiny_parts
from atc.diffusion.fid import clip, compare

transformers = pytest.importorskip("transformers")
PROMPTS = ["a photograph of a magpie", "a tench", "a church, which has a very long name " * 9]
PROMPTS += [f"a photograph of a {name}" for name in ("magpie", "crane", "garbage truck", "golf ball", "parachute")]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    place = tmp_path_factory.mktemp("clip")
    tokenizer = tiny_parts.tokenizer()
    text = {
        "vocab_size": len(tokenizer), "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1,
        "num_attention_heads": 2, "max_position_embeddings": 77, "eos_token_id": tokenizer.eos_token_id,
    }  # fmt: skip
    vision = {
        "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
        "image_size": 32, "patch_size": 8,
    }  # fmt: skip
    torch.manual_seed(1)
    config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)
    transformers.CLIPModel(config).save_pretrained(place)
    reader = transformers.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    transformers.CLIPProcessor(reader, tokenizer).save_pretrained(place)
    return str(place)


def made(directory):
    directory.mkdir()
    for number, prompt in enumerate(PROMPTS):
        about = PngImagePlugin.PngInfo()
        about.add_itxt("atc", json.dumps({"prompt": prompt, "seed": number}))
        pixels = np.zeros((40, 48, 3), dtype=np.uint8)
        pixels[5 * number :, 6 * number :] = np.random.default_rng(number).integers(0, 256, 3)
        Image.fromarray(pixels).save(directory / f"{number}.png", pnginfo=about)
    return directory


def test_the_score_is_that_of_the_models_logits(model, tmp_path, monkeypatch):
    paths = sorted(made(tmp_path / "images").iterdir())
    assert clip.prompts_of(paths) == PROMPTS
    network, processor = (part.from_pretrained(model) for part in (transformers.CLIPModel, transformers.CLIPProcessor))
    expected = []
    for path, prompt in zip(paths, PROMPTS, strict=True):
        given = processor(
            text=[prompt], images=[Image.open(path)], return_tensors="pt", truncation=True, max_length=77, padding=True
        )
        with torch.inference_mode():
            expected.append(max(0.0, 100 * network(**given).logits_per_image.item() / network.logit_scale.exp().item()))
    found = clip.clip_scores(paths, PROMPTS, model, tmp_path / "cache", batch_size=2)
    assert found == pytest.approx(expected, rel=1e-4)
    assert len(set(found)) >= 3
    assert 0 in found  # negative ones
    record = compare(tmp_path / "images", clip=model, cache=tmp_path / "cache", device="cpu")
    assert record["clip_score"]["value"] == pytest.approx(np.mean(expected), rel=1e-4)
    assert record["clip_score"]["error"] == pytest.approx(np.std(expected, ddof=1) / len(PROMPTS) ** 0.5, rel=1e-3)
    assert "fid" not in record

    def never(*args, **options):
        raise AssertionError("loaded again")

    monkeypatch.setattr(transformers.CLIPModel, "from_pretrained", never)
    assert clip.clip_scores(paths, PROMPTS, model, tmp_path / "cache") == pytest.approx(expected, rel=1e-4)


def test_prompts_from_a_file(tmp_path):
    paths = [Path("0.png"), Path("1.png")]
    file = tmp_path / "prompts.json"
    file.write_text(json.dumps({"1.png": "one", "0.png": "zero", "2.png": "two"}))
    assert clip.prompts_of(paths, file) == ["zero", "one"]
    for text, said in (
        ('{"0.png": "zero"}', "lacks 1 of 2 images, such as 1.png"),
        ('{"0.png": 3, "1.png": "one"}', "must map names of images to prompts"),
        ("zero", "is no JSON file that can be read"),
    ):
        file.write_text(text)
        with pytest.raises(ValueError, match=said) as raised:
            clip.prompts_of(paths, file)
        assert "\n" not in str(raised.value)


def test_models_that_are_none(tmp_path):
    paths = sorted(made(tmp_path / "images").iterdir())
    (tmp_path / "empty").mkdir()
    for name in (str(tmp_path / "empty"), "no/such-model"):
        with pytest.raises(ValueError, match=f"clip={name} ") as raised:
            clip.clip_scores(paths, PROMPTS, name)
        assert "\n" not in str(raised.value)
