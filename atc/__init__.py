"""ATC: token reduction in Vision Transformers, measured.

::

    import timm, atc

    vit = timm.create_model("deit_small_patch16_224", pretrained=True)
    model = atc.wrap(vit, reducer="atc_average", keep_rate=0.25)
    logits, trace = model(images), model.trace
"""

import importlib
from typing import TYPE_CHECKING, Any

from atc import moved

__version__ = "0.1.0"
__all__ = [
    "ReducedViT",
    "__version__",
    "check_plans",
    "cuda_graph",
    "dense",
    "diffusion",
    "draw",
    "fit_size_bias",
    "load_released_weights",
    "study",
    "training_losses",
    "unwrap",
    "wrap",
]

if TYPE_CHECKING:
    from atc import dense, diffusion, study
    from atc.api import ReducedViT, check_plans, unwrap, wrap
    from atc.losses import training_losses
    from atc.pictures.draw import draw
    from atc.vit.cuda_graph import cuda_graph
    from atc.vit.released_weights import load_released_weights
    from atc.vit.size_bias import fit_size_bias

moved.serve_old_imports()


def __getattr__(name: str) -> Any:
    # Lazy, so that `import atc.core` (what a reducer needs) loads torch and nothing else.
    if name in ("dense", "diffusion", "study"):
        return importlib.import_module(f"atc.{name}")
    if name == "draw":
        from atc.pictures import draw

        return draw.draw
    if name == "cuda_graph":
        return importlib.import_module("atc.vit.cuda_graph").cuda_graph
    if name == "load_released_weights":
        return importlib.import_module("atc.vit.released_weights").load_released_weights
    if name == "fit_size_bias":
        return importlib.import_module("atc.vit.size_bias").fit_size_bias
    if name == "training_losses":
        return importlib.import_module("atc.losses").training_losses
    if name in __all__:
        from atc import api

        return getattr(api, name)
    raise AttributeError(f"module 'atc' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return [*(name for name in globals() if name.startswith("__")), *__all__]
