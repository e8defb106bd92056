"""The setting `teacher`: which backbone of conf/backbone is the teacher."""

from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from atc.config import build
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
