"""The setting `teacher`: which backbone of conf/backbone is the teacher."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from atc.config import build
from atc.runs import directories
from atc.values import shown


def node(said: Any, backbone: DictConfig | None = None) -> DictConfig | None:
    """The settings of the teacher's backbone.

    Args:
        said: `teacher` as configured: null, the name of a backbone, or its name as `backbone` with settings that differ
            from those of its file; true: the backbone that is trained, as it was before.
        backbone: the settings of that one.

    Returns:
        What `build.instantiate` takes; None without a teacher.

    Raises:
        ValueError: no such backbone, or no such setting of it; one line.
    """
    if said is None or said is False:
        return None
    if said is True:
        return backbone
    plain = OmegaConf.to_container(said, resolve=True) if OmegaConf.is_config(said) else said
    own: dict[Any, Any] = dict(plain) if isinstance(plain, Mapping) else {"backbone": plain}
    name = own.pop("backbone", None)
    options = build.names("backbone")
    if not isinstance(name, str) or name not in options:
        raise ValueError(f"teacher={shown(plain)}: its backbone is none there is: {build.nearest(str(name), options)}")
    found: Any = OmegaConf.load(build.conf_dir() / "backbone" / f"{name}.yaml")
    found = found.backbone if "backbone" in found else found
    known = [str(key) for key in found]  # those without a default, ???, are not "in" it
    if unknown := [key for key in own if key not in known]:
        left = build.nearest(str(unknown[0]), [key for key in known if key[0] != "_"])
        raise ValueError(f"teacher.{unknown[0]}: the backbone {name} has no such setting: {left}")
    merged: Any = OmegaConf.merge(found, own)
    for key in OmegaConf.missing_keys(merged):
        raise ValueError(f"teacher={shown(plain)}: {key} has no default: teacher={{backbone:{name},{key}:...}}")
    return merged


def is_trained(node: DictConfig) -> bool:
    """Whether a teacher, by the settings of its backbone, has weights that somebody trained."""
    return bool(node.get("checkpoint") or node.get("pretrained", True))


def of_run(node: DictConfig) -> dict[str, str]:
    """The weight file of a teacher whose `checkpoint` is a run directory, under that name; nothing for others."""
    given = node.get("checkpoint")
    is_run = given is not None and Path(str(given)).expanduser().is_dir()
    return {"checkpoint": str(directories.checkpoint_file(given))} if is_run else {}


def check_classes(said: Any, vit: Any, num_classes: int) -> None:
    """Refuse a teacher whose head was trained on other classes, or is new: it would teach noise.

    Args:
        said: `teacher` as configured.
        vit: the teacher with its own head; None for one that was never trained.
        num_classes: of the data set.

    Raises:
        ValueError: one line.
    """
    if vit is None:
        return
    own = getattr(vit, "num_classes", num_classes)
    if own == num_classes and not getattr(vit, "head_is_new", False):
        return
    trained = f"is for {own} classes, and the data set has {num_classes}" if own != num_classes else "is not trained"
    raise ValueError(
        f"teacher={'true' if said is True else shown(said)}: its head {trained}: take one that was fine-tuned there, "
        f"teacher={{backbone:NAME,checkpoint:RUN_OR_FILE}}"
    )
