"""How like photographs generated images are: Fréchet and kernel Inception distance, CLIP score.

From Python:

    from atc.diffusion.fid import compare
    compare("generated", "reference")["fid"]["value"]

As a command: python -m atc.diffusion.fid generated=DIRECTORY reference=DIRECTORY, see `atc.diffusion.fid.command`.
"""

from typing import TYPE_CHECKING, Any

__all__ = ["compare", "frechet_distance", "kernel_distance"]

if TYPE_CHECKING:
    from atc.diffusion.fid.comparing import compare
    from atc.diffusion.fid.frechet import frechet_distance
    from atc.diffusion.fid.kernel import kernel_distance


def __getattr__(name: str) -> Any:
    if name == "compare":  # lazy: it imports PyTorch
        from atc.diffusion.fid.comparing import compare

        return compare
    if name == "frechet_distance":
        from atc.diffusion.fid.frechet import frechet_distance

        return frechet_distance
    if name == "kernel_distance":
        from atc.diffusion.fid.kernel import kernel_distance

        return kernel_distance
    raise AttributeError(f"module 'atc.diffusion.fid' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return [*(name for name in globals() if name.startswith("__")), *__all__]
