"""The triton backend without a GPU: equal to the oracle in the interpreter, and compilable for Hopper."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from atc.ops.linkage import METHODS, dendrogram, labels
from tests.reference.distances import batch

triton = pytest.importorskip("triton", reason="Triton is not installed")


def assert_equals_oracle(distance, keep, method):
    """All of a tree, and its labels, to the bit."""
    expected = dendrogram(distance, keep, method, backend="reference")
    found = dendrogram(distance, keep, method, backend="triton")
    case = f"{list(distance.shape)} {distance.dtype} keep={keep} {method}"
    assert torch.equal(found.merges, expected.merges), case
    torch.testing.assert_close(found.heights, expected.heights, rtol=0, atol=0, equal_nan=True, msg=case)
    own = labels(distance, keep, method, backend="triton")
    assert torch.equal(own, expected.labels(keep)), case


def interpreted():
    """What the test below runs in a process of its own: Triton reads the variable when it is imported."""
    for method in METHODS:
        assert_equals_oracle(batch(7, ["wide_range", "not_numbers"]), 2, method)
    assert_equals_oracle(batch(6, ["few_values"]).double(), 1, "complete")
    assert_equals_oracle(batch(6, ["features"]).double(), 1, "average")
    assert_equals_oracle(batch(18, ["few_values", "duplicates"]), 12, "average")
    assert_equals_oracle(batch(17, ["regions"]).mT, 14, "complete")
    assert_equals_oracle(batch(1), 1, "single")
    print("equal")


@pytest.mark.slow
def test_interpreter_equals_the_oracle():
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", "from tests.ops.test_linkage_triton import interpreted; interpreted()"],
        cwd=root,
        env=os.environ | {"TRITON_INTERPRET": "1", "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
    )
    assert done.stdout == "equal\n", done.stderr


def compile_for_hopper(tokens, method, dtype, tmp_path):
    """The assembly of the kernel for compute capability 9.0, and the resources its binary asks for."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from atc.ops.linkage.triton import launch

    wide = dtype == "fp64" or method in ("average", "ward")
    options = launch.launch_options(triton.next_power_of_2(tokens), method, wide, want_merges=False)
    constants = {name: options.pop(name) for name in ("METHOD", "WIDE", "MERGES", "PADDED", "TILE")}
    cells = "fp64" if method in ("average", "ward") else "i64" if wide else "i32"
    signature = {"distance": f"*{dtype}", "image_stride": "i32", "row_stride": "i32", "rows": f"*{cells}"}
    signature |= dict.fromkeys(("labels", "merges", "heights"), "*i64") | {"tokens": "i32", "merged": "i32"}
    signature |= dict.fromkeys(constants, "constexpr")
    source = ASTSource(fn=launch.greedy, signature=signature, constexprs=constants)
    compiled = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)
    binary = tmp_path / "kernel.cubin"
    binary.write_bytes(compiled.asm["cubin"])
    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    usage = subprocess.run([str(tool), "-res-usage", str(binary)], capture_output=True, text=True)
    return compiled.asm["ptx"], usage.stdout + usage.stderr


@pytest.mark.skipif(bool(os.environ.get("TRITON_INTERPRET")), reason="the interpreter compiles nothing")
@pytest.mark.parametrize(
    ("tokens", "method", "dtype"),
    [
        (49, "average", "fp32"),
        (196, "single", "fp32"),
        (196, "complete", "fp32"),
        (196, "average", "fp32"),
        (196, "ward", "fp32"),
        (196, "average", "fp64"),
        (1024, "average", "fp32"),
    ],
)
def test_compiles_for_hopper_without_spills(tokens, method, dtype, tmp_path, monkeypatch):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "cache"))
    assembly, usage = compile_for_hopper(tokens, method, dtype, tmp_path)
    assert "STACK:0" in usage
    assert "LOCAL:0" in usage
    assert "fma.rn.f64" not in assembly  # it would round otherwise than the oracle
    assert ("div.rn.f64" in assembly) == (method in ("average", "ward"))
