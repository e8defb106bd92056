"""How reduction patterns relate: traces of runs, similarities between them, and what these say of accuracy."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from atc.study import depth, measures, proxy, runs, similarity

__all__ = ["depth", "measures", "proxy", "runs", "similarity"]


def __getattr__(name: str) -> Any:
    # Lazy, so that the command reads its arguments before it loads SciPy and scikit-learn.
    if name in __all__:
        return importlib.import_module(f"atc.study.{name}")
    raise AttributeError(f"module 'atc.study' has no attribute {name!r}; it has {', '.join(__all__)}")
