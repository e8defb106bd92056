"""Train and evaluate: from a configuration to a results record. Plain functions; atc.cli calls them."""

import copy
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from lightning import LightningDataModule, LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig, OmegaConf
from safetensors import torch as safetensors
from timm.data import resolve_model_data_config
from torch import nn

from atc import build
from atc.bench.flops import gflops_per_image
from atc.bench.throughput import images_per_second
from atc.report import record, runs, store, summary, wandb_log
from atc.tasks.checkpoint import write_whole_files
from atc.tasks.compiled import compile_in_place
from atc.tasks.interrupt import Interrupted
from atc.tasks.optim import check_warmup
from atc.tasks.sharding import shards
from atc.vit.backbones import read_weights
from atc.vit.reduced import ReducedViT

log = logging.getLogger(__name__)

WEIGHTS = "weights.safetensors"
CORRUPT = "corrupt_images.txt"


class Experiment:
    """What a configuration describes, built: data, model, task and trainer, and the record of the run.

    with_weights: False leaves the backbone's pretrained weights out, for a checkpoint that replaces them all.
    resume: go on with the record of the run that was interrupted.
    """

    def __init__(self, cfg: DictConfig, *, with_weights: bool = True, resume: bool = False):
        self.cfg, self.directory = cfg, Path(cfg.output_dir)
        seed_everything(cfg.seed, workers=True, verbose=False)
        if cfg.threads is not None:
            torch.set_num_threads(cfg.threads)
        if cfg.benchmark.batch_size < 1:
            raise ValueError(f"benchmark.batch_size={cfg.benchmark.batch_size} must be 1 or more")
        selection = {"selection": cfg.selection} if cfg.get("selection") else {}
        self.datamodule: LightningDataModule = build.instantiate(cfg.datamodule, **selection)
        weights = {} if with_weights else {"pretrained": False, "checkpoint": None}
        self.vit: nn.Module = build.instantiate(cfg.backbone, num_classes=self.datamodule.num_classes, **weights)
        self.datamodule.adapt(resolve_model_data_config(self.vit))
        reducer, schedule = build.instantiate(cfg.reducer), build.instantiate(cfg.schedule)
        self.model = ReducedViT(self.vit, reducer, schedule, cfg.proportional_attention, cfg.size_weighted)
        if cfg.get("activation_checkpointing"):
            self.vit.set_grad_checkpointing()  # type: ignore[operator]
        for module in (self.vit, self.model):
            compile_in_place(module, cfg.get("compile"))
        same = wandb_log.same_run(cfg.logger, self.directory) if resume and cfg.logger else {}
        loggers = [build.instantiate(cfg.logger, **same)] if cfg.logger else False
        callbacks = [build.instantiate(node) for node in cfg.callbacks.values() if node is not None]
        self.trainer: Trainer = build.instantiate(cfg.trainer)(callbacks=callbacks, logger=loggers)
        write_whole_files(self.trainer)
        self.shards = shards(self.trainer)
        self.task = self._task(self._lent(self.model))
        self.record = record.Record(self.directory / record.FILE, resume=resume)
        if rank_zero_only.rank == 0:
            runs.save_config(cfg, self.directory)
            self.record.start(**self._settings())
            for logger in self.trainer.loggers:
                logger.log_hyperparams(OmegaConf.to_container(cfg, resolve=True))

    def _task(self, model: nn.Module) -> LightningModule:
        configure = build.instantiate(self.cfg.optimizer) if self.cfg.get("optimizer") else None
        return build.instantiate(self.cfg.task)(model, self.datamodule.num_classes, configure)

    def _lent(self, model: nn.Module) -> nn.Module:
        """What the trainer gets of a model: a strategy that shards takes it apart for good."""
        if self.shards:
            model = copy.deepcopy(model)
            compile_in_place(model, self.cfg.get("compile"))
        return model

    def _settings(self) -> dict[str, Any]:
        cfg = self.cfg
        choices = cfg.choices or {}
        schedule = {k: v for k, v in OmegaConf.to_container(cfg.schedule, resolve=True).items() if k[0] != "_"}
        return {
            **{group: name for group, name in choices.items() if name is not None},
            "reduces": self.model.method.reduces,
            "schedule": _describe(choices.get("schedule", "schedule"), schedule),
            "score": cfg.score,
            "seed": cfg.seed,
            "selection": getattr(self.datamodule, "selection", "validation") if "optimizer" in cfg else None,
            "notices": self.model.notices,
            "results": self.record.data.get("results", {}),
        }

    def note(self, **results: Any) -> None:
        """Put results into the record."""
        if self.trainer.is_global_zero:
            self.record.update(results=results)

    def test(self, name: str, model: nn.Module | None = None) -> None:
        """Test metrics of `model` (by default the reduced one) into the record, under `name`."""
        task = self.task if model is None and not self.shards else self._task(self._lent(model or self.model))
        task.test_name = name
        if not self.cfg.trainer.limit_test_batches:
            raise ValueError("trainer.limit_test_batches=0 leaves nothing to test")
        (found,) = self.trainer.test(task, self.datamodule, verbose=False)
        self.note(**{name: {key.split("/", 1)[1]: value for key, value in found.items()}})

    def measure(self) -> None:
        """Cost, speed and real token counts on a batch of test images, into the record."""
        device = self.trainer.strategy.root_device
        images = next(iter(self.datamodule.test_dataloader()))[0][: self.cfg.benchmark.batch_size].to(device)
        models: dict[str, nn.Module] = {"dense": self.vit.to(device)}
        if self.model.method.reduces:
            models["reduced"] = self.model.to(device)
        with torch.compiler.set_stance("force_eager"):  # operations are counted where PyTorch dispatches them
            self.note(gflops={name: gflops_per_image(model, images[:1]) for name, model in models.items()})
        self.record.update(tokens_per_block=self.model.tokens_per_block())
        with self.trainer.precision_plugin.forward_context():
            self.note(images_per_second=images_per_second(models, images, self.cfg.benchmark.seconds))
        self.note(measured_at_batch_size=len(images))

    def corrupt(self) -> list[str] | None:
        """Images that no process could read; None for data that does not skip them. To be asked by all processes."""
        if getattr(self.datamodule, "on_corrupt", None) != "skip":
            return None
        mine: list[str] = self.datamodule.corrupt  # type: ignore[assignment]
        found = [mine]
        if dist.is_available() and dist.is_initialized():
            found = [mine] * dist.get_world_size()
            dist.all_gather_object(found, mine)
        return sorted(set().union(*found))

    def finish(self) -> dict[str, Any]:
        """Measure, close the record, show the summary; on one process of many."""
        corrupt = self.corrupt()
        if self.trainer.is_global_zero:
            if corrupt is not None:
                self.record.update(corrupt_images=len(corrupt))
                (self.directory / CORRUPT).write_text("".join(f"{name}\n" for name in corrupt))
            self.measure()
            self.end("finished")
            log.info(summary.text(self.record.data, outputs=str(self.directory)))
        return self.record.data

    def end(self, status: str, error: BaseException | None = None) -> None:
        """Close the record, and put it into the results store."""
        self.record.update(error=None if error is None else str(error) or type(error).__name__)
        self.record.finish(status)
        store.Store(self.cfg.paths.store).append(store.entry(self.cfg, self.record.data))
        wandb_log.close(self.trainer.loggers, self.record.data, self.record.path)

    @contextmanager
    def recorded(self) -> Iterator[None]:
        """However the run ends, its record says so."""
        try:
            yield
        except BaseException as error:
            if self.trainer.is_global_zero:
                # A cluster's engine that wants to start the job again leaves it by SystemExit.
                stopped = isinstance(error, (Interrupted, KeyboardInterrupt, SystemExit))
                self.end("interrupted" if stopped else "failed", error)
            raise


