"""Sweeps with a mistake: in their file, in what is selected, in the sweeper's settings."""

from collections.abc import Callable
from pathlib import Path

from tests.mistakes import Mistake

HEAD = """\
defaults:
  - train
  - override hydra: sweep
  - override hydra/sweeper: grid
  - override logger: none
  - _self_
sweep: small
"""
OTHER = HEAD.replace("sweep: small", "sweep: other")
ONE_HAS_IT = "[{reducer: topk}, {reducer: atc_average, reducer.linkage: ward}]"
GRIDS = "hydra: {sweeper: {grids: [{reducer: topk}]}}\n"
LINE = "train --config-dir sweeps -cn small"


def sweep(
    grids: str = "[{reducer: [topk, evit], keep_rate: [0.5, 0.7]}]", rest: str = "", head: str = HEAD
) -> Callable:
    """A directory sweeps/ with the file small.yaml."""

    def prepare(here: Path) -> None:
        (here / "sweeps").mkdir()
        (here / "sweeps" / "small.yaml").write_text(f"{head}hydra: {{sweeper: {{grids: {grids}{rest}}}}}\n")

    return prepare


def mistake(line: str, *says: str, prepare: Callable[[Path], None] | None = None) -> Mistake:
    return Mistake(f"{LINE} {line}".strip(), says, prepare=prepare or sweep(), without_torch=True)


def _file(text: str) -> Callable[[Path], None]:
    def prepare(here: Path) -> None:
        (here / "sweeps").mkdir()
        (here / "sweeps" / "small.yaml").write_text(text)

    return prepare


def _file_for_runs(here: Path) -> None:
    sweep()(here)
    (here / "a.txt").write_text("")


def _damaged_store(here: Path) -> None:
    sweep()(here)
    (here / "runs" / "store").mkdir(parents=True)
    (here / "runs" / "store" / "x.json").write_text('{"identity": "x"}')


def _without(default: str) -> Callable[[Path], None]:
    """The file of `sweep`, without one of its defaults."""
    return sweep(head=HEAD.replace(f"  - {default}\n", ""))


def _with(line: str) -> Callable[[Path], None]:
    return sweep(head=f"{HEAD}{line}\n")


