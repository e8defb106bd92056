"""The throughput benchmark as typed, on the digits backbone, and what the report makes of its file."""

import csv
import functools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

import atc
from atc.bench import __main__ as bench
from atc.bench import command, throughput
from atc.bench.reducer_share import reducers_share
from atc.config import build
from atc.cost.flops import gflops_by_formula, gflops_per_image
from atc.cost.interleaved import summary
from atc.cost.memory import peak_growth
from atc.cost.throughput_table import table, tokens
from atc.report import __main__ as reports
from atc.vit import backbones
from tests import golden

QUICK = ["warmup=0", "runs=2", "threads=1"]


def measured(directory: Path, *settings: str) -> dict:
    out = directory / "throughput_test.json"
    bench.main(["throughput", *QUICK, f"output={out}", *settings])
    return json.loads(out.read_text())


def test_a_row_for_each_combination(tmp_path, capsys):
    result = measured(tmp_path, "reducer=[random,tome]", "keep_rate=[0.5,0.7]", "batch_size=[1,2]")
    assert {"date", "commit", "load", "machine", "versions", "compiled_clustering"} == set(result["environment"])
    rows = result["rows"]
    found = [(row["batch_size"], row["reducer"], row["keep_rate"]) for row in rows]
    one_size = [("none", None), ("random", 0.5), ("random", 0.7), ("tome", 0.5), ("tome", 0.7)]
    assert found == [(size, *one) for size in (1, 2) for one in one_size]  # the dense model is not to be asked for
    for row in rows:
        dense = next(r for r in rows if r["reducer"] == "none" and r["batch_size"] == row["batch_size"])
        assert row["status"] == "measured"
        assert row["runs"] == 2
        assert row["images_per_second"] == pytest.approx(1e3 * row["batch_size"] / row["latency_ms"])
        # Of two rounds: between the two ratios of latencies that differ most
        least, most = (2 * r["latency_ms"] - r["latency_least_ms"] for r in (row, dense))
        assert dense["latency_least_ms"] / least <= row["speed_up"] <= most / row["latency_least_ms"]
        assert row["ideal_speed_up"] == pytest.approx(dense["gflops"] / row["gflops"])
        assert (row["reducers_share"] is None) == (row["reducer"] == "none")
        assert row["peak_memory_mb"] is None or row["peak_memory_mb"] > 345_000 * 4 / 1e6  # its weights at the least
    assert {row["tokens_per_block"][-1] for row in rows if row["reducer"] == "random"} == {6, 16}
    said = capsys.readouterr().out
    assert "Throughput of digits" in said
    assert "4×49 3×24 3×12 2×6" in said


def test_the_speed_up_is_that_of_the_same_rounds(tmp_path, monkeypatch):
    """A machine that gets slower by the round: the ratio stays what it is."""
    slower = {"none": (4.0, 8.0, 400.0), "random": (2.0, 4.0, 100.0)}

    def timed(working, *_: object):
        return {one: summary(slower[one.reduction.reducer]) for one in working}

    monkeypatch.setattr(throughput, "interleave", timed)
    rows = measured(tmp_path, "reducer=random", "batch_size=1")["rows"]
    assert [row["speed_up"] for row in rows] == [1.0, 2.0]
    assert [row["latency_ms"] for row in rows] == [8000.0, 4000.0]


@pytest.mark.slow
def test_half_precision_and_compiled(tmp_path, monkeypatch):
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))  # traced, not translated
    result = measured(tmp_path, "reducer=random", "precision=bf16", "compile=[false,true]", "batch_size=1")
    rows = {(row["precision"], row["compile"], row["reducer"]): row for row in result["rows"]}
    assert {row["status"] for row in rows.values()} == {"measured"}
    assert len(rows) == 4
    assert rows["bf16", True, "random"]["reducers_share"] is None  # hooks would break the graph
    assert 0 < rows["bf16", False, "random"]["reducers_share"] < 1


