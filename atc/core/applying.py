"""A reducer's plan, made, checked and applied: the arithmetic of a stage, in one place."""

import traceback

from torch import Tensor

from atc.core.checking import check_plan, values_are_checked
from atc.core.plan import Assign, Plan
from atc.core.plan_checks import check_reduced
from atc.core.reducer import ON_REQUEST, Reducer, TokenView
from atc.core.reductions import Reduction
from atc.core.schedule import StageCount
from atc.ops.exporting import may_keep_constants


def reduce_tokens(
    reducer: Reducer, x: Tensor, view: TokenView, count: StageCount, num_out: int, weight: Tensor
) -> tuple[Tensor, Reduction]:
    """Have a reducer make a plan, and apply it to tokens and sizes.

    Args:
        reducer: the method.
        x: ``[B, P+N, C]`` the whole sequence, P as in ``view.prefix``.
        view: what it sees: ``[B, N, C]`` tokens, their sizes and sources.
        count: the stage: its block, and how many tokens to keep.
        num_out: how many tokens have to come out, those of the method beside the kept ones included.
        weight: ``[B, N]`` how much each token counts in a mean.

    Returns:
        ``[B, P+K, C]`` tokens that are left, behind the prefix tokens, and what became of the others.

    Raises:
        ValueError: the plan does not fit the tokens, or the method took a field of the view that it does not ask for;
            the message names the reducer and the block.
    """
    values = values_are_checked(x)
    try:
        plan: Plan = reducer(view, count.keep)
        check_plan(plan, view.size, num_out, values, reducer.exceptions)
        if reducer.by_threshold:
            plan = _without_empty_slots(plan, x)
            num_out = plan.num_out
        reduced, size = plan.apply(x, weight, view.size, view.prefix)
        check_reduced(reduced, size, x, view.prefix, num_out, values)
    except ValueError as error:
        raise ValueError(f"{type(reducer).__name__} at block {count.block}: {error}") from error
    except (AttributeError, TypeError) as error:
        if reason := _not_asked_for(reducer, view, error):
            raise ValueError(f"{type(reducer).__name__} at block {count.block}: {reason}") from error
        raise
    return reduced, Reduction(count.block, view.size.shape[1], plan, size)


def _not_asked_for(reducer: Reducer, view: TokenView, error: Exception) -> str | None:
    """Which fields of the view the code that failed reads, although they are None for want of asking."""
    if "NoneType" not in str(error):
        return None
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    seeing = [frame for frame in frames if any(value is view for value in frame.f_locals.values())]
    read = {name for frame in seeing for name in frame.f_code.co_names}
    absent = [name for name in ON_REQUEST if name in read and name not in reducer.needs and getattr(view, name) is None]
    if not absent:
        return None
    needs = ", ".join(repr(name) for name in sorted({*reducer.needs, *absent}))
    return f"{' and '.join(absent)} of the view is None where the class does not say needs = frozenset({{{needs}}})"


def _without_empty_slots(plan: Plan, x: Tensor) -> Plan:
    """The same plan without the slots that no image fills, where their number may be asked for.

    A GPU is waited for. While a model is compiled, exported or captured, shapes stay as they are.
    """
    if type(plan) is not Assign or plan.valid is None or x.is_meta or not may_keep_constants(x) or not len(x):
        return plan
    most = int(plan.valid.sum(dim=1).max())
    found = Assign(plan.labels, most, plan.weight, average=plan.average, eps=plan.eps, valid=plan.valid[:, :most])
    found.kept = plan.kept
    return found
