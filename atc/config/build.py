"""From configuration to objects; the only caller of hydra.utils.instantiate.

Imports torch only where something is built: --help, and most mistakes, are answered without.
"""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.utils import instantiate as _instantiate
from omegaconf import DictConfig, OmegaConf

from atc import methods
from atc.config import installed
from atc.methods import conf_dir as conf_dir
from atc.runs import settings as _settings  # noqa: F401  # with the resolver that conf/schedule uses

if TYPE_CHECKING:
    from atc.core import Reducer
    from atc.vit.reduced import ReducerFactory


def instantiate(node: Any, **overrides: Any) -> Any:
    """The object a config node describes; an ImportError or TypeError names the node's target.

    Text that still holds ${ when it is resolved, as a folder's name may, becomes a path: text is resolved again.
    """
    if isinstance(node, DictConfig):
        values = ((str(key), node[key]) for key in node if key not in overrides)
        overrides |= {key: Path(value) for key, value in values if isinstance(value, str) and "${" in value}
    return _instantiate(node, **overrides)


def names(group: str) -> list[str]:
    """The options of a config group: `names("reducer")`; of reducers, also those of installed packages."""
    own = {path.stem for path in (conf_dir() / group).glob("*.yaml")}
    return sorted(own | set(methods.installed() if group == "reducer" else ()))


def option(group: str, name: str, directories: Sequence[Path] = ()) -> DictConfig:
    """The settings of an option of a config group, as they stand.

    Args:
        group: such as "reducer".
        name: one of `names(group)`, or that of a file in `directories`.
        directories: of one's own, which may have a folder of the group.

    Returns:
        The mapping, with its interpolations.
    """
    files = (place / group / f"{name}.yaml" for place in (conf_dir(), *directories))
    path = next((file for file in files if file.is_file()), None)
    node = OmegaConf.load(path) if path is not None else OmegaConf.create(installed.node(name))
    assert isinstance(node, DictConfig)
    return node


def nearest(name: str, options: list[str]) -> str:
    """A hint for a misspelt name: 'did you mean X? ' and all options."""
    close = difflib.get_close_matches(str(name), options, n=1, cutoff=0.5)
    close = close or [option for option in options if option.startswith(str(name)) and name]
    return (f"did you mean '{close[0]}'? " if close else "") + f"there are: {', '.join(options)}"


def find_reducer(reducer: str | type[Reducer]) -> ReducerFactory:
    """The reducer of conf/reducer/NAME.yaml as a partial awaiting its Stage, an installed one, or the class given."""
    if not isinstance(reducer, str):
        return reducer
    if reducer not in names("reducer"):
        raise ValueError(f"unknown reducer '{reducer}': {nearest(reducer, names('reducer'))}")
    if not (conf_dir() / "reducer" / f"{reducer}.yaml").is_file():
        return installed.load(reducer)
    node = option("reducer", reducer)
    for key in [str(key) for key in node if OmegaConf.is_interpolation(node, str(key))]:
        del node[key]  # switches that a run sets at its top level, such as as_released: ${as_released}
    return instantiate(node)


def bind(factory: ReducerFactory, **args: Any) -> ReducerFactory:
    """The factory with constructor arguments set; ValueError names one the reducer does not take."""
    from atc.vit.reduced import reducer_class

    method = reducer_class(factory)
    taken = [name for name in inspect.signature(method).parameters if name != "stage"]
    for key in args:
        if key not in taken:
            raise ValueError(f"{method.__name__} has no argument '{key}': it takes {', '.join(taken) or 'none'}")
    return functools.partial(factory, **args)


def accepts(factory: ReducerFactory, argument: str) -> bool:
    """Whether a reducer has this constructor argument."""
    from atc.vit.reduced import reducer_class

    return argument in inspect.signature(reducer_class(factory)).parameters
