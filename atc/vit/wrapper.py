"""A module that shows the parameters and modules of another as its own, under the same names."""

from typing import Any, Self

from torch import nn

from atc.vit.host import Host

_WIDTHS = ("embed_dim", "num_features")  # timm's names, which models of other libraries do not have


class Wrapper(nn.Module):
    """Holds a model and looks like it: state dict, parameters and modules have the names that they have in the model.

    Parameters and buffers are the model's own dictionaries; modules are the same objects, taken anew when the model has
    replaced one. Settings of the model, and those of its methods that run no block, can be read from the wrapper.

    Args:
        host: the description of the model.

    Attributes:
        host: the `Host` that describes the model; `host.model` is the model.
    """

    def __init__(self, host: Host):
        super().__init__()
        self.host = host
        model = host.model
        self.__dict__["_parameters"] = model._parameters  # one dictionary for both: who replaces one replaces both
        self.__dict__["_buffers"] = model._buffers
        self.__dict__["_non_persistent_buffers_set"] = model._non_persistent_buffers_set
        self._follow_children()

    def _follow_children(self, *_: Any) -> None:
        """Take the model's modules as they are now: a head may have been replaced on it."""
        for name, child in self.host.model._modules.items():
            if self._modules.get(name) is not child:
                self._modules[name] = child

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute; one that the model has is set on it, too."""
        super().__setattr__(name, value)
        host = self.__dict__.get("host")
        if host is not None and _has(host.model, name):
            setattr(host.model, name, value)

    def __getattr__(self, name: str) -> Any:
        """What the model has and the wrapper does not: its settings, and those of its methods that run no block."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            host = self.__dict__.get("host")
            if host is None or name.startswith("_") or not hasattr(host.model, name):
                if name == "vit" and host is not None:
                    return host.model
                if name in _WIDTHS and host is not None:
                    return host.width
                raise
        value = getattr(host.model, name)
        if not callable(value) or isinstance(value, nn.Module) or name in host.methods:
            return value
        raise AttributeError(
            f"a wrapped {host.name} has no {name}: the model's own would run without reduction; "
            f"atc.unwrap(model).{name} is that"
        )

    def __getstate__(self) -> dict[str, Any]:
        """What copies and pickles hold: not what the latest forward left, which may be part of a graph."""
        return {**self.__dict__, **self.forgotten()}

    def forgotten(self) -> dict[str, Any]:
        """What a copy has in place of what the latest forward left."""
        return {}

    def train(self, mode: bool = True) -> Self:
        """As `nn.Module.train`; the model's own switch follows."""
        super().train(mode)
        self.host.model.training = mode
        return self

    def reset_classifier(self, *args: Any, **kwargs: Any) -> None:
        """As the model's own: replace the head."""
        self.host.model.reset_classifier(*args, **kwargs)
        self._follow_children()


def _has(model: nn.Module, name: str) -> bool:
    return name in model._parameters or name in model._buffers or name in model._modules
