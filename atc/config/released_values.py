"""Single settings of a released checkpoint, each taken as a value of one type: the file may be anybody's."""

import math
from collections.abc import Mapping
from numbers import Real
from typing import Any

import numpy as np

from atc.received import shown


def wrong(args: Mapping[str, Any], name: str, wanted: str) -> ValueError:
    """The error for a setting that is missing or cannot be read, and what it must be."""
    value = f"is {shown(repr(args[name]), 80)}" if name in args else "is missing"
    return ValueError(f"the settings in the checkpoint cannot be read: args.{name} {value}, which must be {wanted}")


def text(args: Mapping[str, Any], name: str) -> str:
    """A name. ValueError for anything else."""
    if not isinstance(args.get(name), str):
        raise wrong(args, name, "a name")
    return str(args[name])


def flag(args: Mapping[str, Any], name: str) -> bool:
    """True or false. ValueError for anything else, 0 and 1 among it."""
    if not isinstance(args.get(name), (bool, np.bool_)):
        raise wrong(args, name, "true or false")
    return bool(args[name])


def is_number(value: Any) -> bool:
    """Whether a value is a finite number, and neither true nor false."""
    return isinstance(value, Real) and not isinstance(value, (bool, np.bool_)) and math.isfinite(value)


def number(args: Mapping[str, Any], name: str) -> float:
    """A number above 0. ValueError for anything else."""
    value: Any = args.get(name)
    if not is_number(value) or not 0 < value < 2**31:
        raise wrong(args, name, "a number above 0")
    return float(value)


def whole(args: Mapping[str, Any], name: str) -> int:
    """A whole number, 1 or more, also as a float. ValueError for anything else."""
    value: Any = args.get(name)
    if not is_number(value) or not 0 < value < 2**31 or value != int(value):
        raise wrong(args, name, "a whole number, 1 or more")
    return int(value)


def whole_numbers(args: Mapping[str, Any], name: str, least: int) -> list[int]:
    """A list of whole numbers, `least` or more. ValueError for anything else."""
    found = args.get(name)
    wanted = f"a list of whole numbers, {least} or more"
    if not isinstance(found, (list, tuple)) or not 0 < len(found) <= 1000:
        raise wrong(args, name, wanted)
    if not all(is_number(value) and value == int(value) and least <= value < 2**31 for value in found):
        raise wrong(args, name, wanted)
    return [int(value) for value in found]


def counts(args: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that reduction_ratio comes to: one keep rate, or token counts. ValueError for anything else."""
    ratio = args.get("reduction_ratio")
    if isinstance(ratio, (list, tuple)) and len(ratio) == 1:
        if not is_number(ratio[0]) or not 0 < ratio[0] <= 1:
            raise wrong(args, "reduction_ratio", "one keep rate in (0, 1], or several counts of tokens")
        return {"keep_rate": ratio[0].item() if isinstance(ratio[0], np.generic) else ratio[0]}
    return {"schedule.keep_rate": None, "schedule.keep": whole_numbers(args, "reduction_ratio", least=1)}
