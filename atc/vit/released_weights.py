"""Weights that the authors released, in a model that is wrapped already."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from atc.vit.reduced import ReducedViT
from atc.weights.released import WRAPPERS, chosen_weights, names_of

_PREFIXES = ("_orig_mod.", "module.")  # torch.compile, DataParallel


@torch.no_grad()
def load_released_weights(model: nn.Module, state_dict: Mapping[str, Any]) -> list[str]:
    """Put weights under the names of the authors' code into a wrapped model, as far as they fit.

    Entry i of a list of layers, such as ``cluster_layers.0.queries``, goes to the i-th block that reduces. Values take
    the dtype and the device of the parameters. What the weights lack stays as it is: layers that a method learns may
    come alone, without a backbone, or a backbone without them.

    Args:
        model: what `atc.wrap` returned.
        state_dict: tensors or NumPy arrays by the names of the authors' code, of timm, or of `model.state_dict()`; or a
            whole checkpoint with ``model``, ``model_ema`` and ``ema_best``, as ``torch.load`` returns it, of which the
            weights that validated better are taken.

    Returns:
        The names of the weights that found no place: there is no such parameter, or it has another shape (that of
        another keep rate, or a head for other classes), or the value is no tensor.

    Raises:
        TypeError: a model that is not wrapped, or weights that are no mapping.

    Examples:
        >>> import timm, torch
        >>> from atc import wrap
        >>> vit = timm.create_model("vit_tiny_patch16_224", img_size=64, depth=4, num_classes=10)
        >>> model = wrap(vit, "patch_merger", 0.5, blocks=(2, 3))
        >>> weights = {"cluster_layers.1.queries": torch.ones(4, 192), "cluster_layers.2.queries": torch.ones(2, 192)}
        >>> load_released_weights(model, weights)
        ['cluster_layers.2.queries']
        >>> model.reducers["3"].queries.sum().item()
        768.0
    """
    model = getattr(model, "_orig_mod", model)
    if not isinstance(model, ReducedViT):
        raise TypeError(f"load_released_weights takes what atc.wrap returned, not a {type(model).__name__}")
    if not isinstance(state_dict, Mapping):
        got = type(state_dict).__name__
        raise TypeError(f"state_dict must map names to tensors, as torch.load(FILE) returns it, got a {got}")
    own, blocks, names = model.state_dict(), list(model.reducers), names_of([model.method])
    left = []
    for key, name, value in _named(state_dict):
        place = own.get(name)
        for shape, (_, ours) in names.items() if place is None else ():
            found = shape.match(name)
            if found is not None and int(found[1]) < len(blocks):
                place = own.get(f"reducers.{blocks[int(found[1])]}.{ours}{name[found.end() :]}")
                break
        if place is None or not isinstance(value, Tensor) or place.shape != value.shape:
            left.append(key)
        else:
            place.copy_(value)
    return left


def _named(weights: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """The better of a checkpoint's weights: names there, the same without prefixes of wrappers, and values."""
    state = chosen_weights(weights).state
    for wrapper in WRAPPERS:
        state = state[wrapper] if isinstance(state.get(wrapper), Mapping) else state
    before = next((prefix for prefix in _PREFIXES if state and all(str(key).startswith(prefix) for key in state)), "")
    for key, value in state.items():
        yield key, str(key).removeprefix(before), torch.as_tensor(value) if isinstance(value, np.ndarray) else value
