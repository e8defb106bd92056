"""The table or figure of a file of sweeps/, from the runs in the results store.

python -m atc.report digits_all                       on the terminal, and as files under reports/
python -m atc.report atc_table1_mae --store benchmarks --store runs/store
python -m atc.report --all site/                      all of them on one page
python -m atc.report digits_all throughput --page site/   these on one page
python -m atc.report --list
python -m atc.report compare RUN RUN ...              runs of evaluate.py predictions=true, image by image

Benchmarks (throughput) and studies are read from benchmarks/ and the stores: files that python -m atc.bench and
python -m atc.study all wrote.
"""

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from atc.config import streams
from atc.files import listed
from atc.printable import printable
from atc.report import layout, report, study, throughput
from atc.report.arguments import AsWritten, Parser
from atc.runs.record import Record
from atc.runs.store import Store

DEFAULT = Path("runs/store")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit status: 0, 2 after an error of the user's, 130 after Ctrl-C."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    return streams.ended(lambda: streams.in_one_line(lambda: _answer(given)))


def _answer(arguments: list[str]) -> int:
    if arguments[:1] == ["compare"]:
        from atc.report import compare_command  # SciPy's statistics take a second to import

        return compare_command.run(arguments[1:])
    return _report(arguments)


def _report(arguments: Sequence[str]) -> int:
    parser = Parser("python -m atc.report", description=__doc__, formatter_class=AsWritten)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="a file of sweeps/; source=wandb, project=NAME, image=FILE"
    )
    parser.add_argument("--all", metavar="DIRECTORY", type=Path, help="write one page with all tables and figures")
    parser.add_argument("--page", metavar="DIRECTORY", type=Path, help="write one page with the ones named")
    parser.add_argument("--list", action="store_true", help="say which there are")
    parser.add_argument("--wandb-sweep", metavar="DIRECTORY", type=Path, help="write sweep files for W&B instead")
    parser.add_argument("--store", type=Path, action="append", help="results store; default runs/store")
    parser.add_argument("--sweeps", type=Path, default=layout.sweeps_dir(), help="where the sweep files are")
    parser.add_argument("--output", type=Path, default=Path("reports"), help="where files are written")
    return _run(parser, parser.parse_args(arguments))


def _run(parser: argparse.ArgumentParser, given: argparse.Namespace) -> int:
    if not listed(given.sweeps, "*.yaml"):
        raise ValueError(f"--sweeps {given.sweeps} has no sweep files, NAME.yaml (looked from {Path.cwd()})")
    if given.list:
        print("\n".join(map(printable, layout.names(given.sweeps))), flush=True)
        return 0
    settings = dict(name.split("=", 1) for name in given.names if "=" in name)
    image = settings.pop("image", None)
    names = [name for name in given.names if "=" not in name]
    if not names and given.page is not None:
        parser.error("--page DIRECTORY goes with the names of tables and figures; --all DIRECTORY writes all of them")
    if not names and given.all is None:
        parser.error("name a table or figure, or give --all DIRECTORY; --list says which there are")
    if given.wandb_sweep is not None:
        where = "sweeps" if given.sweeps == layout.sweeps_dir() else str(given.sweeps.resolve())
        if settings or not names or given.all is not None:
            raise ValueError("--wandb-sweep DIRECTORY goes with names of sweeps alone, without --all or NAME=VALUE")
        from atc.report import wandb_source

        for name in names:
            for file in wandb_source.write_sweeps(name, layout.raw(name, given.sweeps), given.wandb_sweep, where):
                print(printable(str(file)))
        return 0
    records = _records(given.store, settings)

    def report_on(name: str) -> report.Report:
        shown = layout.of_image(layout.load(name, given.sweeps), image)
        if shown.kind in layout.STUDY:
            return study.build_study(shown, study.read([*(given.store or [DEFAULT]), Path("benchmarks")]))
        if shown.kind != "throughput":
            return report.build_report(shown, records)
        return throughput.build_throughput(
            shown, throughput.measurements([*(given.store or [DEFAULT]), Path("benchmarks")])
        )

    shown = [report_on(name) for name in names]
    for made in shown:
        print(_fitting(made.text(), given.output / f"{made.layout.name}.md"))
        for path in made.write(given.output):
            print(printable(str(path)))
    if given.all is not None:
        from atc.report import site

        print(printable(str(site.write_site([report_on(name) for name in layout.names(given.sweeps)], given.all))))
    if given.page is not None:
        from atc.report import site

        print(printable(str(site.write_site(shown, given.page))))
    return 0


def _fitting(text: str, file: Path) -> str:
    """A table, or, where the terminal is too narrow for it, its first and last lines and where it is to be read."""
    lines = text.splitlines()
    width, room = max(map(len, lines), default=0), shutil.get_terminal_size().columns
    if not sys.stdout.isatty() or width <= room:
        return text
    where = f"The table is {width} characters wide, and the terminal {room}: it is in {printable(str(file))}"
    return "\n".join([lines[0].rstrip(), where, *lines[lines.index("") :]]) if "" in lines else text


def _records(stores: Sequence[Path] | None, settings: dict[str, str]) -> list[Record]:
    source = settings.get("source", "local")
    for key, value in settings.items():
        if key not in ("source", "project"):
            raise ValueError(f"{key}={value}: the settings of a report are source=wandb and project=NAME")
    if source not in ("local", "wandb"):
        raise ValueError(f"source={source} must be local or wandb")
    if "project" in settings and source != "wandb":
        raise ValueError(f"project={settings['project']} is one of W&B: add source=wandb")
    if source == "wandb":
        from atc.report import wandb_source

        return wandb_source.records(settings.get("project", "atc"))
    for directory in stores or []:
        if not directory.is_dir():
            raise ValueError(f"--store {directory}: no such directory (looked from {Path.cwd()})")
    if not stores and not DEFAULT.is_dir():
        print(f"no run has left a result here: there is no {DEFAULT.resolve()}", file=sys.stderr)
    return [record for directory in stores or [DEFAULT] for record in Store(directory).records()]


if __name__ == "__main__":
    sys.exit(main())
