"""From a configuration to results: train, evaluate, calibrate, generate, predict. `atc.cli` calls these functions."""

import functools
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path

from lightning.pytorch.callbacks import ModelCheckpoint
from omegaconf import DictConfig
from safetensors import torch as safetensors

from atc import code
from atc.config.released import trained_otherwise
from atc.files import write_whole
from atc.grids import claim
from atc.run.generation import generate
from atc.run.loading import load
from atc.run.parts import Parts, build, optimizer_of, run_of
from atc.run.prediction import predict
from atc.run.results import finish, result_of, result_of_selection
from atc.run.tracing import tracing_of
from atc.runs import checkpoints, directories, lock, predictions, record_file, store
from atc.runs.context import recorded
from atc.runs.record import Record
from atc.runs.settings import plain_settings
from atc.runs.summary import summary_text
from atc.tasks import resuming
from atc.tasks.interrupt import behind

__all__ = ["Parts", "build", "evaluate", "generate", "load", "predict", "train"]

log = logging.getLogger(__name__)

WEIGHTS = "weights.safetensors"
TEXT_FEATURES = "text_features.safetensors"


def _alone(command: Callable[[DictConfig], Record]) -> Callable[[DictConfig], Record]:
    """A command that holds its run directory while it runs. ValueError where another process holds it."""

    @functools.wraps(command)
    def alone(cfg: DictConfig) -> Record:
        with lock.alone(cfg.output_dir):
            return command(cfg)

    return alone


@_alone
def train(cfg: DictConfig) -> Record:
    """Evaluate without reduction and off the shelf, fine-tune, evaluate the epoch that was best on validation.

    Args:
        cfg: conf/train.yaml composed, with output_dir set. cfg.resume goes on with a run from where it was cut; with
            "auto" a run that is finished is left as it is.

    Returns:
        The record, as written to output_dir/results.json.

    Raises:
        ValueError: settings do not go together, or another process holds the run directory.
    """
    known = record_file.RecordFile(Path(cfg.output_dir) / record_file.FILE, resume=cfg.resume is not None).record
    if cfg.resume == "auto" and known.status == "finished":
        return _finished_before(cfg, known)
    resume = checkpoints.training_state(cfg.resume, Path(cfg.output_dir))
    if known.status == "failed" and known.error:
        log.info("this run failed before: %s", known.error)
    parts = build(cfg, with_weights=resume is None, resume=resume is not None, training=True)
    trainer, task, model = parts.trainer, parts.task, parts.model
    file = cfg.backbone.get("checkpoint") if resume is None else resume
    run = run_of(parts, trained_otherwise(cfg, file), resume=resume is not None)
    if resume is None:
        run.begin()
    else:  # nothing is written before all that is there has been found fit, and read
        optimizer = None if parts.shards else optimizer_of(parts)
        resuming.check(resume, task, trainer, optimizer)
        trainer.callbacks.insert(0, resuming.Begin(run.begin))  # type: ignore[attr-defined]  # not in Lightning's types
    with recorded(run, cause=partial(behind, trainer=trainer), trained=lambda: getattr(task, "began", True)):
        if cfg.baselines and resume is None:
            if cfg.baselines != "off_the_shelf":
                run.note(**result_of(parts, "dense", parts.vit))
            if model.method.reduces:
                run.note(**result_of(parts, "off_the_shelf"))
        if resume is not None:
            log.info("going on from %s", resume)
        if trainer.is_global_zero:
            log.info("training; Ctrl-C stops it so that it can be resumed")
        trainer.fit(task, parts.datamodule, ckpt_path=resume, weights_only=True)
        run.begin()  # where nothing was left to train
        selected = trainer.checkpoint_callback
        best = selected.best_model_path if isinstance(selected, ModelCheckpoint) else ""
        last = run.directory / directories.LAST
        if not best and parts.shards:
            trainer.save_checkpoint(last)
            best = str(last)
        # Without validation. In memory there is no average of the weights where a resume had nothing left to train.
        if not best and checkpoints.updates(last) == trainer.global_step:
            best = str(last)
        if best:
            load(model, Path(best))
            if isinstance(selected, ModelCheckpoint):
                run.note(**result_of_selection(parts, selected))
        run.note(**result_of(parts, "fine_tuned"))
        if trainer.is_global_zero:
            state = {key: value.contiguous().cpu() for key, value in model.state_dict().items()}
            write_whole(run.directory / WEIGHTS, safetensors.save(state, metadata={"format": "pt"}))
        return finish(run, parts)


