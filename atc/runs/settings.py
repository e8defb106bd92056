"""A configuration as plain containers, which is what records and identities are made of."""

from typing import Any

from omegaconf import DictConfig, OmegaConf


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
