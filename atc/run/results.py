"""What comes out of a run: accuracy, cost and speed, for its record."""

import logging
import math
from typing import Any

import torch.distributed as dist
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn

from atc.cost.measure import measure
from atc.files import write_whole
from atc.printable import printable
from atc.run.parts import Parts, task_of
from atc.runs.context import Run
from atc.runs.record import Record
from atc.runs.summary import summary_text
from atc.tasks.finite import NotFinite

log = logging.getLogger(__name__)

CORRUPT = "corrupt_images.txt"


def result_of(parts: Parts, name: str, model: nn.Module | None = None) -> dict[str, Any]:
    """Test a model.

    Args:
        parts: what tests it, and on what.
        name: what the result is called, such as "off_the_shelf".
        model: the model; None: the reduced one.

    Returns:
        The metrics, and how many images they are over, under `name`: a part of a record's results.

    Raises:
        NotFinite: the score is no finite number.
    """
    task = parts.task
    if model is not None or parts.shards:
        task = task_of(
            parts.cfg, parts.model if model is None else model, parts.datamodule, parts.teacher, parts.shards
        )
    task.test_name = name  # type: ignore[assignment]  # no module of the task
    (logged,) = parts.trainer.test(task, parts.datamodule, verbose=False)
    metrics = {key.split("/", 1)[1]: value for key, value in logged.items()}
    score = metrics.get(parts.cfg.score)
    if score is not None and not math.isfinite(score):
        raise NotFinite(f"{name}: the {parts.cfg.score} is {score}")
    return {name: metrics | getattr(task, "images", {}).get(name, {})}


def result_of_selection(parts: Parts, selected: ModelCheckpoint) -> dict[str, Any]:
    """What the epoch that was chosen was chosen by: a part of a record's results; none if nothing says."""
    if selected.best_model_score is None:
        return {}
    metric = str(selected.monitor).partition("/")[2]
    metric = parts.cfg.score if metric == f"{parts.cfg.score}_best" else metric
    score = {metric: float(selected.best_model_score)}
    return {"validation": score | getattr(parts.task, "images", {}).get("val", {})}


def finish(run: Run, parts: Parts) -> Record:
    """Measure cost and speed on test images, close the record, show the summary; on one process of many.

    Args:
        run: the run, begun.
        parts: what was run.

    Returns:
        The record.
    """
    corrupt = _corrupt(parts)
    if parts.trainer.is_global_zero:
        if corrupt is not None:
            run.update(corrupt_images=len(corrupt))
            write_whole(run.directory / CORRUPT, "".join(f"{printable(name)}\n" for name in corrupt))
        benchmark, trainer = parts.cfg.benchmark, parts.trainer
        images = next(iter(parts.datamodule.test_dataloader()))[0][: benchmark.batch_size]
        # A precision such as bf16-true has made the model another type for good, where a strategy does not shard.
        images = images.to(trainer.strategy.root_device, next(parts.vit.parameters()).dtype)
        precision = trainer.precision_plugin.forward_context
        for measured in measure(parts.model, parts.vit, images, benchmark.seconds, precision):
            run.update(**measured)
        try:
            run.end("finished")
        finally:  # what was computed is seen, also where the results store does not take it
            if run.record.status == "finished":
                log.info(summary_text(run.record, outputs=str(run.directory)))
    return run.record


def _corrupt(parts: Parts) -> list[str] | None:
    """Images that no process could read; None for data that does not skip them. To be asked by all processes."""
    if getattr(parts.datamodule, "on_corrupt", None) != "skip":
        return None
    mine: list[str] = list(getattr(parts.datamodule, "corrupt", ()))
    of_each = [mine]
    if dist.is_available() and dist.is_initialized():
        of_each = [mine] * dist.get_world_size()
        dist.all_gather_object(of_each, mine)
    return sorted({name for names in of_each for name in names})
