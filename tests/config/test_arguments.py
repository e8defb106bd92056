"""The command line as it is typed, in Hydra's terms."""

from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from atc.config.arguments import readable
from tests.harness.commands import ROOT

SWEEP = ["--config-dir", str(ROOT / "sweeps"), "-cn", "digits_all"]
DRY_RUN = "hydra.sweeper.dry_run=true"


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("datamodule.root=~/birds", str(Path.home() / "birds")),
        ("datamodule.root=/data/a=b", "/data/a=b"),
        ("datamodule.root=/data/birds (1)", "/data/birds (1)"),
        ("paths.data=it's", "it's"),
        ("backbone.checkpoint=a\\b=c", "a\\b=c"),
        ("checkpoint=runs/epoch=3-step=10.ckpt", "runs/epoch=3-step=10.ckpt"),
        ("hydra.run.dir=runs/lr=1", "runs/lr=1"),
        ("datamodule.root=/plain", "/plain"),
        ("datamodule.root=/data/birds,2024", "/data/birds,2024"),
        ("paths.runs=a,b's", "a,b's"),
    ],
)
def test_paths_are_taken_as_they_are(typed: str, meant: str) -> None:
    (argument,) = readable("evaluate", [typed])
    (override,) = OverridesParser.create().parse_overrides([argument])
    value = override.value()
    assert (override.key_or_group, getattr(value, "text", value)) == (typed.partition("=")[0], meant)


def test_several_values_stay_several(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert readable("evaluate", ["-m", "checkpoint=a,b"]) == ["-m", "checkpoint=a,b"]
    assert readable("evaluate", ["-m", "datamodule.root=choice(a,b)"]) == ["-m", "datamodule.root=choice(a,b)"]
    (tmp_path / "a,b").mkdir()
    assert readable("evaluate", ["-m", "checkpoint=a,b"]) == ["-m", "checkpoint='a,b'"]


def test_dollars_refer_to_settings_unless_there_is_a_file_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert readable("train", ["datamodule.root=${x}"]) == ["datamodule.root=${x}"]
    (tmp_path / "${x}").mkdir()
    assert readable("train", ["datamodule.root=${x}"]) == ["datamodule.root='\\${x}'"]


def test_options_may_stand_between_settings() -> None:
    assert readable("train", ["reducer=tome", "-m", "~logger", "-cn", "train", "seed=0,1"]) == [
        *("-m", "-cn", "train"),
        *("reducer=tome", "~logger", "seed=0,1"),
    ]


def test_a_dry_run_stands_beside_the_settings() -> None:
    assert readable("train", ["reducer=tome", *SWEEP, "--dry-run"]) == [*SWEEP, DRY_RUN, "reducer=tome"]
    assert readable("train", [*SWEEP, "--dry-run", "seed=1"]) == [*SWEEP, DRY_RUN, "seed=1"]
    assert readable("train", ["-m", "hydra/sweeper=optuna", "--dry-run"]) == ["-m", DRY_RUN, "hydra/sweeper=optuna"]
    assert readable("train", ["--dry-run", *SWEEP]) == [*SWEEP, DRY_RUN]


def test_settings_of_the_run_a_checkpoint_lies_in() -> None:
    """Hydra first composes the defaults, whose data set has no root."""
    given = ["checkpoint=run", "datamodule.root=birds", "keep_rate=0.5"]
    assert readable("evaluate", given) == ["checkpoint=run", "++datamodule.root=birds", "keep_rate=0.5"]
    assert readable("train", ["resume=run", "datamodule.root=birds"]) == ["resume=run", "++datamodule.root=birds"]
    for as_it_is in (
        ["datamodule=folder", *given],
        ["resume=auto", "datamodule.root=birds"],
        ["datamodule.root=birds"],
        ["checkpoint=null", "datamodule.root=birds"],
    ):
        name = "train" if "resume=auto" in as_it_is else "evaluate"
        assert readable(name, as_it_is) == as_it_is


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--dry-run"], "--dry-run lists the runs of a sweep, as in --config-dir sweeps -cn digits_all"),
        (["-m", "reducer=tome", "--dry-run"], "--dry-run lists the runs of a sweep"),
        ([*SWEEP[:3], "digits_al"], "-cn digits_al: did you mean 'digits_all'?"),
        (
            [*SWEEP[:2], "--config-name=atc_fig2_ranks"],
            "has no runs of its own: its numbers are those of atc_fig4_deit",
        ),
        ([*SWEEP[:3], "throughput"], "python -m atc.bench; see python -m atc.report throughput"),
        (["--keep_rate=0.5"], "settings have no dashes"),
    ],
)
def test_what_cannot_be_run(arguments: list[str], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint.replace("?", r"\?")):
        readable("train", arguments)
