"""Records as they are read from files that anybody may have written: well-formed, or named with what is wrong."""

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeGuard, get_args

from atc.core.metric import is_recorded
from atc.runs.record import Record, Status

STATES = get_args(Status)
LARGEST = 64 * 2**20  # bytes of a file; a record has a few thousand
DEEPEST = 32  # of settings within settings; those of a run are four deep


def read(path: Path) -> list[Record]:
    """The records in a file: its one, or those of its list; none in a file of something else.

    Args:
        path: a regular file of JSON.

    Returns:
        Records whose parts have the types that reports and sweeps count on.

    Raises:
        ValueError: the file holds no JSON, or something in place of a record's part; the message names both.
        OSError: the file cannot be read.
    """
    size = path.stat().st_size
    if size > LARGEST:
        raise ValueError(f"{path} has {size / 2**20:.0f} MB, and a store's files at most {LARGEST // 2**20}: split it")
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except RecursionError:
        raise ValueError(f"{path} is no record of a run: it is nested too deep") from None
    except ValueError as error:
        raise ValueError(f"{path} is no record of a run: {error}") from error
    several = content if isinstance(content, list) else [content]
    if not all(isinstance(parts, dict) for parts in several):
        odd = next(parts for parts in several if not isinstance(parts, dict))
        raise ValueError(f"{path} is no record of a run, nor a list of them: it holds {_shown(odd)}")
    several = [parts for parts in several if "identity" in parts]
    for number, parts in enumerate(several):
        wrong = record_fault(parts)
        if wrong:
            which = f"{path}, record {number + 1} of {len(several)}" if len(several) > 1 else str(path)
            raise ValueError(f"{which}: {wrong}")
    return [Record.read(parts) for parts in several]


def record_fault(parts: dict[str, Any]) -> str | None:
    """What is wrong with a record of the store, with what would be right.

    Args:
        parts: the record as it was read: its parts by name.

    Returns:
        A message; None for a good record.
    """
    if "status" not in parts and not _deeper(parts, DEEPEST):
        return f"it has no status, which is one of {', '.join(STATES)}"
    return part_fault(parts)


def part_fault(parts: dict[str, Any]) -> str | None:
    """What is wrong with a part of a record, with what would be right; parts may be missing.

    Args:
        parts: as for `record_fault`.

    Returns:
        A message; None for good ones.
    """
    if _deeper(parts, DEEPEST):
        return f"it is nested more than {DEEPEST} deep, which no settings of a run are"
    for key, (fits, right) in _PARTS.items():
        if key in parts and not fits(parts[key]):
            return f"{key}={_shown(parts[key])} must be {right}"
    for name, result in parts.get("results", {}).items():
        values = result.values() if isinstance(result, dict) else [result]
        for value in values:
            if not (value is None or _is_number(value)):
                return f"results.{name} has {_shown(value)} where a number must be"
    return None


def _is_identity(value: object) -> bool:
    """Whether it can be part of a file's name, which it is in a store."""
    return isinstance(value, str) and re.fullmatch(r"[\w-]{1,80}", value) is not None


def _is_text_or_null(value: object) -> bool:
    return value is None or isinstance(value, str)


def _is_number(value: object) -> TypeGuard[float]:
    """Whether a value is a number that can be computed with; NaN and infinities are, of runs of earlier versions."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return isinstance(value, float) or abs(value) < 2**1023


def _is_count_or_null(value: object) -> bool:
    return value is None or (isinstance(value, int) and _is_number(value))


def _is_time_or_null(value: object) -> bool:
    return value is None or (_is_number(value) and math.isfinite(value))


def _is_mapping(value: object) -> bool:
    return isinstance(value, dict)


def _maps_to(value: object, kind: type) -> bool:
    return isinstance(value, dict) and all(isinstance(one, kind) for one in value.values())


def _is_machine(value: object) -> bool:
    gpus = value.get("gpus", []) if isinstance(value, dict) else None
    return isinstance(gpus, list) and all(isinstance(one, str) for one in gpus)


_TEXT_OR_NULL = (_is_text_or_null, "text or null")
_COUNT_OR_NULL = (_is_count_or_null, "a whole number or null")
_PARTS: dict[str, tuple[Callable[[object], bool], str]] = {
    "identity": (_is_identity, "text without spaces and slashes"),
    "status": (lambda value: value in STATES, f"one of {', '.join(STATES)}"),
    **dict.fromkeys(("sweep", "started", "finished", "score", "commit", "selection", "precision"), _TEXT_OR_NULL),
    **dict.fromkeys(("reducer", "backbone", "datamodule", "schedule", "task", "optimizer"), _TEXT_OR_NULL),
    **dict.fromkeys(("seed", "reader"), _COUNT_OR_NULL),
    "wall_time_s": (_is_time_or_null, "a number of seconds or null"),
    "results": (_is_mapping, "a mapping from results to their scores"),
    "config": (_is_mapping, "a mapping of settings"),
    "machine": (_is_machine, "a mapping, with a list of names as gpus"),
    "versions": (lambda value: _maps_to(value, str), "a mapping from packages to versions"),
    "metric": (is_recorded, "the name, unit, scale and direction of a metric, or null"),
    "tf32": (lambda value: value is None or _maps_to(value, bool), "a mapping to true or false, or null"),
    "predictions": (
        lambda value: value is None or _maps_to(value, dict),
        "a mapping from results to mappings, or null",
    ),
    "code": (lambda value: value is None or _maps_to(value, str), "a mapping from groups to hashes, or null"),
}


def _deeper(value: Any, levels: int) -> bool:
    layer = [value]
    for _ in range(levels):
        inner = [one for node in layer for one in (node.values() if isinstance(node, dict) else node)]
        layer = [one for one in inner if isinstance(one, dict | list)]
        if not layer:
            return False
    return True


def _shown(value: object) -> str:
    """A value in a message, cut short."""
    kind = "a list" if isinstance(value, list) else "a mapping" if isinstance(value, dict) else None
    return kind or (str(value) if isinstance(value, str) else json.dumps(value))[:60]
