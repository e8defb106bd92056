"""Whether a value is what its annotation says."""

import inspect
import math
import numbers
import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar, get_args, get_origin

from atc.values import kinds
from atc.values.wording import described, described_kind, outside, shown, such_as

_PLAIN = (bool, int, float, str, bytes, list, tuple, dict, set)
_SCALARS = (bool, int, float, str, bytes, type(None))
_LARGEST = 2**63  # of integers that PyTorch can hold


class Misfit(ValueError):
    """A value that is not what its annotation says; the message begins with "must" and does not name the setting."""


def check(name: str, value: Any, annotation: Any) -> Any:
    """The value as its annotation has it: 4 for 4.0 where that says int, a plain number for one of NumPy's.

    Args:
        name: of the setting, for the complaint.
        value: plain data or an object.
        annotation: see `atc.values`; Any fits all but numbers that are not finite.

    Returns:
        The value, of the annotated type where it is plain.

    Raises:
        ValueError: it does not fit, as in "keep_rate=1.5 must lie in (0, 1]".
    """
    try:
        return fitted(value, annotation)
    except Misfit as misfit:
        raise ValueError(f"{name}={shown(value)} {misfit}") from None


def fitted(value: Any, annotation: Any) -> Any:
    """As `check`, which adds the name to the complaint.

    Raises:
        Misfit: it does not fit.
    """
    value = plain(value)
    if annotation is Any or annotation is inspect.Parameter.empty or isinstance(annotation, TypeVar):
        _check_finite(value)
        return value
    members = sorted(kinds.members(annotation), key=kinds.rank)
    known = [kinds.parts(member)[0] for member in members]
    said = []
    for member, kind in zip(members, known, strict=True):
        if isinstance(value, float) and kind is int and float in known:
            continue  # of a number of batches or a share of them, 1.0 is the share
        if isinstance(value, int) and int in known and kinds.is_text(kind):
            continue  # a number that was meant as one
        try:
            return _fitted(value, kind, kinds.parts(member)[1])
        except Misfit as misfit:
            said += [str(misfit)] if str(misfit) else []  # of the right type, but out of range
    null = ", or null" if type(None) in known else ""
    one = len(known) <= 2 or (len(said) == 1 and any(map(kinds.is_list, known)))  # numbers and lists of them
    raise Misfit(f"{said[0]}{null}" if said and one else f"must be {described(annotation)}")


def plain(value: Any) -> Any:
    """Numbers of NumPy and PyTorch as Python's; everything else as it is."""
    if type(value) in _PLAIN or value is None:
        return value
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        return value.item()
    if isinstance(value, numbers.Integral) and not isinstance(value, bool):
        return int(value)
    return float(value) if isinstance(value, numbers.Real) and not isinstance(value, (bool, float)) else value


def _fitted(value: Any, kind: Any, notes: tuple[str, ...]) -> Any:
    """The value, if it is of one kind. Misfit says how it is not, or nothing where the kind is another one."""
    if kind is Any:
        _check_finite(value)
        return value
    if kind in (int, float):
        return _number(value, kind, notes)
    if kind is bool or kind is type(None):
        return _is(isinstance(value, kind), value)
    if get_origin(kind) is Literal:
        return _choice(value, get_args(kind))
    if kinds.is_text(kind):
        if isinstance(value, int) and not isinstance(value, bool):  # a directory, or a project, named 2017
            return str(value)
        named = isinstance(value, str) and (bool(value) or kind is str)
        return _is(named or isinstance(value, os.PathLike), value)
    if kinds.is_list(kind):
        return _list(value, kind, notes)
    if kinds.is_mapping(kind):
        _is(isinstance(value, Mapping), value)
        _check_finite(value)
        return value
    # Something that is built: in a configuration it is settings with a target.
    nothing = (*_PLAIN, type(None)) if kind is kinds.Built else _SCALARS
    return _is(not isinstance(value, nothing) or (isinstance(value, Mapping) and "_target_" in value), value)


def _is(right: bool, value: Any) -> Any:
    if not right:
        raise Misfit
    return value


def _number(value: Any, kind: type, notes: tuple[str, ...]) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise Misfit
    if not math.isfinite(value):
        raise Misfit(f"must be finite: {described_kind(kind, notes)}")
    if kind is int:
        _is(value == int(value), value)
        value = int(value)
    within = kinds.range_of(notes)
    if within is not None and not within.holds(value):
        raise Misfit(outside(within))
    if abs(value) >= _LARGEST and kind is int:
        raise Misfit("must be below 2^63")
    return value


def _choice(value: Any, options: tuple[Any, ...]) -> Any:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return _is(any(type(option) is type(value) and option == value for option in options), value)


def _list(value: Any, kind: Any, notes: tuple[str, ...]) -> Any:
    value = value.tolist() if hasattr(value, "tolist") else value  # an array or a tensor
    _is(isinstance(value, Sequence) and not isinstance(value, (str, bytes)), value)
    fixed, inner = kinds.lengths(kind), get_args(kind)
    if fixed is not None:
        _is(len(fixed) == len(value), value)
    found = []
    for place, item in enumerate(value):
        annotation = fixed[place] if fixed is not None else inner[0] if inner else Any
        try:
            found.append(fitted(item, annotation))
        except Misfit as misfit:
            raise Misfit(f"must be {described(kind)}: {shown(item)} {misfit}") from None
    if "ascending" in notes and (not found or found != sorted(set(found))):
        raise Misfit(f"must be distinct and ascending{such_as(notes)}")
    return tuple(found) if isinstance(value, tuple) else found


def _check_finite(value: Any) -> None:
    """Misfit for a number that is not finite, wherever it stands in plain data."""
    if isinstance(value, float) and not math.isfinite(value):
        raise Misfit("must be finite")
    inner = list(value.values()) if isinstance(value, Mapping) else value
    if isinstance(inner, Sequence) and not isinstance(inner, (str, bytes)):
        for item in inner:
            try:
                _check_finite(item)
            except Misfit:
                raise Misfit("must hold finite numbers only") from None
