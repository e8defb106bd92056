"""Methods of installed packages: the entry-point group ``atc.reducers``, which needs no file in conf/.

    [project.entry-points."atc.reducers"]
    mine = "my_package.mine:Mine"

Then `reducer=mine` chooses it in every command, `+reducer.x=3` sets an argument, and `atc.wrap(vit, "mine")` finds it.
"""

from __future__ import annotations

from typing import Any

from hydra.core.config_store import ConfigStore

from atc.methods import GROUP
from atc.methods import installed as reducers


def load(name: str) -> Any:
    """The class of an installed method.

    Args:
        name: of its entry point.

    Returns:
        The class.

    Raises:
        ValueError: it cannot be imported; one line.
    """
    point = reducers()[name]
    try:
        return point.load()
    except (ImportError, AttributeError) as error:
        raise ValueError(f"the reducer '{name}' ({point.value}) cannot be imported: {error}") from error


def node(name: str) -> dict[str, Any]:
    """The settings of an installed method, as a file of conf/reducer would have them."""
    point = reducers()[name]
    return {"_target_": f"{point.module}.{point.attr}", "_partial_": True}


def register() -> None:
    """Let Hydra compose `reducer=NAME` for installed methods; a file of that name in conf/ or --config-dir counts."""
    for name in reducers():
        ConfigStore.instance().store(group="reducer", name=name, node=node(name), provider=GROUP)
