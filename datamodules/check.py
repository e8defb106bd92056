"""Is a data set complete?

    python -m datamodules.check datamodule=nabirds datamodule.root=PATH [--decode] [--config-dir DIR]

Prints what was found beside the published counts, and how much was passed over, by kind. --decode opens every picture
as well (slow) and counts those that had to be converted. --config-dir names a directory with data sets of your own.

Exit status: 0; 1 if data are incomplete: anything missing, unreadable, damaged or counted differently; 2 for a mistake
in the command line; 130 after Ctrl-C.
"""

import difflib
import os
import re
import signal
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

if TYPE_CHECKING:  # mistakes in the command line are told without waiting for PyTorch
    from datamodules.base import PictureData

_HERE = Path(__file__).resolve().parent.parent
CONF = _HERE / "atc" / "conf" if (_HERE / "atc" / "conf").is_dir() else _HERE / "conf"  # from a wheel, or a checkout
PATHS = ("datamodule.root", "paths.data")  # taken literally, whatever is in them


def report(data: "PictureData", decode: bool = False) -> tuple[str, bool]:
    """What there is of a data set, as lines to print, and whether that is all and as published."""
    from datamodules.io.files import printable

    data.prepare_data()
    released = data.released
    counts = {"classes": len(data.classes)} | {part: len(entries) for part, (entries, _) in released.items()}
    lines = [f"{data.layout.name} in {data.root}", f"{'':10}{'found':>10}{'published':>12}"]
    good = True
    for name, count in counts.items():
        published = data.published.get(name)
        good &= published in (None, count)
        note = "" if published in (None, count) else "   differs"
        lines.append(f"{name:10}{count:>10,}{'-' if published is None else f'{published:,}':>12}{note}")
    for name in (name for name in data.published if name not in counts):
        good = False
        lines.append(f"{name:10}{0:>10,}{data.published[name]:>12,}   missing")
    if "train" not in counts and "train" not in data.published:
        good = False
        lines.append(f"{'train':10}{0:>10,}{'-':>12}   missing")
    for part, count in getattr(data, "dropped", {}).items():
        lines.append(f"{count:,} {part} pictures without annotations left out")
    if "val" in data.parts:
        lines.append(f"to select by: {len(data.parts['val'][0]):,} pictures ({data.selection})")
    for kind, count in sorted(data.listing.left_out.items()):
        lines.append(f"passed over: {count:,} {kind}")
    for part, (entries, _) in released.items():
        good &= _look_at(data, part, entries, decode, lines)
    lines.append("complete" if good else "NOT as published")
    return "\n".join(map(printable, lines)), good


def _look_at(data: "PictureData", part: str, entries: Sequence[Any], decode: bool, lines: list[str]) -> bool:
    """Whether all pictures of a part are there and, if they are decoded, can be read. Adds what there is to say."""
    from datamodules.io.naming import name_of
    from datamodules.io.pictures import UNREADABLE, Reader, check_machine, why

    reader, missing, corrupt = data.examining(), [], []
    converted: Counter[str] = Counter()
    for index, entry in enumerate(entries):
        if isinstance(entry, str) and not Path(entry).is_file():
            missing.append(entry)
        elif decode:
            try:
                if isinstance(reader, Reader):
                    converted.update(reader.examine(entry)[1])
                else:
                    reader(entry)
            except UNREADABLE as error:
                check_machine(error)
                corrupt.append(f"{name_of(entries, index)} ({why(error)})")
    if converted:
        kinds = ", ".join(f"{kind} {count:,}" for kind, count in sorted(converted.items()))
        lines.append(f"{part}: pictures converted to 8-bit RGB: {kinds}")
    for word, bad in (("missing", missing), ("unreadable", corrupt)):
        if bad:
            lines.append(f"{part}: {len(bad):,} of {len(entries):,} pictures {word}, such as {bad[0]}")
    return not missing and not corrupt


