"""Generated images against photographs: everything that is known about them in one record."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from atc.diffusion.fid import spread
from atc.diffusion.fid.cache import default_directory
from atc.diffusion.fid.clip import clip_scores, prompts_of
from atc.diffusion.fid.extracting import extract
from atc.diffusion.fid.frechet import Moments, checked_features, distance_of_moments, moments, root
from atc.diffusion.fid.kernel import kernel_distance
from atc.diffusion.fid.networks import Network, NetworkName, network
from atc.diffusion.image_directory import images_in, read_record
from atc.values import Count, Seed, Whole, checked

Directory = str | os.PathLike[str]
Resizer = Literal["clean", "torch_fidelity"]


@checked
def compare(
    generated: Directory | Sequence[Directory],
    reference: Directory | None = None,
    *,
    features: NetworkName | Network = "inception",
    weights: Directory | None = None,
    resizer: Resizer = "clean",
    clip: str | None = None,
    prompts: Directory | None = None,
    reference_subsets: Count = 5,
    resamples: Whole = 500,
    seed: Seed = 0,
    batch_size: Count = 32,
    device: str | None = None,
    threads: Count | None = None,
    cache: Directory | bool | None = None,
) -> dict[str, Any]:
    """Measure how like photographs generated images are, and how well they fit their prompts.

    Args:
        generated: directory of the generated images; or several, made from other seeds.
        reference: directory of the photographs; None: no FID and no KID.
        features: "inception", "random" (a small network, to try things out), or a `Network`.
        weights: file of Inception's weights; None: that of PyTorch's hub, which is downloaded once.
        resizer: how images get their 299 x 299 pixels, as in clean-fid ("clean") or as in torch-fidelity.
        clip: a CLIP model of transformers, a directory or the hub's name for it; None: no CLIP score.
        prompts: JSON file from names of images to prompts; None: the images say so themselves.
        reference_subsets: parts of the reference that FID is computed against one by one, for its spread; 1: no such.
        resamples: of the bootstrap of KID.
        seed: of the bootstrap.
        batch_size: images that pass a network at once.
        device: where; None: a GPU if there is one.
        threads: that read images; None: one a core, at most 8.
        cache: directory where features are kept; True or None: `default_directory()`; False: nowhere.

    Returns:
        A record for JSON: "fid" with "value" and, where known, "seeds" and "reference_subsets"; "kid" with "value",
        "low" and "high"; "clip_score" with "value" and "error"; what was compared, and with what.

    Raises:
        FileNotFoundError: a directory, or the weights, are not there; one line.
        ValueError: nothing can be measured, or an image cannot be read; one line.
    """
    if reference is None and clip is None:
        raise ValueError(
            "nothing to measure: give reference=DIRECTORY for FID and KID, or clip=MODEL for the CLIP score"
        )
    directories = [generated] if isinstance(generated, str | os.PathLike) else list(generated)
    made = [images_in(directory) for directory in directories]
    where = _device(device)
    count = threads or min(8, os.cpu_count() or 1)
    kept = default_directory() if cache is None or cache is True else cache or None
    record: dict[str, Any] = {
        "generated": [_about(one, paths) for one, paths in zip(directories, made, strict=True)],
        "device": str(where),
    }
    if reference is not None:
        photographs = images_in(reference)
        for directory, paths in [*zip(directories, made, strict=True), (reference, photographs)]:
            if len(paths) < 2:
                raise ValueError(f"{directory} holds {len(paths)} image: FID and KID need two at least")
        known = features if isinstance(features, Network) else network(features, weights)

        def of(paths: Sequence[Path], label: str) -> NDArray[np.float64]:
            rows = extract(paths, known, resizer, kept, batch_size, where, count, label)
            return checked_features(rows, label)

        found = [of(paths, "generated images") for paths in made]
        rows = of(photographs, "reference")
        record |= {"reference": _about(reference, photographs), "features": known.name, "resizer": resizer}
        parts = spread.dealt(photographs, reference_subsets, _classes(reference))
        record["fid"] = _fid(found, rows, made, parts)
        pooled = kernel_distance(np.concatenate(found), rows, resamples, seed)
        record["kid"] = {**pooled._asdict(), "resamples": resamples}
    if clip is not None:
        paths = [path for one in made for path in one]
        scores = clip_scores(paths, prompts_of(paths, prompts), clip, kept, batch_size, where)
        error = float(scores.std(ddof=1) / len(scores) ** 0.5) if len(scores) > 1 else None
        record["clip_score"] = {"value": float(scores.mean()), "error": error, "model": clip}
    return record


def _fid(
    found: Sequence[NDArray[np.float64]],
    reference: NDArray[np.float64],
    made: Sequence[Sequence[Path]],
    parts: Sequence[Sequence[int]],
) -> dict[str, Any]:
    """The distance, over several directories its mean, and its spread."""
    right = moments(reference)
    half = root(right.covariance)
    each = [moments(rows) for rows in found]
    values = [distance_of_moments(right, one, half) for one in each]
    record: dict[str, Any] = {"value": float(np.mean(values))}
    if len(values) > 1:
        record["directories"] = values
    seeds = _of_seeds(found, made, values, right, half)
    if seeds is not None:
        record["seeds"] = seeds
    if parts:
        first, first_half = each[0], root(each[0].covariance)
        against = [distance_of_moments(first, moments(reference[list(part)]), first_half) for part in parts]
        record["reference_subsets"] = spread.summary(against, len(parts[0]))
    return record


def _of_seeds(
    found: Sequence[NDArray[np.float64]],
    made: Sequence[Sequence[Path]],
    values: Sequence[float],
    right: Moments,
    half: NDArray[np.float64],
) -> dict[str, Any] | None:
    """The spread between directories; of one alone, between the first images of each class, the second ones, ..."""
    if len(found) > 1:
        return spread.summary(values, len(found[0])) if len({len(rows) for rows in found}) == 1 else None
    groups = spread.by_seed(made[0])
    if not groups:
        return None
    several = [distance_of_moments(right, moments(found[0][places]), half) for places in groups.values()]
    return spread.summary(several, len(next(iter(groups.values()))))


def _classes(reference: Directory) -> Mapping[str, str] | None:
    classes = (read_record(reference) or {}).get("classes")
    return classes if isinstance(classes, Mapping) else None


def _about(directory: Directory, paths: Sequence[Path]) -> dict[str, Any]:
    return {"directory": str(directory), "images": len(paths)}


def _device(name: str | None) -> torch.device:
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(name)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError, NotImplementedError):
        raise ValueError(f"device={name} is not there: give cpu, or cuda where PyTorch finds a GPU") from None
    return found
