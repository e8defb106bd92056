"""The Inception network of the Fréchet Inception distance: torchvision's, with TensorFlow's pooling."""

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from atc.diffusion.fid.published import find_weights, where_from
from atc.weights.loading import first_line, read_weights

AVERAGED = ("Mixed_5b", "Mixed_5c", "Mixed_5d", "Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e", "Mixed_7b")
MAXIMUM = "Mixed_7c"
_average = partial(functional.avg_pool2d, kernel_size=3, stride=1, padding=1, count_include_pad=False)
_maximum = partial(functional.max_pool2d, kernel_size=3, stride=1, padding=1)


class Inception(nn.Module):
    """Pixels in, features out: the network that FID has been computed with since 2015.

    It is torchvision's with other pooling: averages leave out the padding, and the last block takes the maximum.

    Args:
        state: the weights; None leaves those that PyTorch draws.

    Attributes:
        features: how many numbers an image has.
    """

    features = 2048

    def __init__(self, state: Mapping[str, Tensor] | None = None):
        super().__init__()
        from torchvision.models import inception_v3

        network: Any = inception_v3(weights=None, num_classes=1008, aux_logits=False, init_weights=False)
        if state is not None:
            network.load_state_dict(state)
        network.fc = nn.Identity()
        for name in (*AVERAGED, MAXIMUM):
            _pool(getattr(network, name), _maximum if name == MAXIMUM else _average)
        self.network = network
        self.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> "Inception":
        """Stay in evaluation."""
        return super().train(False)

    def forward(self, pixels: Tensor) -> Tensor:
        """From pixels [n, 3, 299, 299], 0..255, to features [n, 2048]."""
        return self.network((pixels - 128) / 128)


def _pool(block: nn.Module, pool: Any) -> None:
    """Let the last branch of a block see other pooling than the one which the block computes for it."""
    entered: list[Tensor] = []

    def enter(module: nn.Module, args: tuple[Tensor, ...]) -> None:
        entered[:] = args[:1]

    def replace(module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor]:
        return (pool(entered.pop()),)

    block.register_forward_pre_hook(enter)
    last: Any = block.branch_pool
    last.register_forward_pre_hook(replace)


def load_inception(weights: str | os.PathLike[str] | None = None) -> Inception:
    """The network with the published weights.

    Args:
        weights: their file, torch-fidelity's or pytorch-fid's (the two are alike), as .pth or .safetensors; None: that
            of PyTorch's hub, which is downloaded once.

    Returns:
        The network, ready for evaluation.

    Raises:
        FileNotFoundError: there is no such file, and none could be downloaded.
        ValueError: it holds other weights; one line.
    """
    path = find_weights(weights)
    try:
        state = read_weights(path)
    except FileNotFoundError:
        raise
    except Exception as error:  # whatever a file that holds no weights makes of torch.load
        raise ValueError(f"{path} holds no weights that can be read ({first_line(error)}): {where_from()}") from error
    return Inception(checked_weights(state, path))


def checked_weights(state: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """The tensors that the network takes. ValueError where the file holds those of another network."""
    with torch.device("meta"):
        from torchvision.models import inception_v3

        own = inception_v3(weights=None, num_classes=1008, aux_logits=False, init_weights=False).state_dict()
    missing = [key for key in own if key not in state and not key.endswith("num_batches_tracked")]
    if missing:
        raise ValueError(
            f"{path} lacks {len(missing)} of the {len(own)} tensors of Inception, such as {missing[0]}: {where_from()}"
        )
    for key, tensor in own.items():
        if key in state and state[key].shape != tensor.shape:
            raise ValueError(
                f"{path} has {key} of shape {list(state[key].shape)} instead of {list(tensor.shape)}: it is of "
                f"another network; {where_from()}"
            )
    counts = {key: torch.zeros(tensor.shape, dtype=tensor.dtype) for key, tensor in own.items() if key not in state}
    return counts | {key: state[key] for key in own if key in state}
