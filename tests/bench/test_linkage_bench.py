"""The benchmarks run, and what they write can be read."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from atc.bench import __main__ as bench
from atc.bench import baselines, options, record
from atc.bench.linkage import each_backend, same_partition
from atc.cost import tokens
from atc.cost.interleaved import interleave
from atc.ops.linkage import cosine_distance, cpu, labels
from atc.ops.linkage.job import MOST_TOKENS_GPU

pytestmark = pytest.mark.skipif(cpu.kernel() is None, reason="the clustering kernel is not compiled")


def test_linkage_writes_a_row_for_each_candidate(tmp_path, capsys):
    out = tmp_path / "deeper" / "linkage.json"
    bench.main(["linkage", "--tokens", "12", "--keep-rates", ".5", "--batch", "1", "--runs", "1", "--out", str(out)])
    result = json.loads(out.read_text())
    assert {"machine", "versions", "commit", "load"} <= set(result["environment"])
    assert {row["candidate"] for row in result["rows"]} >= {"ATC", "SciPy", "scikit-learn"}
    assert {(row["tokens"], row["keep"]) for row in result["rows"]} == {(12, 6)}
    assert all(row["us_least"] > 0 for row in result["rows"])
    assert {row["same_partition"] for row in result["rows"]} == {1.0}
    assert "scikit-learn" in capsys.readouterr().out


def test_so_many_images_of_however_many_tokens(tmp_path):
    out = tmp_path / "linkage.json"
    asked = [
        "--tokens",
        "12",
        "400",
        "--images",
        "3",
        "--keep-rates",
        ".9",
        "--methods",
        "complete",
        "--data",
        "smooth",
    ]
    bench.main(["linkage", *asked, "--runs", "1", "--out", str(out)])
    assert {(row["tokens"], row["batch"]) for row in json.loads(out.read_text())["rows"]} == {(12, 3), (400, 3)}
    assert options.MOST_TOKENS_GPU == MOST_TOKENS_GPU


def test_on_a_gpu_each_backend_that_can_run_is_a_candidate(monkeypatch, capsys):
    def chosen(distance, backend, method):
        if backend == "cuda":
            raise ValueError("backend='cuda' takes up to 237 tokens")
        return backend

    monkeypatch.setattr("atc.bench.linkage.chosen_backend", chosen)
    distance = cosine_distance(tokens.smooth(2, 12))
    candidates = each_backend(distance, "average")
    each_backend(distance, "complete")
    assert set(candidates) == {"ATC: triton", "ATC: torch"}
    assert torch.equal(candidates["ATC: torch"](distance, 5, "average"), labels(distance, 5, "average"))
    assert capsys.readouterr().out == "not measured: backend='cuda' takes up to 237 tokens\n"


@pytest.mark.parametrize("arguments", [["nothing"], []])
def test_unknown_benchmarks_are_named_by_usage(arguments, capsys):
    with pytest.raises(SystemExit, match="2"):
        bench.main(arguments)
    said = capsys.readouterr().err
    assert f"usage: python -m atc.bench {{{','.join(bench.BENCHMARKS)}}}" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("linkage --methods ward", "invalid choice: 'ward'"),
        ("linkage --keep-rates 5", "5 must lie in (0, 1]"),
        ("pipeline --method ward", "invalid choice: 'ward'"),
        ("pipeline --every-block 300", "--every-block 300: there are 196 tokens to begin with"),
        ("pipeline --device cuda", "--device cuda: PyTorch sees no GPU here"),
        ("linkage --device cuda", "--device cuda: PyTorch sees no GPU here"),
    ],
)
def test_mistakes_are_told_before_anything_is_measured(arguments, said, capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit) as end:
        bench.main(arguments.split())
    assert end.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("name", ["linkage", "pipeline"])
def test_without_the_kernel_nothing_is_measured(name, capsys, monkeypatch):
    monkeypatch.setattr(cpu, "kernel", lambda: None)
    with pytest.raises(SystemExit):
        bench.main([name])
    assert "the clustering kernel is not compiled" in capsys.readouterr().err


def test_no_result_replaces_another(tmp_path):
    path = tmp_path / "throughput_digits_cpu.json"
    assert record.free(path) == path
    record.write(path, {}, [])
    assert json.loads(path.read_text())["environment"]["compiled_clustering"] is True
    other = record.free(path)
    assert other.parent == tmp_path
    assert other.match("throughput_digits_cpu_*.json")


def test_candidates_take_turns_and_only_the_second_call_is_timed():
    calls, time = [], [0.0]

    def candidate(name, seconds):
        calls.append(name)
        time[0] += seconds if calls[-2:] == [name, name] else 100.0

    timings = interleave(
        {"a": lambda: candidate("a", 2.0), "b": lambda: candidate("b", 3.0)}, runs=3, clock=lambda: time[0]
    )
    assert calls == ["a", "b", *["a", "a", "b", "b"] * 3]
    assert (timings["a"].least, timings["b"].median, timings["a"].runs) == (2.0, 3.0, 3)


@pytest.mark.parametrize("data", list(tokens.DATA))
def test_rivals_find_our_partitions(data):
    distance = cosine_distance(tokens.DATA[data](4, 36))
    own = labels(distance, 12, "average").numpy()
    for name, cluster in (baselines.single_thread_rivals() | baselines.many_core_rivals(2)).items():
        theirs = np.asarray(cluster(distance, 12, "average"))
        assert all(same_partition(a, b) for a, b in zip(own, theirs, strict=True)), name


def test_same_partition():
    assert same_partition(np.array([0, 0, 1]), np.array([5, 5, 2]))
    assert not same_partition(np.array([0, 0, 1]), np.array([5, 2, 2]))
    assert not same_partition(np.array([0, 0, 1]), np.array([5, 5, 5]))
    assert not same_partition(np.array([0, 0, 0]), np.array([5, 5, 2]))


def test_tome_keeps_what_it_should():
    keys, x = torch.randn(2, 20, 8), torch.randn(2, 20, 4)
    merged, size = baselines.tome_merge(x, torch.ones(2, 20, 1), baselines.tome_match(keys, 13))
    assert merged.shape == (2, 13, 4)
    assert size.sum(1).tolist() == [[20.0], [20.0]]
    torch.testing.assert_close((merged * size).sum(1), x.sum(1))


def test_smooth_tokens_are_smoother_than_independent_ones():
    near = cosine_distance(tokens.smooth(4, 196)).diagonal(1, 1, 2).mean()
    far = cosine_distance(tokens.independent(4, 196)).diagonal(1, 1, 2).mean()
    assert near < 0.6 < far
