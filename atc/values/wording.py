"""Values and annotations in words, for complaints."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args, get_origin

from atc.values import kinds

_LONGEST = 80  # characters of a value that is shown


def described(annotation: Any) -> str:
    """What fits an annotation: "a whole number of 1 or more, or null"."""
    if annotation is Any or annotation is inspect.Parameter.empty:
        return "anything"
    members = sorted(kinds.members(annotation), key=kinds.rank)
    said = [described_kind(*kinds.parts(member)) for member in members if member is not type(None)]
    said = list(dict.fromkeys(said))
    text = _or(said) if said else "null"
    return f"{text}, or null" if type(None) in members and said else text


def described_kind(kind: Any, notes: tuple[str, ...] = ()) -> str:
    """What fits one member of a union, with the notes beside it."""
    if kind in (int, float):
        text = _number("a whole number" if kind is int else "a number", kinds.range_of(notes))
    elif kind is bool:
        text = "true or false"
    elif get_origin(kind) is Literal:
        text = _or(list(dict.fromkeys(shown(option) for option in get_args(kind))))
    elif kind is str:
        text = "text"
    elif kinds.is_path(kind):
        text = "a path"
    elif kinds.is_list(kind):
        text = _several(kind)
    elif kinds.is_mapping(kind):
        text = "settings as in {name: value}"
    elif kind is kinds.Built:
        text = "settings with a _target_"
    else:
        text = f"a {getattr(kind, '__name__', kind)}"
    return text + such_as(notes)


def such_as(notes: tuple[str, ...]) -> str:
    """The examples among the notes beside a type, each after a comma."""
    return "".join(f", {note}" for note in notes if note.startswith("such as"))


def outside(within: kinds.Range) -> str:
    """What to say of a number that is not within its range."""
    if within.bounded:
        return f"must lie in {within.text}"
    if within.low_in:
        return f"must be {within.low:g} or more"
    return "must be positive" if within.low == 0 else f"must be above {within.low:g}"


def shown(value: Any) -> str:
    """A value as one writes it in a configuration, on one line and not too long."""
    if value is None or isinstance(value, bool):
        text = {None: "null", True: "true", False: "false"}[value]
    elif isinstance(value, str):
        plain = value and value.isprintable() and value.strip() == value and not _reads_otherwise(value)
        text = value if plain else repr(value)
    elif isinstance(value, Mapping):
        text = "{" + ", ".join(f"{key}: {shown(item)}" for key, item in list(value.items())[:20]) + "}"
    elif isinstance(value, Sequence) and not isinstance(value, bytes):
        text = "[" + ", ".join(shown(item) for item in value[:20]) + "]"
    elif isinstance(value, int) and abs(value) >= 10**30:
        text = f"a number of {value.bit_length()} bits"
    else:
        text = " ".join(str(value).split())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _reads_otherwise(text: str) -> bool:
    """Whether text without quotes would be a number, a boolean or null."""
    if not text.isascii():
        return False
    try:
        float(text)
    except ValueError:
        return text.lower() in ("true", "false", "null")
    return True


def _number(noun: str, within: kinds.Range | None) -> str:
    if within is None:
        return noun
    if within.bounded:
        return f"{noun} in {within.text}"
    if within.low_in:
        return f"{noun} of {within.low:g} or more"
    return noun.replace("a ", "a positive ", 1) if within.low == 0 else f"{noun} above {within.low:g}"


def _several(kind: Any) -> str:
    fixed, inner = kinds.lengths(kind), get_args(kind)
    if fixed is not None:
        return f"a list of {len(fixed)} values, each {described(fixed[0])}"
    of = described(inner[0]) if inner and inner[0] is not Any else "values"
    for one, many in (("a whole number", "whole numbers"), ("a number", "numbers"), ("a positive", "positive")):
        of = many + of.removeprefix(one) if of.startswith(one) else of
    return f"a list of {of}"


def _or(texts: list[str]) -> str:
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} or {texts[-1]}"
