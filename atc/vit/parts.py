"""Modules of other libraries under the names that `atc.vit.blocks` and `atc.vit.attention` read.

A `Part` looks a name up anew whenever it is read, so that a submodule that was replaced (by an adapter, a
quantised layer) is the one that runs.
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