@pytest.mark.gpu
def test_on_a_gpu(tmp_path):
    result = measured(tmp_path, "reducer=atc_average", "precision=[fp32,fp16,bf16]", "batch_size=4", "device=cuda")
    assert [row["status"] for row in result["rows"]] == ["measured"] * 6
    for row in result["rows"]:
        assert row["peak_memory_mb"] > 345_000 * 2 / 1e6
        assert row["reducer"] == "none" or 0 < row["reducers_share"] < 1


def test_what_runs_out_of_memory_is_said_and_the_rest_goes_on(tmp_path, monkeypatch, capsys):
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 TiB")

    factory = build.find_reducer("topk")
    monkeypatch.setattr(factory.func, "forward", lambda _self, view, keep: full() if len(view.x) > 1 else None)
    monkeypatch.setattr(throughput.Models, "cost", lambda *_: {"tokens_per_block": [1], "gflops": 1.0})
    rows = measured(tmp_path, "reducer=[topk,random]", "batch_size=2")["rows"]
    assert [(row["reducer"], row["status"]) for row in rows] == [
        ("none", "measured"),
        ("topk", "out of memory"),
        ("random", "measured"),
    ]
    assert "speed_up" not in rows[1]
    assert "out of memory" in capsys.readouterr().out


def test_a_batch_that_cannot_be_made_is_said_and_the_rest_goes_on(tmp_path, monkeypatch):
    images = throughput.Models.images

    def full(models, number):
        if number == 2:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: can't allocate memory")
        return images(models, number)

    monkeypatch.setattr(throughput.Models, "images", full)
    rows = measured(tmp_path, "reducer=random", "batch_size=[1,2]")["rows"]
    assert [row["status"] for row in rows] == ["measured", "measured", "out of memory", "out of memory"]


