"""Loading state dicts of the model alone into a wrapped model."""

from typing import Any

from torch import nn

_OLD, _REDUCERS = "vit.", "reducers."


def take_plain_dicts(model: nn.Module) -> None:
    """Make `model.load_state_dict` take a plain state dict of the model inside: reducers keep their parameters.

    A dict that holds any reducer parameter must hold all of them. Keys that begin with `vit.`, as a wrapped model's
    parameters were called before, are taken as well.
    """
    model.register_state_dict_pre_hook(_follow)
    model.register_load_state_dict_pre_hook(_rename)
    model.register_load_state_dict_post_hook(_forgive)


def _follow(module: Any, prefix: str, keep_vars: bool) -> None:
    module._follow_children()


def _rename(module: Any, state: dict[str, Any], prefix: str, *_: Any) -> None:
    module._follow_children()
    if not hasattr(module.host.model, _OLD[:-1]):
        for key in [key for key in state if key.startswith(prefix + _OLD)]:
            state[prefix + key[len(prefix + _OLD) :]] = state.pop(key)
    module._plain_dict = not any(key.startswith(prefix + _REDUCERS) for key in state)


def _forgive(module: nn.Module, incompatible: Any) -> None:
    if getattr(module, "_plain_dict", False):
        missing = [key for key in incompatible.missing_keys if not _is_reducer_key(key)]
        incompatible.missing_keys[:] = missing


def _is_reducer_key(key: str) -> bool:
    return key.startswith(_REDUCERS) or f".{_REDUCERS}" in key
