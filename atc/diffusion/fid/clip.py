"""The CLIP score: how well images fit the prompts that they were made from."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from atc.diffusion.fid.cache import FeatureCache
from atc.diffusion.fid.networks import file_digest

_KEY = "prompt"


def prompts_of(paths: Sequence[Path], file: str | os.PathLike[str] | None = None) -> list[str]:
    """The prompt of each image.

    Args:
        paths: of the images.
        file: a JSON object from names of images to prompts; None: the images say so themselves, as those of
            python -m atc.diffusion.generate do.

    Returns:
        The prompts, in the order of the paths.

    Raises:
        ValueError: an image has no prompt; one line that names it.
    """
    if file is None:
        return [_own_prompt(path) for path in paths]
    try:
        known = json.loads(Path(file).read_bytes())
    except (OSError, ValueError) as error:
        raise ValueError(f"prompts={file} is no JSON file that can be read: {error}") from error
    if not isinstance(known, Mapping) or not all(isinstance(text, str) for text in known.values()):
        raise ValueError(f'prompts={file} must map names of images to prompts, as in {{"0_0.png": "a photograph"}}')
    missing = [path.name for path in paths if path.name not in known]
    if missing:
        raise ValueError(f"prompts={file} lacks {len(missing)} of {len(paths)} images, such as {missing[0]}")
    return [known[path.name] for path in paths]


def _own_prompt(path: Path) -> str:
    with Image.open(path) as image:
        said: dict[str, Any] = dict(getattr(image, "text", {}))
    for text in list(said.values()):  # settings as JSON, under whatever name
        try:
            settings = json.loads(text)
        except ValueError:
            continue
        if isinstance(settings, dict):
            said = settings | said
    if isinstance(said.get(_KEY), str):
        return str(said[_KEY])
    raise ValueError(
        f"{path} does not say the prompt that it was made from: give prompts=FILE.json, an object from names of images "
        "to prompts"
    )


def clip_scores(
    paths: Sequence[Path],
    prompts: Sequence[str],
    model: str,
    cache: str | os.PathLike[str] | None = None,
    batch_size: int = 32,
    device: str | torch.device = "cpu",
) -> NDArray[np.float64]:
    """100 times the cosine of an image's embedding and its prompt's, 0 where that is negative.

    Args:
        paths: of the images.
        prompts: one each.
        model: a CLIP model of transformers: a directory, or a repository of the Hugging Face hub.
        cache: directory where scores are kept; None: nowhere.
        batch_size: images that pass the model at once.
        device: where.

    Returns:
        [images].

    Raises:
        ValueError: the model cannot be loaded; one line.
    """
    try:
        from transformers import CLIPModel, CLIPProcessor
    except ImportError:
        raise ValueError('clip needs the package transformers: pip install "atc-toolkit[diffusion]"') from None

    place = None if cache is None else FeatureCache(cache, f"clip {_identity(model)}", 1)
    rows = {} if place is None else dict(place.read())
    keys = [
        hashlib.sha256(f"{file_digest(path)} {prompt}".encode()).hexdigest()
        for path, prompt in zip(paths, prompts, strict=True)
    ]
    left = [number for number, key in enumerate(keys) if key not in rows]
    if left:
        try:
            network: Any = CLIPModel.from_pretrained(model).eval().to(device)
            processor: Any = CLIPProcessor.from_pretrained(model)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"clip={model} is no CLIP model of transformers that can be loaded: {_brief(error)}"
            ) from error
        for start in range(0, len(left), batch_size):
            batch = left[start : start + batch_size]
            scores = _scores(network, processor, [paths[i] for i in batch], [prompts[i] for i in batch], device)
            fresh = {keys[i]: np.array([score], np.float32) for i, score in zip(batch, scores, strict=True)}
            rows |= fresh
            if place is not None:
                place.add(fresh)
    return np.array([rows[key][0] for key in keys], dtype=np.float64)


@torch.inference_mode()
def _scores(network: Any, processor: Any, paths: Sequence[Path], prompts: Sequence[str], device: Any) -> list[float]:
    images = []
    for path in paths:
        with Image.open(path) as image:
            images.append(image.convert("RGB"))
    longest = network.config.text_config.max_position_embeddings
    given = processor(
        text=list(prompts), images=images, return_tensors="pt", padding=True, truncation=True, max_length=longest
    )
    found = network(**given.to(device))
    cosine = torch.nn.functional.cosine_similarity(found.image_embeds.float(), found.text_embeds.float())
    return (100 * cosine).clamp_min(0).tolist()


def _identity(model: str) -> str:
    """What decides about a model's scores: its files, or its commit on the hub."""
    folder = Path(model).expanduser()
    if folder.is_dir():
        files = sorted(path for path in folder.iterdir() if path.is_file())
        return " ".join(f"{path.name} {file_digest(path)}" for path in files)
    from transformers import AutoConfig

    try:
        return f"{model} {getattr(AutoConfig.from_pretrained(model), '_commit_hash', None)}"
    except (OSError, ValueError) as error:
        raise ValueError(
            f"clip={model} is neither a directory nor a repository that can be had: {_brief(error)}"
        ) from error


def _brief(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]
