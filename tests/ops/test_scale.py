"""Normalising keys of any size: ordinary ones keep their bits, all others are right."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from atc.ops.linkage import cosine_distance, labels, labels_from_features
from atc.ops.scale import power_of_two, unit_vectors, unit_vectors_on_host
from tests import golden

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
# Of float16 no number reaches 65520, of float32 none is below 1e-45: only what a dtype holds is tried.
SIZES = [
    1e-320,
    1e-300,
    1e-160,
    1e-45,
    1e-40,
    1e-25,
    1e-20,
    1e-13,
    1e-7,
    1e-4,
    1e4,
    1e9,
    1e19,
    1e25,
    1e37,
    1e160,
    1e300,
]


def before(keys: torch.Tensor) -> torch.Tensor:
    """Distances as they were computed without scaling: right where nothing under- or overflows."""
    wide = keys if keys.dtype == torch.float64 else keys.float()
    unit = wide / wide.norm(dim=-1, keepdim=True).clamp_min(1e-12)
    product = torch.bmm(unit, unit.mT)
    return product.new_ones(()) - product


def exact(keys: torch.Tensor) -> torch.Tensor:
    """Distances in float64 of keys whose largest element was made 1."""
    wide = keys.double()
    wide = wide / wide.abs().amax(-1, keepdim=True)
    return before(wide)


def real_keys() -> torch.Tensor:
    """Keys of a small ViT's block for three pictures, `[3, 196, D]`."""
    vit, kept = golden.vit(dtype=torch.float32), []
    hook = vit.blocks[3].attn.qkv.register_forward_hook(lambda module, inputs, out: kept.append(out))
    with torch.no_grad():
        vit(golden.images(torch.float32)[:3])
    hook.remove()
    width = vit.embed_dim // vit.blocks[3].attn.num_heads
    keys = kept[0].chunk(3, dim=-1)[1].unflatten(-1, (-1, width))
    return keys.mean(2)[:, vit.num_prefix_tokens :]


@pytest.mark.parametrize("dtype", DTYPES)
def test_ordinary_keys_keep_their_bits(dtype):
    for keys in (torch.randn(5, 49, 64), torch.rand(3, 20, 7) * 100, real_keys(), torch.zeros(1, 4, 3)):
        keys = keys.to(dtype)
        assert torch.equal(cosine_distance(keys), before(keys))
        assert torch.equal(unit_vectors(keys), F.normalize(keys, dim=-1, eps=torch.finfo(dtype).tiny))
        found = labels_from_features(keys, 4, "average")
        assert torch.equal(found, labels(before(keys), 4, "average"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_scale_that_was_right_keeps_its_bits(dtype):
    keys = torch.randn(2, 30, 16, dtype=dtype)
    for exponent in range(-35, 50):
        scaled = keys * 2.0**exponent
        assert torch.equal(cosine_distance(scaled), cosine_distance(keys)), exponent
        assert torch.equal(cosine_distance(scaled), before(scaled)), exponent
        assert torch.equal(unit_vectors(scaled), unit_vectors_on_host(scaled)), exponent


@pytest.mark.parametrize("dtype", DTYPES)
def test_keys_of_any_size_have_the_right_distances(dtype):
    torch.manual_seed(1)
    keys, tried = torch.randn(2, 30, 16, dtype=torch.float64), 0
    for size in SIZES:
        scaled = (keys * size).to(dtype)
        if scaled.isfinite().all() and scaled.any(dim=-1).all():
            tried += 1
            torch.testing.assert_close(cosine_distance(scaled).double(), exact(scaled), rtol=0, atol=1e-6)
            kept = labels_from_features(scaled, 5, "complete")
            assert torch.equal(kept, labels(cosine_distance(scaled), 5, "complete"))
    assert tried >= 3


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rows_of_very_different_size(dtype):
    kind = torch.finfo(dtype)
    keys = torch.randn(1, 8, 16, dtype=dtype)
    sizes = torch.tensor([kind.tiny, kind.max / 8, 1, kind.tiny**0.5, kind.max**0.5, 1e-13, 1e19, 3], dtype=dtype)
    found = cosine_distance(keys * sizes[:, None])
    torch.testing.assert_close(found, cosine_distance(keys), rtol=0, atol=8 * kind.eps)
    elements = torch.tensor([[[kind.max, kind.tiny], [kind.tiny, 0.0], [0.0, kind.max]]], dtype=dtype)
    torch.testing.assert_close(cosine_distance(elements)[0, :, 0], torch.tensor([0.0, 0.0, 1.0], dtype=dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_zeros_infinities_and_nan_stay_what_they_were(dtype):
    keys = torch.randn(2, 6, 8).to(dtype)
    keys[0, 1], keys[0, 3, 2], keys[1, 4, 5], keys[1, 0, 0] = 0, torch.inf, torch.nan, -torch.inf
    expected = before(keys)
    assert torch.equal(cosine_distance(keys).isnan(), expected.isnan())
    assert torch.equal(cosine_distance(keys).nan_to_num(7.0), expected.nan_to_num(7.0))
    with pytest.raises(ValueError, match="image 0 holds NaN"):
        labels_from_features(keys, 2, "average", check_finite=True)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_factor_is_an_exact_power_of_two(dtype):
    kind = torch.finfo(dtype)
    edges = [0.0, kind.smallest_normal * kind.eps, kind.tiny, 1.0, -3.0, kind.max, torch.inf, torch.nan]
    x = torch.tensor(edges, dtype=torch.float64).to(dtype)[:, None]
    factor = power_of_two(x, -1)
    assert (factor.double().log2() % 1 == 0).all()
    largest = (x * factor).double().abs()[2:6]
    assert ((largest >= 1) & (largest < 4)).all()
    assert power_of_two(torch.zeros(2, 3, 4, dtype=dtype), (1, 2)).shape == (2, 1, 1)


def test_nothing_to_normalise():
    for shape in ((0, 5, 4), (2, 0, 4), (2, 5, 0)):
        assert cosine_distance(torch.zeros(shape)).shape == (shape[0], shape[1], shape[1])
        assert labels_from_features(torch.zeros(shape), 2, "average").shape == shape[:2]
        assert unit_vectors(torch.zeros(shape)).shape == shape


def test_one_graph_and_gradients_of_unit_vectors():
    keys = torch.randn(2, 5, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(unit_vectors, (keys,))
    compiled = torch.compile(unit_vectors, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(keys * 1e-200), unit_vectors(keys * 1e-200))
