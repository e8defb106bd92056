"""The settings that a checkpoint released by the authors brings: options of groups, and values that are data."""

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, get_type_hints

from hydra import compose
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from atc import methods
from atc.config import build, released_values
from atc.received import load_settings, shown
from atc.runs import directories
from atc.vit.reduced import reducer_class
from atc.weights import released

log = logging.getLogger(__name__)

# Where their names of data sets are not ours; those of methods stand on the reducers (`Reducer.released_method`).
DATA = {"nuswide": "nus_wide"}


class Brought(NamedTuple):
    """What a checkpoint's settings come to here.

    Attributes:
        options: by group, the name of an option that exists.
        values: by dotted key, a value: bool, int, float, list of int, or None.
    """

    options: dict[str, str]
    values: dict[str, Any]


def settings(args: Mapping[str, Any], said: Iterable[str] = ()) -> Brought:
    """What describes a model of the authors' training scripts, from the settings in its checkpoint.

    The file may be anybody's: names are taken from those that exist, and values by their type; nothing is parsed. The
    method computes as released, for that is how the weights were trained.

    Args:
        args: model (METHOD_SIZE_patch16_224), dataset, input_size, reduction_loc (0-based blocks), reduction_ratio (one
            keep rate, or token counts), linkage and proportional_attn (ATC), heuristic_pattern and not_contiguous
            (radial patterns), and what the method names in `Reducer.released_arguments`.
        said: groups that the command line names, whose option is not taken from the file.

    Returns:
        Options and values.

    Raises:
        ValueError: the model cannot be rebuilt, or a setting is of another type or kind; one line.
    """
    model = released_values.text(args, "model")
    method, _, rest = model.partition("_")
    size = rest.split("_")[0]
    backbone, reducer = f"deit_{size}", _option(method)
    if method == "atc":
        reducer = f"atc_{released_values.text(args, 'linkage') if 'linkage' in args else 'average'}"
    if method == "heuristic":
        reducer = _radial(args)
    if backbone not in build.names("backbone") or reducer not in build.names("reducer"):
        raise ValueError(
            f"the checkpoint holds a {shown(model)}, which would be backbone={shown(backbone)} "
            f"reducer={shown(reducer)}; there are the reducers {', '.join(build.names('reducer'))}"
        )
    if args.get("scoring_method", "K") != "K":
        raise ValueError(
            f"the checkpoint clusters by {shown(args['scoring_method'])} in place of the attention keys (K)"
        )
    options = {"backbone": backbone, "reducer": reducer}
    values: dict[str, Any] = {"as_released": True}
    if "dataset" in args and "datamodule" not in said:
        options["datamodule"] = DATA.get(released_values.text(args, "dataset"), args["dataset"])
        if options["datamodule"] not in build.names("datamodule"):
            raise ValueError(
                f"the checkpoint was trained on {shown(args['dataset'])}, which does not exist here: say "
                f"datamodule=..., one of {', '.join(build.names('datamodule'))}"
            )
    if "input_size" in args and (side := released_values.whole(args, "input_size")) != 224:
        values["backbone.img_size"] = side
    if reducer != "none":
        options["schedule"] = "stages"
        values["blocks"] = [place + 1 for place in released_values.whole_numbers(args, "reduction_loc", least=0)]
        values |= released_values.counts(args)
    if method == "atc" and "proportional_attn" in args:
        # Their one switch turns off both uses of a token's size.
        values["proportional_attention"] = values["size_weighted"] = released_values.flag(args, "proportional_attn")
    return Brought(options, values | _arguments(args, reducer))


def _option(method: str) -> str:
    """The reducer that a method of the authors' scripts is; its own name where none says so."""
    found = (name for name, reducer in methods.classes() if getattr(reducer, "released_method", None) == method)
    return next(found, method)


def _radial(args: Mapping[str, Any]) -> str:
    """The radial pattern that a checkpoint was trained with."""
    if "not_contiguous" in args and not released_values.flag(args, "not_contiguous"):
        raise ValueError(
            "the checkpoint was trained with a radius that shrinks at every block (not_contiguous=False), whatever the "
            "keep rate; the radial patterns here are those of a keep rate"
        )
    return f"radial_{released_values.text(args, 'heuristic_pattern')}"


