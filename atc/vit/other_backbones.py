"""Backbones of Hugging Face transformers, torchvision and open_clip: conf/backbone/ has a file for each of these.

All take num_classes (None keeps the backbone's own), pretrained, and checkpoint, a weight file under the library's own
names, here or on the hub (hf://OWNER/REPO/FILE), that replaces its weights. A backbone without a classifier, or with
one for other classes, gets a new nn.Linear; with num_classes=0 it returns features, as one without a classifier does
with None.
"""

import importlib
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from atc.vit.host import host_of
from atc.vit.libraries import library, loading, open_clip_model, open_clip_tower, preprocessing, whole_model
from atc.vit.logits import Logits
from atc.weights.loading import first_line, read_weights, without_classifier


def transformers_vit(
    name: str,
    num_classes: int | None = None,
    pretrained: bool = True,
    checkpoint: str | None = None,
    use_ema: bool | None = None,
    data_config: Mapping[str, Any] | None = None,
    **args: Any,
) -> nn.Module:
    """A vision model of Hugging Face transformers, with its classifier where it has one.

    Args:
        name: on the hub, as facebook/dinov2-base, or a local directory that `save_pretrained` wrote.
        num_classes: None keeps the model's own.
        pretrained: False builds it from its configuration, with new weights.
        checkpoint: a weight file that replaces the weights.
        use_ema: as for timm's backbones.
        data_config: mean, std and the like, where the weights want others than the model's preprocessor says.
        **args: settings of the model's configuration, such as attn_implementation="eager".

    Returns:
        The model, which takes images and returns logits.

    Raises:
        ConnectionError: it cannot be downloaded.
        ValueError: it is not there, cannot be wrapped, or does not fit.
    """
    transformers = library("transformers", "hf")
    args = {key: value for key, value in args.items() if value is not None}
    with loading(name, args):
        config = transformers.AutoConfig.from_pretrained(name)
        if config.model_type == "vit_mae":
            args["mask_ratio"] = 0.0
        if num_classes:
            args["num_labels"] = num_classes
        classes = transformers.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING
        auto = transformers.AutoModelForImageClassification if type(config) in classes else transformers.AutoModel
        incomplete: str | None = None
        if pretrained and not checkpoint and not num_classes and not _saved_with_classifier(config):
            own = _without_pooler(transformers, config)  # its own features, not what a classifier takes
            model, incomplete = whole_model(transformers, name, **args, **own)
        elif pretrained and not checkpoint:
            model = auto.from_pretrained(name, ignore_mismatched_sizes=True, **args)
        else:
            config = transformers.AutoConfig.from_pretrained(name, **args)
            model = auto.from_config(config, **{k: v for k, v in args.items() if k == "attn_implementation"})
    if incomplete:
        raise ValueError(incomplete)
    model = model.vision_model if hasattr(model, "text_model") else model
    classifier = "classifier" if isinstance(getattr(model, "classifier", None), nn.Linear) else None
    if type(model).__name__.endswith("WithTeacher"):
        raise ValueError(f"{name} has two classifiers; set its architecture to DeiTForImageClassification")
    host_of(model)  # raises first if it cannot be wrapped
    data = {**preprocessing(transformers, name, config), **(data_config or {})}
    vit = Logits(model.train(), data, classifier, num_classes)
    return _loaded(vit, checkpoint, use_ema)


