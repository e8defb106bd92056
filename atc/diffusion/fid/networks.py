"""The networks that images are compared with, and what their features are kept under."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from atc.diffusion.fid.inception import load_inception
from atc.diffusion.fid.published import find_weights

NETWORKS = ("inception", "random")
NetworkName = Literal["inception", "random"]


class Network(NamedTuple):
    """A feature network that is loaded when the first image has to pass it.

    Attributes:
        name: for the record.
        identity: what decides about its features, for the cache.
        features: how many numbers an image has.
        load: the module, from pixels [n, 3, 299, 299] of 0..255 to features [n, d].
    """

    name: str
    identity: str
    features: int
    load: Callable[[], nn.Module]


class RandomFeatures(nn.Module):
    """A small network with weights drawn once and for all, to try commands out: its distances mean nothing.

    Args:
        features: how many numbers an image has.
    """

    def __init__(self, features: int = 16):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.convolution = nn.Conv2d(3, features, kernel_size=13, stride=13)
        for parameter in self.convolution.parameters():
            parameter.data.normal_(0, 0.1, generator=generator)
        self.eval().requires_grad_(False)

    def forward(self, pixels: Tensor) -> Tensor:
        """From pixels [n, 3, 299, 299], 0..255, to features [n, d]."""
        return self.convolution((pixels - 128) / 128).relu().mean((2, 3))


def network(name: NetworkName = "inception", weights: str | os.PathLike[str] | None = None) -> Network:
    """A network by its name.

    Args:
        name: "inception", or "random": a small one to try things out.
        weights: of Inception, see `atc.diffusion.fid.inception.load_inception`.

    Returns:
        The network.

    Raises:
        FileNotFoundError: the weights are not to be had.
        ValueError: another name, or weights for a network that takes none.
    """
    if name == "random":
        if weights is not None:
            raise ValueError(f"weights={weights} are those of features=inception; features=random has its own")
        return Network("random, 16 features", "random 1", 16, RandomFeatures)
    if name != "inception":
        raise ValueError(f"features={name} must be {' or '.join(NETWORKS)}")
    path = find_weights(weights)
    digest = file_digest(path)
    return Network(f"inception_v3, {path.name}", f"inception {digest}", 2048, lambda: load_inception(path))


def file_digest(path: str | os.PathLike[str]) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def of_module(module: nn.Module, identity: str, features: int) -> Network:
    """A network of your own.

    Args:
        module: from pixels [n, 3, 299, 299] of 0..255 to features [n, d].
        identity: a name that changes whenever its features do; they are kept under it.
        features: d.
    """
    found: Any = module
    return Network(identity, f"own {identity}", features, lambda: found)
