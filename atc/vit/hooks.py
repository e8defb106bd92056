"""Hooks and patches on a model whose blocks are run part by part.

A wrapped model calls the parts of a block (norms, projections, MLP), not the block or its attention. What was put onto
those would be skipped in silence, so it is refused by name. The hooks of `torch.distributed.fsdp.fully_shard`, which
gather and free the weights of a block, run.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

_KINDS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")


def patched(model: nn.Module, blocks: Iterable[Any], others: Iterable[tuple[str, nn.Module]] = ()) -> str | None:
    """What of a model would be skipped: a replaced forward, a compiled call, or a hook; None for nothing."""
    if getattr(model, "_compiled_call_impl", None) is not None:
        return "it was compiled in place (model.compile()); wrap first, then compile what atc.wrap returns"
    for name, module in [*_skipped(model, blocks), *others]:
        if not _is_own(module):
            return (
                f"the forward of {name} ({type(module).__name__}) was replaced on this instance, which a wrapped model "
                f"would not run; undo the patch first"
            )
        if reason := _hooked(name, module):
            return reason
    return None


def through_hooks(number: int, block: Any, function: Callable[[Any], Any], x: Any) -> Any:
    """Run `function` in place of the block's forward, with the hooks of `fully_shard` around it.

    Args:
        number: of the block, 1-based, for messages.
        block: whose hooks count.
        function: from tokens ``[B, T, C]`` entering the block to those leaving it.
        x: the tokens, or the same packed.

    Returns:
        What `function` returns.

    Raises:
        ValueError: a hook that would not run, by name.
    """
    modules = [(name, module) for name, module in _of_block(number, block) if any(getattr(module, k) for k in _KINDS)]
    if _is_sharded(modules_of(block)[0]):
        return _sharded(modules_of(block)[0], function, x)
    for name, module in modules:
        if reason := _hooked(name, module):
            raise ValueError(reason)
    return function(x)


def modules_of(part: Any) -> list[nn.Module]:
    """A module itself, or those that a `Part` shows under other names and does not call."""
    return [part] if isinstance(part, nn.Module) else part.skipped()


def _skipped(model: nn.Module, blocks: Iterable[Any]) -> Iterable[tuple[str, nn.Module]]:
    yield "the model", model
    for number, block in enumerate(blocks, start=1):
        yield from _of_block(number, block)


def _of_block(number: int, block: Any) -> Iterable[tuple[str, nn.Module]]:
    for module in modules_of(block):
        yield f"block {number}", module
    for module in modules_of(block.attn):
        yield f"the attention of block {number}", module


def _is_own(module: nn.Module) -> bool:
    forward = module.__dict__.get("forward")
    return forward is None or getattr(forward, "__func__", None) is type(module).forward  # set back by a library


def _hooked(name: str, module: nn.Module) -> str | None:
    if _is_sharded(module):
        return None
    for kind in _KINDS:
        for hook in getattr(module, kind, {}).values():
            if getattr(hook, "__module__", "") == "transformers.utils.output_capturing":
                continue  # collects hidden states, which a wrapped model does itself
            called = getattr(hook, "__qualname__", type(hook).__name__)
            return (
                f"{name} ({type(module).__name__}) has the hook {called}, which would not run: a wrapped model calls "
                f"the parts of a block; put the hook on a part, such as block.norm1, attn.qkv or mlp, or remove it"
            )
    return None


def _is_sharded(module: Any) -> bool:
    if not torch.distributed.is_available():
        return False
    try:
        from torch.distributed.fsdp import FSDPModule
    except ImportError:  # PyTorch built without it
        return False
    return isinstance(module, FSDPModule)


def _sharded(block: nn.Module, function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """As nn.Module calls its hooks, which are fully_shard's."""
    args: Any = (x,)
    kwargs: dict[str, Any] = {}
    for number, before in block._forward_pre_hooks.items():
        if number in block._forward_pre_hooks_with_kwargs:
            changed: Any = before(block, args, kwargs)
            if changed is not None:
                args, kwargs = changed
        else:
            changed = before(block, args)
            args = args if changed is None else changed if isinstance(changed, tuple) else (changed,)
    out: Any = function(*args)
    for number, after in block._forward_hooks.items():
        with_kwargs = number in block._forward_hooks_with_kwargs
        changed = after(block, args, kwargs, out) if with_kwargs else after(block, args, out)
        out = out if changed is None else changed
    return out
