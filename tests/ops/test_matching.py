"""Bipartite matching: against loops, and its kernels in Triton's interpreter, compiled, and on a GPU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from atc.ops.matching import bipartite_labels, labels_plainly
from tests.ops.compiled import compile_for

SHAPES = [(1, 1, 4), (2, 2, 3), (3, 17, 8), (2, 65, 64), (1, 130, 80)]


def spelled_out(keys: torch.Tensor, keep: int, first: int, in_rank: bool = False) -> list[int]:
    """The labels of one image [N, D], in loops, in float64."""
    rows = keys.double().numpy()
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    unit = np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)
    sources, destinations = list(range(first, len(rows), 2)), list(range(1 - first, len(rows), 2))
    best = {}
    for a in sources:
        similarities = [float(unit[a] @ unit[b]) for b in destinations]
        if similarities:
            best[a] = max(similarities), similarities.index(max(similarities))
    ranked = sorted(best, key=lambda a: (-best[a][0], a))
    ranked = ranked or sources  # one token has no destination
    merged = ranked[: len(rows) - keep]
    stay = [a for a in (ranked if in_rank else sources) if a not in merged]
    labels = {a: number for number, a in enumerate(stay)}
    labels |= {b: len(stay) + number for number, b in enumerate(destinations)}
    labels |= {a: len(stay) + best[a][1] for a in merged}
    return [labels[place] for place in range(len(rows))]


def cases():
    """Keys, and how many tokens they leave at which first source."""
    generator = torch.Generator().manual_seed(0)
    for batch, tokens, width in SHAPES:
        keys = torch.randn(batch, tokens, width, generator=generator)
        for first in (0, 1):
            least = max(1, tokens - (tokens - first + 1) // 2)
            for keep in sorted({least, (least + tokens) // 2, tokens}):
                yield keys, keep, first


def tied() -> torch.Tensor:
    """Keys of which many are equal, opposite or zero: all similarities are exactly -1, 0 or 1."""
    generator = torch.Generator().manual_seed(1)
    axes = torch.cat([torch.eye(4), -torch.eye(4), torch.zeros(2, 4)])
    return axes[torch.randint(len(axes), (3, 40), generator=generator)]


def test_against_loops():
    for keys, keep, first in cases():
        expected = [spelled_out(image, keep, first) for image in keys]
        assert bipartite_labels(keys.double(), keep, first).tolist() == expected, (keys.shape, keep, first)
        expected = [spelled_out(image, keep, first, in_rank=True) for image in keys]
        assert bipartite_labels(keys.double(), keep, first, ranked=True).tolist() == expected


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_halves_are_compared_in_float32(dtype):
    keys = torch.randn(2, 40, 16, generator=torch.Generator().manual_seed(2)).to(dtype)
    expected = bipartite_labels(keys.double(), 30, 1)
    assert torch.equal(bipartite_labels(keys, 30, 1), expected)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(bipartite_labels(keys, 30, 1), expected)


def test_first_of_equals():
    for keep in (20, 27, 40):
        expected = [spelled_out(image, keep, 1) for image in tied()]
        assert bipartite_labels(tied(), keep, 1).tolist() == expected


def test_an_image_alone_and_among_others():
    keys = torch.randn(4, 50, 8, generator=torch.Generator().manual_seed(3))
    whole = bipartite_labels(keys, 30, 0)
    assert torch.equal(bipartite_labels(keys[2:3], 30, 0), whole[2:3])
    assert bipartite_labels(keys[:0], 30, 0).shape == (0, 50)


def test_numbers_that_are_not_finite_leave_labels_in_range():
    keys = torch.randn(2, 20, 8, generator=torch.Generator().manual_seed(4))
    keys[0, 3], keys[1, 4, 0] = torch.nan, torch.inf
    labels = bipartite_labels(keys, 12, 1)
    for row in labels:
        assert row.unique().tolist() == list(range(12))


def test_operator():
    keys = torch.randn(2, 20, 8)
    torch.library.opcheck(torch.ops.atc.bipartite_labels.default, (keys, 12, 1, False))
    compiled = torch.compile(bipartite_labels, backend="eager", fullgraph=True)
    assert torch.equal(compiled(keys, 12, 1), bipartite_labels(keys, 12, 1))


def test_a_transform_sees_operators_of_pytorch():
    keys = torch.randn(2, 3, 20, 8)
    found = torch.vmap(lambda one: bipartite_labels(one, 12, 1))(keys)
    assert torch.equal(found.flatten(0, 1), bipartite_labels(keys.flatten(0, 1), 12, 1))


@pytest.mark.parametrize(
    ("keys", "keep", "first", "said"),
    [
        (torch.zeros(4, 8), 3, 0, "dense floating tensor"),
        (torch.zeros(1, 4, 8, dtype=torch.int64), 3, 0, "dense floating tensor"),
        (torch.zeros(1, 4, 8), 3, 2, "first must be 0 or 1, got 2"),
        (torch.zeros(1, 5, 8), 1, 0, "keep=1 must be 2 to 5"),
        (torch.zeros(1, 5, 8), 6, 1, "keep=6 must be 3 to 5"),
    ],
)
def test_refusals(keys, keep, first, said):
    with pytest.raises(ValueError, match=said):
        bipartite_labels(keys, keep, first)


def interpreted():
    """What the test below runs in a process of its own: Triton reads the variable when it is imported."""
    from atc.ops.matching.triton.launch import best_partners, labels_of_matches

    def labels(keys, keep, first, ranked=False):
        return labels_of_matches(*best_partners(keys, first), keys.shape[1], keep, first, ranked)

    for keys, keep, first in cases():
        assert torch.equal(labels(keys, keep, first), bipartite_labels(keys, keep, first)), (keys.shape, keep, first)
        expected = bipartite_labels(keys, keep, first, ranked=True)
        assert torch.equal(labels(keys, keep, first, ranked=True), expected)
        for half in (keys.half(), keys.bfloat16()):
            assert torch.equal(labels(half, keep, first), bipartite_labels(half, keep, first))
    for keep in (20, 27, 40):
        assert torch.equal(labels(tied(), keep, 1), bipartite_labels(tied(), keep, 1))
    keys = torch.randn(2, 40, 48, generator=torch.Generator().manual_seed(5))
    other = keys.transpose(0, 1).contiguous().transpose(0, 1)
    assert torch.equal(labels(other, 25, 1), labels(keys, 25, 1))
    assert torch.equal(labels(keys[1:], 25, 1), labels(keys, 25, 1)[1:])
    keys[0, 3], keys[1, 4, 0], keys[1, 6] = torch.nan, torch.inf, 1e30
    for row in labels(keys, 25, 1):
        assert row.unique().tolist() == list(range(25))
    best, partner = best_partners(torch.randn(1, 80, 4), 1)
    for keep in (40, 41, 60, 80):
        for ranked in (False, True):
            expected = labels_plainly(best, partner, 80, keep, 1, ranked)
            assert torch.equal(labels_of_matches(best, partner, 80, keep, 1, ranked), expected)
    assert labels(torch.randn(0, 6, 4), 4, 1).shape == (0, 6)
    print("equal")


@pytest.mark.slow
def test_kernels_in_the_interpreter():
    pytest.importorskip("triton", reason="Triton is not installed")
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", "from tests.ops.test_matching import interpreted; interpreted()"],
        cwd=root,
        env=os.environ | {"TRITON_INTERPRET": "1", "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
    )
    assert done.stdout == "equal\n", done.stderr


@pytest.mark.slow
@pytest.mark.skipif(bool(os.environ.get("TRITON_INTERPRET")), reason="the interpreter compiles nothing")
@pytest.mark.parametrize("capability", [75, 90])
def test_compiles(capability, tmp_path, monkeypatch):
    pytest.importorskip("triton", reason="Triton is not installed")
    from atc.ops.matching.triton.kernel import nearest_destinations, number_outputs
    from atc.ops.matching.triton.launch import constants, ranking

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "cache"))
    precision = "ieee" if capability < 80 else "tf32x3"
    for kind in ("bf16", "fp32"):
        options = constants(precision) | {"column_stride": 1}
        pointers = {"keys": f"*{kind}", "best": "*fp32", "partner": "*i64"}
        names = [name for name in nearest_destinations.arg_names if name not in options]
        signature = dict.fromkeys(names, "i32") | pointers
        rounded = ("image_stride", "row_stride", "width")
        assembly, stack, _ = compile_for(capability, nearest_destinations, signature, options, tmp_path, rounded)
        assert stack <= 64, kind
        assert ("mma" in assembly and "tf32" in assembly) == (precision == "tf32x3")
    for sources in (16, 128, 1024):
        options = ranking(sources)
        names = [name for name in number_outputs.arg_names if name not in options]
        signature = dict.fromkeys(names, "i32") | {"best": "*fp32", "partner": "*i64", "labels": "*i64"}
        _, stack, _ = compile_for(capability, number_outputs, signature, options, tmp_path)
        assert stack <= 64, sources


@pytest.mark.gpu
def test_gpu_gives_the_labels_of_a_cpu():
    for keys, keep, first in cases():
        assert torch.equal(bipartite_labels(keys.cuda(), keep, first).cpu(), bipartite_labels(keys, keep, first))
    keys = torch.randn(2, 6000, 16, generator=torch.Generator().manual_seed(6))
    assert torch.equal(bipartite_labels(keys.cuda(), 4000, 1).cpu(), bipartite_labels(keys, 4000, 1))
    for keep in (20, 27, 40):
        assert torch.equal(bipartite_labels(tied().cuda(), keep, 1).cpu(), bipartite_labels(tied(), keep, 1))
