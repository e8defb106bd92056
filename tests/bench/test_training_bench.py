"""The benchmark of training steps, as typed, on small images."""

import json

import pytest
import torch

from atc.bench import __main__ as bench

SMALL = ["training", "--model", "deit_tiny", "--batch", "2", "--size", "64", "--precision", "fp32", "--runs", "2"]


def test_a_row_for_each_method_beside_the_dense_model(tmp_path, capsys):
    out = tmp_path / "training.json"
    bench.main([*SMALL, "--methods", "topk", "atc_average", "--modes", "eager", "--out", str(out)])
    result = json.loads(out.read_text())
    assert [row["method"] for row in result["rows"]] == ["none", "topk", "atc_average"]
    for row in result["rows"]:
        assert row["steps_per_second"] * row["step_ms"] == pytest.approx(1e3, rel=1e-2)
        assert row["peak_memory_mb"] is None or row["peak_memory_mb"] >= 0
    assert result["rows"][0]["speed_up"] == 1
    assert result["settings"]["precision"] == "fp32"
    assert "Training deit_tiny, keep rate 0.5, batch 2, fp32, CPU" in capsys.readouterr().out


def test_each_step_trains(monkeypatch):
    from atc.bench import options, training

    chosen = options.parsed("training", SMALL[1:])
    seen = []
    monkeypatch.setattr(torch.optim.AdamW, "step", lambda self: seen.append(_gradients(self)))
    training.step_of(chosen, "tome", False, torch.device("cpu"))()
    assert seen == [True]


def test_the_compiled_mode_is_one_graph(monkeypatch):
    from atc.bench import options, training

    chosen = options.parsed("training", SMALL[1:])
    real, asked = torch.compile, []

    def traced(model, **arguments):
        asked.append(arguments)
        return real(model, backend="eager", **arguments)

    monkeypatch.setattr(torch, "compile", traced)
    training.step_of(chosen, "tome", True, torch.device("cpu"))()
    assert asked == [{"fullgraph": True}]


def _gradients(optimizer):
    held = [parameter.grad for group in optimizer.param_groups for parameter in group["params"]]
    return all(grad is not None and grad.isfinite().all() for grad in held) and any(bool(grad.any()) for grad in held)
