"""Ours beside the published numbers, in every format; what is missing stays missing."""

import csv
import io
import json
from pathlib import Path

import pytest

from atc.report import layout, report
from atc.report.__main__ import main
from atc.runs.record import Record
from atc.runs.store import Store
from tests.report.records import Parts, parts, report_of


def table1(*records: Parts) -> report.Report:
    return report_of(layout.load("atc_table1_mae"), list(records))


def run(reducer: str, score: float, seed: int = 0, backbone: str = "mae_base", t: int = 16) -> Parts:
    columns = {"reducer": reducer, "backbone": backbone, "t": t, "schedule": "constant", "seed": seed}
    return parts("atc_table1_mae", score, **columns)


def rows(made: report.Report, tmp_path: Path) -> list[dict[str, str]]:
    made.write(tmp_path)
    return list(csv.DictReader(io.StringIO((tmp_path / "atc_table1_mae.csv").read_text())))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("atc_fig4_deit_ots", {"deit_tiny": 72.202, "deit_small": 79.854, "deit_base": 81.846}),
        (
            "ots_sweep_augreg",
            {"augreg_small": 81.41, "augreg_base": 84.57, "augreg_large": 85.82, "augreg_large_384": 86.92},
        ),
    ],
)
def test_published_numbers_without_reduction(name: str, expected: dict[str, float]) -> None:
    cells = [cell for cell in report_of(layout.load(name), []).cells if cell.published is not None]
    found = {cell.where["backbone"]: cell.published for cell in cells if cell.where["setting"] == "no_reduction"}
    assert found == expected
    assert {cell.where.get("datamodule", "imagenet") for cell in cells} == {"imagenet"}


def test_not_yet_run_is_never_filled_in(tmp_path: Path) -> None:
    found = rows(table1(), tmp_path)
    assert len(found) == 3 + 2 * 24
    assert {row["state"] for row in found} == {"missing"}
    assert {row["ours"] + row["difference"] for row in found} == {""}
    assert all(row["published"] and row["source"] == "arXiv 2409.11923 Table 1" for row in found)
    assert "0 of 51 cells measured" in (tmp_path / "atc_table1_mae.md").read_text()


def test_ours_theirs_and_the_difference(tmp_path: Path) -> None:
    made = table1(run("tome", 0.80), run("tome", 0.78, seed=1), run("atc_single", 0.7, backbone="mae_large", t=8))
    found = {
        tuple(row[key] for key in ("setting", "reducer", "backbone", "schedule")): row for row in rows(made, tmp_path)
    }
    tome = found["off_the_shelf", "tome", "mae_base", "constant"]
    assert (float(tome["ours"]), float(tome["published"]), tome["seeds"]) == (79.0, 78.5, "2")
    assert float(tome["difference"]) == pytest.approx(0.5)
    assert float(tome["spread"]) == pytest.approx(2**0.5, abs=1e-4)
    assert float(found["fine_tuned", "tome", "mae_base", "constant"]["ours"]) == 80.0
    assert float(found["no_reduction", "none", "mae_base", ""]["ours"]) == 78.0
    assert found["off_the_shelf", "tome", "mae_base", "linear"]["state"] == "missing"
    assert "79.0 ± 1.4 | 78.5 | +0.5" in made.text()

    markdown = (tmp_path / "atc_table1_mae.md").read_text()
    assert "| off the shelf | tome | 79.0 ± 1.4 | 78.5 | +0.5 | not run | 56.6 |" in markdown
    assert len({line.count("|") for line in markdown.splitlines() if line.startswith("|")}) == 1
    tex = (tmp_path / "atc_table1_mae.tex").read_text()
    assert r"off the shelf & tome & 79.0 $\pm$ 1.4 & 78.5 & +0.5 & not run & 56.6" in tex
    assert r"\multicolumn{3}{c}{mae\_base t=16 constant}" in tex


def test_the_last_run_of_a_seed_counts_and_failures_show(tmp_path: Path) -> None:
    later = run("tome", 0.9) | {"finished": "2026-02-01T12:00:00+00:00"}
    failed = run("atc_single", 0.5) | {"status": "failed", "results": {}}
    made = table1(*sorted([later, run("tome", 0.8), failed], key=lambda e: e["finished"]))
    found = rows(made, tmp_path)
    assert [row["ours"] for row in found if row["reducer"] == "tome" and row["ours"]] == ["90", "91"]
    assert {row["state"] for row in found if row["reducer"] == "atc_single"} == {"failed", "missing"}


def test_weights_do_not_keep_a_run_out_of_its_cell() -> None:
    """The sweep names a file, the record what is in it."""
    recorded = {"backbone": {"name": "deit_tiny_patch16_224", "checkpoint": "sha256:abc"}}
    found = [
        parts("atc_fig4_deit_ots", 0.7, backbone="deit_tiny", datamodule=data, reducer="tome", keep_rate=0.5)
        | {"config": recorded}
        for data in ("imagenet", "nabirds", "coco")
    ]
    made = report_of(layout.load("atc_fig4_deit_ots"), found)
    shown = {cell.where["datamodule"] for cell in made.cells if cell.values and cell.where["reducer"] == "tome"}
    assert shown == {"imagenet", "nabirds", "coco"}


def with_settings(run: Parts, number: int, **trainer: object) -> Parts:
    """A record of other settings, so of another identity, that finished `number` minutes later."""
    later = f"2026-01-31T12:{number:02}:00+00:00"
    return run | {"config": {"seed": run["seed"], "trainer": trainer}, "identity": f"{number}", "finished": later}


