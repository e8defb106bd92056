"""The authors' ViT-Adapter checkpoints in an adapter."""

import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from atc.weights.released import REDUCERS

if TYPE_CHECKING:
    from atc.dense.adapter import ViTAdapter

UNUSED = ("norm.", "head.")  # of timm's ViT, never trained, like its cls_token
OPTIONAL = "num_batches_tracked"
_SHOWN = 3
_SVIT_BLOCK = re.compile(r"(blocks\.\d+\.)TransformerEncoderLayer\.(.+)")
_SVIT_PARTS = {
    "self_attn.in_proj_": "attn.qkv.",
    "self_attn.out_proj.": "attn.proj.",
    "linear1.": "mlp.fc1.",
    "linear2.": "mlp.fc2.",
}


def load_adapter(adapter: "ViTAdapter", state_dict: Mapping[str, Any]) -> None:
    """See `ViTAdapter.load_released`."""
    given = adapter_weights(state_dict)
    state = adapter.state_dict()
    learned = learned_names(adapter)
    own = {name: value for name, value in state.items() if not name.startswith(REDUCERS)}
    if not given.keys().isdisjoint(learned):  # of a method that learns, all of its layers, or none
        own |= {theirs: state[ours] for theirs, ours in learned.items()}
    positions: Any = given.get("pos_embed")
    grid = released_grid(positions)
    if grid is not None and positions.shape[2] == own["pos_embed"].shape[2]:
        own["pos_embed"] = torch.empty(positions.shape, device="meta")
    check_names(given, own, "ViTAdapter")
    fit_positions(adapter, positions)
    own["pos_embed"] = adapter.pos_embed
    with torch.no_grad():
        for name, value in given.items():
            own[name].copy_(value)


def adapter_weights(state_dict: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors of a ViT-Adapter checkpoint that are used, without `backbone.` in front."""
    inner = tensors_of(state_dict)
    given = {of_block(str(name).removeprefix("backbone.")): value for name, value in inner.items()}
    return {name: value for name, value in given.items() if name != "cls_token" and not name.startswith(UNUSED)}


def of_block(name: str) -> str:
    """A name inside one of SViT's blocks, which are of PyTorch's `TransformerEncoderLayer`, as timm's; others stay.

    Examples:
        >>> of_block("blocks.3.TransformerEncoderLayer.self_attn.in_proj_weight"), of_block("blocks.3.norm1.weight")
        ('blocks.3.attn.qkv.weight', 'blocks.3.norm1.weight')
    """
    found = _SVIT_BLOCK.fullmatch(name)
    if found is None:
        return name
    block, part = found.groups()
    for theirs, ours in _SVIT_PARTS.items():
        if part.startswith(theirs):
            return f"{block}{ours}{part.removeprefix(theirs)}"
    return f"{block}{part}"


def learned_names(adapter: "ViTAdapter") -> dict[str, str]:
    """The parameters that an adapter's reducers learn, by their names in the authors' checkpoints."""
    found = {}
    for stage, (block, reducer) in enumerate(adapter.reducers.items()):
        for name in reducer.state_dict():
            for theirs, ours in adapter.method.released_names.items():
                if name.startswith(ours):
                    released = theirs.format(stage=stage) + name.removeprefix(ours)
                    found[released] = f"{REDUCERS}{block}.{name}"
                    break
    return found


def tensors_of(checkpoint: Any) -> Mapping[Any, Any]:
    """The state dict in a checkpoint, which may be one itself."""
    inner = checkpoint.get("state_dict", checkpoint) if isinstance(checkpoint, Mapping) else checkpoint
    if not isinstance(inner, Mapping):
        found = type(inner).__name__
        raise ValueError(f"state_dict must map names to tensors, as torch.load(path) returns it; got a {found}")
    return inner


def check_names(given: Mapping[str, Tensor], own: Mapping[str, Tensor], model: str) -> None:
    """Raise ValueError where names or shapes are not those of a model.

    Args:
        given: what is to be loaded.
        own: the model's state dict; `num_batches_tracked` may be missing from `given`.
        model: what messages call it.
    """
    missing = [name for name in own if name not in given and not name.endswith(OPTIONAL)]
    unknown = [name for name in given if name not in own]
    faults = [f"{kind} {_some(names)}" for kind, names in (("lacks", missing), ("has also", unknown)) if names]
    if faults:
        raise ValueError(f"these are not the released weights of this {model}: the checkpoint {' and '.join(faults)}")
    for name, value in given.items():
        if not isinstance(value, Tensor) or value.shape != own[name].shape:
            found = list(value.shape) if isinstance(value, Tensor) else f"a {type(value).__name__}"
            raise ValueError(f"{name} must be {list(own[name].shape)} for this {model}, the checkpoint has {found}")


def released_grid(positions: Any) -> tuple[int, int] | None:
    """The square grid of positions ``[1, 1 + rows x columns, C]`` behind that of a CLS token; None for any other."""
    if not isinstance(positions, Tensor) or positions.ndim != 3 or len(positions) != 1:
        return None
    side = math.isqrt(max(positions.shape[1] - 1, 0))
    return (side, side) if side and side * side + 1 == positions.shape[1] else None


def fit_positions(adapter: "ViTAdapter", positions: Any) -> None:
    """Make room for the positions of a checkpoint, where they are for another grid of patches than the adapter's."""
    grid, patches = released_grid(positions), adapter.host.model
    own = adapter.pos_embed
    if grid is None or positions.shape[2] != own.shape[2]:
        return
    patches.position_grid = grid
    if positions.shape != own.shape:
        fresh = own.new_zeros(positions.shape)
        adapter.pos_embed = nn.Parameter(fresh, requires_grad=own.requires_grad)


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"