class _Failed(Exception):
    """What there is to say instead of a report, and the exit status."""

    def __init__(self, message: str, status: int = 2):
        super().__init__(message)
        self.status = status


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns the exit status."""
    for stream in (sys.stdout, sys.stderr):  # a name that the terminal cannot show must not end the command
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        text, status = _answer(list(sys.argv[1:] if arguments is None else arguments))
    except _Failed as failed:
        print(failed, file=sys.stderr)
        return failed.status
    except KeyboardInterrupt:  # as all commands end that have nothing to resume
        print("interrupted", file=sys.stderr)
        return 128 + signal.SIGINT
    try:
        print(text, flush=True)
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains once more as it ends
    return status


def _answer(arguments: Sequence[str]) -> tuple[str, int]:
    """What the command prints, and its exit status. _Failed for what ends it before there is a report."""
    if {"-h", "--help"} & set(arguments):
        return (__doc__ or "").strip(), 0
    node = _composed([argument for argument in arguments if argument != "--decode"])
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate

    from datamodules.base import PictureData
    from datamodules.io.layout import RootError

    try:
        data = instantiate(node)
    except InstantiationException as error:
        raise _Failed(_flat(error.__cause__ or error)) from error
    except (OmegaConfBaseException, ImportError, ValueError) as error:
        raise _Failed(_flat(error)) from error
    if not isinstance(data, PictureData):
        return f"{type(data).__name__} has no files to check", 0
    try:
        text, good = report(data, decode="--decode" in arguments)
    except (RootError, ImportError) as error:
        raise _Failed(str(error)) from error
    except (OSError, ValueError) as error:
        raise _Failed(str(error), 1) from error
    return text, 0 if good else 1


def _composed(overrides: Sequence[str]) -> DictConfig:
    """The data set's configuration. _Failed for a command line that does not give one."""
    directory, overrides = _own_directory(overrides)
    places = [CONF, *([directory] if directory else [])]
    known = sorted(path.stem for place in places for path in (place / "datamodule").glob("*.yaml"))
    if strange := [override for override in overrides if override.startswith("-")]:
        raise _Failed(f"unknown option {strange[0]}: there are --decode and --config-dir DIR")
    named = [override.partition("=")[2].strip("'\"") for override in overrides if override.startswith("datamodule=")]
    if not named:
        raise _Failed(f"which data set? Give datamodule=NAME datamodule.root=PATH; there are: {', '.join(known)}")
    for name in (name for name in named if name not in known):
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean '{close[0]}'? " if close else ""
        raise _Failed(f"unknown datamodule '{name}': {hint}there are: {', '.join(known)}")
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            own = [f"hydra.searchpath=[{_quoted(f'file://{directory.absolute()}')}]"] if directory else []
            cfg = compose("train", [*own, *(_literal(override) for override in overrides)])
        node = cfg.get("datamodule")
        if not isinstance(node, DictConfig):
            raise _Failed(f"datamodule={node} is no data set; there are: {', '.join(known)}")
        root = OmegaConf.select(node, "root", throw_on_resolution_failure=False)
        if isinstance(root, str) and "${" in root:
            node.root = Path(root)  # text would be resolved again
        OmegaConf.resolve(node)
        for key in OmegaConf.missing_keys(node):
            raise _Failed(f"{key}=??? is not set; for the folder of a data set give datamodule.root=PATH")
        return node
    except OverrideParseException as error:
        hint = f"cannot read {error.override!r}; special characters need quotes, as in \"'#808080'\" in a shell: "
        raise _Failed(("" if str(error).startswith("Error parsing") else hint) + _flat(error)) from error
    except (HydraException, OmegaConfBaseException, OSError, ValueError) as error:
        raise _Failed(_flat(error)) from error


def _own_directory(arguments: Sequence[str]) -> tuple[Path | None, list[str]]:
    """The directory of --config-dir DIR, which holds datamodule/NAME.yaml, and the other arguments."""
    rest, found, waiting = [], None, iter(arguments)
    for argument in waiting:
        option, equals, value = argument.partition("=")
        if option not in ("--config-dir", "-cd"):
            rest.append(argument)
            continue
        said = value if equals else next(waiting, "")
        found = Path(said).expanduser()
        if not said or not found.is_dir():
            raise _Failed(f"{option} {said}: there is no such directory")
    return found, rest


def _literal(override: str) -> str:
    """An override whose path is taken as it is: 2017, a,b or ${x} are names of folders."""
    key, _, value = override.partition("=")
    if key not in PATHS or value in ("", "null", "???") or value[0] in "'\"":
        return override
    escaped = value
    if Path(value).expanduser().exists():  # else ${...} refers to another setting
        escaped = re.sub(r"(\\*)\$\{", lambda found: found[1] * 2 + r"\${", value)
    return f"{key}={_quoted(escaped)}"


def _quoted(text: str) -> str:
    """Text as Hydra's grammar reads it whatever is in it."""
    escaped = re.sub(r"(\\*)('|$)", lambda found: found[1] * 2 + found[2].replace("'", "\\'"), text)
    return f"'{escaped}'"


def _flat(error: BaseException) -> str:
    """A message on one line, without Hydra's and OmegaConf's small print."""
    small_print = re.compile(r"(full_key|object_type|reference_type|key):|See http|To append|\^")
    lines = [line.strip() for line in str(error).strip().splitlines()]
    return " ".join(line for line in lines if line and not small_print.match(line)) or type(error).__name__


if __name__ == "__main__":
    sys.exit(main())
