"""The vocabulary every other room speaks: plans, reducers, schedules, traces."""

from atc.core.checking import check_plans
from atc.core.gate import BlockGate
from atc.core.plan import Assign, Mix, Plan, Select
from atc.core.reducer import LossContext, Reducer, Stage, TokenView
from atc.core.schedule import Constant, Linear, Schedule, StageCount, Stages
from atc.core.trace import StageTrace, Trace, follow
from atc.values import Count, Seed, Share, Whole

__all__ = [
    "Assign",
    "BlockGate",
    "Constant",
    "Count",
    "Linear",
    "LossContext",
    "Mix",
    "Plan",
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
