"""The settings of conf/predict.yaml that have to go together; nothing is loaded for it."""

from pathlib import Path

from omegaconf import DictConfig

from atc.runs import directories
from atc.values import shown

DETECTION = "atc.tasks.detection.Detection"


def check(cfg: DictConfig) -> None:
    """Refuse a prediction without images, without a detector, or by what is none.

    Args:
        cfg: composed, with values of the right types.

    Raises:
        ValueError: one line.
        FileNotFoundError: no such image, folder or checkpoint.
    """
    if cfg.images is None:
        raise ValueError("images=null: name an image or a folder of images, as in images=FOLDER")
    path = Path(str(cfg.images)).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"images={shown(str(cfg.images))}: no such image or folder (looked from {Path.cwd()})")
    if cfg.checkpoint is None:
        raise ValueError(
            "checkpoint=null: name the run of a detector, as in checkpoint=runs/train/NAME, or its weight file"
        )
    if not str(cfg.checkpoint).startswith("hf://") and cfg.checkpoint != "last":
        directories.checkpoint_file(cfg.checkpoint)
    if cfg.task["_target_"] != DETECTION:
        named = (cfg.get("choices") or {}).get("task", cfg.task["_target_"])
        raise ValueError(
            f"checkpoint={shown(str(cfg.checkpoint))} is a run of task={named}: objects are found by a detector, "
            f"task=detection"
        )
