"""A directory of the user's own files, `--config-dir DIR`, for what composes a configuration without Hydra's main."""

from collections.abc import Sequence
from pathlib import Path

from atc.config.arguments import option, quoted

OPTIONS = ("--config-dir", "-cd")
SWEEPS = Path(__file__).resolve().parents[1] / "sweeps"  # in an installation from a wheel; in a checkout there is none


def place(named: str) -> str:
    """The directory that a command line names: `sweeps`, where there is none here, is that of the installation.

    Args:
        named: as typed.
    """
    return str(SWEEPS) if Path(named) == Path("sweeps") and not Path(named).exists() and SWEEPS.is_dir() else named


def with_places(arguments: Sequence[str]) -> list[str]:
    """A command line with the directory of the option as it is to be looked for.

    Args:
        arguments: as typed.
    """
    found, waiting = [], iter(arguments)
    for argument in waiting:
        name, equals, value = argument.partition("=")
        found.append(f"{name}={place(value)}" if name in OPTIONS and equals else argument)
        if argument in OPTIONS:
            found += [place(one) for one in (next(waiting, None),) if one is not None]
    return found


def override(arguments: Sequence[str]) -> list[str]:
    """The setting by which Hydra finds files in the directory that a command line names.

    Args:
        arguments: a command line.

    Returns:
        The setting; nothing for a command line without the option.

    Raises:
        ValueError: there is no such directory.
    """
    named = option(arguments, *OPTIONS)
    if named is None:
        if any(argument in OPTIONS for argument in arguments):
            raise ValueError(f"{OPTIONS[0]} needs a directory, as in {OPTIONS[0]} my_conf")
        return []
    directory = Path(place(named)).expanduser()
    if not directory.is_dir():
        raise ValueError(f"{OPTIONS[0]} {named}: there is no such directory")
    return [f"hydra.searchpath=[{quoted(f'file://{directory.absolute()}')}]"]


def without(arguments: Sequence[str]) -> list[str]:
    """A command line without the option and its directory."""
    rest, waiting = [], iter(arguments)
    for argument in waiting:
        if argument in OPTIONS:
            next(waiting, None)
        elif argument.partition("=")[0] not in OPTIONS:
            rest.append(argument)
    return rest
