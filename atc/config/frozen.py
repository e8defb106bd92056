"""Tasks on frozen models, which evaluate and never train: what goes with them, and the backbone as they take it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from atc.config import prompts
from atc.config.build import instantiate

if TYPE_CHECKING:
    from torch import nn

ZERO_SHOT, PROBE = "atc.tasks.zero_shot.ZeroShot", "atc.tasks.probe.Probe"
NAMES = {ZERO_SHOT: "zero_shot", PROBE: "probe"}
OF_ONE_PROBE = {"k": "knn", "temperature": "knn", "C": "linear"}
# By the target of a backbone of images alone: that of the same library's model with a text tower.
WITH_TEXT = {
    "atc.vit.other_backbones.transformers_vit": "atc.vit.zero_shot.transformers_clip",
    "atc.vit.other_backbones.open_clip_vit": "atc.vit.zero_shot.open_clip",
}


def check(cfg: DictConfig, command: str) -> None:
    """Refuse settings that do not go with a task on a frozen model.

    Args:
        cfg: composed.
        command: "train" or "evaluate".

    Raises:
        ValueError: they do not go together; one line.
        FileNotFoundError: there is no prompts file.
    """
    task = cfg.task["_target_"]
    name = NAMES.get(task)
    if name is None:
        return
    if command == "train":
        raise ValueError(f"task={name} evaluates a model that is not trained: python evaluate.py task={name} ...")
    if task == ZERO_SHOT:
        _check_text(cfg)
        prompts.read(cfg.task.prompts)
    else:
        for key, probe in OF_ONE_PROBE.items():
            if cfg.task.get(key) is not None and cfg.task.get("probe", "knn") != probe:
                raise ValueError(f"task.{key}={cfg.task[key]} is for task.probe={probe}, not {cfg.task.probe}")


def _check_text(cfg: DictConfig) -> None:
    if cfg.backbone["_target_"] not in WITH_TEXT:
        chosen = (cfg.get("choices") or {}).get("backbone", cfg.backbone["_target_"])
        raise ValueError(
            f"task=zero_shot needs a backbone with a text tower: backbone=transformers or backbone=open_clip, with "
            f"backbone.name of a CLIP or SigLIP; backbone={chosen} has none"
        )
    for key, value in (("checkpoint", cfg.get("checkpoint")), ("backbone.checkpoint", cfg.backbone.get("checkpoint"))):
        if value is not None:
            raise ValueError(
                f"{key}={value} holds an image tower alone, and task=zero_shot takes both towers of one model: name it "
                f"with backbone.name and, for open_clip, backbone.weights=TAG or FILE"
            )


def build_backbone(cfg: DictConfig, num_classes: int, **weights: Any) -> nn.Module:
    """The backbone with the outputs that the task needs.

    Args:
        cfg: the configuration.
        num_classes: of the data set.
        **weights: settings of the backbone to replace.

    Returns:
        A model from images to an output for each class; for a probe, to features.

    Raises:
        ValueError: it cannot be built, or the prompts are for other classes.
    """
    task = cfg.task["_target_"]
    if task == PROBE:
        return instantiate(cfg.backbone, num_classes=0, **weights)
    if task != ZERO_SHOT:
        return instantiate(cfg.backbone, num_classes=num_classes, **weights)
    _check_text(cfg)
    file = cfg.task.prompts
    found = prompts.read(file)
    data = (cfg.get("choices") or {}).get("datamodule", cfg.datamodule["_target_"])
    prompts.check_classes(found, num_classes, str(file), data)
    build = instantiate(cfg.backbone, _target_=WITH_TEXT[cfg.backbone["_target_"]], _partial_=True, **weights)
    return build(texts=found.texts, device=_device(cfg))


def described(cfg: DictConfig) -> dict[str, Any]:
    """Of a zero-shot run, its prompts as its record has them; of others nothing."""
    return {"prompts": prompts.read(cfg.task.prompts).described()} if cfg.task["_target_"] == ZERO_SHOT else {}


def _device(cfg: DictConfig) -> str:
    """Where the sentences are encoded: on the GPU that the run uses, else on the CPU."""
    import torch

    accelerator = cfg.trainer.get("accelerator", "auto")
    return "cuda" if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available() else "cpu"