def test_runs_with_other_settings_are_no_seeds() -> None:
    """A trial with a part of the data, run last, takes no result's place, and is said to be left out."""
    digits = layout.load("digits_all")
    runs = [parts("digits_all", 0.9, reducer="topk", keep_rate=rate) for rate in (0.25, 0.5, 0.7)]
    runs += [parts("digits_all", 0.8, reducer="topk", keep_rate=0.5, seed=1)]
    whole = [with_settings(run, i, max_epochs=2) for i, run in enumerate(runs)]
    trial = with_settings(runs[1], 8, max_epochs=2, limit_train_batches=1)
    short = with_settings(runs[1] | {"seed": 2}, 9, max_epochs=1)
    made = report_of(digits, [*whole, trial, short])
    assert made.table.texts(("fine_tuned", "topk"))[:3] == ["91.0", "86.0 ± 7.1", "91.0"]
    assert (
        "Left out, for settings that most runs do not have: 2 runs (trainer.limit_train_batches=1, not null, "
        "trainer.max_epochs=1, not 2)." in made.table.notes
    )
    anew = [with_settings(run, 20 + i, max_epochs=9) for i, run in enumerate(runs)]
    made = report_of(digits, [*whole, *anew[:-1]])
    assert made.table.texts(("fine_tuned", "topk"))[1] == "86.0 ± 7.1"  # until as many are done
    made = report_of(digits, [*whole, *anew])
    assert made.records()[-1]["config"]["trainer"] == {"max_epochs": 9}


def test_a_record_without_the_number_it_is_scored_by() -> None:
    odd = parts("digits_all", 0.9, reducer="topk", keep_rate=0.5) | {"score": "map"}
    made = report_of(layout.load("digits_all"), [odd, parts("digits_all", 0.9, reducer="topk", keep_rate=0.25)])
    assert made.table.texts(("fine_tuned", "topk"))[:2] == ["91.0", "not run"]
    assert "Left out, for want of the number they are scored by, map: 1 run." in made.table.notes


def test_the_record_behind_it_is_a_store_without_paths(tmp_path: Path) -> None:
    table1(run("tome", 0.8)).write(tmp_path)
    text = (tmp_path / "atc_table1_mae.json").read_text()
    assert "/home/somebody" not in text
    assert "somewhere" not in text
    (tmp_path / "atc_table1_mae.json").rename(tmp_path / "runs.json")
    assert "80.0 | 78.5 | +1.5" in report.build_report(layout.load("atc_table1_mae"), Store(tmp_path).records()).text()


def test_floor_and_reach() -> None:
    digits = layout.load("digits_all")
    found = [
        parts("digits_all", score, reducer=reducer, keep_rate=0.25, schedule="stages")
        for reducer, score in (("random", 0.9), ("topk", 0.91), ("atc_average", 0.99))
    ]
    made = report_of(digits, found)
    said = " ".join(made.table.notes)
    assert "Digits saturate" in said
    assert "off the shelf 0.25: 1 of 2 methods (± 4.0)" in said
    assert "–" in made.table.texts(("off_the_shelf", "tome"))
    assert "" not in made.table.texts(("off_the_shelf", "tome"))


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Store(tmp_path / "store").append(Record.read(run("tome", 0.8)))
    arguments = ["atc_table1_mae", "--store", str(tmp_path / "store"), "--output", str(tmp_path / "out")]
    assert main(arguments) == 0
    assert "80.0 | 78.5 | +1.5" in capsys.readouterr().out
    assert {file.suffix for file in (tmp_path / "out").iterdir()} == {".md", ".tex", ".csv", ".json"}
    assert json.loads((tmp_path / "out" / "atc_table1_mae.json").read_text())[0]["reducer"] == "tome"
    assert main(["atc_table1_mea"]) == 2
    assert "unknown table or figure 'atc_table1_mea': did you mean 'atc_table1_mae'?" in capsys.readouterr().err
    assert main(["--list"]) == 0
    assert "digits_all" in capsys.readouterr().out.split()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["digits_all", "--store", "nowhere"], "--store nowhere: no such directory (looked from "),
        (["digits_all", "project=me/x"], "project=me/x is one of W&B: add source=wandb"),
        (["--wandb-sweep", "wb", "--all", "site"], "--wandb-sweep DIRECTORY goes with names of sweeps alone"),
        (["--wandb-sweep", "wb", "digits_all", "source=wandb"], "--wandb-sweep DIRECTORY goes with names"),
        (["--list", "--sweeps", "nowhere"], "--sweeps nowhere has no sweep files, NAME.yaml (looked from "),
    ],
)
def test_nothing_is_ignored(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    complaint: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    said = capsys.readouterr()
    assert said.err.startswith(f"error: {complaint}")
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert not list(tmp_path.iterdir())


def test_no_results_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["digits_all"]) == 0
    said = capsys.readouterr()
    assert said.err == f"no run has left a result here: there is no {tmp_path / 'runs' / 'store'}\n"
    assert "not run" in said.out


def test_files_that_differed_from_the_commit_are_said() -> None:
    odd = run("tome", 0.8) | {"commit": "f" * 40 + "-dirty"}
    assert any("commit ffffffffff-dirty" in note for note in table1(odd).table.notes)


def test_a_misspelt_layout(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("report: {title: X, kind: tabel}")
    with pytest.raises(ValueError, match="kind=tabel of table, curves, ranks, differences"):
        layout.load("x", tmp_path)