def test_brackets_in_a_message_are_no_markup():
    row = {"batch_size": 1, "precision": "fp32", "compile": False, "reducer": "[bold]own", "status": "failed: [/tmp/x]"}
    console = Console(width=300)
    with console.capture() as shown:
        console.print(table([row], "[red]my\x1b[31m"))
    for text in ("[bold]own", "failed: [/tmp/x]", "[red]my\\x1b[31m"):
        assert text in shown.get()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("reducer=tomme", "unknown reducer 'tomme': did you mean 'tome'?"),
        ("backbone=deit_smal", "unknown backbone 'deit_smal': did you mean 'deit_small'?"),
        ("batch_size=[1,0]", "batch_size=0 must be 1 or more"),
        ("precision=fp8", "precision=fp8 must be fp32, fp16 or bf16"),
        ("device=cpu precision=fp16", "precision=fp16 is for GPUs: on a CPU there are fp32 and bf16"),
        ("compile=perhaps", "compile=perhaps must be true or false"),
        ("device=tpu", "device=tpu must be cpu or cuda"),
        ("seconds=0", "seconds=0 must be positive"),
        ("reducer=tome keep_rate=0.25", "ToMe cannot leave 12 of 49 tokens"),
        ("kep_rate=0.5", "unknown setting 'kep_rate': did you mean 'keep_rate'?"),
        ("-cn nothing", "there is no nothing.yaml"),
    ],
)
def test_mistakes_get_one_line(settings, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        bench.main(["throughput", *settings.split()])
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {said}")
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_sweep_file_comes_first_and_the_command_line_wins():
    sweeps = str(build.conf_dir().parent / "sweeps")
    given = command.overrides(["--config-dir", sweeps, "-cn", "throughput", "batch_size=[1,8]", "threads=2"])
    assert "reducer=[none,tome,atc_average,topk,random]" in given
    assert "precision=[fp32,fp16,bf16]" in given
    assert "compile=[false,true]" in given
    assert [one for one in given if one.startswith("batch_size")] == ["batch_size=[1,8]"]


def test_the_report(tmp_path, monkeypatch, capsys):
    """Two machines, the later measurement of one, what is missing, and every format."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps" / "throughput.yaml").write_text(
        "bench: {backbone: digits, reducer: [none, random], keep_rate: 0.5, batch_size: [1, 4], precision: fp32}\n"
        "report: {title: Speed, kind: throughput, settings: [], columns: [measure],\n"
        "  rows: [machine, backbone, precision, mode, batch, reducer, keep rate]}\n"
    )
    result = measured(tmp_path / "benchmarks", "reducer=random", "batch_size=1")
    older = json.loads(json.dumps(result))
    older["environment"]["date"] = "2020-01-01"
    older["rows"][1]["images_per_second"] = 123456.0
    other = json.loads(json.dumps(result))
    other["environment"]["machine"] |= {"processor": "Abacus", "threads": 4}
    other["environment"]["commit"] = "f" * 40 + "-dirty"
    for name, found in (("older", older), ("other", other)):
        (tmp_path / "benchmarks" / f"throughput_{name}.json").write_text(json.dumps(found))
    capsys.readouterr()
    assert reports.main(["throughput", "--sweeps", "sweeps", "--all", "site"]) == 0
    said = capsys.readouterr().out
    assert "2 of 4 combinations of the sweep measured on some machine" in said
    assert "Abacus, 4 threads" in said
    assert "123456" not in said
    assert "commit ffffffffff-dirty" in " ".join(said.split())
    with (tmp_path / "reports" / "throughput.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    assert [row["status"] for row in rows] == ["measured"] * 4 + ["not run"] * 2
    assert {row["batch_size"] for row in rows[4:]} == {"4"}
    assert float(rows[1]["speed_up"]) == pytest.approx(result["rows"][1]["speed_up"])
    assert (tmp_path / "reports" / "throughput.md").read_text().count("| not run |") == 2
    assert "\\begin{tabular}" in (tmp_path / "reports" / "throughput.tex").read_text()
    assert "Abacus" in (tmp_path / "site" / "index.html").read_text()
    (tmp_path / "benchmarks" / "throughput_bad.json").write_text("{}")
    assert reports.main(["throughput", "--sweeps", "sweeps"]) == 2
    assert "throughput_bad.json is no result of" in capsys.readouterr().err


@pytest.mark.parametrize("pool", ["vit", "mae"])
def test_the_formula_counts_a_plain_vit(pool):
    vit = golden.vit(pool, torch.float32)
    images = golden.images(torch.float32)[:1]
    assert gflops_by_formula(vit) == gflops_per_image(vit, images)


@pytest.mark.parametrize("reducer", ["random", "topk", "kmedoids", "tome", "atc_average", "evit"])
def test_the_formula_leaves_out_the_price_of_the_reducer(reducer):
    model = atc.wrap(backbones.digits(), reducer, keep_rate=0.7)
    counted = gflops_per_image(model, torch.randn(1, 3, 28, 28))
    formula = gflops_by_formula(model)
    assert formula == pytest.approx(counted, rel=0.02)
    assert formula <= counted
    assert (formula == counted) == (reducer == "random")


def test_the_share_of_a_slow_reducer_is_seen():
    import time

    model = atc.wrap(backbones.digits(), "random", keep_rate=0.5).eval()
    images = torch.randn(1, 3, 28, 28)
    with torch.inference_mode():
        before = reducers_share(model, images)
        for reducer in model.reducers.values():
            reducer.register_forward_hook(lambda *_: time.sleep(0.2))
        assert before < reducers_share(model, images, runs=1)
        assert reducers_share(model, images, runs=1) > 0.5
    assert not any(block.norm2._forward_pre_hooks for block in model.vit.blocks)


def test_peak_memory_is_that_of_the_worst_moment():
    def call() -> None:
        big = torch.ones(32 << 18)  # 32 MiB
        del big
        torch.ones(1 << 18)

    growth = peak_growth(call, torch.device("cpu"))
    if growth is None:
        pytest.skip("this system does not count peak memory")
    assert 28 << 20 < growth < 64 << 20


def test_summary_of_times():
    seconds = [4.0, 1.0, 2.0, 8.0, 3.0]
    low, middle, high = np.quantile(seconds, [0.25, 0.5, 0.75])
    assert summary(seconds) == (1.0, middle, 5, high - low, tuple(seconds))
    assert summary([2.0]) == (2.0, 2.0, 1, 0.0, (2.0,))


def test_tokens_are_short_to_read():
    assert tokens([196] * 4 + [98] * 3 + [49]) == "4×196 3×98 49"
    assert tokens([]) == ""
