"""The features of the images of a directory."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from torch import Tensor, nn

from atc.diffusion.fid.cache import FeatureCache
from atc.diffusion.fid.networks import Network, file_digest
from atc.diffusion.fid.resize import resized

KEPT_EVERY = 16  # batches after which features are kept on disk


def extract(
    paths: Sequence[Path],
    network: Network,
    resizer: str = "clean",
    cache: str | os.PathLike[str] | None = None,
    batch_size: int = 32,
    device: str | torch.device = "cpu",
    threads: int = 4,
    label: str = "features",
) -> NDArray[np.float32]:
    """The features of images.

    Args:
        paths: of the images.
        network: the network.
        resizer: "clean" or "torch_fidelity".
        cache: directory where features are kept; None: nowhere.
        batch_size: images that pass the network at once.
        device: where.
        threads: that read and resize images.
        label: what the progress bar says.

    Returns:
        [images, d], in the order of the paths.

    Raises:
        ValueError: an image cannot be read; one line that names it. What was computed before is kept.
    """
    with ThreadPoolExecutor(threads) as pool:
        digests = list(pool.map(file_digest, paths))
    place = None if cache is None else FeatureCache(cache, f"{network.identity} {resizer}", network.features)
    rows = {} if place is None else dict(place.read())
    left = list({digest: path for digest, path in zip(digests, paths, strict=True) if digest not in rows}.items())
    if left:
        rows |= _computed(left, network, resizer, place, batch_size, device, threads, label)
    return np.stack([rows[digest] for digest in digests])


def _computed(
    left: Sequence[tuple[str, Path]],
    network: Network,
    resizer: str,
    place: FeatureCache | None,
    batch_size: int,
    device: str | torch.device,
    threads: int,
    label: str,
) -> dict[str, NDArray[np.float32]]:
    """The features of images, by digest; kept as they come."""
    module = network.load().to(device)
    batches = [left[i : i + batch_size] for i in range(0, len(left), batch_size)]
    found: dict[str, NDArray[np.float32]] = {}
    waiting: dict[str, NDArray[np.float32]] = {}
    try:
        with ThreadPoolExecutor(threads) as pool:
            pixels = _pixels([[path for _, path in batch] for batch in batches], resizer, pool)
            shown = track(pixels, label, len(batches), console=Console(stderr=True), transient=True)
            for number, (batch, given) in enumerate(zip(batches, shown, strict=True), 1):
                waiting |= dict(zip((digest for digest, _ in batch), _features(module, given, device), strict=True))
                if number % KEPT_EVERY == 0:
                    found |= _keep(waiting, place)
                    waiting = {}
    finally:
        found |= _keep(waiting, place)
    return found


def _keep(rows: dict[str, NDArray[np.float32]], place: FeatureCache | None) -> dict[str, NDArray[np.float32]]:
    if place is not None:
        place.add(rows)
    return rows


def _pixels(batches: Sequence[Sequence[Path]], resizer: str, pool: ThreadPoolExecutor) -> Iterator[Tensor]:
    """The pixels [n, 3, 299, 299] of each batch; the next one is read while one is computed."""

    def read(batch: Sequence[Path]) -> list[Future[NDArray[np.float32]]]:
        return [pool.submit(resized, path, resizer) for path in batch]

    waiting = read(batches[0])
    for following in [*batches[1:], []]:
        ready, waiting = waiting, read(following)
        yield torch.from_numpy(np.stack([one.result() for one in ready])).permute(0, 3, 1, 2).contiguous()


@torch.inference_mode()
def _features(module: nn.Module, pixels: Tensor, device: str | torch.device) -> NDArray[np.float32]:
    with _exact_convolutions():
        return module(pixels.to(device)).float().cpu().numpy()


@contextmanager
def _exact_convolutions() -> Iterator[None]:
    """Convolutions on a GPU in float32: the 10 bits of TF32 would show in the distance."""
    convolutions: Any = torch.backends.cudnn
    before, convolutions.conv.fp32_precision = convolutions.conv.fp32_precision, "ieee"
    try:
        yield
    finally:
        convolutions.conv.fp32_precision = before
