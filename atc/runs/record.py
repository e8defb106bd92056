"""The record of a run: what it was, and what came out of it."""

import dataclasses
import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from atc.core.metric import ACCURACY, Metric, is_recorded

Status = Literal["finished", "failed", "interrupted", "running"]
Result: TypeAlias = Mapping[str, float | None]  # metrics of one evaluation, or one quantity of several models
Settings: TypeAlias = Mapping[str, Any]  # values of a configuration: anything that YAML has


@dataclass(frozen=True)
class Record:
    """What results.json and the results store say of a run; None, or empty, where they do not say it.

    A file may lack any part, as those of earlier versions do, and may have parts of its own: `as_dict` gives back
    what was read, with its names and in its order.

    Attributes:
        identity: 12 digits that the records of runs with the same settings share; in the store alone.
        sweep: the sweep that the run is one of.
        reducer: the option chosen in conf/reducer.
        backbone: the option chosen in conf/backbone.
        datamodule: the option chosen in conf/datamodule.
        schedule: the option chosen in conf/schedule; in results.json with its settings, as text to be read.
        task: the option chosen in conf/task.
        optimizer: the option chosen in conf/optimizer; None for an evaluation.
        keep_rate: the share of the tokens kept at each stage, or one for each of them.
        threshold: the distance up to which tokens merge, or one for each stage, of methods that stop there.
        t: the number of tokens removed, of schedules that count so.
        status: how the run ended, or that it has not.
        started: when the run began, as an ISO time.
        finished: when it ended.
        wall_time_s: how long it took, in seconds.
        command: what was typed.
        commit: of this project's code.
        versions: of packages, by name.
        machine: what it ran on.
        code: hashes of the code that is its own, by group.
        reduces: whether the reducer leaves fewer tokens than there were.
        score: the name of the metric that it is scored by.
        metric: that metric, with unit, scale and direction.
        seed: of random numbers.
        selection: what the epoch was chosen by.
        reader: the version of the code that reads pictures; None for data that are not files of pictures.
        precision: what the trainer computes in, such as "bf16-mixed".
        tf32: whether products and convolutions round float32 to TF32.
        notices: lines that a reader of the results should know.
        error: what ended the run, if something did.
        results: by evaluation its metrics, `images`, how many images they are over, and `images_of`, how many there
            are; by quantity, such as gflops, its values.
        tokens_per_block: how many tokens enter each block.
        corrupt_images: how many images could not be read.
        predictions: by evaluation, what was said of each image, in brief: see `atc.runs.predictions`.
        prompts: of a zero-shot classifier: the hash of the prompts file, how many classes and texts it has.
        config: the settings that the identity is made of.
        others: parts that have no field here, such as the options chosen in other groups.
        order: the names of the parts that were read, in their order.
    """

    identity: str | None = None
    sweep: str | None = None
    reducer: str | None = None
    backbone: str | None = None
    datamodule: str | None = None
    schedule: str | None = None
    task: str | None = None
    optimizer: str | None = None
    keep_rate: float | Sequence[float] | None = None
    threshold: float | Sequence[float] | None = None
    t: int | None = None
    status: Status | None = None
    started: str | None = None
    finished: str | None = None
    wall_time_s: float | None = None
    command: str | None = None
    commit: str | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    machine: Mapping[str, Any] = field(default_factory=dict)
    code: Mapping[str, str] | None = None
    reduces: bool | None = None
    score: str | None = None
    metric: Metric | None = None
    seed: int | None = None
    selection: str | None = None
    reader: int | None = 1  # records without it are of the first version
    precision: str | None = None
    tf32: Mapping[str, bool] | None = None
    notices: Sequence[str] | None = None
    error: str | None = None
    results: Mapping[str, Result | float | None] = field(default_factory=dict)
    tokens_per_block: Sequence[int | float] = ()
    corrupt_images: int | None = None
    predictions: Mapping[str, Mapping[str, Any]] | None = None
    prompts: Mapping[str, Any] | None = None
    config: Settings = field(default_factory=dict)
    others: Mapping[str, Any] = field(default_factory=dict, repr=False)
    order: tuple[str, ...] = field(default=(), repr=False)

    @classmethod
    def read(cls, given: str | Mapping[str, Any]) -> "Record":
        """A record from what a file holds.

        Args:
            given: JSON, or what it was parsed to. Whether its parts have the right types is not looked at:
                `atc.runs.wellformed` does so for files.

        Returns:
            The record.

        Raises:
            ValueError: it is no JSON, or no mapping; or its metric is none.
        """
        parts: Any = json.loads(given) if isinstance(given, str) else given
        if not isinstance(parts, Mapping):
            raise ValueError(f"it holds a {type(parts).__name__}")
        known = {key: value for key, value in parts.items() if key in _PARTS}
        if known.get("metric") is not None:
            if not is_recorded(known["metric"]):
                raise ValueError(f"metric={known['metric']} must be the name, unit, scale and direction of a metric")
            known["metric"] = Metric(**known["metric"])
        others = {key: value for key, value in parts.items() if key not in _PARTS}
        return cls(**known, others=others, order=tuple(parts))

    def as_dict(self) -> dict[str, Any]:
        """What a file holds of it: plain containers, what was read in its order, then what has been set since."""
        values = {name: getattr(self, name) for name in _PARTS}
        if self.metric is not None:
            values["metric"] = self.metric._asdict()
        set_since = [name for name, default in _PARTS.items() if getattr(self, name) != default]
        values |= self.others
        return {name: values[name] for name in dict.fromkeys((*self.order, *set_since, *self.others))}

    def replace(self, **parts: Any) -> "Record":
        """The record with other parts.

        Args:
            parts: values by name, also of parts that have no field.

        Returns:
            Another record.
        """
        return Record.read(self.as_dict() | parts)

    def without(self, *names: str) -> "Record":
        """The record without some parts, as if it had never had them."""
        return Record.read({name: value for name, value in self.as_dict().items() if name not in names})

    def part(self, name: str) -> Any:
        """A part by its name in the file, such as the option chosen in a group of conf/; None where it is not said."""
        if name not in _PARTS:
            return self.others.get(name)
        value = getattr(self, name)
        return value if name in self.order or value != _PARTS[name] else None

    def __getitem__(self, name: str) -> Any:
        """`record["status"]`, as when a record was a dict; `record.status` says the same."""
        warnings.warn(f"record[{name!r}] is now record.{name}; this goes with the next release", DeprecationWarning, 2)
        return self.as_dict()[name]

    def result(self, name: str) -> Result | None:
        """The metrics of an evaluation, such as "fine_tuned"; None if there was none."""
        result = self.results.get(name)
        return result if isinstance(result, Mapping) else None

    @property
    def scored_by(self) -> Metric:
        """The metric that the run is scored by; records of before `metric` was recorded are in percent."""
        return self.metric or ACCURACY._replace(name=str(self.score))


_PARTS: dict[str, Any] = {
    one.name: one.default_factory() if one.default_factory is not dataclasses.MISSING else one.default
    for one in dataclasses.fields(Record)
    if one.name not in ("others", "order")
}
