"""The command line of train and evaluate, before Hydra reads it."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import OverrideParseException
from omegaconf import OmegaConf

from atc.config import build, sections
from atc.values import shown

# Settings that are files or directories, which may hold any characters.
_PATH = re.compile(
    r"(checkpoint|resume|weights|pipeline|images|classes|(paths|hydra)\..+|.+\.(root|checkpoint|prompts|dir|reference))$"
)
# What comes with a checkpoint's run, and has other settings than the defaults that Hydra composes first.
_SAVED = ("datamodule", "backbone", "reducer", "schedule", "optimizer", "task")
_GRAMMAR = set("[]{}()'\",\\=$")  # what Hydra's grammar is made of; other text is text
_REFERENCE = re.compile(r"(\\*)\$\{")
_SEVERAL = ("-m", "--multirun")
_DRY_RUN, _NAME = "--dry-run", ("--config-name", "-cn")
_EXAMPLE = "--config-dir sweeps -cn digits_all"

# Settings that are not for the command line, and what to give instead.
_SET = {
    "output_dir": "to name its directory: hydra.run.dir={}",
    "choices": "the options of groups are given each by its own name, as in reducer=tome",
}


def readable(name: str, arguments: Sequence[str]) -> list[str]:
    """The arguments in Hydra's terms: --dry-run, paths as they are, settings of a saved run's groups.

    Args:
        name: of the command.
        arguments: its command line.

    Raises:
        ValueError: what Hydra would answer in terms of its own.
    """
    _without_dashes(name, arguments)
    arguments = _options_first(arguments)
    _check_sweep(arguments)
    several = any(said in arguments for said in _SEVERAL)
    found = [said if _is_option(said) else _literal(said, several) for said in arguments if said != _DRY_RUN]
    found = _over_saved(found, name)
    if _DRY_RUN in arguments:
        sweeper = option(arguments, *_NAME) or any(said.startswith("hydra/sweeper=") for said in arguments)
        if not sweeper:
            raise ValueError(f"{_DRY_RUN} lists the runs of a sweep, as in {_EXAMPLE} {_DRY_RUN}")
        # Beside the other settings: argparse takes them from one place only.
        first = next((place for place, said in enumerate(found) if _is_setting(said)), len(found))
        found.insert(first, "hydra.sweeper.dry_run=true")
    return found


def quoted(text: str) -> str:
    """Text as Hydra's grammar reads it whatever is in it."""
    escaped = text.replace("'", "\\'")
    return f"'{escaped}'"


def check_groups(name: str, overrides: Sequence[str]) -> None:
    """ValueError for reducer=[atc_average,tome], which Hydra takes for a mixture, and for what would be replaced."""
    said = OverridesParser.create().parse_overrides(list(overrides))
    if name != "predict":  # whose threshold is of scores
        check_counts({override.key_or_group: override.value() for override in said})
    for override in said:
        group, value = override.key_or_group, override.value()
        if group in _SET:
            raise ValueError(f"{group}={value} is set when the run starts; {_SET[group].format(value)}")
        if isinstance(value, list) and (build.conf_dir() / group).is_dir():
            names = ",".join(map(str, value))
            raise ValueError(f"{group}=[{names}]: a run has one {group}; for one run each: -m {group}={names}")


def check_counts(said: Mapping[str, Any]) -> None:
    """ValueError for a keep rate and a threshold beside each other.

    Args:
        said: the values of a command line by setting.
    """
    rates, thresholds = (said.get(name) for name in ("keep_rate", "threshold"))
    if rates is not None and thresholds is not None:
        raise ValueError(
            f"give either keep_rate or threshold, got keep_rate={shown(rates)} and threshold={shown(thresholds)}"
        )


def _is_option(argument: str) -> bool:
    return argument.startswith("-")


def _is_setting(argument: str) -> bool:
    return "=" in argument and not _is_option(argument)


