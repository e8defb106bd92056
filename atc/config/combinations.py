"""Command lines that name several values at once: reducer=[atc_average,tome] keep_rate=[0.5,0.7]."""

import itertools
from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple

from hydra import compose
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from atc.config import from_files
from atc.config.arguments import check_counts


class Choice(NamedTuple):
    """One combination of the settings that were given as lists."""

    reducer: str | None  # None where the group was left out
    cfg: DictConfig


def chosen_options(runtime: Any) -> dict[str, Any]:
    """Which option of each config group was chosen, without Hydra's own groups and those of defaults lists.

    Args:
        runtime: Hydra's `hydra.runtime`, with the choices and where it looks for files.

    Returns:
        Names of options by group, such as ``{"reducer": "tome"}``.

    Raises:
        ValueError: an option under another name than its own, or a file that ATC's own hides.
    """
    from_files.check_choices(runtime)
    choices = runtime.choices
    return {group: choices[group] for group in choices if "hydra" not in group and "@" not in group}


def not_lists(given: Sequence[str]) -> list[str]:
    """The part of a command line that is no list of values: options, and settings of one value."""
    return [said for said in given if "[" not in said or "=" not in said or said.startswith("hydra.")]


def combinations(config: str, given: Sequence[str], several: Collection[str]) -> Iterator[Choice]:
    """Every combination of the settings given as lists, as if it had been given alone.

    Args:
        config: a file of conf/, on which Hydra is initialised.
        given: the command line.
        several: the settings that may be lists, the group `reducer` among them and else of the top level.

    Returns:
        Configurations, each of which says in `choices` which option of each group it is.

    Raises:
        ValueError: an empty list.
    """
    lists: dict[str, list[Any]] = {}
    others = []
    said = OverridesParser.create().parse_overrides(list(given))
    check_counts({override.key_or_group: override.value() for override in said})
    for argument, override in zip(given, said, strict=True):
        value = override.value()
        if override.key_or_group in several and isinstance(value, list):
            if not value:
                raise ValueError(f"{argument}: nothing between the brackets")
            lists[override.key_or_group] = value
        else:
            others.append(argument)
    for reducer in lists.pop("reducer", [None]):
        chosen = [] if reducer is None else [f"reducer={reducer}"]
        cfg = compose(config, [*others, *chosen], return_hydra_config=True)
        OmegaConf.set_struct(cfg, False)
        cfg.choices = chosen_options(cfg.hydra.runtime)
        del cfg["hydra"]
        for values in itertools.product(*lists.values()):
            single = cfg.copy()
            single.update(zip(lists, values, strict=True))
            yield Choice(single.choices.get("reducer"), single)
