"""The vocabulary every other room speaks: plans, reducers, schedules, traces."""

from atc.core.checking import check_plans
from atc.core.plan import Assign, Mix, Plan, Select
from atc.core.reducer import Reducer, Stage, TokenView
from atc.core.schedule import Constant, Linear, Schedule, StageCount, Stages
from atc.core.trace import StageTrace, Trace, follow

__all__ = [
    "Assign",
    "Constant",
    "Linear",
    "Mix",
    "Plan",
    "Reducer",
    "Schedule",
    "Select",
    "Stage",
    "StageCount",
    "StageTrace",
    "Stages",
    "TokenView",
    "Trace",
    "check_plans",
    "follow",
]
