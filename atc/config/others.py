"""Ranges and choices of settings that belong to other libraries, whose signatures name types alone."""

from typing import Annotated, Any, Literal

from atc.values import Count, NotNegative, Share, Whole
from atc.values.kinds import Built

Part = Annotated[int, "[0, inf)"] | Share | None  # a number of batches, or a share of them
FromMinusOne = Annotated[int, "[-1, inf)"]  # -1: without end

_TRAINER: dict[str, Any] = {
    "accelerator": Literal["auto", "cpu", "gpu", "cuda", "mps"],
    "strategy": str | Built,
    "devices": FromMinusOne | list[Whole] | str,
    "num_nodes": Count,
    "max_epochs": FromMinusOne | None,
    "min_epochs": Whole | None,
    "max_steps": FromMinusOne,
    "min_steps": Whole | None,
    **{f"limit_{part}_batches": Part for part in ("train", "val", "test", "predict")},
    "overfit_batches": Whole | Share,
    "check_val_every_n_epoch": Count | None,
    "num_sanity_val_steps": FromMinusOne | None,
    "log_every_n_steps": Whole | None,
    "accumulate_grad_batches": Count,
    "val_check_interval": Count | Annotated[float, "(0, 1]"] | str | None,
    "gradient_clip_val": NotNegative | None,
    "gradient_clip_algorithm": Literal["norm", "value"] | None,
    "reload_dataloaders_every_n_epochs": Whole,
}
RANGES: dict[str, dict[str, Any]] = {
    "lightning.pytorch.trainer.trainer.Trainer": _TRAINER,
    "lightning.pytorch.callbacks.model_checkpoint.ModelCheckpoint": {
        "mode": Literal["min", "max"],
        "save_top_k": FromMinusOne,
        "every_n_epochs": Whole | None,
        "every_n_train_steps": Whole | None,
    },
    "lightning.pytorch.callbacks.weight_averaging.EMAWeightAveraging": {"decay": Share},
}
# Settings that hold arguments for another function: by target, which they are and of what function (None: one that
# another setting names), and the arguments that the target sets itself.
PASSED_ON: dict[str, dict[str, tuple[str | None, tuple[str, ...]]]] = {
    "atc.tasks.detection.Detection": {
        "detector": (
            "atc.dense.build_detector.build_detector",
            (
                *("vit", "num_classes", "reducer", "schedule"),
                *("as_released", "proportional_attention", "size_weighted"),
            ),
        )
    },
    "atc.tasks.optim.configure": {
        "opt_args": (None, ("lr", "weight_decay", "opt", "model_or_params")),
        "sched_args": (
            "timm.scheduler.create_scheduler_v2",
            (
                *("optimizer", "sched", "num_epochs", "updates_per_epoch", "step_on_epochs"),
                *("min_lr", "warmup_epochs", "warmup_lr", "warmup_prefix"),
            ),
        ),
    },
}
