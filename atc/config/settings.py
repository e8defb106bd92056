"""The settings at the top level of train and evaluate: what each may be. Their defaults and meaning stand in conf/."""

import os
from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_type_hints

from atc.values import Blocks, Count, KeepRates, NotNegative, Seed, Whole

Threads = Annotated[int, "[1, 1024]"]


class _Reduction:
    keep_rate: KeepRates | None
    blocks: Blocks
    t: Whole
    as_released: bool
    proportional_attention: bool | None
    size_weighted: bool | None


class _Run(_Reduction):
    seed: Seed
    threads: Threads | None
    compile: bool | Mapping[str, Any] | None
    debug: bool
    score: str


class _Evaluate(_Run):
    baselines: bool
    cuda_graph: bool | None
    use_ema: bool | None
    trace: bool | None
    cls_features: Blocks | None


class _Train(_Run):
    baselines: bool | Literal["off_the_shelf"]
    activation_checkpointing: bool
    selection: Literal["validation", "test_as_released"] | None
    teacher: bool | str | Mapping[str, Any] | None


class _Benchmark:
    batch_size: Count
    seconds: NotNegative


class _Paths:
    data: os.PathLike[str]
    runs: os.PathLike[str]
    store: os.PathLike[str]


_TOP: dict[str, type] = {"train": _Train, "evaluate": _Evaluate}
_NESTED: dict[str, type] = {"benchmark": _Benchmark, "paths": _Paths}
# Groups without which nothing can run: what to say to who leaves one out.
GROUPS = {
    "reducer": "reducer=none is no reduction",
    "schedule": "schedule=stages, constant or linear",
    "backbone": "backbone=digits, for one",
    "task": "task=classification or multilabel; to evaluate, also zero_shot or probe",
    "datamodule": "datamodule=digits, for one",
    "optimizer": "optimizer=adamw; to evaluate without training, there is the evaluate command",
    "trainer": "trainer=default",
    "callbacks": "callbacks=default or evaluate; a single one is left out as in ~callbacks.progress",
    "paths": "paths=default",
}


def annotations(command: str) -> dict[str, Any]:
    """What the settings of a command may be.

    Args:
        command: "train" or "evaluate".

    Returns:
        Annotations by the settings' full names, those in `benchmark` and `paths` with a dot.
    """
    nested = {f"{name}.{key}": kind for name, held in _NESTED.items() for key, kind in _hints(held).items()}
    return _hints(_TOP[command]) | nested


def _hints(held: type) -> dict[str, Any]:
    return get_type_hints(held, include_extras=True)