def torchvision_vit(
    name: str,
    num_classes: int | None = None,
    pretrained: bool = True,
    checkpoint: str | None = None,
    use_ema: bool | None = None,
    data_config: Mapping[str, Any] | None = None,
    weights: str = "DEFAULT",
    **args: Any,
) -> nn.Module:
    """A VisionTransformer of torchvision.

    Args:
        name: as torchvision calls it: vit_b_16.
        num_classes: None keeps the model's own.
        pretrained: False builds it with new weights.
        checkpoint: a weight file that replaces the weights.
        use_ema: as for timm's backbones.
        data_config: mean, std and the like, where the weights want others than torchvision says.
        weights: which of the weights that torchvision offers for the name.
        **args: for its constructor, such as image_size, patch_size, num_layers.

    Returns:
        The model, which takes images and returns logits.

    Raises:
        ConnectionError: the weights cannot be downloaded.
        ValueError: there is no such model or weights, or it cannot be wrapped.
    """
    models = importlib.import_module("torchvision.models")
    args = {key: value for key, value in args.items() if value is not None}
    there = models.list_models(include="vit_*")
    if name not in there:
        raise ValueError(f"torchvision has no model '{name}'; there are: {', '.join(there)}")
    download = pretrained and not checkpoint
    try:
        chosen = models.get_model_weights(name)[weights]
    except KeyError as error:
        names = ", ".join(["DEFAULT", *(each.name for each in models.get_model_weights(name))])
        raise ValueError(f"torchvision has no weights '{weights}' for {name}; there are: {names}") from error
    try:
        model = models.get_model(name, weights=chosen if download else None, **args)
    except OSError as error:
        raise ConnectionError(
            f"cannot download the weights of {name} ({first_line(error)}): get the file by other means and pass "
            f"backbone.checkpoint=PATH, or backbone.pretrained=false"
        ) from error
    except (TypeError, ValueError, AssertionError) as error:
        raise ValueError(f"torchvision cannot build {name} with {args}: {first_line(error)}") from error
    shown = chosen.transforms()
    data: dict[str, Any] = {"input_size": (3, model.image_size, model.image_size)}
    data |= {"mean": tuple(shown.mean), "std": tuple(shown.std), "interpolation": shown.interpolation.value}
    data["crop_pct"] = shown.crop_size[0] / shown.resize_size[0]
    vit = Logits(model.train(), {**data, **(data_config or {})}, "heads.head", num_classes)
    return _loaded(vit, checkpoint, use_ema)


def open_clip_vit(
    name: str,
    num_classes: int | None = None,
    pretrained: bool = True,
    checkpoint: str | None = None,
    use_ema: bool | None = None,
    data_config: Mapping[str, Any] | None = None,
    weights: str | None = None,
    **args: Any,
) -> nn.Module:
    """The image tower of a model of open_clip, with a new linear classifier on what it returns.

    Args:
        name: as open_clip calls it: ViT-B-32, hf-hub:OWNER/REPO, local-dir:PATH.
        num_classes: of the classifier.
        pretrained: False builds it with new weights.
        checkpoint: a weight file of tower and classifier that replaces the weights.
        use_ema: as for timm's backbones.
        data_config: mean, std and the like, where the weights want others than open_clip says.
        weights: the tag of pretrained weights, such as laion2b_s34b_b79k, or a file; a name with a colon needs none.
        **args: for `open_clip.create_model`, such as force_image_size.

    Returns:
        The model, which takes images and returns logits.

    Raises:
        ConnectionError: the weights cannot be downloaded.
        ValueError: there is no such model or tag, or it cannot be wrapped.
    """
    open_clip = library("open_clip", "open_clip")
    args = {key: value for key, value in args.items() if value is not None}
    model = open_clip_model(open_clip, name, weights, pretrained and not checkpoint, args)
    tower, data = open_clip_tower(open_clip, model)
    vit = Logits(tower.train(), {**data, **(data_config or {})}, None, num_classes)
    return _loaded(vit, checkpoint, use_ema)


def _saved_with_classifier(config: Any) -> bool:
    return any("Classification" in str(name) for name in config.architectures or ())


def _without_pooler(transformers: Any, config: Any) -> dict[str, Any]:
    """The argument that leaves out a pooler, which features are not taken from and many weights lack."""
    built: Any = transformers.MODEL_MAPPING.get(type(config), None)
    taken = inspect.signature(built).parameters if isinstance(built, type) else {}
    return {"add_pooling_layer": False} if "add_pooling_layer" in taken else {}


def _loaded(vit: Logits, checkpoint: str | Path | None, use_ema: bool | None) -> Logits:
    """The model with the weights of a file, whose classifier counts."""
    if checkpoint is None:
        return vit
    state, own = without_classifier(read_weights(checkpoint, use_ema), vit), vit.state_dict()
    name = "classifier.weight" if vit.adds_classifier else f"{vit.new[0]}weight"
    wrong = [key for key, value in own.items() if key not in state or state[key].shape != value.shape]
    extra = [key for key in state if key not in own]
    if wrong or extra:
        which = f"it lacks, or has in another shape, {wrong[0]}" if wrong else f"it has unknown {extra[0]}"
        raise ValueError(f"{checkpoint} does not fit this backbone, whose classifier is {name}: {which}")
    with torch.no_grad():
        vit.load_state_dict(state)
    return vit
