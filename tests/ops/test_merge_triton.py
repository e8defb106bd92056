"""The kernels that merge and select: in Triton's interpreter, compiled without a GPU, and on a GPU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from atc.core import Assign
from atc.ops.merge import merge, select
from atc.ops.merge.plain import merge_plainly, select_plainly
from atc.ops.segment import group_sum
from tests.ops.compiled import compile_for

pytest.importorskip("triton", reason="Triton is not installed")

compiles = pytest.mark.skipif(bool(os.environ.get("TRITON_INTERPRET")), reason="the interpreter compiles nothing")
# Images, prefix tokens, tokens, channels, groups: tiles that are not full, long groups, more prefix tokens than a tile.
SHAPES = [
    (2, 1, 70, 5, 9),
    (2, 0, 33, 130, 33),
    (1, 5, 150, 16, 3),
    (1, 17, 3, 20, 2),
    (2, 1, 1, 3, 1),
    (1, 2, 0, 4, 3),
]


def example(batch, prefix, tokens, channels, groups, dtype, seed=0):
    """Tokens, labels of which some are -1 and one group is long where there are few, weights, sizes."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, prefix + tokens, channels, generator=generator, dtype=torch.float64).to(dtype)
    labels = torch.randint(-1, groups, (batch, tokens), generator=generator)
    if groups == 3:
        labels[:, 20:] = labels[:, 20:].clamp_max(0)
    wide = torch.promote_types(dtype, torch.float32)
    weight = torch.rand(batch, tokens, generator=generator, dtype=torch.float64).to(wide) + 0.5
    return x, labels, weight, torch.randint(1, 4, (batch, tokens), generator=generator).to(wide)


def assert_as_plain(found, expected, labels, groups, prefix):
    """Groups of up to 8 tokens get the bits of the plain operators, long ones are close, sizes are equal."""
    members = torch.stack([torch.bincount(one[one >= 0], minlength=groups) for one in labels.cpu()])
    exact = torch.cat([torch.ones(len(labels), prefix, dtype=torch.bool), members <= 8], dim=1)
    close = {"equal_nan": True}
    torch.testing.assert_close(found[0][exact], expected[0][exact], rtol=0, atol=0, **close)
    torch.testing.assert_close(found[0], expected[0], **close)
    assert (found[1] is None) == (expected[1] is None)
    if found[1] is not None:
        assert torch.equal(found[1], expected[1])


