"""What each method of conf/reducer is told of how much to keep."""

from typing import Any

from atc.config import build
from atc.vit.reduced import reducer_class

BY_THRESHOLD = [name for name in build.names("reducer") if reducer_class(build.find_reducer(name)).by_threshold]


def amount(name: str, keep_rate: float = 0.5, threshold: float = 0.3) -> dict[str, Any]:
    """Arguments of `atc.wrap`: a threshold for methods that merge up to a distance, else a keep rate."""
    return {"threshold": threshold} if name in BY_THRESHOLD else {"keep_rate": keep_rate}
