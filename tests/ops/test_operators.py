"""The operators and the compiled kernels themselves, called without the functions around them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from atc.ops.linkage import METHODS, cpu, cuda, dendrogram, effort, labels

ROOT = Path(__file__).parents[2]


def wrong_distances() -> dict[str, torch.Tensor]:
    """Tensors that are no batch of distances."""
    good = torch.rand(1, 300, 300)
    return {
        "rectangles": torch.rand(1, 20000, 1),
        "other rectangles": torch.rand(1, 1, 20000),
        "matrix": good[0],
        "vector": good[0, 0],
        "number": good[0, 0, 0],
        "four": good[None],
        "integers": good.long(),
        "bytes": good.byte(),
        "booleans": good > 0.5,
        "complex": good.to(torch.complex64),
        "sparse": good.to_sparse(),
    }


def fuzzed() -> None:
    """What the test below runs in a process of its own, because a kernel that is shown a wrong address ends one."""
    operators = torch.ops.atc
    good = torch.rand(1, 300, 300)
    calls = {}
    for name, wrong in wrong_distances().items():
        calls[f"linkage {name}"] = lambda wrong=wrong: operators.linkage(wrong, 5, "average", None, False)
        calls[f"kernel {name}"] = lambda wrong=wrong: cpu.cluster(wrong, 5, "average")
        if "rectangles" not in name:
            calls[f"keys {name}"] = lambda wrong=wrong: operators.cosine_distance(wrong)
            calls[f"fused {name}"] = lambda wrong=wrong: operators.linkage_from_features(
                wrong, 5, "single", None, False
            )
    for name, wrong in {
        "half": good.half(),
        "bfloat16": good.bfloat16(),
        "meta": good.to("meta"),
        "none": None,
    }.items():
        calls[f"kernel {name}"] = lambda wrong=wrong: cpu.cluster(wrong, 5, "average")
        calls[f"counted {name}"] = lambda wrong=wrong: cpu.cluster(wrong, 5, "single", want_counters=True)
    for keep in (0, -5, -(2**63), 2.5, "3", None, True):
        calls[f"kernel keep={keep}"] = lambda keep=keep: cpu.cluster(good, keep, "ward", want_merges=True)
    for keep in (0, -5, -(2**63)):
        calls[f"linkage keep={keep}"] = lambda keep=keep: operators.linkage(good, keep, "single", None, False)
        calls[f"fused keep={keep}"] = lambda keep=keep: operators.linkage_from_features(
            good, keep, "single", None, False
        )
    for method in ("median", "", "Single"):
        calls[f"linkage {method!r}"] = lambda method=method: operators.linkage(good, 5, method, None, False)
        calls[f"kernel {method!r}"] = lambda method=method: cpu.cluster(good, 5, method)
    calls["kernel method"] = lambda: cpu.cluster(good, 5, ["single"])
    calls["kernel algorithm"] = lambda: cpu.cluster(good, 5, "single", algorithm="quick")
    calls["linkage backend"] = lambda: operators.linkage(good, 5, "single", "gpu", False)
    calls["cuda on a CPU"] = lambda: cuda.cluster(good, 5, "single")
    for name, call in calls.items():
        try:
            call()
            print(f"{name}: no error")
        except ValueError as error:
            if "\n" in str(error):
                print(f"{name}: {error}")
        except Exception as error:
            print(f"{name}: {type(error).__name__} {error}")
    print(f"{len(calls)} calls")


def test_wrong_things_are_refused_by_operators_and_kernels_themselves(kernel):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", "from tests.ops.test_operators import fuzzed; fuzzed()"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"the process ended with {done.returncode}: {done.stdout}{done.stderr}"
    assert done.stdout.split() == [done.stdout.split()[0], "calls"], done.stdout


def test_shapes_are_refused_while_a_graph_is_made():
    for name in ("rectangles", "matrix", "integers"):
        wrong = wrong_distances()[name].to("meta")
        with pytest.raises(ValueError, match="distance must be a dense floating tensor"):
            torch.ops.atc.linkage(wrong, 5, "average", None, False)
    with pytest.raises(ValueError, match="keep must be at least 1, got 0"):
        torch.ops.atc.linkage_from_features(torch.rand(1, 4, 4, device="meta"), 0, "average", None, False)


def test_triton_refuses_a_tensor_it_cannot_reach():
    gpu = pytest.importorskip("atc.ops.linkage.triton.launch", reason="Triton is not installed")
    if os.environ.get("TRITON_INTERPRET"):
        pytest.skip("the interpreter reads CPU tensors")
    for wrong in (torch.rand(1, 5, 5), torch.rand(1, 5, 5).half(), torch.rand(1, 5, 4)):
        with pytest.raises(ValueError, match="distance must be"):
            gpu.cluster(wrong, 2, "average")


@pytest.mark.parametrize("method", METHODS)
def test_a_lazy_minus_is_read(kernel, method):
    """The imaginary part of a conjugate is a view whose sign stands beside the memory, not in it."""
    distance = torch.complex(torch.rand(3, 20, 20), -torch.rand(3, 20, 20)).conj().imag
    assert distance.is_neg()
    expected = distance.resolve_neg().clone()
    assert torch.equal(cpu.cluster(distance, 6, method).labels, cpu.cluster(expected, 6, method).labels)
    assert torch.equal(labels(distance, 6, method), labels(expected, 6, method, backend="reference"))
    assert torch.equal(dendrogram(distance, 1, method).heights, dendrogram(expected, 1, method).heights)
    assert torch.equal(effort(distance, 6, method).cells_per_square, effort(expected, 6, method).cells_per_square)
