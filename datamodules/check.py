"""Is a data set complete? python -m datamodules.check datamodule=nabirds datamodule.root=PATH [--decode]

Prints what was found beside the published counts. --decode opens every picture as well (slow). Exit status 1 if
anything is missing, unreadable or counted differently.
"""

import difflib
import sys
from collections.abc import Sequence
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException, InstantiationException, MissingConfigException
from hydra.utils import instantiate

from datamodules.base import PictureData
from datamodules.pictures import UNREADABLE

_HERE = Path(__file__).resolve().parent.parent
CONF = _HERE / "atc" / "conf" if (_HERE / "atc" / "conf").is_dir() else _HERE / "conf"  # from a wheel, or a checkout


def report(data: PictureData, decode: bool = False) -> tuple[str, bool]:
    """What there is of a data set, as lines to print, and whether that is all and as published."""
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
    for part, count in getattr(data, "dropped", {}).items():
        lines.append(f"{count:,} {part} pictures without annotations left out")
    if "val" in data.parts:
        lines.append(f"to select by: {len(data.parts['val'][0]):,} pictures ({data.selection})")
    for part, (entries, _) in released.items():
        missing, corrupt = [], []
        for entry in entries:
            if isinstance(entry, str) and not Path(entry).is_file():
                missing.append(entry)
            elif decode:
                try:
                    data.read_image(entry)
                except UNREADABLE as error:
                    corrupt.append(f"{entry} ({type(error).__name__}: {error})")
        for word, bad in (("missing", missing), ("unreadable", corrupt)):
            if bad:
                good = False
                lines.append(f"{part}: {len(bad):,} of {len(entries):,} pictures {word}, such as {bad[0]}")
    lines.append("complete" if good else "NOT as published")
    return "\n".join(lines), good


def _said(error: BaseException) -> str:
    """The message, on one line where it is Hydra's."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options:
        name = str(error.missing_cfg_file).rpartition("/")[2]
        close = difflib.get_close_matches(name, error.options, n=1)
        hint = f"did you mean '{close[0]}'? " if close else ""
        return f"unknown datamodule '{name}': {hint}there are: {', '.join(error.options)}"
    if isinstance(error, InstantiationException):
        return str(error.__cause__ or error)
    return " ".join(str(error).split()) if isinstance(error, HydraException) else str(error)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns the exit status."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    overrides = [argument for argument in arguments if argument != "--decode"]
    if not any(argument.startswith("datamodule=") for argument in overrides):
        print(__doc__.strip(), file=sys.stderr)
        return 2
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            data = instantiate(compose("train", overrides).datamodule)
        if not isinstance(data, PictureData):
            print(f"{type(data).__name__} has no files to check")
            return 0
        text, good = report(data, decode="--decode" in arguments)
    except (HydraException, OSError, ValueError, ImportError) as error:
        print(_said(error), file=sys.stderr)
        return 1
    print(text)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
