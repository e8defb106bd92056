"""Zero-shot classifiers against what the libraries themselves make of the same images and sentences."""

import json
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

import atc
from atc.config import prompts
from atc.vit import zero_shot
from atc.vit.other_backbones import open_clip_vit, transformers_vit
from tests import towers

IMAGES = torch.rand(3, 3, 28, 28, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("family", ["clip", "siglip"])
@torch.no_grad()
def test_of_transformers(family: str, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    place = tmp_path / family
    whole = towers.transformers_model(place, family)
    texts = {name: (f"a photo of the digit {name}",) for name in towers.DIGITS}
    vit = zero_shot.transformers_clip(str(place), texts).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(place)
    fill = {"padding": "max_length", "max_length": towers.LENGTH} if family == "siglip" else {"padding": True}
    tokens = tokenizer([own for (own,) in texts.values()], return_tensors="pt", **fill)
    tokens = {key: tokens[key] for key in ("input_ids", "attention_mask")}
    out = whole(pixel_values=IMAGES, **tokens)
    torch.testing.assert_close(vit(IMAGES), out.logits_per_image, atol=1e-5, rtol=1e-5)
    assert vit.num_classes == 10
    assert vit.pretrained_cfg["mean"] == (0.4,) * 3
    assert torch.equal(atc.wrap(vit, "none")(IMAGES), vit(IMAGES))
    model = atc.wrap(vit, "tome", 0.5, blocks=(2, 3))
    assert model(IMAGES).shape == (3, 10)
    assert model.trace.tokens() == [25, 13]
    whole.vision_model = atc.wrap(whole.vision_model, "tome", 0.5, blocks=(2, 3))
    out = whole(pixel_values=IMAGES, **tokens)
    torch.testing.assert_close(model(IMAGES), out.logits_per_image, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("bias", [None, -3.0])
@torch.no_grad()
def test_of_open_clip(bias: float | None, tmp_path: Path) -> None:
    open_clip = pytest.importorskip("open_clip")
    whole, name = towers.open_clip_model(tmp_path / "clip", bias), f"local-dir:{tmp_path / 'clip'}"
    texts = {name: (f"a photo of the digit {name}",) for name in towers.DIGITS}
    vit = zero_shot.open_clip(name, texts).eval()
    tokens = open_clip.get_tokenizer(name)([own for (own,) in texts.values()])
    logits, _ = whole.get_logits(IMAGES, tokens)
    torch.testing.assert_close(vit(IMAGES), logits, atol=1e-5, rtol=1e-5)
    by_hand = whole.logit_scale.exp() * whole.encode_image(IMAGES, True) @ whole.encode_text(tokens, True).T
    torch.testing.assert_close(vit(IMAGES), by_hand + (bias or 0.0), atol=1e-5, rtol=1e-5)
    model = atc.wrap(vit, "atc_average", 0.5, blocks=(2, 3))
    whole.visual = atc.wrap(whole.visual, "atc_average", 0.5, blocks=(2, 3))
    torch.testing.assert_close(model(IMAGES), whole.get_logits(IMAGES, tokens)[0], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_siglip_of_open_clip(tmp_path: Path) -> None:
    """A timm model for images, and a tokenizer of transformers."""
    open_clip = pytest.importorskip("open_clip")
    place, name = tmp_path / "siglip", f"local-dir:{tmp_path / 'siglip'}"
    towers.word_tokenizer(place)
    vision = {"image_size": 224, "timm_model_name": "vit_tiny_patch16_224", "timm_pool": "token", "timm_proj": "linear"}
    text = {"context_length": 8, "vocab_size": len(towers.WORDS) + 3, "width": 16, "heads": 2, "layers": 2}
    text |= {"hf_tokenizer_name": str(place), "no_causal_mask": True, "pool_type": "last"}
    config = {"embed_dim": 16, "init_logit_bias": -3.0, "custom_text": True, "vision_cfg": vision, "text_cfg": text}
    said = {"model_cfg": config, "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3}}
    (place / "open_clip_config.json").write_text(json.dumps(said))
    whole = open_clip.create_model(name, load_weights=False).eval()
    torch.save(whole.state_dict(), place / "open_clip_pytorch_model.bin")
    vit = zero_shot.open_clip(name, {digit: (f"a {digit}",) for digit in towers.DIGITS}).eval()
    tokens = open_clip.get_tokenizer(name)([f"a {digit}" for digit in towers.DIGITS])
    images = torch.rand(2, 3, 224, 224)
    torch.testing.assert_close(vit(images), whole.get_logits(images, tokens)[0], atol=1e-5, rtol=1e-5)
    zero_shot.open_clip(name, {"a": ("a a a a a a a",)})
    with pytest.raises(ValueError, match="has more than the 8 tokens that the text tower of"):
        zero_shot.open_clip(name, {"a": ("a a a a a a a a",)})


@pytest.mark.parametrize("how", ["autocast", "weights"])
@torch.no_grad()
def test_half_precision(how: str, tmp_path: Path) -> None:
    """Similarities that are multiplied by 100 are computed in float32."""
    pytest.importorskip("transformers")
    towers.transformers_model(tmp_path / "clip", "clip")
    vit = zero_shot.transformers_clip(str(tmp_path / "clip"), {name: (f"a {name}",) for name in towers.DIGITS}).eval()
    model, images = atc.wrap(vit, "none"), IMAGES
    if how == "weights":
        vit.bfloat16()
        images = images.bfloat16()
    with torch.autocast("cpu", torch.bfloat16, enabled=how == "autocast"):
        features = model.forward_head(model.forward_features(images), pre_logits=True)
        logits = model(images)
    projected = F.normalize(F.linear(features, vit.classifier.projection.weight.to(features.dtype)).float(), dim=-1)
    assert logits.dtype == torch.float32
    expected = vit.classifier.scale * projected @ vit.classifier.text.float().T
    torch.testing.assert_close(logits, expected, atol=0.15, rtol=0)  # the projection itself is in half precision
    assert len(logits.unique()) == logits.numel()


@torch.no_grad()
def test_several_templates(tmp_path: Path) -> None:
    open_clip = pytest.importorskip("open_clip")
    whole, name = towers.open_clip_model(tmp_path / "clip"), f"local-dir:{tmp_path / 'clip'}"
    texts = prompts.read(towers.prompts(tmp_path / "prompts.tsv")).texts
    vit = zero_shot.open_clip(name, texts)
    for row, own in zip(vit.classifier.text, texts.values(), strict=True):
        assert len(own) == 2
        each = whole.encode_text(open_clip.get_tokenizer(name)(list(own)), normalize=True)
        torch.testing.assert_close(row, F.normalize(each.mean(dim=0), dim=0))


def test_coca(tmp_path: Path) -> None:
    """A tower that returns its patches too, for a decoder of captions, is read for its one row per image."""
    open_clip = pytest.importorskip("open_clip")
    whole, name = towers.open_clip_model(tmp_path / "coca", coca=True), f"local-dir:{tmp_path / 'coca'}"
    vit = zero_shot.open_clip(name, {"one": ("a one",), "two": ("a two",)}).eval()
    with torch.no_grad():
        images = whole.encode_image(IMAGES, normalize=True)
        texts = whole.encode_text(open_clip.get_tokenizer(name)(["a one", "a two"]), normalize=True)
        expected = whole.logit_scale.exp() * images @ texts.T
        torch.testing.assert_close(vit(IMAGES), expected, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(atc.wrap(vit, "none")(IMAGES), expected, atol=1e-5, rtol=1e-5)
    assert atc.wrap(vit, "tome", 0.5, blocks=(2,))(IMAGES).shape == (3, 2)


def test_too_long(tmp_path: Path) -> None:
    pytest.importorskip("open_clip")
    pytest.importorskip("transformers")
    towers.open_clip_model(tmp_path / "clip")
    name = f"local-dir:{tmp_path / 'clip'}"
    fits, longer = " ".join(["a"] * 10), " ".join(["a"] * 11)
    zero_shot.open_clip(name, {"a": (fits,)})
    with pytest.raises(ValueError, match="the sentence 'a a a a a a a a a a a' has more than the 12 tokens that the"):
        zero_shot.open_clip(name, {"a": (longer,)})
    for family, most in (("clip", 6), ("siglip", 7)):
        place = tmp_path / family
        towers.transformers_model(place, family)
        zero_shot.transformers_clip(str(place), {"a": (" ".join(["a"] * most),)})
        with pytest.raises(ValueError, match="has more than the 8 tokens that the text tower of"):
            zero_shot.transformers_clip(str(place), {"a": (" ".join(["a"] * (most + 1)),)})
        own = ("one", "ONE") if family == "clip" else ("x", "y")  # words that the tokenizer does not know
        with pytest.raises(ValueError, match=f"the classes '{own[0]}' and '{own[1]}' have the same tokens, so that"):
            zero_shot.transformers_clip(str(place), {name: (f"a {name}",) for name in own})


def test_refused(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    texts = {"a": ("a photo",)}
    whole = towers.transformers_model(tmp_path / "clip", "clip")
    whole.vision_model.save_pretrained(tmp_path / "images alone")
    with pytest.raises(ValueError, match=r"with its text tower, and .*images alone is a CLIPVisionModel"):
        zero_shot.transformers_clip(str(tmp_path / "images alone"), texts)
    config = transformers.CLIPConfig.from_pretrained(tmp_path / "clip")
    transformers.CLIPForImageClassification(config).save_pretrained(tmp_path / "classifier")
    with pytest.raises(ValueError, match=r"classifier lacks weights of a CLIPModel, such as .*"):
        zero_shot.transformers_clip(str(tmp_path / "classifier"), texts)
    whole.save_pretrained(tmp_path / "no tokenizer")
    with pytest.raises(ValueError, match=r"transformers finds no tokenizer for .*no tokenizer") as error:
        zero_shot.transformers_clip(str(tmp_path / "no tokenizer"), texts)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("library", ["transformers", "open_clip"])
def test_weights_that_are_cut_off(library: str, tmp_path: Path) -> None:
    pytest.importorskip(library)
    texts, place = {"a": ("a photo",)}, tmp_path / "model"
    if library == "transformers":
        towers.transformers_model(place, "clip")
        (weights,) = place.glob("*.safetensors")
    else:
        towers.open_clip_model(place)
        (weights,) = place.glob("*.bin")
    weights.write_bytes(weights.read_bytes()[:1000])
    name = str(place) if library == "transformers" else f"local-dir:{place}"
    build = {
        "transformers": [lambda: zero_shot.transformers_clip(name, texts), lambda: transformers_vit(name, 2)],
        "open_clip": [lambda: zero_shot.open_clip(name, texts), lambda: open_clip_vit(name, 2)],
    }
    for each in build[library]:
        with pytest.raises(ValueError, match=r"the weights of .* cannot be read|open_clip cannot build") as error:
            each()
        assert "\n" not in str(error.value)
