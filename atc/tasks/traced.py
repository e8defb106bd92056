"""An evaluation whose traces are written, and one that goes on where it was cut off."""

import io
import itertools
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import Callback, LightningDataModule, Trainer
from torch import Tensor
from torch.utils.data import DataLoader
from torchmetrics import Metric

from atc.core import Assign, Mix, Plan, Select, StageTrace
from atc.files import write_whole
from atc.runs.traces import CHUNK, INDEX, TraceWriter, packed, part_file
from atc.vit.reduced import ReducedViT

log = logging.getLogger(__name__)

STATE = "unfinished.pt"


class Traced(Callback):
    """Runs a model block by block in place of itself, and writes what it did to each image.

    With every part the state of the metrics is written, so that an evaluation that was cut off goes on behind the last
    part.

    Args:
        model: what is evaluated.
        directory: where the trace is written.
        cls_features: blocks whose CLS tokens are written, 1-based.
        resume: go on with what is there.
        chunk: images of a part.
        about: what trace.json says of the run.

    Attributes:
        done: how many images were evaluated before.

    Raises:
        ValueError: a block that the model does not have, or a model without a CLS token.
    """

    def __init__(
        self,
        model: ReducedViT,
        directory: Path,
        cls_features: Sequence[int] = (),
        resume: bool = False,
        chunk: int = CHUNK,
        about: Mapping[str, Any] | None = None,
    ):
        self.model, self.directory, self.cls_features = model, directory, tuple(cls_features)
        if self.cls_features and not model.host.has_cls:
            raise ValueError(f"cls_features={list(cls_features)}: the backbone has no CLS token")
        if any(block > model.depth for block in self.cls_features):
            raise ValueError(f"cls_features={list(cls_features)}: the backbone has {model.depth} blocks")
        self._run, self._about = dict(about or {}), dict[str, Any]()
        self._state = self._left() if resume else None
        self.done: int = 0 if self._state is None else self._state["images"]
        self._seen = self.done
        self._writer = TraceWriter(directory, 0 if self._state is None else self._state["parts"], chunk)
        later = (part_file(directory, number) for number in itertools.count(self._writer.parts))
        for old in itertools.takewhile(Path.is_file, later):  # written, but not noted before the end
            old.unlink()
        for name in (INDEX, *(() if self._state else (STATE,))):
            (directory / name).unlink(missing_ok=True)
        self._columns: dict[str, Any] = {}

    def _left(self) -> dict[str, Any] | None:
        """What an evaluation that was cut off has left, if it was to write the same."""
        with suppress(OSError, RuntimeError, ValueError, KeyError, EOFError):
            state = torch.load(self.directory / STATE, weights_only=True, map_location="cpu")
            whole = all(part_file(self.directory, number).is_file() for number in range(state["parts"]))
            if whole and state["cls_features"] == list(self.cls_features) and state["run"] == self._run:
                return dict(state)
        return None

    def __call__(self, images: Tensor) -> Tensor:
        """``[B, 3, H, W]`` -> logits, as the model has them; keeps what is to be written."""
        stream = self.model.start(images)
        cls: dict[str, Tensor] = {}
        for number in range(1, self.model.depth + 1):
            stream.step(number)
            if number in self.cls_features:
                cls[f"cls_{number}"] = stream.x[:, 0].float()
        logits = stream.finish()
        patches = stream.grid[0] * stream.grid[1]
        plans = [stream.plans[str(stage.block)][0] for stage in stream.stages]
        columns = _of_stages(stream.stages, plans, patches, stream.decided.passing)
        self._about = {
            "grid": list(stream.grid),
            "blocks": [stage.block for stage in stream.stages],
            "depth": self.model.depth,
            "merges": bool(plans) and all(_clusters(plan) for plan in plans),
            "kept": any(name.startswith("kept_") for name in columns),
            "cls_features": list(self.cls_features),
        }
        self._columns = columns | {name: values.cpu().numpy() for name, values in cls.items()}
        if logits.ndim == 2:
            self._columns["prediction"] = logits.argmax(dim=1).int().cpu().numpy()
        return logits

    def on_test_batch_start(self, trainer: Trainer, pl_module: Any, *_: Any) -> None:
        """Before the first batch, metrics are as they were when the evaluation was cut off."""
        if self._state is not None:
            for name, metric in _metrics(pl_module).items():
                for key, value in self._state["metrics"].get(name, {}).items():
                    setattr(metric, key, _to(value, metric.device))
            self._state = None

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Add the batch to the trace."""
        targets = batch[1]
        columns, count = self._columns, len(targets)
        columns["image"] = np.arange(self._seen, self._seen + count, dtype=np.int32)
        if targets.ndim == 1 and "prediction" in columns:
            columns["target"] = targets.int().cpu().numpy()
        else:
            columns.pop("prediction", None)
        self._seen += count
        # After the last batch the metrics are not saved: an evaluation that goes on needs a batch to go on with
        if self._writer.add(columns) and batch_idx + 1 < trainer.num_test_batches[dataloader_idx]:
            self._save(pl_module)

    def _save(self, task: Any) -> None:
        metrics = {name: dict(metric.metric_state) for name, metric in _metrics(task).items()}
        state = {"images": self._seen, "parts": self._writer.parts, "metrics": metrics}
        content = io.BytesIO()
        torch.save(state | {"cls_features": list(self.cls_features), "run": self._run}, content)
        write_whole(self.directory / STATE, content.getvalue())

    def on_test_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Write the rest, and that the trace is whole."""
        self._writer.finish(images=self._seen, **self._about, run=self._run)
        (self.directory / STATE).unlink(missing_ok=True)


