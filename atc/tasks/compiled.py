"""torch.compile by configuration."""

from collections.abc import Mapping
from typing import Any

import torch
from omegaconf import OmegaConf
from torch import nn


def compile_in_place(module: nn.Module, settings: Any) -> None:
    """Let `module` compile itself when it is first called; the names of its parameters stay.

    Args:
        module: the module.
        settings: None or False for not at all, True, or arguments of torch.compile, such as {"mode": "max-autotune"}.

    Raises:
        ValueError: anything else, or a backend or mode that PyTorch does not have.
    """
    if OmegaConf.is_config(settings):  # PyTorch looks into its options
        settings = OmegaConf.to_container(settings, resolve=True)
    if settings is None or settings is False:
        return
    if settings is not True and not isinstance(settings, Mapping):
        raise ValueError(f"compile={settings} is neither true nor arguments of torch.compile, as in {{mode:default}}")
    arguments = {} if settings is True else {str(key): value for key, value in settings.items()}
    backend = arguments.get("backend", "inductor")
    if backend not in torch.compiler.list_backends(exclude_tags=()):
        usual = ", ".join(torch.compiler.list_backends())
        raise ValueError(f"compile.backend={backend} is not one of PyTorch's: {usual}, and those for debugging")
    try:
        module.compile(**arguments)
    except RuntimeError as error:
        raise ValueError(f"compile={dict(arguments)}: {error}") from error
