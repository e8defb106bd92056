"""python -m atc.report: sweep files, stores and arguments with a mistake in them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import atc.report.report
import atc.report.throughput  # noqa: F401 - in the process that is copied for each of these commands
from tests.mistakes import Mistake
from tests.report.records import parts as record_parts

MINE = ("--sweeps", "mine", "--store", "store", "--output", "out")
GRID = "hydra: {sweeper: {grids: [{reducer: [tome, topk], keep_rate: [0.5, 0.7]}]}}\n"
SECTION = {
    "title": "X",
    "kind": "table",
    "settings": "[off_the_shelf]",
    "rows": "[reducer]",
    "columns": "[keep_rate]",
}


def sweep(text: str) -> Callable[[Path], None]:
    """A directory of sweep files with one of them, x.yaml, and an empty store."""

    def prepare(here: Path) -> None:
        for name in ("mine", "store"):
            (here / name).mkdir()
        (here / "mine" / "x.yaml").write_text(text)

    return prepare


def section(grid: str = GRID, **changes: str | None) -> Callable[[Path], None]:
    """A sweep file whose section `report` has these parts changed, or left out."""
    parts = {key: value for key, value in (SECTION | changes).items() if value is not None}
    return sweep("report:\n" + "".join(f"  {key}: {value}\n" for key, value in parts.items()) + grid)


def store(text: str | bytes, name: str = "bad.json", at: str = "store") -> Callable[[Path], None]:
    """A store with this file in it."""

    def prepare(here: Path) -> None:
        (here / at).mkdir(parents=True)
        (here / at / name).write_bytes(text if isinstance(text, bytes) else text.encode())

    return prepare


def record(**parts: Any) -> Callable[[Path], None]:
    """A store with a record that has these parts; without those that are "-"."""
    found = record_parts("digits_all", 0.5, reducer="topk", keep_rate=0.5) | parts
    return store(json.dumps({key: value for key, value in found.items() if value != "-"}))


def _of_sweeps() -> list[Mistake]:
    said: list[tuple[Callable[[Path], None], tuple[str, ...]]] = [
        (sweep("- a\n- b\n"), ("x.yaml is no sweep file: it holds a list",)),
        (sweep("5"), ("x.yaml is no sweep file",)),
        (sweep("a: [1"), ("x.yaml is no sweep file",)),
        (sweep("a: !!python/object/apply:os.system [id]"), ("x.yaml is no sweep file",)),
        (sweep("a: &a [*a]"), ("x.yaml",)),
        (sweep("a: 1\na: 2"), ("x.yaml is no sweep file",)),
        (sweep(GRID), ("x.yaml has no section report",)),
        (sweep("report: null\n" + GRID), ("x.yaml has no section report",)),
        (sweep("report: [a]\n" + GRID), ("x.yaml has no section report",)),
        (sweep("report: {a: '${nothing}'}\n" + GRID), ("x.yaml: report:", "nothing")),
        (section(kind="tabel"), ("kind=tabel of table, curves, ranks",)),
        (section(kind=None), ("kind=None of table",)),
        (section(tilte="Y"), ("unknown: ['tilte']",)),
        (section(title=None), ("report.title is missing: it must be text",)),
        (section(title="[a]"), ("report.title=['a'] must be text",)),
        (section(rows="5"), ("report.rows=5 must be a list of axes",)),
        (section(rows="[5]"), ("report.rows=[5] must be a list of axes",)),
        (section(rows="[reducr]"), ("report.rows: no run has an axis 'reducr'", "did you mean 'reducer'?")),
        (section(columns="{a: 1}"), ("report.columns={'a': 1} must be a list of axes",)),
        (section(columns="[gflops]"), ("report.columns: no run has an axis 'gflops'",)),
        (section(settings="[tuned]"), ("report.settings=['tuned'] must be a list of off_the_shelf and fine_tuned",)),
        (section(kind="curves", x="flops"), ("report.x: no run has an axis 'flops': ", "keep_rate")),
        (section(kind="ranks", x="gflops"), ("report.x: no run has an axis 'gflops'",)),
        (section(only={"reducer": ["tom"]}), ("report.only: no run has reducer=tom: did you mean 'tome'?",)),
        (section(only={"reducr": ["tome"]}), ("report.only: no run has reducr=tome: did you mean 'reducer'?",)),
        (section(only={"reducer": "tome"}), ("report.only={'reducer': 'tome'} must be a mapping from axes to lists",)),
        (section(kind="curves", x="reducer"), ("report.x=reducer must be an axis of numbers", "'tome'")),
        (section(kind="curves", x="[t]"), ("report.x=['t'] must be the name of an axis",)),
        (section(kind="ranks", x="t"), ("report.x: no run has an axis 't'",)),
        (section(kind="curves", settings="[]"), ("report.settings=[] leaves nothing to draw",)),
        (section(decimals="-1"), ("report.decimals=-1 must be a whole number from 0 to 9",)),
        (section(decimals="true"), ("report.decimals=True must be a whole number",)),
        (section(images="many"), ("report.images=many must be a whole number, 1 or more",)),
        (section(best="5"), ("report.best=5 must be true or false",)),
        (section(cost="[watts]"), ("report.cost=['watts'] must be a list of gflops, images_per_second, latency",)),
        (section(names="[a]"), ("report.names=['a'] must be paper, or a mapping",)),
        (section(notes="[{a: 1}]"), ("report.notes=[{'a': 1}] must be a list of texts",)),
        (section(of="[]"), ("report.of=[] must be a list of names of sweep files",)),
        (section(of="[y]"), ("unknown table or figure 'y'",)),
        (section(of="[../x]"), ("unknown table or figure '../x'",)),
        (section(published="[../x.csv]"), ("must be names of files in published/",)),
        (section(published="[y.csv]"), ("y.csv",)),
        (section(grid=""), ("it has no runs: hydra.sweeper.grids is missing",)),
        (section(grid="hydra: 5\n"), ("x.yaml",)),
        (section(grid="hydra: {sweeper: {grids: 5}}\n"), ("grids=5 must be a list of mappings",)),
        (section(grid="hydra: {sweeper: {grids: []}}\n"), ("grids=[] has no runs",)),
        (section(grid="hydra: {sweeper: {grids: [a]}}\n"), ("grids=['a'] must be a list of mappings",)),
        (section(grid="hydra: {sweeper: {grids: [{reducer: []}]}}\n"), ("grids: reducer=[] must be a setting",)),
        (section(grid="hydra: {sweeper: {grids: [{reducer: {a: 1}}]}}\n"), ("grids: reducer={'a': 1} must be",)),
        (
            section(grid="hydra: {sweeper: {grids: [{reducer: tome}], out_of_reach: 3}}\n"),
            ("out_of_reach=3 must be a list",),
        ),
    ]
    return [Mistake("report x", parts, MINE, prepare=prepare, without_torch=True) for prepare, parts in said]


def _of_stores() -> list[Mistake]:
    said: list[tuple[Callable[[Path], None], tuple[str, ...]]] = [
        (store("{"), ("bad.json is no record of a run",)),
        (store("\x00"), ("bad.json is no record of a run",)),
        (store(b"\xff\xfe{}"), ("bad.json is no record of a run",)),
        (store("[" * 50_000), ("bad.json is no record of a run: it is nested too deep",)),
        (store('[{"identity": "a", "status": "finished"}, 7]'), ("nor a list of them: it holds 7",)),
        (store('{"identity": "a", "status": "finished", "config": ' + '{"a":' * 99 + "1" + "}" * 100), ("32 deep",)),
        (record(status="-"), ("bad.json: it has no status, which is one of finished",)),
        (record(status=None), ("bad.json: status=null must be one of finished",)),
        (record(identity=None), ("identity=null must be text",)),
        (record(identity="../x"), ("identity=../x must be text without spaces and slashes",)),
        (record(results=None), ("results=null must be a mapping",)),
        (record(results={"off_the_shelf": {"accuracy": "high"}}), ("results.off_the_shelf has high where a number",)),
        (record(results={"off_the_shelf": [0.5]}), ("results.off_the_shelf has a list where a number",)),
        (record(finished=20260131), ("finished=20260131 must be text or null",)),
        (record(seed={"a": 0}), ("seed=a mapping must be a whole number or null",)),
        (record(seed=0.5), ("seed=0.5 must be a whole number or null",)),
        (record(score=["accuracy"]), ("score=a list must be text or null",)),
        (record(config=[]), ("config=a list must be a mapping of settings",)),
        (record(machine={"gpus": [1]}), ("machine=a mapping must be a mapping, with a list of names as gpus",)),
        (record(versions=[]), ("versions=a list must be a mapping from packages to versions",)),
        (record(wall_time_s="1"), ("wall_time_s=1 must be a number of seconds or null",)),
        (record(commit=0), ("commit=0 must be text or null",)),
    ]
    arguments = ("--store", "store", "--output", "out")
    return [Mistake("report digits_all", parts, arguments, prepare=prepare) for prepare, parts in said]


def _taken(here: Path) -> None:
    """A file where the command is to write a directory."""
    store("[]")(here)
    (here / "out").write_text("a file")


MISTAKES = [
    *_of_sweeps(),
    *_of_stores(),
    Mistake("report", ("name a table or figure, or give --all DIRECTORY",), without_torch=True),
    Mistake("report --page out", ("--page DIRECTORY goes with the names",), without_torch=True),
    Mistake("report --unknown", ("--unknown",), without_torch=True),
    Mistake("report digits_all --store", ("argument --store: expected one argument",), without_torch=True),
    Mistake("report ../digits_all --output out", ("unknown table or figure '../digits_all'",), without_torch=True),
    Mistake("report sub/digits_all", ("unknown table or figure 'sub/digits_all'",), without_torch=True),
    Mistake("report", ("unknown table or figure ''",), ("",), without_torch=True),
    Mistake("report ..", ("unknown table or figure '..'",), without_torch=True),
    Mistake("report /etc/passwd", ("unknown table or figure '/etc/passwd'",), without_torch=True),
    Mistake("report digits_al", ("did you mean 'digits_all'?",), without_torch=True),
    Mistake("report", ("unknown table or figure 'digits\\nall'",), ("digits\nall",), without_torch=True),
    Mistake("report digits_all --store nowhere", ("--store nowhere: no such directory",), without_torch=True),
    Mistake("report digits_all --sweeps nowhere", ("--sweeps nowhere has no sweep files",), without_torch=True),
    Mistake("report digits_all source=cloud", ("source=cloud must be local or wandb",), without_torch=True),
    Mistake(
        "report digits_all color=red",
        ("color=red: the settings of a report are source=",),
        without_torch=True,
    ),
    Mistake("report digits_all project=x", ("project=x is one of W&B: add source=wandb",), without_torch=True),
    Mistake("report --wandb-sweep out atc_fig2_ranks", ("atc_fig2_ranks has no grid of runs",)),
    Mistake("report --wandb-sweep out ../digits_all", ("unknown table or figure '../digits_all'",)),
    Mistake("report digits_all --store store --output out", ("Not a directory: 'out'",), prepare=_taken),
    Mistake("report --all out --store store", ("Not a directory: 'out'",), prepare=_taken),
    Mistake(
        "report throughput --store store",
        ("throughput_x.json is no result of python -m atc.bench throughput",),
        prepare=store('{"rows": 5}', "throughput_x.json"),
    ),
    Mistake(
        "report throughput",
        ("throughput_x.json is no result of python -m atc.bench throughput",),
        ("--store", "store"),
        prepare=store('{"environment": {}, "settings": {}, "rows": [{}]}', "throughput_x.json"),
    ),
]