def _arguments(args: Mapping[str, Any], reducer: str) -> dict[str, Any]:
    """The constructor arguments of a reducer that the authors' settings hold, each as its annotation has it."""
    found = reducer_class(build.find_reducer(reducer))
    kinds, values = get_type_hints(found.__init__), {}
    readers = {bool: released_values.flag, str: released_values.text, int: released_values.whole}
    for name, ours in found.released_arguments.items():
        if name in args:
            values[f"reducer.{ours}"] = readers.get(kinds[ours], released_values.number)(args, name)
    return values


def under(brought: Brought, said: list[str]) -> Brought:
    """What is left of a checkpoint's settings under those of the command line `said`.

    Settings of a reducer or a schedule go with it where the command line names another one, and counts of tokens where
    it names a keep rate.
    """
    values = {override.key_or_group: override.value() for override in _parsed(said)}
    chosen = values.keys() & {"reducer", "schedule"}
    gone = [f"{group}." for group in chosen if brought.options.get(group) != values[group]]
    if values.keys() & {"keep_rate", "schedule.keep_rate"}:
        gone.append("schedule.")

    def left(of: Mapping[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in of.items() if key not in values and not key.startswith(tuple(gone))}

    return Brought(left(brought.options), left(brought.values))


def _parsed(said: list[str]) -> list[Override]:
    return OverridesParser.create().parse_overrides(said)


def with_settings(cfg: DictConfig, name: str, said: list[str]) -> DictConfig:
    """The configuration under the settings in the file cfg.checkpoint, if it is a released one, else `cfg`.

    Args:
        cfg: as composed from conf/NAME.yaml and the command line.
        name: of the command.
        said: the command line, which goes before the file's settings; with experiment=NAME on it, nothing is taken from
            the file.
    """
    file = released.local(cfg.checkpoint)
    args = released.arguments(file) if file.is_file() else {}
    if not args or any(override.key_or_group == "experiment" for override in _parsed(said)):
        return cfg
    brought = under(settings(args, {override.key_or_group for override in _parsed(said)}), said)
    options = [f"{group}={option}" for group, option in brought.options.items()]  # all of them names of files in conf/
    found = compose(name, [*options, *said], return_hydra_config=True)
    with open_dict(found):
        for key, value in brought.values.items():
            OmegaConf.update(found, key, value, force_add=True)
        choices = found.hydra.runtime.choices
        found.choices = {group: choices[group] for group in cfg.choices}
        found.output_dir = cfg.output_dir
        del found["hydra"]
    log.info("settings of the checkpoint: %s", as_text(brought))
    return found


def trained_otherwise(cfg: DictConfig, weights: str | Path | None) -> list[str]:
    """A notice where weights were trained with another reducer than a configuration has; else none.

    Args:
        cfg: a configuration with its `choices`.
        weights: the file, or run directory; one outside of any run directory, and not released by the authors, does
            not say what it was trained with.
    """
    now = (cfg.get("choices") or {}).get("reducer")
    trained = None if weights is None or now is None else _trained_with(released.local(weights))
    if trained is None or trained == now:
        return []
    notice = f"weights trained with {shown(trained, 60)}, not with {now}"
    log.warning(notice)
    return [notice]


def _trained_with(file: Path) -> str | None:
    directory = directories.run_directory(file)
    if directory is not None:
        try:
            named = OmegaConf.select(load_settings(directory / directories.COMPOSED), "choices.reducer")
        except (ValueError, OmegaConfBaseException):
            return None
        return named if isinstance(named, str) else None
    args = released.arguments(file) if file.is_file() else {}
    if not args:
        return None
    method = released_values.text(args, "model").partition("_")[0]
    return f"atc_{args.get('linkage', 'average')}" if method == "atc" else _option(method)


def as_text(brought: Brought) -> str:
    """The settings as a command line would say them."""
    return " ".join(f"{key}={_said(value)}" for key, value in {**brought.options, **brought.values}.items())


def _said(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
