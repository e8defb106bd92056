"""Token merging inside the attention of diffusion models of diffusers: `reduce` a pipeline, `remove` it again."""

from typing import TYPE_CHECKING, Any

__all__ = ["Handle", "Reduced", "reduce"]

if TYPE_CHECKING:
    from atc.diffusion.handle import Handle, Reduced
    from atc.diffusion.reducing import reduce


def __getattr__(name: str) -> Any:
    # Lazy, so that a mistake in a command line of this package is told without waiting for PyTorch.
    if name == "reduce":
        from atc.diffusion.reducing import reduce

        return reduce
    if name in ("Handle", "Reduced"):
        from atc.diffusion import handle

        return getattr(handle, name)
    raise AttributeError(f"module 'atc.diffusion' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return [*(name for name in globals() if name.startswith("__")), *__all__]