NO_SWEEP = "small is no sweep: its defaults lack 'override hydra: sweep'"
MISTAKES = [
    *(mistake(line, NO_SWEEP, prepare=_without("override hydra: sweep")) for line in ("--dry-run", "", "-m")),
    mistake(
        "", "its defaults lack 'override hydra/sweeper: grid'", prepare=_file("defaults: [train, _self_]\n" + GRIDS)
    ),
    mistake("", "its defaults lack 'override hydra/sweeper: grid'", prepare=_file(GRIDS)),
    mistake(
        "", "no setting 'grids'; a sweep file has 'override hydra/", prepare=_without("override hydra/sweeper: grid")
    ),
    mistake("--dry-run", "and this is none: a sweep file has", prepare=_file("defaults: [train, _self_]\n")),
    mistake("", "-cn small: its defaults lack 'train'", prepare=_file("seed: 3\n")),
    mistake("--dry-run hydra.mode=RUN", "this is a single run: leave out hydra.mode=RUN"),
    *(
        mistake(line, "unknown setting 'keep_rat': did you mean 'keep_rate'?", prepare=_with("keep_rat: 0.3"))
        for line in ("--dry-run", "", "reducer=topk")
    ),
    mistake("--dry-run", "unknown setting 'basleines': did you mean 'baselines'?", prepare=_with("basleines: false")),
    mistake(
        "--dry-run",
        "'benchmark' has no setting 'second': did you mean 'seconds'?",
        prepare=_with("benchmark: {second: 3}"),
    ),
    mistake(
        "--dry-run",
        "Trainer has no setting 'max_epoch': did you mean 'max_epochs'?",
        prepare=_with("trainer: {max_epoch: 1}"),
    ),
    mistake("--dry-run", "'paths' has no setting 'dta'", prepare=_with("paths: {dta: 3}")),
    mistake("--dry-run datamodule=digits.yaml", "unknown datamodule 'digits.yaml': did you mean 'digits'?"),
    mistake("--dry-run", "unknown reducer 'topk.yaml': did you mean", prepare=sweep("[{reducer: topk.yaml}]")),
    *(
        mistake(f"{line} --dry-run", f"unknown {group} '{option}.yaml': did you mean '{option}'?")
        for line, group, option in (
            ("backbone=digits.yaml", "backbone", "digits"),
            ("task=probe.yaml", "task", "probe"),
        )
    ),
    mistake("--dry-run", "small.yaml: sweep=other", "it has to say sweep: small", prepare=sweep(head=OTHER)),
    mistake("", "small.yaml: it has no setting sweep", prepare=sweep(head=HEAD.replace("sweep: small\n", ""))),
    mistake("--dry-run reducer=tome", "no run of small has reducer=tome; its grids: reducer=topk,evit"),
    mistake("--dry-run keep_rate=0.9", "no run of small has keep_rate=0.9"),
    mistake("--dry-run reducr=topk", "unknown setting 'reducr': did you mean 'reducer'?"),
    mistake("--dry-run hydra.sweeper.rerun=chnaged", "hydra.sweeper.rerun=chnaged must be true, false or changed"),
    mistake("--dry-run hydra.sweeper.rerun=2", "hydra.sweeper.rerun=2 must be true, false or changed"),
    mistake("hydra.sweeper.dry_run=yes", "hydra.sweeper.dry_run=yes must be true or false"),
    mistake("--dry-run hydra.sweeper.rerunn=true", "rerunn"),
    mistake("--dry-run", "grids=5 must be a list of mappings", prepare=sweep("5")),
    mistake("--dry-run", "grids=[] has no runs", prepare=sweep("[]")),
    mistake("--dry-run", "grids=['topk'] must be a list of mappings", prepare=sweep("[topk]")),
    mistake("--dry-run", "grids: keep_rate=[] must be a setting with its value", prepare=sweep("[{keep_rate: []}]")),
    mistake(
        "--dry-run reducer.linkage=ward",
        "not every reducer of these runs has a setting 'linkage'",
        prepare=sweep(ONE_HAS_IT),
    ),
    mistake(
        "--dry-run",
        "out_of_reach: keep_rate=[] must be a setting with its value",
        prepare=sweep(rest=", out_of_reach: [{keep_rate: []}]"),
    ),
    mistake("--dry-run", "out_of_reach=3 must be a list", prepare=sweep(rest=", out_of_reach: 3")),
    mistake("--dry-run", "reducr", prepare=sweep("[{reducr: topk}]")),
    mistake("--dry-run", "unknown reducer 'topkk'", prepare=sweep("[{reducer: topkk}]")),
    mistake("--dry-run", "small.yaml is no sweep file: it holds a list", prepare=_file("- a\n")),
    mistake("--dry-run", "small.yaml is no sweep file", prepare=_file("5\n")),
    mistake("--dry-run", "small.yaml is no sweep file", prepare=_file("a: [1\n")),
    mistake("--dry-run", "x.json: it has no status, which is one of finished", prepare=_damaged_store),
    mistake("--dry-run reducer=topk,tome", "no run of small has reducer=tome; its grids: reducer=topk,evit"),
    mistake("--dry-run trainer.max_epochs=1", "4 of 4 runs cannot be run, the first of them", "warmup_epochs=1 leaves"),
    mistake("trainer.max_epochs=1", "4 of 4 runs cannot be run, the first of them reducer=topk keep_rate=0.5"),
    mistake("--dry-run optimizer.lr=nan", "4 of 4 runs cannot be run", "optimizer.lr=nan must be finite"),
    mistake(
        "--dry-run",
        "2 of 4 runs cannot be run, the first of them reducer=topk keep_rate=1.5: keep_rate=1.5 must lie in (0, 1]",
        prepare=sweep("[{reducer: [topk, evit], keep_rate: [0.5, 1.5]}]"),
    ),
    mistake(
        "--dry-run", "1 of 1 runs cannot be run", "baselines=no", prepare=sweep("[{reducer: topk, baselines: 'no'}]")
    ),
    Mistake(
        "evaluate --config-dir sweeps -cn small --dry-run",
        ("small is a sweep for train.py, not for evaluate.py",),
        prepare=sweep(),
        without_torch=True,
    ),
    Mistake("train --config-dir sweeps -cn smal --dry-run", ("-cn smal: did you mean 'small'?",), prepare=sweep()),
    Mistake(
        "train --config-dir sweeps -cn small.yaml --dry-run",
        ("-cn small.yaml: did you mean 'small'?",),
        prepare=sweep(),
    ),
    Mistake("train hydra/sweeper=grid --dry-run", ("hydra/sweeper=grid is for a sweep file",), without_torch=True),
    Mistake("train hydra/sweeper=optuna --dry-run", ("this is a single run: add -m",), without_torch=True),
    mistake("paths.runs=a.txt", "the runs cannot be written to", "a.txt", "Not a directory", prepare=_file_for_runs),
    *(
        mistake(f"{said} --dry-run", f"{said} has no values")
        for said in ("seed=range(0)", "optimizer.lr=range(0.5,0.1,0.1)", "backbone=glob(xyz*)")
    ),
    mistake("seed=range(0.1,0.5,0.0) --dry-run", "never ends: its step is 0"),
    *(
        Mistake(f"{command} -m reducer=topk {said}", (f"{said} has no values",), without_torch=True)
        for command in ("train", "evaluate")
        for said in ("seed=range(0)", "keep_rate=range(0.5,0.1,0.1)", "datamodule=glob(xyz*)")
    ),
    Mistake("train -m hydra/sweeper=optuna seed=range(0)", ("seed=range(0) has no values",), without_torch=True),
    *(
        mistake("--dry-run", f"grids: {axis}={text} is of the command line", f"{axis}: [{held}]", prepare=sweep(grid))
        for axis, text, held, grid in (
            ("keep_rate", "range(0.1,0.9,0.2)", "VALUE, VALUE", "[{keep_rate: 'range(0.1,0.9,0.2)'}]"),
            ("reducer", "topk,tome", "topk, tome", "[{reducer: 'topk,tome'}]"),
            ("seed", "choice(1,2)", "VALUE, VALUE", "[{seed: [3, 'choice(1,2)']}]"),
        )
    ),
    Mistake("train reducer=topk --dry-run", ("--dry-run lists the runs of a sweep",), without_torch=True),
    Mistake(
        "train -m reducer=tome keep_rate=0.25 seed=0,1 trainer.max_epochs=1 optimizer.warmup_epochs=0 baselines=false",
        ("error: 2 of 2 runs failed, the first of them seed=0: ToMe cannot leave 12 of 49 tokens at block 4",),
    ),
    Mistake("train -m reducer=topk,tpok", ("unknown reducer 'tpok': did you mean 'topk'?",)),
    Mistake("train -m reducer=topk keep_rat=0.5,0.7", ("unknown setting 'keep_rat'",)),
]
