"""The kernel of cosine distances: in Triton's interpreter, its products emulated, compiled, and on a GPU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from atc.ops.linkage import METHODS, cosine_distance, labels, labels_from_features
from atc.ops.linkage.cosine import has_kernel
from tests.ops.compiled import compile_for
from tests.ops.test_linkage_real import photographs  # noqa: F401 (a fixture)

pytest.importorskip("triton", reason="Triton is not installed")

WIDTHS, TOKENS = (1, 3, 64, 80, 768), (1, 2, 17, 64, 65, 130)


def awkward(width=64, tokens=20):
    """Keys that are zero, equal, not numbers, infinite, subnormal and huge, among others."""
    keys = torch.randn(1, tokens, width, generator=torch.Generator().manual_seed(0))
    keys[0, 1], keys[0, 2], keys[0, 3, 0], keys[0, 8] = 0, torch.nan, torch.inf, keys[0, 7]
    keys[0, 5] *= 1e30
    keys[0, 6] *= 1e-40
    keys[0, 9] *= 1e37
    keys[0, 10] = -keys[0, 11]
    return keys


def assert_right(keys, found):
    """Within 1e-6 of float64, equal to its mirror image, and no number where PyTorch's is none."""
    expected = cosine_distance(keys.cpu().double())
    case = f"{list(keys.shape)} {keys.dtype}"
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.cpu().double(), expected, rtol=0, atol=1e-6, equal_nan=True, msg=case)
    torch.testing.assert_close(found, found.mT, rtol=0, atol=0, equal_nan=True, msg=case)


def interpreted():
    """What the test below runs in a process of its own: Triton reads the variable when it is imported."""
    from atc.ops.linkage.triton.distance import distances

    generator = torch.Generator().manual_seed(0)
    for width in WIDTHS:
        for tokens in TOKENS if width == 64 else (17, 65) if width < 700 else (17,):
            keys = torch.randn(2, tokens, width, generator=generator)
            found = distances(keys)
            assert_right(keys, found)
            out = torch.full_like(found, -7)
            above = distances(keys, out, both=False)
            assert above is out
            assert torch.equal(above.triu(), found.triu())
            assert torch.equal(distances(keys[1:]), found[1:])
    for width in (64, 80):
        assert_right(awkward(width), distances(awkward(width)))
    zero = distances(awkward())[0, 1]
    assert zero[[0, 1, 4, 5, 6]].eq(1).all()
    keys = torch.randn(2, 20, 48, generator=generator)
    for same in (keys.mT.contiguous().mT, keys.transpose(0, 1).contiguous().transpose(0, 1)):
        assert torch.equal(distances(same), distances(keys))
    minus = torch.complex(keys, -keys).conj().imag
    assert torch.equal(distances(minus), distances(minus.resolve_neg().clone()))
    for half in (keys.half(), keys[:, :, ::2].half()):
        assert torch.equal(distances(half), distances(half.float()))
    part = distances(keys, torch.zeros(5, 20, 20)[1:3])
    assert torch.equal(part, distances(keys))
    assert distances(keys[:0]).shape == (0, 20, 20)
    assert distances(keys[:, :0]).shape == (2, 0, 0)
    assert distances(keys[:, :, :0]).eq(1).all()  # keys without numbers are zero vectors
    print("equal")


@pytest.mark.slow
def test_interpreter_is_within_a_millionth_of_float64():
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", "from tests.ops.test_distance_triton import interpreted; interpreted()"],
        cwd=root,
        env=os.environ | {"TRITON_INTERPRET": "1", "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
    )
    assert done.stdout == "equal\n", done.stderr


def emulated(keys):
    """The distances with products as ``tf32x3`` takes them, which the interpreter does not."""

    def tf32(x):  # rounded to 11 significant bits, halves away from zero
        return ((x.view(torch.int32) + 0x1000) & ~0x1FFF).view(torch.float32)

    unit = keys.float() / keys.float().norm(dim=-1, keepdim=True)
    large = tf32(unit)
    small = tf32(unit - large)
    product = small @ large.mT + large @ small.mT + large @ large.mT
    return 1 - product.triu() - product.triu(1).mT


