"""Models of other libraries behind `atc.vit.logits.Logits`."""

from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor, nn
from typing_extensions import override

from atc.vit.host import Host
from atc.vit.logits import Logits


class OfLogits(Host):
    """Whatever the model inside is, with logits for an output.

    Args:
        model: the model to describe.
    """

    methods: ClassVar[frozenset[str]] = frozenset({"no_weight_decay", "group_matcher", "set_grad_checkpointing"})

    def __init__(self, model: nn.Module):
        super().__init__(model)
        self.prefix, self.width = self._inner.prefix, self._inner.width

    @classmethod
    @override
    def knows(cls, model: nn.Module) -> bool:
        return isinstance(model, Logits)

    @property
    def _inner(self) -> Host:
        return self.model.host

    @property
    @override
    def blocks(self) -> Sequence[Any]:
        return self._inner.blocks

    @property
    @override
    def num_patches(self) -> int:
        return self._inner.num_patches

    @property
    @override
    def default_grid(self) -> tuple[int, int]:
        return self._inner.default_grid

    @property
    @override
    def name(self) -> str:
        return self._inner.name

    @property
    @override
    def has_cls(self) -> bool:
        return self._inner.has_cls

    @override
    def recomputes(self) -> bool:
        return self._inner.recomputes()

    @override
    def refusal(self) -> str | None:
        return self._inner.refusal()

    @override
    def skipped(self) -> list[tuple[str, nn.Module]]:
        return [("the model inside", self.model.model), *self._inner.skipped()]

    @override
    def grid(self, images: Tensor) -> tuple[int, int]:
        return self._inner.grid(images)

    @override
    def embed(self, images: Tensor, **options: Any) -> tuple[Tensor, Tensor | None]:
        return self._inner.embed(images, **options)

    @override
    def norm(self, x: Tensor) -> Tensor:
        return self._inner.norm(x)

    @override
    def head(self, x: Tensor, size: Tensor | None, pre_logits: bool = False) -> Tensor:
        own = getattr(self.model, "classifier", None) if self.model.adds_classifier else None
        pooled = self._inner.head(x, size, pre_logits and own is None)
        return pooled if own is None or pre_logits else own(pooled)


HOST = OfLogits
