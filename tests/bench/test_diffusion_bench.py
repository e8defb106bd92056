"""The benchmarks of diffusion models, as typed, on a small pipeline."""

import json

import pytest
import torch

from atc.bench import __main__ as bench
from atc.bench import decisions
from atc.bench import diffusion_options as options
from atc.bench.inside_blocks import Inside
from atc.cost.tokens import smooth
from atc.ops.linkage import cosine_distance, cpu


def test_a_row_for_each_candidate_at_each_size(tmp_path, capsys):
    pytest.importorskip("diffusers")
    out = tmp_path / "diffusion.json"
    asked = ["--pipeline", "tiny", "--sizes", "32", "48", "--steps", "2", "--runs", "1", "--keep-rates", "0.5", "0.75"]
    bench.main(["diffusion", *asked, "--methods", "tome_2d", "--out", str(out)])
    result = json.loads(out.read_text())
    settings, rows = result["settings"], result["rows"]
    assert settings["attention_processors"] == ["AttnProcessor2_0"]
    assert settings["gpu"] == "not measured"
    assert {"machine", "versions", "commit", "load"} <= set(result["environment"])
    assert [(row["pixels"], row["candidate"], row["keep_rate"]) for row in rows] == [
        (size, *candidate) for size in (32, 48) for candidate in (("none", 1), ("tome_2d", 0.5), ("tome_2d", 0.75))
    ]
    assert [row["blocks"] for row in rows[:3]] == [[], ["256 -> 128"], ["256 -> 192"]]
    for row in rows:
        assert row["seconds_an_image"] > 0
        assert 0 < row["attention_share"] < 1
        assert row["merging_share"] < 0.05 if row["candidate"] == "none" else 0 < row["merging_share"] < 1
    assert rows[0]["speed_up"] == 1
    said = capsys.readouterr().out
    assert "dense attention: AttnProcessor2_0" in said
    assert "32 pixels, tome_2d, keep rate 0.5: " in said


def test_what_cannot_be_measured_is_said_in_its_row(tmp_path):
    pytest.importorskip("diffusers")
    out = tmp_path / "diffusion.json"
    asked = ["--pipeline", "tiny", "--sizes", "32", "--steps", "1", "--runs", "1", "--keep-rates", "0.2", "0.5"]
    bench.main(["diffusion", *asked, "--methods", "tome_2d", "--out", str(out)])
    rows = json.loads(out.read_text())["rows"]
    assert rows[1]["verdict"].startswith("not measured: keep_rate=0.2")
    assert rows[2]["seconds_an_image"] > 0


def test_the_verdict_says_why():
    pytest.importorskip("diffusers")
    from atc.bench.diffusion import verdict

    dense = Inside(total=10, merging=0, attention=4)
    quick = verdict(1.25, Inside(total=8, merging=0.5, attention=1.5), dense, 5)
    assert quick.startswith("1.25 times as fast: of the dense time, self-attention in the 5 merging blocks takes 40.0%")
    assert "merging saves 25.0% of the time there and takes 5.0% itself" in quick
    slow = verdict(1.01, Inside(total=10, merging=2.5, attention=1.5), dense, 5)
    assert slow.startswith("no speed-up (1.01 times as fast)")
    assert slow.endswith("without any self-attention there it would be 1.67 times as fast")


@pytest.mark.skipif(cpu.kernel() is None, reason="the clustering kernel is not compiled")
def test_decisions(tmp_path, capsys):
    out = tmp_path / "decisions.json"
    bench.main(["decisions", "--tokens", "36", "--channels", "8", "--runs", "1", "--out", str(out)])
    rows = json.loads(out.read_text())["rows"]
    steps = {row["step"] for row in rows}
    assert {"distances", "average: clustering", "average: clustering, SciPy", "tome_2d: the whole decision"} <= steps
    assert all(row["ms_least"] > 0 and row["keep"] == 18 for row in rows)
    assert "36 tokens of 8 channels, 18 stay" in capsys.readouterr().out


@pytest.mark.parametrize("tokens", [3, 512, 700])
def test_the_upper_triangle_holds_all_distances(tokens):
    x = smooth(2, tokens, 8)
    torch.testing.assert_close(decisions.by_triangle(x), cosine_distance(x), rtol=0, atol=2e-6)


def test_sizes_and_defaults():
    chosen = options.parsed("diffusion", [])
    assert chosen.sizes is None
    assert (chosen.steps, chosen.max_downsample, chosen.runs) == (50, 1, 3)
    assert (lambda one: (one.tokens, one.channels, one.keep_rate))(options.parsed("decisions", [])) == (4096, 320, 0.5)
