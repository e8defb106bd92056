"""What `ReducedViT` needs to know of the model it wraps: the protocol of a host.

A host describes one family of models. `atc/vit/hosts/` holds one file a family, and the entry-point group `atc.hosts`
adds families from other packages; `host_of` picks the one that knows the class of a model.

Letters: B batch, N patch tokens, P prefix tokens (CLS, distillation, registers), K tokens left, C channels.
"""

import importlib
import math
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from torch import Tensor, nn
from typing_extensions import override

from atc.methods import points
from atc.ops.arguments import class_described
from atc.vit.hooks import patched
from atc.vit.host_checks import reason_against


class Host(ABC):
    """One family of models, seen from the loop that runs their blocks.

    Args:
        model: the model to describe.

    Attributes:
        methods: the model's own methods that a wrapped model offers unchanged: those that run no block.
        module: the class that wraps models of this family, dotted: `ReducedViT` or a subclass with another call.
        model: the model, untouched.
        prefix: P, the tokens before the patches.
        width: C, channels of a token.
    """

    methods: ClassVar[frozenset[str]] = frozenset()
    module: ClassVar[str] = "atc.vit.reduced.ReducedViT"
    prefix: int
    width: int

    def __init__(self, model: nn.Module):
        self.model: Any = model

    @classmethod
    @abstractmethod
    def knows(cls, model: nn.Module) -> bool:
        """Whether the model belongs to this family."""

    @abstractmethod
    def refusal(self) -> str | None:
        """Why this model of the family cannot be wrapped, in one line; None if it can."""

    @property
    @abstractmethod
    def blocks(self) -> Sequence[Any]:
        """The blocks in order, with the names that `atc.vit.blocks` and `atc.vit.attention` read."""

    @property
    @abstractmethod
    def num_patches(self) -> int:
        """N at the image size the model is built for."""

    @property
    def default_grid(self) -> tuple[int, int]:
        """Rows and columns of the patches at that image size; a square, or nearly, where a family does not say."""
        return nearly_square(self.num_patches)

    @property
    def name(self) -> str:
        """What messages call the model."""
        return type(self.model).__name__

    @property
    def has_cls(self) -> bool:
        """Whether the first prefix token is a CLS token."""
        return self.prefix > 0

    @abstractmethod
    def grid(self, images: Tensor) -> tuple[int, int]:
        """Rows and columns of patches for images ``[B, 3, H, W]``."""

    @abstractmethod
    def embed(self, images: Tensor, **options: Any) -> tuple[Tensor, Tensor | None]:
        """``[B, 3, H, W]`` -> tokens ``[B, P+N, C]`` entering the first block, and rotary embeddings or None."""

    @abstractmethod
    def norm(self, x: Tensor) -> Tensor:
        """The norm after the last block: ``[B, P+K, C]`` -> the same."""

    @abstractmethod
    def head(self, x: Tensor, size: Tensor | None, pre_logits: bool = False) -> Tensor:
        """Pool normalised tokens and classify them.

        Args:
            x: ``[B, P+K, C]``, after `norm`.
            size: ``[B, K]`` weights of the patch tokens in a pooling over them, 0 for padding; None for equal ones.
                With merging the weights sum to N0, so that a mean is the mean over source patches.
            pre_logits: return what enters the classifier.

        Returns:
            ``[B, classes]``.
        """

    def recomputes(self) -> bool:
        """Whether the model is set to recompute activations in the backward pass."""
        return False

    def patched(self) -> str | None:
        """What was put onto the model or its blocks that running the blocks' parts would skip; None for nothing."""
        return patched(self.model, self.blocks, self.skipped())

    def skipped(self) -> Sequence[tuple[str, nn.Module]]:
        """Modules, with words for them, whose forward is not called, besides the model, its blocks and attentions."""
        return ()


class HostOfParts(Host):
    """A host whose blocks are not the model's own modules, but parts that show them under other names.

    Its `__init__` makes the parts and keeps them as `_blocks`.
    """

    _blocks: Sequence[Any] = ()

    @property
    @override
    def blocks(self) -> Sequence[Any]:
        return self._blocks


