"""Whether a reducer kept its contract: shapes always, values on request."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from atc.core.plan import Plan
from atc.ops.exporting import inside_transform

_ALWAYS = os.environ.get("ATC_CHECK_PLANS", "").strip().lower() not in ("", "0", "false", "no", "off")
_lock = threading.Lock()
_blocks_entered = 0


@contextmanager
def check_plans() -> Iterator[None]:
    """Within this block, wrapped models check the values of every plan their reducers return.

    Labels and indices have to be in range, every output token needs an input token, weights and reduced tokens have
    to be finite if the tokens were: ValueError names the reducer, its block and what was wrong. The environment
    variable ``ATC_CHECK_PLANS=1`` does the same for a whole process. Shapes and dtypes are checked at all times. Values
    cost a GPU a wait for the host at each reducing block; they are not looked at inside torch.compile, torch.export
    and CUDA graphs. The block counts for all threads of the process.
    """
    global _blocks_entered
    with _lock:
        _blocks_entered += 1
    try:
        yield
    finally:
        with _lock:
            _blocks_entered -= 1


def values_are_checked(tokens: Tensor) -> bool:
    """Whether to look at what is made of these tokens here and now, which they are to be asked before it is made."""
    if torch.compiler.is_compiling() or not (_ALWAYS or _blocks_entered > 0):
        return False
    if type(tokens) is not Tensor or tokens.is_meta or inside_transform(tokens):  # shapes without numbers
        return False
    if tokens.is_cuda and torch.cuda.is_current_stream_capturing():  # a GPU that may not be waited for
        return False
    return bool(tokens.isfinite().all())


def check_plan(
    plan: Any, tokens: Tensor, num_out: int, values: bool, exceptions: dict[str, str], empty: bool = False
) -> None:
    """Raise ValueError where a plan does not fit the tokens it was made for.

    Args:
        plan: what a reducer returned.
        tokens: ``[B, N, ...]``, which it saw, or another tensor of these.
        num_out: tokens that have to come out.
        values: whether they are looked at, not only shapes.
        exceptions: as in `Reducer.exceptions`.
        empty: an image may have no real token.
    """
    if not isinstance(plan, Plan):
        raise ValueError(f"forward must return a Plan (Select, Assign or Mix), got a {type(plan).__name__}")
    batch, num_in = tokens.shape[:2]
    if not isinstance(plan.num_out, (int, torch.SymInt)) or plan.num_out != num_out:
        raise ValueError(f"{num_out} of {num_in} tokens have to come out, got num_out={plan.num_out}")
    plan.check_shapes(batch, num_in)
    if values:
        plan.check_contents("distinct_outputs" not in exceptions, empty)
