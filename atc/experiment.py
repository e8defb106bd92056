"""What a configuration describes, built, and the record of what became of it."""

import copy
import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from lightning import LightningDataModule, LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig, OmegaConf
from timm.data import resolve_model_data_config
from torch import nn

from atc import code, faults, processes
from atc.config import build, teacher
from atc.config.together import check_length
from atc.core import Stages
from atc.cost.flops import gflops_per_image
from atc.cost.images_per_second import images_per_second
from atc.files import write_whole
from atc.printable import printable
from atc.runs import checkpoints, csv_log, directories, record, store, summary, wandb_log
from atc.signals import Interrupted
from atc.tasks import interrupt
from atc.tasks.checkpoint import write_whole_files
from atc.tasks.compiled import compile_in_place
from atc.tasks.finite import NotFinite, StopNotFinite
from atc.tasks.labels import check_labels
from atc.tasks.moved import FollowsItsRun
from atc.tasks.resuming import Begin
from atc.tasks.selecting import direction
from atc.tasks.sharding import check_launcher, shards
from atc.tasks.teacher import Teacher
from atc.vit.reduced import ReducedViT

log = logging.getLogger(__name__)

CORRUPT = "corrupt_images.txt"


class Experiment:
    """What a configuration describes, built: data, model, task and trainer, and the record of the run.

    with_weights: False leaves the backbone's pretrained weights out, for a checkpoint that replaces them all.
    resume: go on with the record of the run that was interrupted.
    training: refuse at once what a training would complain of later.
    """

    def __init__(self, cfg: DictConfig, *, with_weights: bool = True, resume: bool = False, training: bool = False):
        self.cfg, self.directory = cfg, Path(cfg.output_dir)
        seed_everything(cfg.seed, workers=True, verbose=False)
        if cfg.threads is not None:
            torch.set_num_threads(cfg.threads)
        if cfg.benchmark.batch_size < 1:
            raise ValueError(f"benchmark.batch_size={cfg.benchmark.batch_size} must be 1 or more")
        if cfg.trainer.limit_test_batches == 0:
            raise ValueError("trainer.limit_test_batches=0 leaves nothing to test")
        selection = {"selection": cfg.selection} if cfg.get("selection") else {}
        self.datamodule: LightningDataModule = build.instantiate(cfg.datamodule, **selection)
        check_labels(cfg, build.instantiate(cfg.task), self.datamodule)
        weights = {} if with_weights else {"pretrained": False, "checkpoint": None}
        self.vit: nn.Module = build.instantiate(cfg.backbone, num_classes=self.datamodule.num_classes, **weights)
        self.datamodule.adapt(resolve_model_data_config(self.vit))
        reducer, schedule = build.instantiate(cfg.reducer), build.instantiate(cfg.schedule)
        self.model = ReducedViT(self.vit, reducer, schedule, cfg.proportional_attention, cfg.size_weighted)
        self.teacher = self._teacher()
        if cfg.get("activation_checkpointing"):
            self.vit.set_grad_checkpointing()  # type: ignore[operator]  # timm's, not declared by nn.Module
        for module in (self.vit, self.model):
            compile_in_place(module, cfg.get("compile"))
        same = wandb_log.same_run(cfg.logger, self.directory) if resume and cfg.logger else {}
        loggers = [build.instantiate(cfg.logger, **same)] if cfg.logger else False
        for logger in loggers or ():
            csv_log.without_failing(logger)
        callbacks = [StopNotFinite()]  # before those that save, or go by a score
        self.metric = build.instantiate(cfg.task).func.metric_named(cfg.score)
        nodes = [node for node in cfg.callbacks.values() if node is not None]
        callbacks += [build.instantiate(node, **direction(node, self.metric)) for node in nodes]
        callbacks.append(FollowsItsRun(self.directory, checkpoints.readable))
        self.trainer: Trainer = build.instantiate(cfg.trainer)(callbacks=callbacks, logger=loggers)
        check_launcher(self.trainer)
        write_whole_files(self.trainer)
        interrupt.arrange(self.trainer)
        self.shards = shards(self.trainer)
        self.task = self._task(self._lent(self.model))
        if training:
            self._check_training()
        self.record = record.Record(self.directory / record.FILE, resume=resume)
        self._finished: dict[Path, bytes] = {}  # files of the finished run that a resume goes on with
        self._begun, self._notices = False, [*self.model.notices, *getattr(self.vit, "load_notices", [])]

    def begin(self, notices: Sequence[str] = ()) -> None:
        """Write the settings and open the record, once: from here on, however the run ends, its record says so.

        notices: lines for the record, besides those of the model.
        """
        if self._begun:
            return
        self._begun = True
        self._notices += [notice for notice in notices if notice not in self._notices]
        if rank_zero_only.rank == 0:
            if self.record.data.get("status") == "finished":
                files = [
                    self.record.path,
                    *(self.directory / name for name in (directories.COMPOSED, directories.RESOLVED)),
                ]
                self._finished = {file: file.read_bytes() for file in files if file.is_file()}
            # What a run was trained with before it went on with something else is not forgotten.
            before = [said for said in self.record.data.get("notices") or [] if str(said).startswith("weights trained")]
            self._notices = [*before, *(notice for notice in self._notices if notice not in before)]
            directories.save_config(self.cfg, self.directory)
            self.record.start(**self._settings())
            for logger in self.trainer.loggers:
                logger.log_hyperparams(OmegaConf.to_container(self.cfg, resolve=True))

    def begin_with_training(self, notices: Sequence[str] = ()) -> None:
        """Begin when the state of the training that is resumed has been read and has given a loss, not before."""
        callbacks: list[Any] = self.trainer.callbacks  # type: ignore[attr-defined]  # not in Lightning's types
        callbacks.insert(0, Begin(self.begin))
        self._notices += notices

    def optimizer(self) -> torch.optim.Optimizer | None:
        """The optimizer as it will be made, to be thrown away; None for a task without."""
        if not self.cfg.get("optimizer"):
            return None
        epochs = self.trainer.max_epochs or 0
        epochs = epochs if epochs > 0 else 10_000  # max_steps says how long: the warm-up fits in, for all we know
        batch = getattr(self.datamodule, "batch_size", 0)
        made = build.instantiate(self.cfg.optimizer)(self.task.model, 10 * epochs, epochs, batch)
        return made["optimizer"]  # type: ignore[no-any-return]

    def _check_training(self) -> None:
        """What a training would complain of only when all has been evaluated."""
        if hasattr(self.datamodule, "check_training"):
            self.datamodule.check_training()
        if self.cfg.trainer.limit_train_batches == 0:
            raise ValueError("trainer.limit_train_batches=0 leaves nothing to train on")
        check_length(self.trainer.max_epochs, self.trainer.max_steps)
        batch = getattr(self.datamodule, "batch_size", 0)
        if hasattr(self.task, "check_batch"):
            self.task.check_batch(batch)
        self.optimizer()

    def _task(self, model: nn.Module) -> LightningModule:
        configure = build.instantiate(self.cfg.optimizer) if self.cfg.get("optimizer") else None
        task: LightningModule = build.instantiate(self.cfg.task)(model, self.datamodule.num_classes, configure)
        task.teacher = self.teacher  # type: ignore[assignment]  # no module: it is neither trained nor saved
        return task

    def _teacher(self) -> Teacher | None:
        """The teacher of the configuration. ValueError if no loss of the method asks for one."""
        node = teacher.node(self.cfg.get("teacher"))
        if node is None:
            return None
        if not self.model.losses_ask:
            name = self.model.method.__name__
            raise ValueError(f"teacher={self.cfg.teacher}: {name} has no losses(plans, context) to learn from it with")
        vit = build.instantiate(node, num_classes=self.datamodule.num_classes)
        return Teacher(ReducedViT(vit, build.find_reducer("none"), Stages(1.0)))

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
            "metric": self.metric._asdict(),
            "seed": cfg.seed,
            "selection": getattr(self.datamodule, "selection", "validation") if "optimizer" in cfg else None,
            "reader": getattr(self.datamodule, "reader", None),
            "notices": [*self._notices, *_cut_short(cfg)],
            "code": code.of_config(OmegaConf.to_container(cfg)),
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
        (logged,) = self.trainer.test(task, self.datamodule, verbose=False)
        found = {key.split("/", 1)[1]: value for key, value in logged.items()}
        score = found.get(self.cfg.score)
        if score is not None and not math.isfinite(score):
            raise NotFinite(f"{name}: the {self.cfg.score} is {score}")
        self.note(**{name: found | getattr(task, "images", {}).get(name, {})})

    def note_selected(self, selected: ModelCheckpoint) -> None:
        """What the epoch that was chosen was chosen by, into the record."""
        if selected.best_model_score is not None:
            metric = str(selected.monitor).partition("/")[2]
            metric = self.cfg.score if metric == f"{self.cfg.score}_best" else metric
            score = {metric: float(selected.best_model_score)}
            self.note(validation=score | getattr(self.task, "images", {}).get("val", {}))

    def measure(self) -> None:
        """Cost, speed and real token counts on a batch of test images, into the record."""
        device = self.trainer.strategy.root_device
        images = next(iter(self.datamodule.test_dataloader()))[0][: self.cfg.benchmark.batch_size]
        # A precision such as bf16-true has made the model another type for good, where a strategy does not shard.
        images = images.to(device, next(self.vit.parameters()).dtype)
        models: dict[str, nn.Module] = {"dense": self.vit.to(device)}
        if self.model.method.reduces:
            models["reduced"] = self.model.to(device)
        some = images if self.model.method.dynamic else images[:1]  # the same for every image, but for such methods
        with torch.compiler.set_stance("force_eager"):  # operations are counted where PyTorch dispatches them
            self.note(gflops={name: gflops_per_image(model, some) for name, model in models.items()})
        self.record.update(tokens_per_block=self.model.tokens_per_block())
        with self.trainer.precision_plugin.forward_context():
            self.note(images_per_second=images_per_second(models, images, self.cfg.benchmark.seconds))
        self.note(measured_at_batch_size=len(images))

    def corrupt(self) -> list[str] | None:
        """Images that no process could read; None for data that does not skip them. To be asked by all processes."""
        if getattr(self.datamodule, "on_corrupt", None) != "skip":
            return None
        mine: list[str] = self.datamodule.corrupt  # type: ignore[assignment]  # declared by PictureData alone
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
                write_whole(self.directory / CORRUPT, "".join(f"{printable(name)}\n" for name in corrupt))
            self.measure()
            self.end("finished")
            log.info(summary.text(self.record.data, outputs=str(self.directory)))
        return self.record.data

    def end(self, status: str, error: BaseException | None = None) -> None:
        """Close the record, and put it into the results store."""
        command = "train" if "optimizer" in self.cfg else "evaluate"
        said = None if error is None else faults.told(error, command) or faults.first_words(error)
        self.record.update(error=None if said is None else printable(said, keep="\n"))
        self.record.finish(status)
        store.Store(self.cfg.paths.store).append(store.entry(self.cfg, self.record.data))
        try:
            wandb_log.close(self.trainer.loggers, self.record.data, self.record.path)
        except Exception as problem:  # all is recorded; W&B's own errors are of many kinds
            log.warning("W&B was not told how the run ended: %s", problem)

    def _leave(self) -> None:
        """A finished run that was not trained any further stays as it was."""
        for file, content in self._finished.items():
            write_whole(file, content)
        self.record = record.Record(self.record.path, resume=True)
        wandb_log.close(self.trainer.loggers, self.record.data, self.record.path)

    @contextmanager
    def recorded(self) -> Iterator[None]:
        """However the run ends, its record says so."""
        try:
            with processes.of_this_run(self.directory):
                yield
        except BaseException as problem:
            error = interrupt.behind(problem, self.trainer)
            if self.trainer.is_global_zero and self._begun:
                if self._finished and not getattr(self.task, "began", True):
                    self._leave()
                    raise
                if self.record.data.get("status") == "finished":  # what is missing is its copy in the store
                    with suppress(OSError):
                        store.reconcile(self.directory, self.cfg.paths.store, self.cfg)
                    raise
                # A cluster's engine that wants to start the job again leaves it by SystemExit.
                stopped = isinstance(error, (Interrupted, KeyboardInterrupt, SystemExit))
                try:
                    self.end("interrupted" if stopped else "failed", error)
                except OSError as second:  # the same full disk; the first error is the one to tell
                    log.warning("how the run ended could not be recorded: %s", second)
            if error is not problem:
                raise error from problem
            raise


def _cut_short(cfg: DictConfig) -> list[str]:
    """That a training is on a part of the images only; for evaluations the record has numbers of images."""
    parts = {key: cfg.trainer.get(key) for key in ("limit_train_batches", "overfit_batches", "fast_dev_run")}
    whole = (None, 0, False)
    return [
        f"trainer.{key}={value}: not all training images are used"
        for key, value in parts.items()
        if "optimizer" in cfg and value not in whole and not (isinstance(value, float) and value == 1)
    ]


def _describe(name: str, settings: dict[str, Any]) -> str:
    said = ", ".join(f"{key}={value}" for key, value in settings.items() if value not in (None, False))
    return f"{name}: {said}"