def train(cfg: DictConfig) -> dict[str, Any]:
    """Evaluate without reduction and off the shelf, fine-tune, evaluate the epoch that was best on validation.

    cfg: conf/train.yaml composed, with output_dir set. cfg.resume goes on with a run from where it was cut; with
    "auto" a run that is finished is left as it is.
    Returns the record, as written to output_dir/results.json.
    """
    known = record.Record(Path(cfg.output_dir) / record.FILE, resume=cfg.resume == "auto").data
    if known.get("status") == "finished":
        log.info("resume=auto: this run is finished")
        log.info(summary.text(known, outputs=cfg.output_dir))
        return known
    resume = runs.training_state(cfg.resume, Path(cfg.output_dir))
    if (cfg.trainer.max_epochs or 0) > 0:  # else max_steps says how long; refused before anything is evaluated
        check_warmup(cfg.optimizer.warmup_epochs, cfg.trainer.max_epochs)
    experiment = Experiment(cfg, with_weights=resume is None, resume=resume is not None)
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
        selected = experiment.trainer.checkpoint_callback
        best = selected.best_model_path if isinstance(selected, ModelCheckpoint) else ""
        if not best and experiment.shards:
            best = str(experiment.directory / runs.LAST)
            experiment.trainer.save_checkpoint(best)
        if best:
            load(experiment.model, Path(best))
            if isinstance(selected, ModelCheckpoint) and selected.best_model_score is not None:
                experiment.note(validation={cfg.score: float(selected.best_model_score)})
        experiment.test("fine_tuned")
        if experiment.trainer.is_global_zero:
            state = {key: value.contiguous().cpu() for key, value in experiment.model.state_dict().items()}
            (experiment.directory / WEIGHTS).write_bytes(safetensors.save(state, metadata={"format": "pt"}))
        return experiment.finish()


def evaluate(cfg: DictConfig) -> dict[str, Any]:
    """Evaluate a backbone off the shelf, or a checkpoint, with its tokens reduced.

    cfg: conf/evaluate.yaml composed, with output_dir set; cfg.baselines adds the accuracy without reduction.
    Returns the record, as written to output_dir/results.json.
    """
    file = None if cfg.checkpoint is None else runs.checkpoint_file(cfg.checkpoint)
    experiment = Experiment(cfg, with_weights=file is None)
    with experiment.recorded():
        if file is not None:
            load(experiment.model, file)
        if cfg.baselines:
            experiment.test("dense", experiment.vit)
        if not (cfg.baselines and not experiment.model.method.reduces):
            reduced = "off_the_shelf" if file is None else "checkpoint"
            experiment.test(reduced if experiment.model.method.reduces else "dense")
        return experiment.finish()


def load(model: ReducedViT, file: Path) -> None:
    """Load the weights of a training checkpoint, or any weight file with timm's key names, into `model`.

    A file's reducer parameters are left out for a method that has none. ValueError if the weights do not fit.
    """
    state, own = read_weights(file), model.state_dict()
    if not any(key.startswith("reducers.") for key in own):
        state = {key: value for key, value in state.items() if not key.startswith("reducers.")}
    differing = [key for key, value in state.items() if key in own and own[key].shape != value.shape]
    try:
        if differing:
            raise ValueError(f"other shapes for {', '.join(differing[:3])}")
        model.load_state_dict(state)
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ValueError(
            f"{file} does not fit the model: {reason}; a file outside its run directory needs the backbone and "
            f"reducer it was made with named on the command line"
        ) from error


def _describe(name: str, settings: dict[str, Any]) -> str:
    said = ", ".join(f"{key}={value}" for key, value in settings.items() if value not in (None, False))
    return f"{name}: {said}"
