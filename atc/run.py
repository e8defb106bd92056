"""Train and evaluate: from a configuration to a results record. Plain functions; atc.cli calls them."""

import functools
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lightning.pytorch.callbacks import ModelCheckpoint
from omegaconf import DictConfig, OmegaConf
from safetensors import torch as safetensors

from atc import code
from atc.config.released import trained_otherwise
from atc.experiment import Experiment
from atc.files import remove_partial, write_whole
from atc.grids import claim
from atc.runs import checkpoints, directories, lock, record, store, summary
from atc.tasks import resuming
from atc.vit.reduced import ReducedViT
from atc.weights.keys import beginnings, check_prefix_tokens
from atc.weights.loading import REDUCERS, left_out, weights_for

log = logging.getLogger(__name__)

WEIGHTS = "weights.safetensors"


def _alone(command: Callable[[DictConfig], dict[str, Any]]) -> Callable[[DictConfig], dict[str, Any]]:
    """A command that holds its run directory while it runs. ValueError where another process holds it."""

    @functools.wraps(command)
    def alone(cfg: DictConfig) -> dict[str, Any]:
        with lock.claimed(cfg.output_dir):
            if lock.is_first():
                remove_partial(cfg.output_dir)
            return command(cfg)

    return alone


@_alone
def train(cfg: DictConfig) -> dict[str, Any]:
    """Evaluate without reduction and off the shelf, fine-tune, evaluate the epoch that was best on validation.

    cfg: conf/train.yaml composed, with output_dir set. cfg.resume goes on with a run from where it was cut; with
    "auto" a run that is finished is left as it is.
    Returns the record, as written to output_dir/results.json.
    """
    known = record.Record(Path(cfg.output_dir) / record.FILE, resume=cfg.resume == "auto").data
    if known.get("status") == "finished":
        log.info("resume=auto: this run is finished")
        config: Any = OmegaConf.to_container(cfg)
        groups = claim.changed(known, code.of_config(config))
        if groups:
            log.warning("code changed since: %s; without resume=auto it is run anew", ", ".join(groups))
        if lock.is_first() and store.reconcile(cfg.output_dir, cfg.paths.store, cfg):
            log.info("its record was not in the results store yet, and now is")
        log.info(summary.text(known, outputs=cfg.output_dir))
        return known
    resume = checkpoints.training_state(cfg.resume, Path(cfg.output_dir))
    _say_why_it_failed(cfg)
    experiment = Experiment(cfg, with_weights=resume is None, resume=resume is not None, training=True)
    if resume is None:
        experiment.begin(trained_otherwise(cfg, cfg.backbone.get("checkpoint")))
    else:  # nothing is written before all that is there has been found fit, and read
        optimizer = None if experiment.shards else experiment.optimizer()
        resuming.check(resume, experiment.task, experiment.trainer, optimizer)
        experiment.begin_with_training(trained_otherwise(cfg, resume))
    with experiment.recorded():
        if cfg.baselines and resume is None:
            if cfg.baselines != "off_the_shelf":
                experiment.test("dense", experiment.vit)
            if experiment.model.method.reduces:
                experiment.test("off_the_shelf")
        if resume is not None:
            log.info("going on from %s", resume)
        if experiment.trainer.is_global_zero:
            log.info("training; Ctrl-C stops it so that it can be resumed")
        experiment.trainer.fit(experiment.task, experiment.datamodule, ckpt_path=resume, weights_only=True)
        experiment.begin()  # where nothing was left to train
        selected = experiment.trainer.checkpoint_callback
        best = selected.best_model_path if isinstance(selected, ModelCheckpoint) else ""
        last = experiment.directory / directories.LAST
        if not best and experiment.shards:
            experiment.trainer.save_checkpoint(last)
            best = str(last)
        # Without validation. In memory there is no average of the weights where a resume had nothing left to train.
        if not best and checkpoints.updates(last) == experiment.trainer.global_step:
            best = str(last)
        if best:
            load(experiment.model, Path(best))
            if isinstance(selected, ModelCheckpoint):
                experiment.note_selected(selected)
        experiment.test("fine_tuned")
        if experiment.trainer.is_global_zero:
            state = {key: value.contiguous().cpu() for key, value in experiment.model.state_dict().items()}
            write_whole(experiment.directory / WEIGHTS, safetensors.save(state, metadata={"format": "pt"}))
        return experiment.finish()


@_alone
def evaluate(cfg: DictConfig) -> dict[str, Any]:
    """Evaluate a backbone off the shelf, or a checkpoint, with its tokens reduced.

    cfg: conf/evaluate.yaml composed, with output_dir set; cfg.baselines adds the accuracy without reduction.
    Returns the record, as written to output_dir/results.json.
    """
    file = None if cfg.checkpoint is None else directories.checkpoint_file(cfg.checkpoint)
    experiment = Experiment(cfg, with_weights=file is None)
    notices = [] if file is None else load(experiment.model, file, cfg.get("use_ema"))
    experiment.begin([*notices, *trained_otherwise(cfg, file)])
    with experiment.recorded():
        if cfg.baselines:
            experiment.test("dense", experiment.vit)
        if not (cfg.baselines and not experiment.model.method.reduces):
            reduced = "off_the_shelf" if file is None else "checkpoint"
            experiment.test(reduced if experiment.model.method.reduces else "dense")
        return experiment.finish()


def _say_why_it_failed(cfg: DictConfig) -> None:
    """Of a run that is resumed after it failed, its error."""
    file = Path(cfg.output_dir) / record.FILE
    before = record.Record(file, resume=cfg.resume is not None).data
    if before.get("status") == "failed" and before.get("error"):
        log.info("this run failed before: %s", before["error"])


def load(model: ReducedViT, file: Path, use_ema: bool | None = None) -> list[str]:
    """Load the weights of a training checkpoint, or any weight file with timm's key names, into `model`.

    Args:
        model: what to load into.
        file: the file; its reducer parameters are left out for a method that has none.
        use_ema: of raw weights and their moving average, which to take; None: what the file says is better, else the
            average.

    Returns:
        Notices for the record, also logged: which weights of several these are, and how many parameters are untrained
        or left out.

    Raises:
        ValueError: the weights do not fit.
    """
    own = model.state_dict()
    state, notices = weights_for(file, own, use_ema)
    learned, mine = ([key for key in keys if key.startswith(REDUCERS)] for keys in (state, own))
    if learned and not mine:
        name = model.method.__name__
        notices.append(f"{file}: {left_out(state, learned)} of reducers, which {name} does not have")
        state = {key: value for key, value in state.items() if key not in learned}
    elif mine and not learned:
        numbers = sum(own[key].numel() for key in mine)
        notices.append(
            f"{file} lacks the {len(mine)} parameters ({numbers:,} numbers) that {model.method.__name__} learns: they "
            f"are untrained"
        )
    check_prefix_tokens(state, model.host.model, str(file))
    differing = [key for key, value in state.items() if key in own and own[key].shape != value.shape]
    try:
        if differing:
            raise ValueError(f"other shapes for {', '.join(differing[:3])}")
        model.load_state_dict(state)
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ValueError(
            f"{file} does not fit the model: {reason}{beginnings(list(state), list(own))}; a file outside its run "
            f"directory needs the backbone and reducer it was made with named on the command line"
        ) from error
    for notice in notices:
        log.warning(notice)
    return notices
