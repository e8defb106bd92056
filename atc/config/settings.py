"""The settings at the top level of train, evaluate, generate and predict: what each may be.

Their defaults and meaning stand in conf/.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, get_type_hints

from atc.values import Blocks, Count, KeepRates, NotNegative, Seed, Share, Side, Thresholds, Whole

Threads = Annotated[int, "[1, 1024]"]


class _Reduction:
    keep_rate: KeepRates | None
    blocks: Blocks
    t: Whole
    as_released: bool
    proportional_attention: bool | None
    size_weighted: bool | None


class _Run(_Reduction):
    threshold: Thresholds | None
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
    predictions: bool | None
    cls_features: Blocks | None


class _Train(_Run):
    baselines: bool | Literal["off_the_shelf"]
    activation_checkpointing: bool
    selection: Literal["validation", "test_as_released"] | None
    teacher: bool | str | Mapping[str, Any] | None


class _Predict(_Reduction):
    images: os.PathLike[str] | None
    use_ema: bool | None
    threshold: Share
    on_corrupt: Literal["fail", "skip"]
    device: str | None
    seed: Seed
    threads: Threads | None
    resume: None
    debug: bool


class _Benchmark:
    batch_size: Count
    seconds: NotNegative


class _Paths:
    data: os.PathLike[str]
    runs: os.PathLike[str]
    store: os.PathLike[str]


class _Generate:
    pipeline: os.PathLike[str]
    keep_rate: KeepRates
    as_released: bool
    classes: os.PathLike[str] | Sequence[int]
    per_class: Annotated[int, "[1, 100000]"]
    prompt: str
    seed: Seed
    images: os.PathLike[str] | None
    shard: str | None
    device: str | None
    resume: Literal["auto"] | None
    threads: Threads | None
    debug: bool


class _Merging:
    keep_rate: KeepRates
    max_downsample: Count
    sites: Sequence[str]
    steps: Sequence[Count] | None
    every: Count
    seed: Seed | None


class _Sampling:
    steps: Annotated[int, "[1, 1000]"]
    guidance: NotNegative
    height: Side | None
    width: Side | None
    precision: Literal["fp32", "fp16", "bf16"] | None


class _Fid:
    reference: os.PathLike[str] | None
    features: Literal["inception", "random"]
    weights: os.PathLike[str] | None
    resizer: Literal["clean", "torch_fidelity"]
    reference_subsets: Count


_TOP: dict[str, type] = {"train": _Train, "evaluate": _Evaluate, "generate": _Generate, "predict": _Predict}
_RUNS: dict[str, type] = {"benchmark": _Benchmark, "paths": _Paths}
_NESTED: dict[str, dict[str, type]] = {
    "train": _RUNS,
    "evaluate": _RUNS,
    "predict": {"paths": _Paths},
    "generate": {"merging": _Merging, "sampling": _Sampling, "fid": _Fid, "paths": _Paths},
}
COMMANDS = tuple(_TOP)
# Groups without which nothing can run: what to say to who leaves one out.
GROUPS = {
    "reducer": "reducer=none is no reduction",
    "schedule": "schedule=stages, constant or linear",
    "backbone": "backbone=digits, for one",
    "task": "task=classification, multilabel, detection or segmentation; to evaluate, also zero_shot or probe",
    "datamodule": "datamodule=digits, for one",
    "optimizer": "optimizer=adamw; to evaluate without training, there is the evaluate command",
    "trainer": "trainer=default",
    "callbacks": "callbacks=default or evaluate; a single one is left out as in ~callbacks.progress",
    "paths": "paths=default",
}
_OF_GENERATE = ("reducer", "paths")


def groups(command: str) -> dict[str, str]:
    """Groups without which a command cannot run, and what to say to who leaves one out.

    Args:
        command: "train", "evaluate", "generate" or "predict".
    """
    without = {
        "train": (),
        "evaluate": ("optimizer",),
        "generate": [one for one in GROUPS if one not in _OF_GENERATE],
        "predict": ("optimizer", "trainer", "callbacks"),
    }
    return {group: instead for group, instead in GROUPS.items() if group not in without[command]}


def annotations(command: str) -> dict[str, Any]:
    """What the settings of a command may be.

    Args:
        command: "train", "evaluate", "generate" or "predict".

    Returns:
        Annotations by the settings' full names, those in `benchmark` and `paths` with a dot.
    """
    nested = {f"{name}.{key}": kind for name, held in _NESTED[command].items() for key, kind in _hints(held).items()}
    return _hints(_TOP[command]) | nested


def _hints(held: type) -> dict[str, Any]:
    return get_type_hints(held, include_extras=True)
