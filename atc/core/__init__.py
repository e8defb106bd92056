"""The vocabulary of all other rooms: plans, reducers, schedules, traces, metrics."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from atc.core.checking import check_plans
    from atc.core.gate import BlockGate
    from atc.core.metric import Metric
    from atc.core.plan import Assign, Mix, Plan, Select
    from atc.core.reducer import LossContext, Reducer, Stage, TokenView
    from atc.core.schedule import Constant, Linear, Schedule, StageCount, Stages
    from atc.core.trace import StageTrace, Trace, follow
    from atc.values import Count, Counts, NotNegative, Positive, Seed, Share, Whole

__all__ = [
    "Assign",
    "BlockGate",
    "Constant",
    "Count",
    "Counts",
    "Linear",
    "LossContext",
    "Metric",
    "Mix",
    "NotNegative",
    "Plan",
    "Positive",
    "Reducer",
    "Schedule",
    "Seed",
    "Select",
    "Share",
    "Stage",
    "StageCount",
    "StageTrace",
    "Stages",
    "TokenView",
    "Trace",
    "Whole",
    "check_plans",
    "follow",
]
_HOME = {
    "atc.core.checking": ("check_plans",),
    "atc.core.gate": ("BlockGate",),
    "atc.core.metric": ("Metric",),
    "atc.core.plan": ("Assign", "Mix", "Plan", "Select"),
    "atc.core.reducer": ("LossContext", "Reducer", "Stage", "TokenView"),
    "atc.core.schedule": ("Constant", "Linear", "Schedule", "StageCount", "Stages"),
    "atc.core.trace": ("StageTrace", "Trace", "follow"),
    "atc.values": ("Count", "Counts", "NotNegative", "Positive", "Seed", "Share", "Whole"),
}


def __getattr__(name: str) -> Any:
    # Lazy, so that reports, which import metrics, need no PyTorch.
    for module, names in _HOME.items():
        if name in names:
            found = globals()[name] = getattr(importlib.import_module(module), name)
            return found
    raise AttributeError(f"module 'atc.core' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return [*(name for name in globals() if name.startswith("__")), *__all__]
