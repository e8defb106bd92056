"""Which runs of a cell belong together: those whose settings differ in the seed alone."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from atc.runs.record import Record

Settings = dict[str, Any]  # by dotted key
KEPT_BESIDE = ("predictions",)  # what a run writes besides its results, which it leaves as they are
OF_THE_REDUCTION = ("reducer", "schedule", "merging", "proportional_attention", "size_weighted")  # in a record's config


class Runs:
    """The records behind a table; what is needed of their settings several times is computed once.

    Args:
        records: those of all its cells, the earliest first.

    Attributes:
        records: the same.
    """

    def __init__(self, records: Iterable[Record]) -> None:
        """Compute nothing; it is computed when it is first needed."""
        self.records = list(records)
        self._settings: dict[tuple[int, bool], Settings] = {}
        self._texts: dict[tuple[int, bool], str] = {}
        self._votes: dict[tuple[str, ...], Counter[str]] = {}

    def settings(self, record: Record, reduced: bool = True) -> Settings:
        """`settings` of one of these records."""
        key = (id(record), reduced)
        if key not in self._settings:
            self._settings[key] = settings(record, reduced)
        return self._settings[key]

    def groups(self, records: Iterable[Record], reduced: bool) -> list[list[Record]]:
        """Records by their settings, in the order of each group's last run.

        Args:
            records: some of these.
            reduced: whether the settings of the reduction count, which mean nothing for a result without it.

        Returns:
            Groups with the same settings, seeds apart.
        """
        groups: dict[str, list[Record]] = {}
        for record in records:
            key = (id(record), reduced)
            if key not in self._texts:
                self._texts[key] = _text(self.settings(record, reduced))
            groups[self._texts[key]] = [*groups.pop(self._texts[key], []), record]
        return list(groups.values())

    def usual(self, groups: Sequence[list[Record]], reduced: bool) -> list[Record]:
        """The group that counts: where the groups differ, it has what most runs of the whole sweep have; the latest.

        So a trial with less data does not take the place of the result it was a trial for, and a sweep that is run
        anew with another setting is shown as a whole: as it was, until most of it is done.

        Args:
            groups: records by their settings, as `groups` returns them.
            reduced: as for `groups`.

        Returns:
            One of the groups.
        """
        if len(groups) == 1:
            return groups[0]
        differing = tuple(difference([self.settings(group[0], reduced) for group in groups]))
        if differing not in self._votes:
            seen = {record.identity: record for record in self.records if record.status == "finished"}
            self._votes[differing] = Counter(_part(self.settings(record), differing) for record in seen.values())
        votes = self._votes[differing]
        return max(reversed(groups), key=lambda group: votes[_part(self.settings(group[0], reduced), differing)])


def settings(record: Record, reduced: bool = True) -> Settings:
    """The settings in a record, without seeds."""
    without = KEPT_BESIDE if reduced else (*KEPT_BESIDE, *OF_THE_REDUCTION)
    return flat({key: value for key, value in record.config.items() if key not in without})


def difference(several: Sequence[Settings]) -> list[str]:
    """The keys that do not have the same value in all of them."""
    keys = dict.fromkeys(key for one in several for key in one)
    return [key for key in keys if any(one.get(key) != several[0].get(key) for one in several)]


def flat(node: Mapping[str, Any]) -> Settings:
    """Nested settings by dotted key, without seeds."""
    dotted: Settings = {}
    for key, value in node.items():
        if isinstance(value, Mapping):
            dotted |= {f"{key}.{rest}": inner for rest, inner in flat(value).items()}
        elif not is_seed(str(key)):
            dotted[str(key)] = value
    return dotted


def is_seed(key: str) -> bool:
    """Whether a setting is a seed: of the run, or of a part of it, as reducer.seed."""
    return key.lstrip("+~").rpartition(".")[2] == "seed"


def seeds(record: Record, reduced: bool) -> str:
    """The seeds of a run: its own, and those of parts that have others."""
    own = record.seed
    parts = _seeds({key: value for key, value in record.config.items() if reduced or key not in OF_THE_REDUCTION})
    return _text([own, {key: value for key, value in parts.items() if value != own}])


def _seeds(node: Mapping[str, Any]) -> Settings:
    dotted: Settings = {}
    for key, value in node.items():
        if isinstance(value, Mapping):
            dotted |= {f"{key}.{rest}": inner for rest, inner in _seeds(value).items()}
        elif is_seed(str(key)):
            dotted[str(key)] = value
    return dotted


def _part(settings: Settings, keys: Sequence[str]) -> str:
    return _text([settings.get(key) for key in keys])


def _text(value: object) -> str:
    return json.dumps(value, sort_keys=True)
