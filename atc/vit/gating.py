"""A block that computes some of the tokens, and lets the others pass by.

Letters: B batch, P prefix tokens, N patch tokens, K tokens chosen, C channels.
"""

import copy
import functools
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from atc.core import BlockGate, Plan, Reducer, Select
from atc.core.checking import check_plan, values_are_checked
from atc.core.reductions import Reduction
from atc.ops.exporting import may_keep_constants
from atc.vit.blocks import attention_half, merge_rope, mlp_half
from atc.vit.valid import key_bias, size_bias

if TYPE_CHECKING:
    from atc.vit.reduced import ReducedViT
    from atc.vit.stream import Stream


def check_step(stream: "Stream", number: int, gated: bool) -> None:
    """Raise ValueError where a stream cannot run this block now.

    Args:
        stream: on its way.
        number: of the block, 1-based.
        gated: whether a gate is to choose the tokens of this block.
    """
    depth, following = stream.model.depth, stream.last + 1
    if number != following or following > depth:
        which = f"block {following} of {depth} is next" if following <= depth else f"all {depth} blocks have run"
        raise ValueError(
            f"step({number}): {which}; each block runs once, in order, and blocks are counted from 1 (model.start "
            f"begins anew)"
        )
    looking = (number, number + 1) if stream.model.method.site == "before_block" else (number,)
    if gated and any(block in stream.active for block in looking):
        raise ValueError(f"block {number} takes no gate: a reduction at it, or before the next, looks at it")


def gated(stream: "Stream", number: int, block: Any, gate: BlockGate | Reducer, x: Tensor) -> Tensor:
    """Run a block over the tokens that a gate chooses; prefix tokens are always among them. The stream takes note.

    With a floating mask s (training), the block computes all N tokens, of which only those with s = 1 are keys, and
    leaves ``s * block(x) + (1 - s) * x``; gradients reach the mask through these products, and not through attention.

    Args:
        stream: of which this is a step.
        number: of the block, 1-based.
        block: the block.
        gate: chooses; a `Reducer` of the kind `gates`, or a `BlockGate`.
        x: ``[B, P+N, C]``.

    Returns:
        ``[B, P+N, C]``.

    Raises:
        ValueError: the plan does not fit the tokens; the message names the gate and the block.
    """
    prefix, size = stream.prefix, stream.size
    patches, view = x[:, prefix:], stream.view(x)
    try:
        made = gate(view, patches.shape[1]) if isinstance(gate, Reducer) else gate(view)
        check_plan(made, patches, getattr(made, "num_out", 0), values_are_checked(patches), {}, empty=True)
    except ValueError as error:
        raise ValueError(f"{type(gate).__name__} at block {number}: {error}") from error
    plan = _shortened(made, x)
    chosen, sizes = plan.apply(x, size, size, prefix)
    bias = key_bias(sizes if stream.weighs_keys else None, _keys(plan.valid, prefix), prefix, size_bias(stream.model))
    rope = None if stream.rope is None else merge_rope(stream.rope, plan, torch.ones_like(size))
    chosen, _ = stream.run(attention_half, block, chosen, prefix, bias, rope, frozenset())
    chosen = stream.run(mlp_half, block, chosen)
    new = plan.expand(chosen[:, prefix:], fill=patches)
    if plan.valid is not None and plan.valid.is_floating_point():
        share = plan.expand(plan.valid.unsqueeze(-1)).to(new.dtype)
        new = share * new + (1 - share) * patches
    if isinstance(gate, Reducer):
        stream.passing.made.append(Reduction(number, patches.shape[1], plan, sizes))
        stream.plans[str(number)] = [plan]
    else:
        stream.gates.append((gate, made))
    return torch.cat([chosen[:, :prefix], new], dim=1)


def _shortened(plan: Plan, x: Tensor) -> Plan:
    """The same plan without the columns that are padding in every image, where their number may be asked for.

    A GPU waits for the host. While a model is compiled, exported or captured, shapes stay as they are.
    """
    valid = plan.valid
    if type(plan) is not Select or plan.clustered or valid is None or valid.dtype != torch.bool or not len(valid):
        return plan
    if not may_keep_constants(x) or x.is_meta:
        return plan
    least, most = torch.stack(valid.sum(dim=1).aminmax()).tolist()
    kept = max(most, 1)  # attention needs a token
    return Select(plan.indices[:, :kept], plan.num_in, valid=None if least == kept else valid[:, :kept])


def _keys(valid: Tensor | None, prefix: int) -> Tensor | None:
    """[B, K] which tokens are seen in attention; of an image without any, all: what they compute goes nowhere."""
    if valid is None:
        return None
    seen = valid if valid.dtype == torch.bool else valid.detach() > 0.5
    return seen if prefix else seen | ~seen.any(dim=1, keepdim=True)


def shown_block(model: "ReducedViT", block: Any) -> Any:
    """A block of a model, with the epsilon that its method sets (`Reducer.norm_eps`) in place of its layer norms' own.

    The norms keep their parameters and hooks, and the block itself is not changed.

    Raises:
        ValueError: its norms are no layer norms.
    """
    reducers: Any = model.reducers.values()
    eps = next((reducer.norm_eps for reducer in reducers), None)
    return block if eps is None else _OtherEps(block, eps)


class _OtherEps:
    def __init__(self, block: Any, eps: float):
        self._block = block
        self.norm1, self.norm2 = _with_eps(block.norm1, eps), _with_eps(block.norm2, eps)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._block, name)


def _with_eps(norm: Any, eps: float) -> Any:
    if not isinstance(norm, nn.LayerNorm):
        raise ValueError(f"norm_eps={eps} needs blocks with layer norms, and these have {type(norm).__name__}")
    if torch.compiler.is_compiling():  # which copies no module
        return functools.partial(
            F.layer_norm, normalized_shape=norm.normalized_shape, weight=norm.weight, bias=norm.bias, eps=eps
        )
    other = copy.copy(norm)  # parameters and hooks are in dictionaries, which both share
    other.eps = eps
    return other
