"""Command lines of settings, NAME=VALUE, with the annotations of their values."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from atc.values import check, shown
from atc.values.kinds import is_text, members, parts


def parsed(arguments: Sequence[str], settings: Mapping[str, tuple[Any, Any]], command: str) -> dict[str, Any]:
    """The values of all settings.

    Args:
        arguments: NAME=VALUE each. A value in brackets is a list where the setting may be one; text and paths are taken
            as they stand but for null.
        settings: of each name, the annotation (see `atc.values`) and the default, ... where a value has to be given.
        command: as users type it, for messages.

    Returns:
        Values by name.

    Raises:
        ValueError: a name or a value is wrong; one line.
    """
    given: dict[str, Any] = {}
    for argument in arguments:
        name, equals, text = argument.partition("=")
        if not equals or argument.startswith("-"):
            raise ValueError(f"{shown(argument)} is no setting NAME=VALUE; {command} --help lists them")
        if name not in settings:
            close = difflib.get_close_matches(name, list(settings), n=1)
            hint = f"did you mean {close[0]}? " if close else ""
            raise ValueError(f"unknown setting {shown(name)}: {hint}there are: {', '.join(settings)}")
        if name in given:
            raise ValueError(f"{name} is given twice")
        annotation = settings[name][0]
        given[name] = check(name, _value(text, annotation), annotation)
    for name, (_, default) in settings.items():
        if default is ... and name not in given:
            raise ValueError(f"{name}=VALUE is missing; {command} --help says what it is")
    return {name: given.get(name, default) for name, (_, default) in settings.items()}


def _value(text: str, annotation: Any) -> Any:
    """What a text means as a value of an annotation."""
    if text in ("null", ""):
        return None
    kinds = [parts(member)[0] for member in members(annotation)]
    if bool in kinds and text in ("true", "false"):
        return text == "true"
    if any(is_text(kind) for kind in kinds):
        if len(kinds) > 1 and text.startswith("[") and text.endswith("]"):
            return [item.strip() for item in text[1:-1].split(",") if item.strip()]
        return text
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError:
        return text
    return text if isinstance(found, dict) else found
