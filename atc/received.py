"""YAML files that others may have written, read in bounded time and memory."""

import io
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from atc.printable import printable

MOST_BYTES = 256 * 1024  # a run's configuration has about 5,000
MOST_VALUES = 20_000  # an alias counts as all that it stands for
MOST_LEVELS = 40
MOST_INTERPOLATIONS = 1_000


def load_settings(path: str | Path) -> DictConfig:
    """The settings in a YAML file that others may have written: nothing is resolved; a huge or endless file is refused.

    Args:
        path: a file that holds one mapping.

    Returns:
        The mapping, with its interpolations as they stand.

    Raises:
        FileNotFoundError: there is no such regular file.
        ValueError: the file is no such mapping, or too large; one line that names it.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there, or not a regular file")
    with path.open("rb") as file:
        content = file.read(MOST_BYTES + 1)
    try:
        text = content.decode("utf-8-sig", errors="ignore" if len(content) > MOST_BYTES else "strict")
        _measure(text, cut=len(content) > MOST_BYTES)
        settings = OmegaConf.load(io.StringIO(text))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = "" if mark is None else f", line {mark.line + 1}"
        problem = getattr(error, "problem", None) or str(error)
        raise ValueError(f"{path}{place} is not readable YAML: {shown(problem)}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} holds no settings: it is not text in UTF-8") from error
    except RecursionError as error:
        raise ValueError(f"{path} holds no settings: it is nested too deep") from error
    except (OmegaConfBaseException, ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"{path} holds no settings: {shown(str(error).splitlines()[0])}") from error
    assert isinstance(settings, DictConfig)  # as measured
    return settings


def shown(value: Any, most: int = 200) -> str:
    """What a file says, fit for a message: one line, without characters that act on a terminal, of `most` at most."""
    text = printable(str(value)[: most + 1])
    return text if len(text) <= most else f"{text[:most]}..."


def _measure(text: str, cut: bool) -> None:
    """ValueError unless the text is one mapping of a bounded size once its aliases are expanded."""
    values = interpolations = 0
    open_: list[tuple[str | None, int]] = []  # anchor and number of values before it, of each collection around
    sizes: dict[str, int] = {}
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.NodeEvent):
            values += 1
            if values == 1 and not isinstance(event, yaml.MappingStartEvent):
                kind = {yaml.SequenceStartEvent: "a list"}.get(type(event), "a single value")
                raise ValueError(f"it is {kind}, not a mapping from settings to values")
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in sizes:
                raise ValueError(f"the alias *{event.anchor} stands within what it names, or names nothing")
            values += sizes[event.anchor]
        elif isinstance(event, yaml.CollectionStartEvent):
            open_.append((event.anchor, values))
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_.pop()
            if anchor is not None:
                sizes[anchor] = values - before + 1
        elif isinstance(event, yaml.ScalarEvent):
            interpolations += event.value.count("${")
            if event.anchor is not None:
                sizes[event.anchor] = 1
        if values > MOST_VALUES:
            raise ValueError(f"it holds more than {MOST_VALUES:,} values, aliases included")
        if len(open_) > MOST_LEVELS:
            raise ValueError(f"it is nested more than {MOST_LEVELS} levels deep")
        if interpolations > MOST_INTERPOLATIONS:
            raise ValueError(f"it holds more than {MOST_INTERPOLATIONS:,} interpolations")
    if not values:
        raise ValueError("it is empty")
    if cut:
        raise ValueError(f"it is larger than {MOST_BYTES // 1024} KiB")
