"""Zero-shot classifiers: image towers of CLIP and SigLIP whose classifier is made of sentences.

The functions here build what those of `atc.vit.other_backbones` of the same library build, from the model with both
towers.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from atc.vit.host import host_of
from atc.vit.libraries import library, loading, open_clip_model, open_clip_tower, preprocessing, whole_model
from atc.vit.logits import Logits
from atc.vit.text_features import TextClassifier, Texts, Tokens, check_length, text_features
from atc.weights.loading import first_line


def transformers_clip(
    name: str,
    texts: Texts,
    pretrained: bool = True,
    checkpoint: None = None,
    use_ema: bool | None = None,
    data_config: Mapping[str, Any] | None = None,
    device: str = "cpu",
    **args: Any,
) -> nn.Module:
    """A CLIPModel or SiglipModel of transformers as a classifier of images.

    Args:
        name: on the hub, or a local directory with the model and its tokenizer.
        texts: the sentences of each class.
        pretrained: False builds it with new weights.
        checkpoint: None; weights come with the model.
        use_ema: of no concern.
        data_config: mean, std and the like, where the weights want others than the model's preprocessor says.
        device: where the sentences are encoded.
        **args: settings of the model's configuration, such as attn_implementation="eager".

    Returns:
        The image tower with a `TextClassifier`: images to similarities ``[B, classes]``.

    Raises:
        ConnectionError: it cannot be downloaded.
        ValueError: it has no text tower or tokenizer, cannot be wrapped, or a sentence is too long for it.
    """
    transformers = library("transformers", "hf")
    args = {key: value for key, value in args.items() if value is not None}
    with loading(name, args):
        config = transformers.AutoConfig.from_pretrained(name, **({} if pretrained else args))
        incomplete: str | None = None
        if pretrained:
            model, incomplete = whole_model(transformers, name, **args)
        else:
            model = transformers.AutoModel.from_config(
                config, **{key: value for key, value in args.items() if key == "attn_implementation"}
            )
    if not all(hasattr(model, part) for part in ("vision_model", "text_model", "logit_scale", "get_text_features")):
        raise ValueError(
            f"task=zero_shot needs a CLIPModel or a SiglipModel with its text tower, and {name} is a "
            f"{type(model).__name__}"
        )
    if incomplete:
        raise ValueError(incomplete)
    host_of(model.vision_model)  # raises first if it cannot be wrapped
    tokenizer = _tokenizer(transformers, name)
    limit = int(model.config.text_config.max_position_embeddings)
    # SigLIP was trained on sentences filled up to its limit.
    fill = {"padding": "max_length", "max_length": limit} if "siglip" in model.config.model_type else {"padding": True}

    def tokenize(sentences: list[str]) -> Tokens:
        for sentence, ids in zip(sentences, tokenizer(sentences)["input_ids"], strict=True):
            check_length(name, sentence, len(ids), limit)
        tokens = tokenizer(sentences, return_tensors="pt", **fill)
        return {key: tokens[key] for key in ("input_ids", "attention_mask") if key in tokens}

    def encode(**tokens: Tensor) -> Tensor:
        out = model.get_text_features(**tokens)
        return out if isinstance(out, Tensor) else out.pooler_output

    text = text_features(model, texts, tokenize, encode, device)
    data = {**preprocessing(transformers, name, config), **(data_config or {})}
    bias, projection = getattr(model, "logit_bias", None), getattr(model, "visual_projection", None)
    return _classifier(model.vision_model, data, TextClassifier(text, model.logit_scale.exp(), bias, projection))


def open_clip(
    name: str,
    texts: Texts,
    pretrained: bool = True,
    checkpoint: None = None,
    use_ema: bool | None = None,
    data_config: Mapping[str, Any] | None = None,
    device: str = "cpu",
    weights: str | None = None,
    **args: Any,
) -> nn.Module:
    """A model of open_clip as a classifier of images.

    Args:
        name: as open_clip calls it: ViT-B-32, hf-hub:OWNER/REPO, local-dir:PATH.
        texts: the sentences of each class.
        pretrained: False builds it with new weights.
        checkpoint: None; weights come with the model.
        use_ema: of no concern.
        data_config: mean, std and the like, where the weights want others than open_clip says.
        device: where the sentences are encoded.
        weights: the tag of pretrained weights, such as laion2b_s34b_b79k, or a file; a name with a colon needs none.
        **args: for `open_clip.create_model`, such as force_image_size.

    Returns:
        The image tower with a `TextClassifier`: images to similarities ``[B, classes]``.

    Raises:
        ConnectionError: the weights cannot be downloaded.
        ValueError: there is no such model or tag, it cannot be wrapped, or a sentence is too long for it.
    """
    library_ = library("open_clip", "open_clip")
    args = {key: value for key, value in args.items() if value is not None}
    model = open_clip_model(library_, name, weights, pretrained, args)
    tower, data = open_clip_tower(library_, model)
    host_of(tower)
    try:
        tokenize = library_.get_tokenizer(name)
    except (OSError, ValueError, RuntimeError, KeyError, ImportError, AssertionError) as error:
        raise ValueError(f"open_clip finds no tokenizer for {name} ({first_line(error)})") from error
    limit = int(tokenize.context_length)

    def tokens_of(sentences: list[str]) -> Tokens:
        tokens, longer = tokenize(sentences), tokenize(sentences, context_length=2 * limit)
        # A sentence that was cut ends otherwise than the same one with more room, or goes on in it.
        cut = (longer[:, :limit] != tokens).any(dim=1) | (longer[:, limit:] != longer[:, -1:]).any(dim=1)
        for sentence, too_long in zip(sentences, cut.tolist(), strict=True):
            check_length(name, sentence, limit + too_long, limit)
        return {"text": tokens}

    text = text_features(model, texts, tokens_of, model.encode_text, device)
    classifier = TextClassifier(text, model.logit_scale.exp(), getattr(model, "logit_bias", None))
    return _classifier(tower, {**data, **(data_config or {})}, classifier)


def _classifier(tower: nn.Module, data: Mapping[str, Any], classifier: TextClassifier) -> Logits:
    vit: Any = Logits(tower.train(), data, None, 0)
    vit.classifier, vit.num_classes = classifier, len(classifier.text)
    return vit


def _tokenizer(transformers: Any, name: str) -> Any:
    try:
        found = transformers.AutoTokenizer.from_pretrained(name)
        if len(found) <= len(found.all_special_tokens):  # made of nothing, where there are no files
            raise ValueError("its vocabulary is empty")
        return found
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ImportError, RuntimeError) as error:
        raise ValueError(
            f"transformers finds no tokenizer for {name} ({first_line(error)}): tokenizer.save_pretrained writes one "
            f"into the directory of the model"
        ) from error
