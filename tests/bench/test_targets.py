"""The table of aims says what result files say, and what they do not."""

from __future__ import annotations

import json

import pytest
from rich.console import Console

from atc.bench import __main__ as bench
from atc.bench import targets


def shown(folder) -> str:
    console = Console(width=200)
    with console.capture() as captured:
        console.print(targets.table(folder))
    return captured.get()


def write(folder, name, rows):
    environment = {"commit": "abc1234", "machine": {"processor": "A processor", "gpus": []}}
    (folder / f"{name}.json").write_text(json.dumps({"environment": environment, "rows": rows}))


def test_without_results_nothing_is_measured(tmp_path):
    text = shown(tmp_path)
    assert text.count("not measured") == len(targets.TARGETS)
    assert "yes" not in text


def test_the_worst_figure_counts(tmp_path):
    row = {"tokens": 196, "keep": 98, "candidate": "SciPy", "data": "smooth"}
    rows = [{**row, "method": "single", "times_ours": 11.5}, {**row, "method": "average", "times_ours": 14.0}]
    write(tmp_path, "linkage_cpu", [*rows, {**rows[0], "keep": 49, "times_ours": 9.0}])
    write(
        tmp_path, "pipeline_cpu", [{"keep_rate": 0.5, "method": "average", "candidate": "ATC", "percent_of_dense": 0.2}]
    )
    lines = [line for line in shown(tmp_path).splitlines() if "abc1234" in line and "not measured" not in line]
    quarter, half, pipeline = lines
    assert "9 x (single, smooth)" in quarter
    assert "yes" in quarter
    assert "11.5 x (single, smooth)" in half
    assert "no" in half
    assert "0.2 % (average)" in pipeline
    assert "A processor" in pipeline


def test_a_folder_that_does_not_exist_is_said(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="2"):
        bench.main(["targets", "--folder", "nowhere"])
    said = (
        f"error: --folder nowhere: no such directory (looked from {tmp_path}); see python -m atc.bench targets --help\n"
    )
    assert capsys.readouterr().err == said
    bench.main(["targets"])
    said = capsys.readouterr()
    assert said.err == f"nothing was measured here: there is no {tmp_path / 'benchmarks'}\n"
    assert "not measured" in said.out


def test_files_that_differed_from_the_commit_are_said(tmp_path):
    environment = {"commit": "f" * 40 + "-dirty", "machine": {"processor": "A processor", "gpus": []}}
    (tmp_path / "linkage_cpu.json").write_text(json.dumps({"environment": environment, "rows": []}))
    assert "ffffffffff-dirty" in shown(tmp_path)


def test_every_block_removes_as_many_each_time(tmp_path, capsys):
    out = tmp_path / "result.json"
    small = ["--model", "deit_tiny", "--batch", "1", "--runs", "1"]
    bench.main(["pipeline", *small, "--every-block", "16", "--out", str(out)])
    rows = json.loads(out.read_text())["rows"]
    parts = {f"ATC: {part}" for part in ("distances", "clustering", "merge", "merge, plain operators")}
    assert {row["candidate"] for row in rows} >= {"ATC", "ToMe"} | parts
    steps = {row["candidate"]: row["steps"] for row in rows}
    assert steps["ATC"] == "12 of 12"
    assert steps["ToMe"] == "11 of 12", "16 of 20 tokens are more than half"
    assert all(row["every_block"] == 16 and row["percent_of_dense"] > 0 for row in rows)
    assert "every block" in capsys.readouterr().out


def test_speeds_are_compared_within_one_mode(tmp_path):
    same = {"keep_rate": 0.5, "batch_size": 256, "precision": "bf16", "compile": False, "status": "measured"}
    rows = [
        {**same, "reducer": "random", "cuda_graph": False, "images_per_second": 200.0, "speed_up": 1.5},
        {**same, "reducer": "random", "cuda_graph": True, "images_per_second": 400.0, "speed_up": 1.5},
        {**same, "reducer": "atc_average", "cuda_graph": False, "images_per_second": 196.0, "speed_up": 1.4},
        {**same, "reducer": "atc_average", "cuda_graph": True, "images_per_second": 100.0, "speed_up": 0.4},
        {
            **same,
            "reducer": "atc_average",
            "cuda_graph": True,
            "batch_size": 1,
            "speed_up": 0.7,
            "images_per_second": 9.0,
        },
    ]
    write(tmp_path, "throughput_deit_small_cuda", rows)
    write(tmp_path, "training_cuda", [{"method": "atc_average", "mode": "eager", "speed_up": 1.1}])
    lines = [line for line in shown(tmp_path).splitlines() if "abc1234" in line and "not measured" not in line]
    random, one, training = lines
    assert "98 %" in random
    assert "yes" in random
    assert "0.7 x" in one
    assert "no" in one
    assert "1.1 x" in training
