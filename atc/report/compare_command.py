"""Runs compared image by image, each with the first.

python -m atc.report compare RUN RUN ...              run directories, or their predictions_*.parquet
python -m atc.report compare RUN RUN RUN --all-pairs
python -m atc.report compare RUN RUN --output reports compare.md, .tex, .csv and .json as well

Runs are of evaluate.py predictions=true. Images are joined by name, and have to be the same in all runs.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from atc.printable import printable
from atc.report import paired, tables
from atc.report.arguments import AsWritten, Parser
from atc.report.compare import compare


def run(arguments: Sequence[str]) -> int:
    """Run the command; its exit status.

    Args:
        arguments: what follows "compare" on the command line.

    Raises:
        ValueError: the runs cannot be compared; one line.
        OSError: a file cannot be read or written.
    """
    parser = Parser("python -m atc.report compare", description=__doc__, formatter_class=AsWritten)
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUN", help="a run directory or a file of predictions")
    parser.add_argument("--all-pairs", action="store_true", help="every pair of runs instead of each with the first")
    parser.add_argument("--resamples", type=int, default=paired.RESAMPLES, help="of the bootstrap; default %(default)s")
    parser.add_argument("--seed", type=int, default=paired.SEED, help="likewise; default %(default)s")
    parser.add_argument("--output", type=Path, help="where files are written; default: none are")
    given = parser.parse_args(arguments)
    found = compare(given.runs, all_pairs=given.all_pairs, resamples=given.resamples, seed=given.seed)
    print(tables.terminal(found.table()))
    for path in found.write(given.output) if given.output is not None else ():
        print(printable(str(path)))
    sys.stdout.flush()
    return 0
