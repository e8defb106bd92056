"""Which runs of a cell belong together: those whose settings differ in the seed alone."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from atc.runs.store import Entry

Settings = dict[str, Any]  # by dotted key
OF_THE_REDUCTION = ("reducer", "schedule", "proportional_attention", "size_weighted")  # in a record's config


class Runs:
    """The records behind a table; what is asked of their settings again and again is worked out once.

    entries: those of all its cells, the earliest first.
    """

    def __init__(self, entries: Iterable[Entry]):
        self.entries = list(entries)
        self._settings: dict[tuple[int, bool], Settings] = {}
        self._texts: dict[tuple[int, bool], str] = {}
        self._votes: dict[tuple[str, ...], Counter[str]] = {}

    def settings(self, entry: Entry, reduced: bool = True) -> Settings:
        """`settings` of one of these records."""
        key = (id(entry), reduced)
        if key not in self._settings:
            self._settings[key] = settings(entry, reduced)
        return self._settings[key]

    def groups(self, entries: Iterable[Entry], reduced: bool) -> list[list[Entry]]:
        """Runs by their settings, in the order of each group's last run.

        reduced: whether the settings of the reduction count, which mean nothing for a result without it.
        """
        found: dict[str, list[Entry]] = {}
        for entry in entries:
            key = (id(entry), reduced)
            if key not in self._texts:
                self._texts[key] = _text(self.settings(entry, reduced))
            found[self._texts[key]] = [*found.pop(self._texts[key], []), entry]
        return list(found.values())

    def usual(self, found: Sequence[list[Entry]], reduced: bool) -> list[Entry]:
        """The group that counts: where the groups differ, it has what most runs of the whole sweep have; the latest.

        So a trial with less data does not take the place of the result it was a trial for, and a sweep that is run
        anew with another setting is shown as a whole: as it was, until most of it is done.
        """
        if len(found) == 1:
            return found[0]
        differing = tuple(difference([self.settings(group[0], reduced) for group in found]))
        if differing not in self._votes:
            seen = {entry["identity"]: entry for entry in self.entries if entry["status"] == "finished"}
            self._votes[differing] = Counter(_part(self.settings(entry), differing) for entry in seen.values())
        votes = self._votes[differing]
        return max(reversed(found), key=lambda group: votes[_part(self.settings(group[0], reduced), differing)])


def settings(entry: Entry, reduced: bool = True) -> Settings:
    """The settings in a record, without seeds."""
    config = entry.get("config", {})
    return flat({key: value for key, value in config.items() if reduced or key not in OF_THE_REDUCTION})


def difference(several: Sequence[Settings]) -> list[str]:
    """The keys that do not have the same value in all of them."""
    keys = dict.fromkeys(key for one in several for key in one)
    return [key for key in keys if any(one.get(key) != several[0].get(key) for one in several)]


def flat(node: Mapping[str, Any]) -> Settings:
    """Nested settings by dotted key, without seeds."""
    found: Settings = {}
    for key, value in node.items():
        if isinstance(value, Mapping):
            found |= {f"{key}.{rest}": inner for rest, inner in flat(value).items()}
        elif not is_seed(str(key)):
            found[str(key)] = value
    return found


def is_seed(key: str) -> bool:
    """Whether a setting is a seed: of the run, or of a part of it, as reducer.seed."""
    return key.lstrip("+~").rpartition(".")[2] == "seed"


def seeds(entry: Entry, reduced: bool) -> str:
    """The seeds of a run: its own, and those of parts that have others."""
    own, config = entry.get("seed"), entry.get("config", {})
    parts = _seeds({key: value for key, value in config.items() if reduced or key not in OF_THE_REDUCTION})
    return _text([own, {key: value for key, value in parts.items() if value != own}])


def _seeds(node: Mapping[str, Any]) -> Settings:
    found: Settings = {}
    for key, value in node.items():
        if isinstance(value, Mapping):
            found |= {f"{key}.{rest}": inner for rest, inner in _seeds(value).items()}
        elif is_seed(str(key)):
            found[str(key)] = value
    return found


def _part(settings: Settings, keys: Sequence[str]) -> str:
    return _text([settings.get(key) for key in keys])


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
