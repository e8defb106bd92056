"""Models of transformers and open_clip as their libraries load them, with one line for what cannot be loaded."""

import importlib
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pickle import UnpicklingError
from typing import Any
from zipfile import BadZipFile

from safetensors import SafetensorError
from torch import nn

from atc.weights.loading import first_line

log = logging.getLogger(__name__)

DAMAGED = (SafetensorError, UnpicklingError, EOFError, BadZipFile)  # what reading a file that is cut off raises
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_RESAMPLED = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}  # PIL's numbers


def library(name: str, extra: str) -> Any:
    """Import a library that is optional.

    Args:
        name: of the module.
        extra: of this project, which installs it.

    Returns:
        The module.

    Raises:
        ValueError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ValueError(
            f"backbone={name} needs the library {name} ({first_line(error)}): pip install 'atc-toolkit[{extra}]'"
        ) from error


@contextmanager
def quiet(transformers: Any) -> Iterator[None]:
    """Within, transformers logs errors alone: no tables of weights."""
    before = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers.logging.set_verbosity(before)


@contextmanager
def loading(name: str, args: Mapping[str, Any]) -> Iterator[None]:
    """Within, a model of transformers is built; what it cannot be built from is told in one line.

    Args:
        name: of the model.
        args: settings of its configuration.

    Yields:
        Nothing.

    Raises:
        ConnectionError: it is not here, and cannot be downloaded.
        ValueError: it cannot be built or read.
    """
    try:
        yield
    except OSError as error:
        raise ConnectionError(
            f"transformers finds no model {name} here, and cannot download it ({first_line(error)}): give a name on "
            f"the hub, or a directory that save_pretrained wrote"
        ) from error
    except DAMAGED as error:
        raise ValueError(f"the weights of {name} cannot be read: {first_line(error)}") from error
    except (TypeError, ValueError, RuntimeError, KeyError) as error:
        raise ValueError(f"transformers cannot build {name} with {dict(args)}: {first_line(error)}") from error


def whole_model(transformers: Any, name: str, /, **args: Any) -> tuple[Any, str | None]:
    """A base model of transformers with its weights, without a table of those it lacks.

    Args:
        transformers: the library.
        name: on the hub, or a local directory.
        **args: for `AutoModel.from_pretrained`.

    Returns:
        The model; and that it lacks weights, in one line, None if it has all.
    """
    with quiet(transformers):
        model, found = transformers.AutoModel.from_pretrained(name, output_loading_info=True, **args)
    missing = sorted(found["missing_keys"])
    return model, f"{name} lacks weights of a {type(model).__name__}, such as {missing[0]}" if missing else None


def preprocessing(transformers: Any, name: str, config: Any) -> dict[str, Any]:
    """Image size, mean, std and cropping that go with a model of transformers; else ImageNet's.

    Args:
        transformers: the library.
        name: of the model.
        config: its configuration.

    Returns:
        What timm calls a pretrained_cfg.
    """
    size = getattr(config, "vision_config", config).image_size
    sides = (size, size) if isinstance(size, int) else tuple(size)
    found: dict[str, Any] = {"input_size": (3, *sides)}
    try:
        said, _ = transformers.ImageProcessingMixin.get_image_processor_dict(name)
    except OSError:
        log.warning("%s says nothing of mean and std: ImageNet's are taken; backbone.data_config sets others", name)
        return found | {"mean": MEAN, "std": STD}
    found["mean"] = tuple(said.get("image_mean") or MEAN)
    found["std"] = tuple(said.get("image_std") or STD)
    found["interpolation"] = _RESAMPLED.get(said.get("resample", 3), "bicubic")
    size, crop = said.get("size") or {}, said.get("crop_size") or {}
    edge = size.get("shortest_edge") if isinstance(size, dict) else size
    height = crop.get("height") if isinstance(crop, dict) else crop
    found["crop_pct"] = height / edge if said.get("do_center_crop") and edge and height else 1.0
    return found


def open_clip_model(open_clip: Any, name: str, weights: str | None, download: bool, args: Mapping[str, Any]) -> Any:
    """A whole model of open_clip, both towers.

    Args:
        open_clip: the library.
        name: as the library calls it: ViT-B-32, hf-hub:OWNER/REPO, local-dir:PATH.
        weights: the tag of pretrained weights, or a file; a name with a colon needs none.
        download: whether it gets weights.
        args: for `open_clip.create_model`.

    Returns:
        The model.

    Raises:
        ConnectionError: the weights cannot be downloaded.
        ValueError: there is no such model or tag, or it cannot be built.
    """
    local = ":" in name
    if not local and name not in open_clip.list_models():
        raise ValueError(f"open_clip has no model '{name}'; open_clip.list_models() names all, such as ViT-B-32")
    if download and not local and weights is None:
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(name)) or "none, so backbone.pretrained=false"
        raise ValueError(f"which weights of {name}? backbone.weights=TAG, or a file; open_clip has: {tags}")
    try:
        return open_clip.create_model(
            name,
            pretrained=weights if download else None,
            load_weights=download,
            require_pretrained=download,  # else it warns, and goes on with new ones
            **args,
        )
    except OSError as error:
        raise ConnectionError(f"open_clip cannot download {name} {weights or ''} ({first_line(error)})") from error
    except DAMAGED as error:
        raise ValueError(f"the weights of {name} {weights or ''} cannot be read: {first_line(error)}") from error
    except (TypeError, ValueError, RuntimeError, KeyError, AssertionError) as error:
        raise ValueError(f"open_clip cannot build {name} with {weights}, {dict(args)}: {first_line(error)}") from error


def open_clip_tower(open_clip: Any, model: Any) -> tuple[nn.Module, dict[str, Any]]:
    """The image tower of a model of open_clip, which returns one row per image, and what timm calls a pretrained_cfg.

    Args:
        open_clip: the library.
        model: the whole model.

    Returns:
        The tower, and size, mean, std and interpolation of its images.
    """
    said, tower = open_clip.get_model_preprocess_cfg(model), model.visual
    if getattr(tower, "output_tokens", False):  # CoCa's, for its decoder
        tower.output_tokens = False
    size = said.get("size", tower.image_size)
    sides = (size, size) if isinstance(size, int) else tuple(size)
    data = {"input_size": (3, *sides), "mean": said.get("mean", MEAN), "std": said.get("std", STD), "crop_pct": 1.0}
    return tower, data | {"interpolation": said.get("interpolation", "bicubic")}
