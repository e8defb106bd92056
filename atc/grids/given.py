"""What a command line sets for several runs: the values of each override."""

from collections.abc import Iterable

from hydra.core.override_parser.types import Glob, Override, RangeSweep


def check_not_empty(given: Iterable[Override]) -> None:
    """ValueError for several values that are none, of which there would be no run.

    Args:
        given: the command line's overrides; those of one value are passed over.
    """
    for item in given:
        value = item.value()
        if isinstance(value, RangeSweep) and value.step == 0:
            raise ValueError(f"{item.input_line} never ends: its step is 0")
        if isinstance(value, RangeSweep) and next(item.sweep_string_iterator(), None) is None:
            why = "range(START,STOP,STEP) ends before STOP, and goes down with a STEP below 0"
            raise ValueError(f"{item.input_line} has no values: {why}")
        if isinstance(value, Glob) and next(item.sweep_string_iterator(), None) is None:
            there = ", ".join(item.config_loader.get_group_options(item.key_or_group)) if item.config_loader else ""
            raise ValueError(f"{item.input_line} has no values: {item.key_or_group} has {there or 'no options'}")


def values(item: Override) -> list[str]:
    """What an override of the command line sets, one value or several, as the points of a grid have them."""
    texts = list(item.sweep_string_iterator()) if item.is_sweep_override() else [item.get_value_element_as_str()]
    return [text.lower() if text in ("True", "False") else text for text in texts]


def single(item: Override) -> list[str]:
    """An override of the command line, one for each value."""
    if item.is_sweep_override():
        return [f"{item.get_key_element()}={value}" for value in values(item)]
    return [item.input_line or ""]
