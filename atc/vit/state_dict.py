"""A wrapped model's state dict: timm's own key names, and the reducers' parameters beside them."""

from typing import Any

from torch import nn

_VIT, _REDUCERS = "vit.", "reducers."


def keep_timm_keys(model: nn.Module) -> None:
    """Make `model.state_dict()` show `model.vit` under timm's names, and `load_state_dict` take them.

    A plain timm state dict loads strictly: reducers then keep the parameters they have. A dict that holds any
    reducer parameter must hold all of them.
    """
    model.register_state_dict_post_hook(_strip)
    model.register_load_state_dict_pre_hook(_restore)
    model.register_load_state_dict_post_hook(_forgive)


def timm_keys(state: dict[str, Any], prefix: str) -> None:
    """Rename what a wrapped model under `prefix` calls its own in a state dict, in place; timm's names stay."""
    for key in list(state):
        if key.startswith(prefix + _VIT):
            state[prefix + key[len(prefix) + len(_VIT) :]] = state.pop(key)


def _strip(module: nn.Module, state: dict[str, Any], prefix: str, _: Any) -> None:
    # PyTorch's FSDP looks for the parameters under the names they have in the model, after this.
    if "_fsdp_wrapped_module." not in prefix:
        timm_keys(state, prefix)


def _restore(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    for key in list(state):
        own = key[len(prefix) :] if key.startswith(prefix) else None
        if own is not None and not own.startswith((_VIT, _REDUCERS)):
            state[prefix + _VIT + own] = state.pop(key)
    module._plain_timm_dict = not any(key.startswith(prefix + _REDUCERS) for key in state)  # type: ignore[assignment]


def _forgive(module: nn.Module, incompatible: Any) -> None:
    if getattr(module, "_plain_timm_dict", False):
        missing = [key for key in incompatible.missing_keys if not _is_reducer_key(key)]
        incompatible.missing_keys[:] = missing


def _is_reducer_key(key: str) -> bool:
    return key.startswith(_REDUCERS) or f".{_REDUCERS}" in key
