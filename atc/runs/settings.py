"""A configuration as plain containers, which is what records and identities are made of."""

from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

# ${unless:A,B} of conf/schedule: B, and null where there is A.
OmegaConf.register_new_resolver("unless", lambda first, second: second if first is None else None, replace=True)


def command_of(settings: Mapping[str, Any] | DictConfig) -> str:
    """Which command a configuration, or what a record holds of it, is one of.

    Args:
        settings: of a run, by group and setting.

    Returns:
        "train", "evaluate" or "generate".
    """
    return "generate" if "pipeline" in settings else "train" if "optimizer" in settings else "evaluate"


def plain_settings(cfg: DictConfig, *, resolve: bool = False) -> dict[str, Any]:
    """A configuration as plain containers.

    Args:
        cfg: the configuration, or a group of it.
        resolve: replace ${...} by what it stands for.

    Returns:
        A copy.
    """
    plain: dict[str, Any] = OmegaConf.to_container(cfg, resolve=resolve)  # type: ignore[assignment]  # it is a mapping
    return plain