@contextmanager
def traced(trace: Traced, task: Any, trainer: Any, datamodule: LightningDataModule) -> Iterator[None]:
    """Within the block, tests of the task are traced, over the images that are not done.

    Args:
        trace: what traces.
        task: whose model it is.
        trainer: that tests.
        datamodule: the images.
    """
    loader, limit = datamodule.test_dataloader, trainer.limit_test_batches

    def rest() -> Any:
        whole = loader()
        if not isinstance(whole, DataLoader) or whole.batch_size is None:
            raise ValueError("trace=true needs test images in one order: the data set gives no DataLoader with batches")
        batches = limit if isinstance(limit, int) else int(limit * len(whole))
        end = min(len(whole.dataset), batches * whole.batch_size)  # type: ignore[arg-type]  # it has a length
        if trace.done >= end:
            raise ValueError(f"{trace.directory} is of {trace.done} images, and there are {end} now: remove it")
        log.info("going on with image %d of %d", trace.done + 1, end)
        trainer.limit_test_batches = 1.0
        return DataLoader(
            whole.dataset,
            whole.batch_size,
            sampler=range(trace.done, end),
            num_workers=whole.num_workers,
            collate_fn=whole.collate_fn,
            pin_memory=whole.pin_memory,
            worker_init_fn=whole.worker_init_fn,
            generator=whole.generator,
        )

    task.replayed = trace
    trainer.callbacks.append(trace)
    if trace.done:
        datamodule.test_dataloader = rest  # type: ignore[method-assign]  # of this instance, for a while
    try:
        yield
    finally:
        task.replayed = None
        trainer.callbacks.remove(trace)
        trainer.limit_test_batches = limit
        if trace.done:
            datamodule.test_dataloader = loader  # type: ignore[method-assign]  # likewise


def _of_stages(
    stages: Sequence[StageTrace], plans: Sequence[Plan], patches: int, passing: bool = False
) -> dict[str, Any]:
    """The columns of the stages of a batch; `passing`: before each of them all patches are there."""
    columns: dict[str, Any] = {}
    own: Tensor | None = None  # [B, K] the patch that each token is, -1 where it is none
    for stage, plan in zip(stages, plans, strict=True):
        columns[f"labels_{stage.block}"] = packed(stage.source.cpu().numpy())
        used = torch.zeros(len(stage.labels), stage.tokens_out + 1, dtype=torch.bool, device=stage.labels.device)
        used = used.scatter(1, stage.labels + 1, True)[:, 1:]
        columns[f"tokens_{stage.block}"] = used.sum(dim=1).cpu().numpy().astype(np.uint16)
        own = _own(stage, plan, None if passing else own, patches)
        if own is not None:
            bits = torch.zeros(len(own), patches + 1, dtype=torch.bool, device=own.device).scatter(1, own + 1, True)
            columns[f"kept_{stage.block}"] = np.packbits(bits[:, 1:].cpu().numpy(), axis=1)
    return columns


def _clusters(plan: Plan) -> bool:
    """Whether a plan groups all tokens: EViT's sum of what it drops is no cluster."""
    if isinstance(plan, Select):
        return plan.clustered
    return isinstance(plan, Mix) or (isinstance(plan, Assign) and plan.average)


def _own(stage: StageTrace, plan: Plan, before: Tensor | None, patches: int) -> Tensor | None:
    """[B, K]: the source patch that each token is after a stage; None where none is."""
    if plan.kept is None:
        return None
    kept = plan.kept
    if before is None:  # the tokens are the patches
        before = torch.arange(patches, device=kept.device).expand(len(kept), -1)
    own = before.gather(1, kept)
    rest = stage.tokens_out - kept.shape[1]
    own = torch.cat([own, own.new_full((len(own), rest), -1)], dim=1)
    if stage.valid is not None:
        real = stage.valid if stage.valid.dtype == torch.bool else stage.valid > 0.5
        own = own.masked_fill(~real, -1)
    return own


def _metrics(task: Any) -> dict[str, Metric]:
    """Everything that counts in a test, by name."""
    return {name: module for name, module in task.named_modules() if isinstance(module, Metric) and "test" in name}


def _to(value: Any, device: torch.device) -> Any:
    return [one.to(device) for one in value] if isinstance(value, list) else value.to(device)