def interpreted():
    """What the test below runs in a process of its own: Triton reads the variable when it is imported."""
    from atc.ops.merge.triton import launch

    for dtype in (torch.float32, torch.float64, torch.float16):
        for number, (batch, prefix, tokens, channels, groups) in enumerate(SHAPES):
            x, labels, weight, size = example(batch, prefix, tokens, channels, groups, dtype)
            lists = launch.members(labels, groups)
            for image in range(batch):
                order = [n for k in range(groups) for n in range(tokens) if labels[image, n] == k]
                assert lists[image, : len(order)].tolist() == order
            # All of three switches; eps and which sums are asked for change along.
            for case in range(8) if dtype == torch.float32 else (3, 4):
                average, weighted, empty_groups = bool(case & 1), bool(case & 2), bool(case & 4)
                eps, sized = (1e-6, size) if (case + number) % 2 else (0.0, None)
                options = groups, weight if weighted else None, sized, prefix, average, eps, empty_groups
                *found, total = launch.merge(x, labels, *options)
                expected = merge_plainly(x, labels, *options)
                assert_as_plain((found[0], None if sized is None else found[1]), expected, labels, groups, prefix)
                if average:
                    sums = group_sum(weight if weighted else torch.ones_like(weight), labels, groups) + eps
                    torch.testing.assert_close(total, sums)
                leaf = x.clone().requires_grad_()
                merged = merge(leaf, labels, groups, weight=options[1], prefix=prefix, average=average, eps=eps)[0]
                grad = torch.randn(merged.shape, dtype=torch.float64).to(dtype)
                divisor = total if average else None
                found = launch.spread(grad, labels, options[1], divisor, prefix, False)
                torch.testing.assert_close(found, torch.autograd.grad(merged, leaf, grad)[0], equal_nan=True)
            indices = torch.stack([torch.randperm(tokens)[: tokens // 2] for _ in range(batch)])
            for one, other in zip(
                launch.select(x, indices, size, prefix), select_plainly(x, indices, size, prefix), strict=True
            ):
                assert torch.equal(one, other)
    x, labels, weight, size = example(2, 1, 40, 6, 5, torch.float32)
    views = x.mT.contiguous().mT, x[:, :, ::2], torch.complex(x, -x).conj().imag
    for view in views:
        found = launch.merge(view, labels, 5, weight.T.contiguous().T, size, 1, True, 0.0, True)
        copy = view.resolve_neg().contiguous()
        assert torch.equal(found[0], launch.merge(copy, labels, 5, weight, size, 1, True, 0.0, True)[0])
    whole = launch.merge(x, labels, 5, weight, size, 1, True, 0.0, True)
    alone = launch.merge(x[1:], labels[1:], 5, weight[1:], size[1:], 1, True, 0.0, True)
    assert torch.equal(whole[0][1:], alone[0])
    x[0, 5], labels[0, 4] = torch.nan, -1  # what is dropped does not matter
    assert launch.merge(x, labels, 5, weight, size, 1, True, 0.0, True)[0].isfinite().all()
    print("equal")


def test_interpreter_equals_the_plain_operators():
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", "from tests.ops.test_merge_triton import interpreted; interpreted()"],
        cwd=root,
        env=os.environ | {"TRITON_INTERPRET": "1", "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
    )
    assert done.stdout == "equal\n", done.stderr


@compiles
@pytest.mark.parametrize("capability", [75, 80, 89, 90])
def test_compiles_with_next_to_no_spills(capability, tmp_path, monkeypatch):
    from atc.ops.merge.triton import copies, kernel, launch

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "cache"))
    integers = ("x_image", "x_token", "of_image", "of_row", "tokens", "groups", "kept", "prefix", "tiles", "channels")
    rounded = ("x_image", "x_token", "of_image", "of_row", "channels")

    def compiled(kernel, options, **pointers):
        signature = {name: pointers.get(name, "i32") for name in (*integers, *pointers) if name in kernel.arg_names}
        return compile_for(capability, kernel, signature, options, tmp_path, rounded)

    for kind, dtype in (("bf16", torch.float32), ("fp32", torch.float32), ("fp64", torch.float64)):
        sums = "fp64" if kind == "fp64" else "fp32"
        factors = dict.fromkeys(("weight", "size", "sums_of_sizes", "totals"), f"*{sums}")
        size = torch.zeros(1, dtype=dtype)
        options = launch.merge_options(True, size, True, 1e-6, True, dtype, 128, tokens=196)
        assembly, stack, registers = compiled(
            kernel.merge_rows, options, x=f"*{kind}", out=f"*{kind}", lists="*i32", **factors
        )
        # The subroutine of a division has 16 bytes of stack, and six registers of a thread go there with Triton 3.6.
        assert stack <= 24, (kind, stack)
        assert registers <= (72 if kind != "fp64" else 128), registers
        assert f"fma.rn.{'f64' if kind == 'fp64' else 'f32'}" not in assembly  # a CPU rounds twice
        assert ".v4" in assembly or kind == "fp64"  # neighbouring channels are read together
    assembly, stack, _ = compiled(kernel.list_members, {"TILE": 64, **launch.OPTIONS}, labels="*i64", lists="*i32")
    assert stack == 0
    assert "__assertfail" in assembly
    assert "atom" not in assembly
    pointers = {"of_rows": "*bf16", "out": "*bf16", "labels": "*i64", "weight": "*fp32", "totals": "*fp32"}
    options = launch.spread_options(True, True, False, torch.bfloat16, 128)
    _, stack, _ = compiled(copies.spread_gradients, options, **pointers)
    assert stack <= (16 if capability == 75 else 0), stack
    pointers = {"x": "*bf16", "out": "*bf16", "indices": "*i64", "size": "*fp32", "sizes": "*fp32"}
    assembly, stack, _ = compiled(copies.select_rows, launch.select_options(True, 128), **pointers)
    assert stack == 0
    assert "__assertfail" in assembly


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("shape", [*SHAPES, (8, 1, 196, 384, 98), (3, 1, 196, 192, 5), (2, 5, 4096, 64, 1024)], ids=str)
def test_gpu_equals_the_plain_operators(shape, dtype):
    x, labels, weight, size = example(*shape, dtype)
    _, prefix, tokens, _, groups = shape
    on_gpu = [value.cuda() for value in (x, labels, weight, size)]
    for case in range(8):
        average, weighted, empty_groups = bool(case & 1), bool(case & 2), bool(case & 4)
        options = {"prefix": prefix, "average": average, "eps": 1e-6 * (case % 3), "empty_groups": empty_groups}
        expected = merge(x, labels, groups, weight=weight if weighted else None, size=size, **options)
        given = {"weight": on_gpu[2] if weighted else None, "size": on_gpu[3], **options}
        found = merge(*on_gpu[:2], groups, **given)
        assert_as_plain([one.cpu() for one in found], expected, labels, groups, prefix)
        again = merge(*on_gpu[:2], groups, **given)
        assert all(torch.equal(one.nan_to_num(7), other.nan_to_num(7)) for one, other in zip(found, again, strict=True))
    indices = torch.stack([torch.randperm(tokens)[: tokens // 2] for _ in x])
    expected, found = (select(one, at, prefix=prefix)[0] for one, at in ((x, indices), (on_gpu[0], indices.cuda())))
    assert torch.equal(found.cpu(), expected)


@pytest.mark.gpu
def test_gpu_gradients_and_operators():
    x, labels, weight, size = (value.cuda() for value in example(2, 1, 20, 5, 6, torch.float64))
    labels[:, :6] = torch.arange(6)
    leaves = x.requires_grad_(), weight.requires_grad_(), size.requires_grad_()

    def whole(x, weight, size):
        return merge(x, labels, 6, weight=weight, size=size, prefix=1, eps=1e-6)

    assert torch.autograd.gradcheck(whole, leaves)
    assert torch.autograd.gradgradcheck(whole, leaves)
    torch.library.opcheck(torch.ops.atc.merge, (x, labels, 6, weight, size, 1, True, 1e-6, False))
    torch.library.opcheck(torch.ops.atc.select, (x, labels[:, :6], size, 1))


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("average", [True, False])
def test_gpu_gradients_are_those_of_a_cpu(dtype, average):
    x, labels, weight, size = example(4, 1, 196, 192, 98, dtype)
    found = []
    for device in ("cpu", "cuda", "cuda"):
        leaf = x.to(device).requires_grad_()
        given = {"weight": weight.to(device), "size": size.to(device), "average": average, "eps": 1e-6}
        merged = merge(leaf, labels.to(device), 98, prefix=1, **given)[0]
        grad = torch.ones_like(merged).cumsum(-1)
        found.append(torch.autograd.grad(merged, leaf, grad)[0].cpu())
    torch.testing.assert_close(found[1], found[0])
    assert torch.equal(found[1], found[2])


@pytest.mark.gpu
def test_gpu_can_be_captured_and_compiled():
    x, labels, weight, size = (value.cuda() for value in example(8, 1, 196, 384, 98, torch.bfloat16))
    plan = Assign(labels, 98, eps=1e-6)
    expected = plan.apply(x, weight, size, 1)
    graph = torch.cuda.CUDAGraph()
    torch.cuda.synchronize()
    with torch.cuda.graph(graph):
        captured = plan.apply(x, weight, size, 1)
    captured[0].zero_()
    graph.replay()
    assert torch.equal(captured[0], expected[0])
    assert torch.equal(captured[1], expected[1])
    compiled = torch.compile(lambda x: plan.apply(x * 2, weight, size, 1)[0] + 1, fullgraph=True)
    assert torch.equal(compiled(x), plan.apply(x * 2, weight, size, 1)[0] + 1)
