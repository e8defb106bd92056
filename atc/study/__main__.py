"""How reduction patterns relate, from runs that evaluate.py trace=true has traced.

python -m atc.study similarity runs/evaluate --axis keep_rate    how alike pairs of runs are, on the terminal and as CSV
python -m atc.study depth runs/evaluate                          mean depth of each patch, as numbers and as a page
python -m atc.study proxy runs/evaluate                          whether similarity goes with accuracy
python -m atc.study all runs/evaluate --name digits              all of it, in one file that atc.report shows

Directories are searched for runs at any depth. docs/study.md says what each number is.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from atc.config import streams
from atc.printable import printable

AXES = ("keep_rate", "capacity", "method", "data_set")
ANCHORS = ("none", "topk", "kmedoids")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit status: 0, 2 after an error of the user's, 130 after Ctrl-C."""
    return streams.ended(lambda: _answer(arguments))


def _answer(arguments: Sequence[str] | None) -> int:
    parser = _Parser("python -m atc.study", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("similarity", "depth", "proxy", "all"), help="what is computed")
    parser.add_argument("runs", nargs="+", type=Path, metavar="DIRECTORY", help="where the runs are")
    parser.add_argument("--axis", choices=AXES, help="what the runs of a pair differ in; default: all, proxy: method")
    parser.add_argument("--anchors", nargs="+", default=ANCHORS, metavar="METHOD", help="of proxy along method")
    parser.add_argument("--resamples", type=_count, default=1000, help="of the bootstrap")
    parser.add_argument("--name", type=_name, default="runs", help="of what is written")
    parser.add_argument("--output", type=Path, default=Path("reports"), metavar="DIRECTORY", help="where to write")
    given = parser.parse_args(arguments)
    return streams.in_one_line(lambda: _run(given))


def _run(given: argparse.Namespace) -> int:
    from atc.study import command
    from atc.study.runs import traced_runs

    for directory in given.runs:
        if not directory.is_dir():
            raise ValueError(f"{directory}: no such directory (looked from {Path.cwd()})")
    runs = traced_runs(given.runs)
    function: Callable[..., list[Path]] = getattr(command, f"{given.command}_of")
    options: dict[str, Any] = {"anchors": given.anchors, "resamples": given.resamples}
    for path in function(runs, given.axis, given.name, given.output, **options):
        print(printable(str(path)))
    return 0


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} must be a whole number, 1 or more")
    return int(text)


def _name(text: str) -> str:
    if not text or Path(text).name != text:
        raise argparse.ArgumentTypeError(f"{text!r} must be a name without a directory")
    return text


class _Parser(argparse.ArgumentParser):
    """Answers a mistake in one line."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, and end the process."""
        self.exit(2, f"error: {printable(message)}; see {self.prog} --help\n")


if __name__ == "__main__":
    sys.exit(main())
