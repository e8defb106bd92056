"""Modules of other libraries under the names that `atc.vit.blocks` and `atc.vit.attention` read.

A `Part` looks a name up anew whenever it is read, so that a submodule that was replaced (by an adapter, a
quantised layer) is the one that runs. `block_part` and `attention_part` make the parts of a layer, and fill in what it
does not have.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F


def identity(x: Tensor) -> Tensor:
    """What stands for a submodule that a model does not have."""
    return x


def look_up(module: Any, path: str) -> Any:
    """The attribute of a module at a dotted path."""
    for name in path.split("."):
        module = getattr(module, name)
    return module


def first(module: Any, *paths: str) -> str | None:
    """The first of the dotted paths that leads to something; None if none does."""
    for path in paths:
        try:
            found = look_up(module, path)
        except AttributeError:
            continue
        if found is not None:
            return path
    return None


class Part:
    """A module shown under other names.

    Args:
        module: whose attributes are shown.
        names: the dotted path in the module for every name shown.
        fixed: names with values of their own.
        within: dotted paths of submodules whose forward is not called either; hooks on them would not run.
    """

    def __init__(
        self,
        module: nn.Module,
        names: Mapping[str, str],
        fixed: Mapping[str, Any] | None = None,
        within: Sequence[str] = (),
    ):
        self.module, self.within = module, tuple(within)
        self._names, self._fixed = dict(names), dict(fixed or {})

    def __getattr__(self, name: str) -> Any:
        """What is shown under a name; the module's own attribute for any other."""
        if name.startswith("__") or "_fixed" not in self.__dict__:
            raise AttributeError(name)
        if name in self._fixed:
            return self._fixed[name]
        if name in self._names:
            return look_up(self.module, self._names[name])
        raise AttributeError(f"this {type(self.module).__name__} is shown without {name}")

    @property
    def training(self) -> bool:
        """Whether the module is in training."""
        return self.module.training

    def skipped(self) -> list[nn.Module]:
        """The module and those within it whose forward is not called."""
        return [self.module, *(look_up(self.module, path) for path in self.within)]


def block_part(layer: nn.Module, names: Mapping[str, str], attn: Any, within: Sequence[str] = (), **fixed: Any) -> Part:
    """A layer as a block of timm.

    Args:
        layer: which adds an attention of its normalised input, then an MLP of its normalised input.
        names: where in it, dotted, norm1, norm2 and mlp are, and of ls1, ls2 (layer scales), drop_path1 and
            drop_path2 those that it has; the others do nothing.
        attn: its attention, see `attention_part`.
        within: see `Part`.
        **fixed: names with values of their own.
    """
    nothing = dict.fromkeys(_OF_SOME_BLOCKS, identity)
    return Part(layer, names, _others(nothing, names) | {"attn": attn} | fixed, within)


def attention_part(attention: nn.Module, names: Mapping[str, str], within: Sequence[str] = (), **fixed: Any) -> Part:
    """An attention as one of timm.

    Args:
        attention: softmax attention between all tokens.
        names: where in it, dotted, qkv or q_proj, k_proj and v_proj are, and proj; head_dim, the width of a head,
            unless it is given below; and of q_norm, k_norm, norm (before proj), attn_drop and proj_drop those that it
            has; the others do nothing.
        within: see `Part`.
        **fixed: names with values of their own: head_dim=64, or scale, what logits are multiplied by (otherwise
            ``head_dim ** -0.5``).
    """
    others = dict.fromkeys(_OF_SOME_ATTENTIONS, identity) | {"qkv": None, "fused_attn": True, "attn_drop": _NO_DROPOUT}
    part = Part(attention, names, _others(others, names) | fixed, within)
    if "scale" not in names and "scale" not in fixed and first(part, "head_dim"):
        part._fixed["scale"] = part.head_dim**-0.5
    return part


def missing(block: Any) -> list[str]:
    """The names that a block is read by and does not show, those of its attention as ``attn.NAME``."""
    lacks = [name for name in ("norm1", "norm2", "mlp", "drop_path1", "drop_path2", "attn") if not _shows(block, name)]
    lacks += [f"ls{half}" for half in (1, 2) if not (_shows(block, f"ls{half}") or _shows(block, f"gamma_{half}"))]
    if "attn" in lacks:
        return lacks
    asked = ["proj", "head_dim", "scale", "qkv", "fused_attn", "attn_drop", *_OF_SOME_ATTENTIONS]
    if not first(block.attn, "qkv"):
        asked += ["q_proj", "k_proj", "v_proj"]
    return lacks + [f"attn.{name}" for name in asked if not _shows(block.attn, name)]


_OF_SOME_BLOCKS = ("ls1", "ls2", "drop_path1", "drop_path2")
_OF_SOME_ATTENTIONS = ("q_norm", "k_norm", "norm", "proj_drop")
_NO_DROPOUT = nn.Dropout(0.0)


def _others(values: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in names}


def _shows(module: Any, name: str) -> bool:
    try:
        look_up(module, name)
    except AttributeError:
        return False
    return True


class FloatDropout:
    """Dropout at a rate that a module keeps as a number, read at every call.

    Args:
        module: which keeps the rate, and says whether it is in training.
        path: of the rate in the module, dotted.
    """

    def __init__(self, module: nn.Module, path: str):
        self.module, self.path = module, path

    @property
    def p(self) -> float:
        """The rate."""
        return float(look_up(self.module, self.path))

    def __call__(self, x: Tensor) -> Tensor:
        """Drop numbers of `x`, of any shape, as the module would."""
        return F.dropout(x, self.p, self.module.training)


class Chain:
    """Submodules called one after the other.

    Args:
        module: which holds them.
        paths: where, dotted, in order.
    """

    def __init__(self, module: nn.Module, *paths: str):
        self.module, self.paths = module, paths

    def __call__(self, x: Tensor) -> Tensor:
        """What the last one makes of `x`."""
        for path in self.paths:
            x = look_up(self.module, path)(x)
        return x