def overridden(model: nn.Module, methods: Sequence[str], module: str) -> str | None:
    """Which subclass has a method of its own that would not run.

    Args:
        model: of a family, or of a subclass of its classes.
        methods: that a wrapped model does not call.
        module: where the family's classes are defined.

    Returns:
        The reason for a refusal; None if no subclass has one.
    """
    for cls in type(model).__mro__:
        if cls.__module__ == module:
            return None
        if own := [method for method in methods if method in cls.__dict__]:
            return f"{cls.__name__} has a {own[0]} of its own, which a wrapped model would not run"
    return None


def families() -> Iterator[type[Host]]:
    """The hosts of `atc/vit/hosts/`, then those of installed packages (entry-point group ``atc.hosts``)."""
    from atc.vit import hosts

    for module in pkgutil.iter_modules(hosts.__path__):
        yield importlib.import_module(f"{hosts.__name__}.{module.name}").HOST
    for point in points("atc.hosts"):
        try:
            yield point.load()
        except (ImportError, AttributeError) as error:
            raise ValueError(f"the host '{point.name}' ({point.value}) cannot be imported: {error}") from error


def wrapper_of(model: nn.Module) -> Any:
    """The class that wraps this model: `ReducedViT` or a subclass; `ReducedViT` where no family knows the model."""
    family = next((family for family in families() if family.knows(model)), Host)
    module, _, name = family.module.rpartition(".")
    return getattr(importlib.import_module(module), name)


def nearly_square(patches: int) -> tuple[int, int]:
    """The rows and columns, at most as many rows, nearest to a square.

    Examples:
        >>> nearly_square(196), nearly_square(98)
        ((14, 14), (7, 14))
    """
    rows = next(rows for rows in range(math.isqrt(patches), 0, -1) if patches % rows == 0)
    return rows, patches // rows


def host_of(model: nn.Module) -> Host:
    """The host of a model.

    Raises:
        ValueError: no family knows the model, or its family cannot wrap it; one line with the reason.
    """
    if not isinstance(model, nn.Module):
        raise ValueError(f"cannot wrap this backbone: it must be a torch.nn.Module, got {class_described(model)}")
    name = type(model).__name__
    if hasattr(model, "reducers") and hasattr(model, "trace"):
        raise ValueError(
            f"cannot wrap this backbone: this {name} is wrapped already; atc.unwrap(model) gives the backbone in it"
        )
    if hasattr(model, "_orig_mod"):
        raise ValueError(
            "cannot wrap this backbone: it is compiled; wrap the model that was compiled (model._orig_mod) and compile "
            "what atc.wrap returns"
        )
    if hasattr(model, "peft_config") and hasattr(model, "get_base_model"):
        raise ValueError(
            f"cannot wrap this backbone: a {name} adapts a model from outside; wrap p.get_base_model(), whose layers "
            "hold the adapters"
        )
    for family in families():
        if family.knows(model):
            host = family(model)
            reason = reason_against(host)
            if reason is not None:
                raise ValueError(f"cannot wrap this backbone: {reason}")
            return host
    raise ValueError(f"cannot wrap this backbone: {_unknown(model)}")


def _unknown(model: nn.Module) -> str:
    name = type(model).__name__
    for module in model.modules():
        if type(module).__name__ == "TalkingHeadAttn":
            return f"{name} mixes attention between heads, and its CLS token enters after the blocks of the patches"
        if any(hasattr(module, mark) for mark in ("relative_position_bias_table", "rel_pos", "rel_pos_bias")):
            return (
                f"{name} is not a plain ViT: it adds relative-position biases between fixed places, which merged "
                f"tokens do not have"
            )
    return (
        f"{name} is not a plain ViT of timm, transformers, torchvision or open_clip; token reduction needs its plain "
        f"sequence of tokens (docs/hosts.md says how to add a family)"
    )
