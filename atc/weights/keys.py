"""The names in a weight file beside those of the model: prefixes of wrappers, other modules, prefix tokens."""

import math
import re
from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from torch import Tensor

# What stands beside a model in a training script's module: of these names nothing belongs to a backbone.
_OTHERS = re.compile(
    r"(criterion|loss(es)?|loss_fn|\w+_loss|n_averaged|metrics?|\w+_metrics?|optimizer|scheduler|lr_scheduler)$"
)
_AVERAGE = re.compile(r"(^|[._])(ema|averaged?|swa)(_\w+)?[._]")
_PEFT = re.compile(r"(^|\.)(lora_[A-Za-z_]+|base_layer|modules_to_save|lora_magnitude_vector)\.")
_TOKENS = ("cls_token", "dist_token", "reg_token", "register_tokens", "storage_tokens")


class Matched(NamedTuple):
    """A file's tensors under the model's own names.

    Attributes:
        state: the tensors.
        averaged: whether they are a moving average that lay beside the raw weights; None where there was no choice.
        notices: one line for each group of tensors that was left out.
    """

    state: dict[str, Tensor]
    averaged: bool | None
    notices: list[str]


def matched(state: Mapping[str, Tensor], own: Collection[str], origin: str, use_ema: bool | None = None) -> Matched:
    """Strip the prefix under which most of the model's own names lie in a file, such as `_orig_mod.` or `net.`.

    Args:
        state: a file's tensors.
        own: the model's names.
        origin: the file, for messages.
        use_ema: of weights and their moving average (`ema.` in front of its names), which to take; None: the average.

    Returns:
        The tensors but for those that are known to be no model's.

    Raises:
        ValueError: the file holds adapters that are not merged, or several sets of the model's weights, or its head
            elsewhere; one line that names the prefix.
    """
    adapters = [key for key in state if _PEFT.search(key)]
    if adapters:
        raise ValueError(
            f"{origin} holds adapters of PEFT ({adapters[0]} and {len(adapters) - 1} more) beside the weights they "
            f"change: merge them with merge_and_unload() and save the model that this returns"
        )
    whole = _prefixes(state, own)
    if not whole:
        return Matched(_common_stripped(state, own), None, [])
    averages = [prefix for prefix in whole if _AVERAGE.search(prefix)]
    raw = [prefix for prefix in whole if prefix not in averages]
    choice = bool(averages and raw)
    averaged = choice and use_ema is not False
    found = averages if averaged or not raw else raw
    if len(found) > 1:
        raise ValueError(f"{origin} holds several sets of this backbone's weights, under {_named(found)}: leave one")
    prefix = found[0]
    mine = {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}
    rest = {key: value for key, value in state.items() if not prefix or not key.startswith(prefix)}
    if not prefix:
        tops = {key.split(".")[0] for key in own}
        rest = {k: v for k, v in mine.items() if k not in own and k.split(".")[0] not in tops and _is_other(k, whole)}
        mine = {key: value for key, value in mine.items() if key not in rest}
    elif "head.weight" in own and "head.weight" not in mine:
        head = [k for k in rest if re.search(r"(^|\.)(\w*head\w*|fc|linear|classifier)\.weight$", k)]
        if head:
            raise ValueError(
                f"{origin} holds the backbone under {prefix} and a head outside of it ({head[0]}): rename that to "
                f"{prefix}head.weight and .bias, or leave it out"
            )
    others = {top: n for top, n in Counter(key.split(".")[0] for key in rest).items() if not _of_a_set(top, whole)}
    notices = []
    if others:
        names = ", ".join(sorted(others))
        notices.append(f"{origin}: {sum(others.values())} tensors of other modules are left out ({names})")
    return Matched(mine, averaged if choice else None, notices)


def check_prefix_tokens(state: Mapping[str, Tensor], vit: Any, origin: str) -> None:
    """ValueError where a file's class, distillation and register tokens are not as many as the backbone's."""
    held = {name: state[name].shape[1] for name in _TOKENS if name in state and state[name].ndim == 3}
    wanted = getattr(vit, "num_prefix_tokens", None)
    if not held or wanted is None:
        return
    if sum(held.values()) != wanted:
        names = ", ".join(name for name in _TOKENS if getattr(vit, name, None) is not None)
        raise ValueError(
            f"{origin} holds {_tokens(sum(held.values()))} ({', '.join(held)}), the backbone has {wanted} ({names}): "
            f"choose the backbone that the weights were made for"
        )
    positions, mine = state.get("pos_embed"), getattr(vit, "pos_embed", None)
    if positions is None or mine is None or positions.ndim != 3 or positions.shape[1] == mine.shape[1]:
        return
    patches = positions.shape[1] - (0 if getattr(vit, "no_embed_class", False) else wanted)
    if patches < 1 or math.isqrt(patches) ** 2 != patches:
        raise ValueError(
            f"{origin} holds {positions.shape[1]} positions, which are no square of patches and {_tokens(wanted)}, and "
            f"so cannot be resampled to the backbone's {mine.shape[1]}"
        )


def beginnings(keys: Collection[str], own: Collection[str]) -> str:
    """For a message, what the names in a file begin with where that is nothing of the model's; else nothing."""
    tops = {key.split(".")[0] for key in own}
    strange = sorted({f"{key.split('.')[0]}." for key in keys if "." in key and key.split(".")[0] not in tops})
    if not strange or any(key.split(".")[0] in tops for key in keys):
        return ""
    return f"; its names begin with {', '.join(strange[:4])}{' ...' if len(strange) > 4 else ''}"


def _prefixes(state: Mapping[str, Tensor], own: Collection[str]) -> list[str]:
    """The prefixes under which most of the model's names lie, the fullest first."""
    names, votes = set(own), Counter[str]()
    for key in state:
        parts = key.split(".")
        for place in range(len(parts)):
            if ".".join(parts[place:]) in names:
                votes["".join(f"{part}." for part in parts[:place])] += 1
    most = max(votes.values(), default=0)
    return [prefix for prefix, count in votes.most_common() if 2 * count > len(names) and 10 * count >= 9 * most]


def _common_stripped(state: Mapping[str, Tensor], own: Collection[str]) -> dict[str, Tensor]:
    """Weights of another kind of model: a first name that all keys share is still a wrapper's."""
    tops, found = {key.split(".")[0] for key in own}, dict(state)
    while found:
        first = {key.split(".")[0] for key in found}
        if len(first) != 1 or first & tops or not all("." in key for key in found):
            break
        found = {key.partition(".")[2]: value for key, value in found.items()}
    return found


def _is_other(key: str, whole: Collection[str]) -> bool:
    top = key.split(".")[0]
    return bool(_OTHERS.match(top) or _AVERAGE.search(f"{top}.")) or _of_a_set(top, whole)


def _of_a_set(top: str, whole: Collection[str]) -> bool:
    """Whether a name is that of another set of the model's weights, which was not chosen."""
    return any(prefix.startswith(f"{top}.") for prefix in whole)


def _named(prefixes: Collection[str]) -> str:
    return " and ".join(prefix or "no prefix" for prefix in prefixes)


def _tokens(count: int) -> str:
    return f"{count} prefix token{'' if count == 1 else 's'}"
