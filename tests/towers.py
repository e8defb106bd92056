"""Small models with an image and a text tower, and their tokenizers, written to disk as their libraries write them."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
WORDS = [*DIGITS, "a", "photo", "scan", "of", "the", "digit", "handwritten"]
LENGTH = 8  # tokens that a text tower reads
TOWER = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2}
TEXT = {**TOWER, "num_hidden_layers": 2, "max_position_embeddings": LENGTH}


def prompts(place: Path, names: tuple[str, ...] = DIGITS) -> Path:
    """A prompts file with two templates for each class."""
    templates = ("a photo of the digit {}", "a handwritten {}")
    place.write_text("".join(f"{name}\t{template}\n" for template in templates for name in names))
    return place


def clip_tokenizer(place: Path) -> None:
    """A tokenizer of CLIP: byte-pair encoding, whose merges make each of `WORDS` one token."""
    transformers = pytest.importorskip("transformers")
    units = sorted({letter for word in WORDS for letter in word})
    vocabulary = [*units, *(f"{unit}</w>" for unit in units)]
    merges = []
    for word in WORDS:
        parts = [*word[:-1], f"{word[-1]}</w>"]
        while len(parts) > 1:
            merges.append((parts[0], parts[1]))
            parts = ["".join(parts[:2]), *parts[2:]]
    vocabulary += dict.fromkeys("".join(pair) for pair in merges if "".join(pair) not in vocabulary)
    vocabulary += ["<|startoftext|>", "<|endoftext|>"]
    place.mkdir(exist_ok=True)
    (place / "vocab.json").write_text(json.dumps({token: number for number, token in enumerate(vocabulary)}))
    (place / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in dict.fromkeys(merges)))
    transformers.CLIPTokenizer.from_pretrained(place).save_pretrained(place)


def word_tokenizer(place: Path) -> None:
    """A tokenizer of whole words, as tokenizer.json."""
    tokenizers, transformers = pytest.importorskip("tokenizers"), pytest.importorskip("transformers")
    vocabulary = {word: number for number, word in enumerate(["<pad>", "</s>", "<unk>", *WORDS])}
    found = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="<unk>"))
    found.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    found.post_processor = tokenizers.processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=found, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )
    fast.save_pretrained(place)


def transformers_model(place: Path, family: str, layers: int = 4, length: int = LENGTH) -> Any:
    """A CLIPModel or SiglipModel, "clip" or "siglip", with its tokenizer in `place`."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    images = {**TOWER, "image_size": 28, "patch_size": 4, "num_hidden_layers": layers}
    texts = TEXT | {"max_position_embeddings": length}
    if family == "clip":
        clip_tokenizer(place)
        tokenizer = transformers.AutoTokenizer.from_pretrained(place)
        size, ids = len(tokenizer), {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
        config = transformers.CLIPConfig(
            text_config=texts | {"vocab_size": size} | ids, vision_config=images, projection_dim=12
        )
        model = transformers.CLIPModel(config)
    else:
        word_tokenizer(place)
        text = texts | {"vocab_size": len(WORDS) + 3, "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 1}
        model = transformers.SiglipModel(transformers.SiglipConfig(text_config=text, vision_config=images))
        torch.nn.init.constant_(model.logit_scale, 2.0)
        torch.nn.init.constant_(model.logit_bias, -3.0)
    _spread(model)
    model.eval().save_pretrained(place)
    said = {"image_mean": [0.4] * 3, "image_std": [0.3] * 3, "size": {"height": 28, "width": 28}}
    (place / "preprocessor_config.json").write_text(json.dumps(said | {"image_processor_type": "CLIPImageProcessor"}))
    return model


def open_clip_model(place: Path, bias: float | None = None, coca: bool = False, layers: int = 4) -> Any:
    """A CLIP or CoCa of open_clip in `place`, to be named local-dir:PLACE, with the library's own tokenizer."""
    open_clip = pytest.importorskip("open_clip")
    images = {"image_size": 28, "patch_size": 4, "layers": layers, "width": 16, "head_width": 8}
    text = {"context_length": 12, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2}
    config: dict[str, Any] = {"embed_dim": 12, "vision_cfg": images, "text_cfg": text}
    if coca:
        images |= {"attentional_pool": True, "attn_pooler_heads": 2, "output_tokens": True}
        config |= {"multimodal_cfg": {**text, "attn_pooler_heads": 2}, "custom_text": True}
        text |= {"embed_cls": True, "output_tokens": True}
    config |= {} if bias is None else {"init_logit_bias": bias}
    place.mkdir(exist_ok=True)
    said = {"mean": [0.4] * 3, "std": [0.3] * 3}
    (place / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": said}))
    torch.manual_seed(0)
    model = open_clip.create_model(f"local-dir:{place}", load_weights=False).eval()
    _spread(model)
    torch.save(model.state_dict(), place / "open_clip_pytorch_model.bin")
    return model


def _spread(model: torch.nn.Module) -> None:
    """Weights so large that different images come out different."""
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.8)
