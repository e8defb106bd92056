"""Throughput: images in, logits out, of every combination of settings that the command line lists.

    python -m atc.bench throughput backbone=deit_small reducer=[none,tome,atc_average] keep_rate=0.5 batch_size=[1,64]
    python -m atc.bench throughput --config-dir sweeps -cn throughput           what sweeps/throughput.yaml lists
    python -m atc.report throughput                                             the table of all that was measured

The combinations of one batch size take turns after a warm-up, and every time is taken with the device idle before and
after it. The model without reduction is always among them. All settings with their meaning: --help.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from omegaconf import DictConfig, OmegaConf

from atc.bench.options import Parser
from atc.config import composed_command, search_path
from atc.config.combinations import combinations
from atc.config.settings import Threads
from atc.files import same_file, unwritable
from atc.values import Blocks, Count, KeepRates, Positive, Seed, Thresholds, Whole

CONFIG = "throughput"
RANDOM_WEIGHTS = "backbone.pretrained=false"  # no download, for numbers that do not depend on weights
SEVERAL = ("reducer", "keep_rate", "threshold", "t", "batch_size", "precision", "compile", "cuda_graph")
_TYPES: dict[str, Any] = {
    "batch_size": Count,
    "precision": Literal["fp32", "fp16", "bf16"],
    "compile": bool,
    "cuda_graph": bool | None,
    "device": Literal["cpu", "cuda"] | None,
    "warmup": Whole,
    "seconds": Positive,
    "runs": Count | None,
    "output": os.PathLike[str] | None,
    "keep_rate": KeepRates,
    "blocks": Blocks,
    "threshold": Thresholds | None,
    "t": Whole,
    "as_released": bool,
    "proportional_attention": bool | None,
    "size_weighted": bool | None,
    "seed": Seed,
    "threads": Threads | None,
    "debug": bool,
}


def main(arguments: Sequence[str]) -> None:
    """Run the command; ends the process with 2 after an error of the user's, told in one line, 1 after any other."""
    if status := composed_command.answer(CONFIG, str(__doc__), arguments, lambda: _run(arguments)):
        raise SystemExit(status)


def _run(arguments: Sequence[str]) -> None:
    choices = list(combinations(CONFIG, [RANDOM_WEIGHTS, *overrides(arguments)], SEVERAL))
    for choice in choices:
        check_values(choice.cfg)

    from atc.bench import throughput  # imports PyTorch, which no mistake found above needs

    cfg, rows = throughput.measure(choices)
    throughput.show(cfg, rows)


def overrides(arguments: Sequence[str]) -> list[str]:
    """The command line, with what a sweep file's `bench` section sets before it: --config-dir DIR -cn NAME."""
    parser = Parser("python -m atc.bench throughput", usage="%(prog)s [setting=value ...]; see --help")
    parser.add_argument("--config-dir", "-cd", type=search_path.place, default=".")
    parser.add_argument("--config-name", "-cn")
    parser.add_argument("settings", nargs="*")
    given = parser.parse_args(arguments)
    own = search_path.override(arguments)
    if given.config_name is None:
        return [*own, *given.settings]
    file = Path(given.config_dir) / f"{given.config_name}.yaml"
    if not file.is_file():
        raise FileNotFoundError(f"there is no {file}; sweeps are named as in --config-dir sweeps -cn throughput")
    sweep = OmegaConf.load(file)
    section = sweep.get("bench") if isinstance(sweep, DictConfig) else None
    if not isinstance(section, DictConfig):
        raise ValueError(f"{file} has no `bench` section of settings: it is a sweep for train.py or evaluate.py")
    said = {setting.partition("=")[0] for setting in given.settings}
    items: Any = OmegaConf.to_container(section)
    return [*own, *(f"{key}={_typed(value)}" for key, value in items.items() if key not in said), *given.settings]


def check_values(cfg: DictConfig) -> None:
    """ValueError, one line, for a setting of conf/throughput.yaml that cannot have its value."""
    for group in ("reducer", "schedule", "backbone"):
        if not isinstance(cfg.get(group), DictConfig):
            raise ValueError(f"{group}={cfg.get(group)}: a measurement needs a {group}")
    composed_command.check_types(cfg, _TYPES)
    if cfg.cuda_graph and cfg.device == "cpu":
        raise ValueError("cuda_graph=true needs a GPU, and device=cpu")
    if cfg.output is None:
        return
    if reason := unwritable(Path(str(cfg.output))):
        raise ValueError(f"output={cfg.output} {reason}")
    weights = cfg.backbone.get("checkpoint")
    if weights is not None and same_file(Path(str(weights)).expanduser(), str(cfg.output)):
        raise ValueError(f"output={cfg.output} is backbone.checkpoint={weights}, which would be overwritten")


def _typed(value: Any) -> str:
    """As on a command line: [none,tome], 0.5, true."""
    if isinstance(value, list):
        return f"[{','.join(map(_typed, value))}]"
    return str(value).lower() if isinstance(value, bool) or value is None else str(value)
