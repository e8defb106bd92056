"""The frame of commands whose settings are a file of conf/ and a command line, but which are no runs of Hydra."""

import logging
import sys
import traceback
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from hydra import initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from atc.config import build, installed, search_path, streams
from atc.config.arguments import quoted
from atc.config.combinations import not_lists
from atc.config.errors import one_line
from atc.printable import Printable, printable_message
from atc.values import check


def answer(name: str, page: str, arguments: Sequence[str], work: Callable[[], object]) -> int:
    """Run a command, with Hydra initialised on conf/. A user's mistake is told in one line; with debug=true in full.

    Args:
        name: of the command's file in conf/.
        page: what --help shows before that file.
        arguments: the command line.
        work: what the command does.

    Returns:
        The exit status: 0, 2 after an error of the user's, 1 after any other, 130 after Ctrl-C.
    """
    return streams.ended(lambda: _status(name, page, list(arguments), work))


def _status(name: str, page: str, arguments: list[str], work: Callable[[], object]) -> int:
    if {"-h", "--help"} & set(arguments):
        print(f"{page}\n{(build.conf_dir() / f'{name}.yaml').read_text()}")
        return 0
    try:
        installed.register()
        with initialize_config_dir(str(build.conf_dir()), version_base="1.3"):
            work()
    except BrokenPipeError:
        raise
    except Exception as error:
        line = None if "debug=true" in arguments else one_line(error, name, not_lists(arguments))
        if line is None:
            traceback.print_exception(error)
            return 1
        print("error:", printable_message(line, arguments), file=sys.stderr)
        return 2
    return 0


def check_types(cfg: DictConfig, types: Mapping[str, Any]) -> None:
    """Refuse a setting that cannot have its value.

    Args:
        cfg: the settings of a command.
        types: what each may be, by its name, with dots for one of a part.

    Raises:
        ValueError: one line.
    """
    for name, annotation in types.items():
        value = OmegaConf.select(cfg, name)
        check(name, OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value, annotation)


def log_to_stderr(logger: str) -> None:
    """Show what a command does, on stderr.

    Args:
        logger: the name of the logger whose messages are shown.
    """
    said = logging.getLogger(logger)
    said.setLevel(logging.INFO)
    if not said.handlers:
        handler = logging.StreamHandler()
        handler.addFilter(Printable())
        said.addHandler(handler)


def without_options(arguments: Sequence[str], example: str) -> list[str]:
    """The settings of a command line whose only option is --config-dir.

    Args:
        arguments: the command line.
        example: a setting, for the message.

    Raises:
        ValueError: another argument begins with a dash; one line.
    """
    settings = search_path.without(arguments)
    for argument in settings:
        if argument.startswith("-"):
            raise ValueError(
                f"{argument}: settings have no dashes, as in {example}; there is the option --config-dir DIR"
            )
    return settings


def literal(setting: str, paths: Collection[str]) -> str:
    """A setting as Hydra's grammar reads it: a path is taken literally, whatever is in it.

    Args:
        setting: NAME=VALUE.
        paths: the names whose values are paths.
    """
    name, _, value = setting.partition("=")
    plain = name not in paths or value in ("", "null") or value[0] in "'\""
    return setting if plain else f"{name}={quoted(value)}"
