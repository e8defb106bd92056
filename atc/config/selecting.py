"""Which of two epochs is the better one: the task's metric says so."""

from typing import Any

from omegaconf import DictConfig

from atc.core.metric import Metric


def direction(callback: DictConfig, metric: Metric) -> dict[str, Any]:
    """The argument `mode` for a callback that goes by the metric of the task, whatever its configuration says.

    Args:
        callback: its settings.
        metric: what the task is scored by.

    Returns:
        ``{"mode": "min"}`` or ``{"mode": "max"}``; nothing for callbacks that go by something else, or by nothing.
    """
    monitored = str(callback.get("monitor")).partition("/")[2]
    goes_by = "mode" in callback and monitored in (metric.name, f"{metric.name}_best", f"{metric.name}_raw")
    return {"mode": metric.mode} if goes_by else {}
