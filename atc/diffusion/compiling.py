"""Hooks and torch.compile: code that was compiled must notice that hooks came or went.

PyTorch leaves that out by default: a network that is reduced would run code that was compiled for another network of
its class without hooks, and draw what the dense one draws.
"""

import importlib

import torch


def guard_hooks() -> bool:
    """Have compiled code look at the hooks of modules from now on, and forget what was compiled before.

    The setting is one of the process and stays, so that code notices the removal of hooks too. Where it stands
    already, nothing is forgotten.

    Returns:
        Whether this PyTorch can; where it cannot, a reduced network must not be compiled.
    """
    try:
        config = importlib.import_module("torch._dynamo").config  # diffusers has loaded it
        skipped = config.skip_nnmodule_hook_guards
    except (ImportError, AttributeError):
        return False
    if skipped:
        config.skip_nnmodule_hook_guards = False
        torch.compiler.reset()
    return True