def _finished_before(cfg: DictConfig, known: Record) -> Record:
    """Say that a run is finished already, and see to it that the results store has its record, which is returned."""
    log.info("resume=auto: this run is finished")
    groups = claim.changed(known, code.of_config(plain_settings(cfg)))
    if groups:
        log.warning("code changed since: %s; without resume=auto it is run anew", ", ".join(groups))
    if lock.is_first() and store.reconcile(cfg.output_dir, cfg.paths.store, cfg):
        log.info("its record was not in the results store yet, and now is")
    log.info(summary_text(known, outputs=cfg.output_dir))
    return known


@_alone
def evaluate(cfg: DictConfig) -> Record:
    """Evaluate a backbone off the shelf, or a checkpoint, with its tokens reduced.

    Args:
        cfg: conf/evaluate.yaml composed, with output_dir set; cfg.baselines adds the accuracy without reduction,
            cfg.trace writes what became of the patches of each image (`atc.runs.traces`), cfg.predictions what was said
            of each (`atc.runs.predictions`).

    Returns:
        The record, as written to output_dir/results.json.

    Raises:
        ValueError: settings do not go together, or another process holds the run directory.
    """
    if cfg.get("resume") == "auto":
        known = record_file.RecordFile(Path(cfg.output_dir) / record_file.FILE, resume=True).record
        if known.status == "finished":
            return _finished_before(cfg, known)
    file = None if cfg.checkpoint is None else directories.checkpoint_file(cfg.checkpoint)
    parts = build(cfg, with_weights=file is None)
    notices = [] if file is None else load(parts.model, file, cfg.get("use_ema"))
    tracing = tracing_of(parts)
    if file is None and getattr(parts.model.method, "needs_training", False):
        name = parts.model.method.__name__
        notices.append(f"{name} needs training: layers that it learns start at random, so these results mean nothing")
        log.warning(notices[-1])
    run = run_of(parts, [*notices, *trained_otherwise(cfg, file)])
    run.begin()
    if lock.is_first():
        predictions.remove(run.directory)
    _keep_text_features(parts, run.record)
    reduces = parts.model.method.reduces
    with recorded(run, cause=partial(behind, trainer=parts.trainer)):
        if cfg.baselines and (reduces or not cfg.get("trace")):
            run.note(**result_of(parts, "dense", parts.vit))
        if reduces or cfg.get("trace") or not cfg.baselines:
            reduced = "off_the_shelf" if file is None else "checkpoint"
            with tracing:
                run.note(**result_of(parts, reduced if reduces else "dense"))
        if cfg.get("predictions") and parts.trainer.is_global_zero:
            run.update(predictions=predictions.in_brief(run.directory))
        return finish(run, parts)


def _keep_text_features(parts: Parts, record: Record) -> None:
    """Write what a zero-shot classifier is made of: a row per class, and of which prompts file."""
    text = getattr(getattr(parts.vit, "classifier", None), "text", None)
    if text is not None and lock.is_first():
        about = {"format": "pt", **{key: str(value) for key, value in (record.prompts or {}).items()}}
        state = {"text_features": text.detach().cpu().contiguous()}
        write_whole(Path(parts.cfg.output_dir) / TEXT_FEATURES, safetensors.save(state, metadata=about))
