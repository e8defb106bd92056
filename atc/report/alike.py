"""Which runs of a cell belong together: those whose settings differ in the seed alone."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from atc.report.store import Entry

Settings = dict[str, Any]  # by dotted key
OF_THE_REDUCTION = ("reducer", "schedule", "proportional_attention", "size_weighted")  # in a record's config


def groups(entries: Iterable[Entry], reduced: bool) -> list[list[Entry]]:
    """Runs by their settings, in the order of each group's last run.

    reduced: whether the settings of the reduction count, which mean nothing for a result without it.
    """
    found: dict[str, list[Entry]] = {}
    for entry in entries:
        key = json.dumps(settings(entry, reduced), sort_keys=True)
        found[key] = [*found.pop(key, []), entry]
    return list(found.values())


def settings(entry: Entry, reduced: bool = True) -> Settings:
    """The settings in a record, without seeds."""
    config = entry.get("config", {})
    return _flat({key: value for key, value in config.items() if reduced or key not in OF_THE_REDUCTION})


def usual(found: Sequence[list[Entry]], every: Iterable[Entry], reduced: bool) -> list[Entry]:
    """The group that counts: where the groups differ, it has what most runs of the whole sweep have; then the latest.

    So a trial with less data does not take the place of the result it was a trial for, and a sweep that is run anew
    with another setting is shown as a whole: as it was, until most of it is done.
    """
    if len(found) == 1:
        return found[0]
    differing = difference([settings(group[0], reduced) for group in found])
    seen = {entry.get("identity"): settings(entry) for entry in every if entry["status"] == "finished"}

    def votes(group: list[Entry]) -> int:
        own = settings(group[0], reduced)
        return sum(all(other.get(key) == own.get(key) for key in differing) for other in seen.values())

    return max(reversed(found), key=votes)


def difference(several: Sequence[Settings]) -> list[str]:
    """The keys that do not have the same value in all of them."""
    keys = dict.fromkeys(key for one in several for key in one)
    return [key for key in keys if any(one.get(key) != several[0].get(key) for one in several)]


def _flat(node: Mapping[str, Any]) -> Settings:
    found: Settings = {}
    for key, value in node.items():
        if isinstance(value, Mapping):
            found |= {f"{key}.{rest}": inner for rest, inner in _flat(value).items()}
        elif key != "seed":
            found[key] = value
    return found