def test_split_products_are_within_a_millionth_of_float64(photographs):  # noqa: F811
    for width in WIDTHS:
        keys = torch.randn(4, 130, width, generator=torch.Generator().manual_seed(width))
        assert (emulated(keys) - cosine_distance(keys.double())).abs().max() < 1e-6
    for keys in photographs:
        found = emulated(keys)
        assert (found - cosine_distance(keys.double())).abs().max() < 1e-6
        for method in METHODS:
            for rate in (0.25, 0.5, 0.9):
                keep = int(rate * keys.shape[1])
                assert torch.equal(labels(found, keep, method), labels_from_features(keys, keep, method))


@pytest.mark.skipif(bool(os.environ.get("TRITON_INTERPRET")), reason="the interpreter compiles nothing")
@pytest.mark.parametrize("capability", [75, 80, 89, 90])
def test_compiles(capability, tmp_path, monkeypatch):
    from atc.ops.linkage.triton.distance import launch_options
    from atc.ops.linkage.triton.distance_kernel import cosine_distances

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "cache"))
    precision = "ieee" if capability < 80 else "tf32x3"
    for width, kind in ((64, "bf16"), (64, "fp32"), (768, "fp32")):
        options = launch_options(width, precision)
        names = [name for name in cosine_distances.arg_names if name not in options and name != "column_stride"]
        signature = dict.fromkeys(names, "i32") | {"keys": f"*{kind}", "out": "*fp32"}
        rounded = ("image_stride", "row_stride", "width")
        options["column_stride"] = 1
        assembly, stack, _ = compile_for(capability, cosine_distances, signature, options, tmp_path, rounded)
        assert stack <= 64, (width, kind)
        assert ("mma" in assembly and "tf32" in assembly) == (precision == "tf32x3")


def test_a_cpu_and_float64_keep_their_arithmetic():
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        assert not has_kernel(torch.zeros(1, 2, 3, dtype=dtype))


def test_which_products_a_device_takes(monkeypatch):
    from atc.ops.linkage.triton import distance

    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    for capability, expected in (((7, 5), "ieee"), ((8, 0), "tf32x3"), ((8, 9), "tf32x3"), ((12, 0), "tf32x3")):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device, found=capability: found)
        assert distance.precision(torch.device("cuda")) == expected
    monkeypatch.setattr(torch.version, "hip", "6.0")
    assert distance.precision(torch.device("cuda")) == "ieee"


@pytest.mark.gpu
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("tokens", [*TOKENS, 196, 1369])
def test_gpu_is_within_a_millionth_of_float64(width, tokens):
    keys = torch.randn(3, tokens, width, device="cuda")
    found = cosine_distance(keys)
    assert_right(keys, found)
    assert torch.equal(cosine_distance(keys[1:2]), found[1:2])
    assert torch.equal(cosine_distance(keys.repeat(3, 1, 1))[:3], found)
    for half in (keys.half(), keys.bfloat16()):
        assert_right(half, cosine_distance(half))
    assert cosine_distance(keys.double()).dtype == torch.float64


@pytest.mark.gpu
def test_gpu_takes_awkward_keys():
    for width in (64, 80):
        assert_right(awkward(width).cuda(), cosine_distance(awkward(width).cuda()))


@pytest.mark.gpu
@pytest.mark.parametrize("method", METHODS)
def test_gpu_labels_are_those_of_its_distances_and_of_a_cpu(photographs, method):  # noqa: F811
    for keys in photographs:
        tokens = keys.shape[1]
        for rate in (0.25, 0.5, 0.9):
            keep = int(rate * tokens)
            found = labels_from_features(keys.cuda(), keep, method)
            assert torch.equal(found, labels(cosine_distance(keys.cuda()), keep, method))
            assert torch.equal(found.cpu(), labels_from_features(keys, keep, method))
