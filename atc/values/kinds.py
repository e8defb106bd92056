"""Annotations that several places share, and annotations taken apart."""

import functools
import math
import os
import types
from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple, Union, get_args, get_origin

Share = Annotated[float, "[0, 1]"]
Positive = Annotated[float, "(0, inf)"]
NotNegative = Annotated[float, "[0, inf)"]
Count = Annotated[int, "[1, inf)"]
Whole = Annotated[int, "[0, inf)"]  # how many, where none at all is meant to be possible
Workers = Annotated[int, "[0, 512]"]  # processes of one loader
Seed = Annotated[int, "[0, 4294967295]"]  # what NumPy takes
Side = Annotated[int, "[1, 4096]"]  # pixels of a picture
KeepRate = Annotated[float, "(0, 1]"]
KeepRates = KeepRate | Sequence[KeepRate]  # of every stage, or one each
Thresholds = NotNegative | Sequence[NotNegative]  # likewise
Counts = Count | Sequence[Count]  # likewise
Blocks = Annotated[Sequence[Count], "ascending", "such as [4, 7, 10]"]


class Built:
    """Any class of an annotation in a source file: what a configuration describes by settings with a target."""


class Range(NamedTuple):
    """An interval, and how it is written."""

    low: float
    high: float
    low_in: bool
    high_in: bool
    text: str

    def holds(self, value: float) -> bool:
        """Whether a number lies within."""
        above = value >= self.low if self.low_in else value > self.low
        below = value <= self.high if self.high_in else value < self.high
        return above and below

    @property
    def bounded(self) -> bool:
        """Whether there is an end above."""
        return self.high < math.inf


def members(annotation: Any) -> list[Any]:
    """The members of a union, however it is nested; any other annotation is its own. None is NoneType."""
    if get_origin(annotation) in (Union, types.UnionType):
        return [inner for member in get_args(annotation) for inner in members(member)]
    return [type(None)] if annotation is None else [annotation]


def parts(annotation: Any) -> tuple[Any, tuple[str, ...]]:
    """A type, and the notes beside it."""
    if get_origin(annotation) is not Annotated:
        return annotation, ()
    kind, *notes = get_args(annotation)
    inner, more = parts(kind)
    return inner, (*more, *(note for note in notes if isinstance(note, str)))


def rank(member: Any) -> int:
    """The order in which members of a union are tried: those that take least come first."""
    kind = parts(member)[0]
    order: tuple[Any, ...] = (type(None), bool, int, float)
    if kind in order:
        return order.index(kind)
    return 5 if kind is Any or is_text(kind) else 4


@functools.cache
def range_of(notes: tuple[str, ...]) -> Range | None:
    """The interval among the notes beside a number's type."""
    for note in notes:
        if note[:1] in "[(" and note[-1:] in "])" and note.count(",") == 1:
            low, high = (float(part) for part in note[1:-1].split(","))
            return Range(low, high, note[0] == "[", note[-1] == "]", note)
    return None


def is_list(kind: Any) -> bool:
    """Whether a type is that of several values in order."""
    origin = get_origin(kind) or kind
    return origin in (list, tuple) or getattr(origin, "__name__", "") in ("Sequence", "Iterable", "Collection")


def is_mapping(kind: Any) -> bool:
    """Whether a type is that of values under names."""
    origin = get_origin(kind) or kind
    return origin is dict or getattr(origin, "__name__", "") in ("Mapping", "MutableMapping")


def is_text(kind: Any) -> bool:
    """Whether a type is that of text, or of a path."""
    return kind is str or is_path(kind)


def is_path(kind: Any) -> bool:
    """Whether a type is that of files and directories."""
    origin = get_origin(kind) or kind
    return isinstance(origin, type) and issubclass(origin, os.PathLike)


def lengths(kind: Any) -> tuple[Any, ...] | None:
    """The types of a tuple of fixed length; None for all other lists."""
    inner = get_args(kind)
    return inner if get_origin(kind) is tuple and len(inner) > 1 and inner[1] is not Ellipsis else None