def _without_dashes(name: str, arguments: Sequence[str]) -> None:
    """ValueError for --keep_rate=0.5 and the like."""
    settings = {str(key) for key in OmegaConf.load(build.conf_dir() / f"{name}.yaml")}
    settings |= {path.name for path in build.conf_dir().iterdir() if path.is_dir()}
    for argument in arguments:
        key = argument.removeprefix("--").partition("=")[0]
        if argument.startswith("--") and key in settings:
            raise ValueError(f"{argument}: settings have no dashes and one = without spaces, as in {key}=VALUE")


def _options_first(arguments: Sequence[str]) -> list[str]:
    """Options, then settings: Hydra's parser takes settings from one place only. ValueError for no such option."""
    parser = get_args_parser()
    parser.add_argument(_DRY_RUN, action="store_true")

    def error(message: str) -> NoReturn:
        raise ValueError(f"{message}; --help shows settings and options")

    parser.error = error  # type: ignore[method-assign]  # else it prints its usage, of ten lines
    settings = parser.parse_intermixed_args(arguments).overrides
    for said in settings:
        if said.startswith("=") and said != "=":
            raise ValueError(f"{said} is not of the form NAME=VALUE, without spaces: there is no name before the =")
    return [argument for argument in arguments if argument not in settings] + settings


def option(arguments: Sequence[str], *names: str) -> str | None:
    """The value of an option, as `-cn NAME` or `--config-name=NAME`; None if it is not given.

    Args:
        arguments: a command line.
        *names: of the option, long and short.
    """
    for place, argument in enumerate(arguments):
        key, equals, value = argument.partition("=")
        if key in names:
            return value if equals else next(iter(arguments[place + 1 :]), None)
    return None


def _check_sweep(arguments: Sequence[str]) -> None:
    """ValueError if the file that -cn names is not there or only for reports."""
    directory, name = option(arguments, "--config-dir", "-cd"), option(arguments, *_NAME)
    if directory is None or name is None or not Path(directory).is_dir():
        return
    file = Path(directory) / f"{name.removesuffix('.yaml')}.yaml"
    if not file.is_file():
        known = sorted(path.stem for path in Path(directory).glob("*.yaml"))
        raise ValueError(f"-cn {name}: {build.nearest(name, known)}")
    sweep = sections.load(file)
    if "report" in sweep and "defaults" not in sweep:
        others = sweep.report.get("of") if OmegaConf.is_dict(sweep.report) else None
        of = ", ".join(map(str, others or [])) or "python -m atc.bench"
        raise ValueError(
            f"{name} has no runs of its own: its numbers are those of {of}; see python -m atc.report {name}"
        )


def _literal(argument: str, several: bool) -> str:
    """A setting that Hydra's grammar can read: paths are quoted where they need it, and ~ is the home directory.

    several: whether commas stand between the values of several runs, unless there is a file or directory of that name.
    """
    key, equals, value = argument.partition("=")
    if not equals:
        return argument
    if _PATH.match(key.lstrip("+")) and value[:1] not in ("", *"'\"[{"):
        path = Path(value).expanduser()
        there = os.path.lexists(path)
        if there and "${" in value:  # else it refers to another setting
            text = _REFERENCE.sub(lambda found: found[1] * 2 + r"\${", str(path))
            return f"{key}={quoted(text)}"
        if "," in value and "(" not in value and (there or not several):
            return f"{key}={quoted(str(path))}"
    try:
        OverridesParser.create().parse_overrides([argument])
    except OverrideParseException:
        if not _PATH.match(key.lstrip("+")):
            return argument if set(value) & _GRAMMAR else f"{key}={quoted(value)}"
        return f"{key}={quoted(str(Path(value).expanduser()) if value.startswith('~') else value)}"
    return argument


def _over_saved(arguments: list[str], name: str) -> list[str]:
    """With a checkpoint's run to build on, settings that only its groups have are not unknown."""
    said = {key: value for key, equals, value in (argument.partition("=") for argument in arguments) if equals}
    given = said.get("resume" if name == "train" else "checkpoint", "null")
    if given in ("null", "auto", ""):
        return arguments
    groups = tuple(f"{group}." for group in _SAVED if group not in said)
    return [f"++{argument}" if argument.startswith(groups) and "=" in argument else argument for argument in arguments]
