"""What `python -m atc.calibrate` does: build, look at images, say what was found."""

import io
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from atc.config import build
from atc.config.programs import program
from atc.core import Stages
from atc.diffusion.pipelines import device_of
from atc.files import json_text, write_whole
from atc.run import unlabelled
from atc.vit.images import data_config
from atc.vit.reduced import ReducedViT, reducer_class
from atc.vit.thresholds import StageThreshold, calibrate

_OF_THE_SEARCH = (
    *("keep_rate", "one", "images", "part", "number", "batch_size", "output", "picture", "device", "seed", "debug"),
    "hydra.searchpath",
)
_GROUPS = ("backbone", "reducer", "datamodule")
_SHARES = (0.05, 0.25, 0.5, 0.75, 0.95)


def calibrated(cfg: DictConfig, choices: Mapping[str, str], said: Sequence[str]) -> str:
    """Find the thresholds, write what is to be written, and say the rest.

    Args:
        cfg: conf/calibrate.yaml composed, with values that are checked.
        choices: which option of each group this is.
        said: the settings of the command line, as typed.

    Returns:
        A table and a command, to be printed.

    Raises:
        ValueError: a method without a threshold, or no image; one line.
    """
    if cfg.threads is not None:
        torch.set_num_threads(cfg.threads)
    factory = build.instantiate(cfg.reducer)
    if not reducer_class(factory).by_threshold:
        raise ValueError(
            f"reducer={choices.get('reducer')} keeps as many tokens as it is told to: a threshold is for methods that "
            f"merge up to a distance, such as reducer=atc_average_dynamic"
        )
    vit, device = build.instantiate(cfg.backbone).eval(), device_of(cfg.device)
    schedule = build.instantiate(cfg.schedule)
    if not isinstance(schedule, Stages):
        raise ValueError(f"schedule={choices.get('schedule')}: a threshold goes with schedule=stages")
    from_stages = Stages(None, schedule.blocks, threshold=0.0)
    model = ReducedViT(vit, factory, from_stages, cfg.proportional_attention, cfg.size_weighted).to(device)
    targets = [count.keep for count in schedule.resolve(model.host.num_patches, model.depth)]
    images = _images(cfg, data_config(vit))
    found = calibrate(model, _batches(images, cfg.batch_size, device), targets, bool(cfg.one))
    if cfg.output is not None:
        write_whole(str(cfg.output), json_text(as_data(found, cfg, choices)))
    if cfg.picture is not None:
        _draw(found, Path(str(cfg.picture)))
    return f"{table(found)}\n\n{command(found, choices, said, bool(cfg.one))}"


def table(found: Sequence[StageThreshold]) -> str:
    """Thresholds and the distribution of tokens over images, a line for each stage."""
    head = ["block", "threshold", "wanted", "mean", "std", "min", *(f"{share:.0%}" for share in _SHARES), "max"]
    rows = [
        [str(stage.block), f"{stage.threshold:.4f}", f"{stage.target:g}", *_numbers(stage.counts)] for stage in found
    ]
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in (head, *rows)]
    return "\n".join([f"tokens that {len(found[0].counts):,} images keep behind each block", *lines])


def _numbers(counts: Tensor) -> list[str]:
    kept = counts.double()
    shares = torch.quantile(kept, torch.tensor(_SHARES, dtype=torch.float64))
    spread = kept.std(correction=0)
    return [f"{kept.mean():.1f}", f"{spread:.1f}", *(f"{one:.0f}" for one in (kept.min(), *shares, kept.max()))]


def command(found: Sequence[StageThreshold], choices: Mapping[str, str], said: Sequence[str], one: bool) -> str:
    """The command that evaluates with the thresholds found."""
    values = [f"{stage.threshold:.5f}" for stage in found]
    threshold = f"threshold={values[0]}" if one else f"threshold=[{','.join(values)}]"
    given = [setting for setting in said if setting.lstrip("+").partition("=")[0] not in _OF_THE_SEARCH]
    named = {setting.partition("=")[0] for setting in given}
    groups = ["backbone", "reducer"] if any(setting.startswith("images=") for setting in said) else list(_GROUPS)
    own = [f"{group}={choices[group]}" for group in groups if group not in named]
    return shlex.join([*program("evaluate"), *own, *given, threshold])


def as_data(found: Sequence[StageThreshold], cfg: DictConfig, choices: Mapping[str, str]) -> dict[str, Any]:
    """What is written to `output`."""
    return {
        **{group: choices.get(group) for group in ("backbone", "reducer")},
        "images": len(found[0].counts),
        "seed": cfg.seed,
        "stages": [
            {
                **{"block": stage.block, "threshold": stage.threshold, "wanted": stage.target, "mean": stage.mean},
                "tokens": stage.counts.tolist(),
            }
            for stage in found
        ],
    }


def _images(cfg: DictConfig, data: Mapping[str, Any]) -> Dataset[Any]:
    """The images to look at, drawn by the seed."""
    if cfg.images is not None:
        every: Any = unlabelled.of_folder(cfg.images, data)
    else:
        every = unlabelled.of_data_set(build.instantiate(cfg.datamodule), cfg.part, data)
    if not len(every):
        raise ValueError("a threshold is found on images, and there is none")
    return unlabelled.drawn(every, cfg.number, cfg.seed)


def _batches(images: Dataset[Any], size: int, device: torch.device) -> Callable[[], Iterator[Tensor]]:
    """A pass over the images; what else a data set has of each is left alone."""

    def once() -> Iterator[Tensor]:
        for batch in DataLoader(images, batch_size=size):
            yield unlabelled.alone(batch).to(device)

    return once


def _draw(found: Sequence[StageThreshold], path: Path) -> None:
    """A histogram of the tokens of each stage."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3 * len(found), 2.5), layout="constrained")
    for axes, stage in zip(figure.subplots(1, len(found), squeeze=False)[0], found, strict=True):
        axes.hist(stage.counts.numpy(), bins=20, color="tab:blue")
        axes.axvline(stage.mean, color="black", linewidth=1)
        axes.set_title(f"block {stage.block}, threshold {stage.threshold:.3f}", fontsize=9)
        axes.set_xlabel("tokens kept")
    figure.axes[0].set_ylabel("images")
    out = io.BytesIO()
    figure.savefig(out, format=path.suffix[1:])
    write_whole(path, out.getvalue())
