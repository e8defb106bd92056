"""What W&B is sent at the end of a run, besides the metrics that Lightning logs on the way; and runs that go on."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger, WandbLogger

from atc.runs.record import Record

EXIT = {"finished": 0, "failed": 1, "interrupted": 255}  # W&B's states finished, failed, killed


def same_run(logger: Mapping[str, Any], directory: Path) -> dict[str, str]:
    """The id for a WandbLogger that goes on with the W&B run begun in a run directory; nothing for other loggers.

    Runs logged offline stay apart: uploading a second one under the same id would replace the first.

    Args:
        logger: its configuration.
        directory: the run directory.

    Returns:
        Arguments for the logger.
    """
    begun = sorted(directory.glob("wandb/run-*-*"))
    if not begun or not str(logger.get("_target_")).endswith(WandbLogger.__name__):
        return {}
    return {"id": begun[-1].name.rpartition("-")[2]}


def begin(loggers: Iterable[Logger], record: Record) -> None:
    """Tell W&B by which metric the run is scored, and whether the highest or the lowest validation is its summary.

    Args:
        loggers: what the run logs to.
        record: that of the run, with its metric.
    """
    metric = record.metric
    if metric is None:
        return
    for logger in loggers:
        if not isinstance(logger, WandbLogger):
            continue
        run = logger.experiment
        for name in (metric.name, f"{metric.name}_raw", f"{metric.name}_best"):  # as tasks and callbacks log it
            axis = {"step_metric": "trainer/global_step", "step_sync": True}  # Lightning's for all metrics
            run.define_metric(f"val/{name}", summary=metric.mode, **axis)
        run.summary.update({"score": record.score, "metric": metric._asdict()})


def close(loggers: Iterable[Logger], record: Record, file: Path) -> None:
    """Log what was measured and the record itself, and end the W&B run: the next one of this process is another.

    Args:
        loggers: what the run logs to; those of W&B that have not ended count.
        record: that of the run, which has ended.
        file: its results.json, which becomes an artifact of type "results".
    """
    for logger in loggers:
        if not isinstance(logger, WandbLogger):
            continue
        import wandb

        run = logger.experiment
        if wandb.run is None or wandb.run.id != run.id:  # it has ended
            continue
        logger.log_metrics(measured(record))
        run.summary["status"] = record.status
        results = wandb.Artifact(f"results-{run.id}", type="results")
        results.add_file(str(file))
        run.log_artifact(results)
        run.finish(EXIT[str(record.status)])


def measured(record: Record) -> dict[str, float]:
    """What no test has logged, by names with one slash: tokens/block_1, gflops/dense, fine_tuned/images.

    Args:
        record: that of the run.

    Returns:
        Token counts, cost, speed, numbers of images, and the validation of the epoch that was chosen.
    """
    numbers: dict[str, float | None] = {
        f"tokens/block_{block}": count for block, count in enumerate(record.tokens_per_block, start=1)
    }
    for kind in ("gflops", "images_per_second"):
        numbers |= {f"{kind}/{model}": value for model, value in (record.result(kind) or {}).items()}
    for name in record.results:
        result = record.result(name) or {}  # measured_at_batch_size is a number
        counts = [key for key in result if key.endswith(("images", "images_of"))]  # the tests have logged their metrics
        numbers |= {f"{name}/{key}": result[key] for key in (result if name == "validation" else counts)}
    return {name: value for name, value in numbers.items() if value is not None}
