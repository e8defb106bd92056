"""Deformable attention against the authors' outputs and against loops."""

import math

import numpy as np
import pytest
import torch

from atc.dense.deformable import DeformableAttention, centres, sample
from tests import golden

GOLDEN = golden.outputs("detection")


def sampled_by_loops(values, grids, locations, weights):
    """[B, V, H, D], ..., [B, Q, H, L, S, 2], [B, Q, H, L, S] -> [B, Q, H * D], one place at a time."""
    batch, queries, heads, levels, points = weights.shape
    out = torch.zeros(batch, queries, heads, values.shape[-1], dtype=values.dtype)
    starts = [sum(rows * columns for rows, columns in grids[:level]) for level in range(levels)]
    for b, q, h, level, s in np.ndindex(batch, queries, heads, levels, points):
        rows, columns = grids[level]
        x, y = (locations[b, q, h, level, s] * torch.tensor([columns, rows]) - 0.5).tolist()
        for row in (math.floor(y), math.floor(y) + 1):
            for column in (math.floor(x), math.floor(x) + 1):
                if 0 <= row < rows and 0 <= column < columns:
                    share = (1 - abs(y - row)) * (1 - abs(x - column)) * weights[b, q, h, level, s]
                    out[b, q, h] += share * values[b, starts[level] + row * columns + column, h]
    return out.flatten(2)


def test_against_loops():
    torch.manual_seed(0)
    grids = [(3, 5), (1, 2), (4, 1)]
    values = torch.randn(2, 21, 2, 3, dtype=torch.float64)
    locations = torch.rand(2, 6, 2, 3, 2, 2, dtype=torch.float64) * 1.6 - 0.3  # some lie outside
    locations[0, 0], locations[0, 1], locations[0, 2] = 0, 1, 0.5
    weights = torch.rand(2, 6, 2, 3, 2, dtype=torch.float64)
    torch.testing.assert_close(
        sample(values, grids, locations, weights), sampled_by_loops(values, grids, locations, weights)
    )


@pytest.mark.parametrize("name", ["injector", "extractor_half"])
def test_one_call_with_gradients(name):
    part = {key.split("|")[2]: value for key, value in GOLDEN.items() if key.startswith(f"deform|{name}|")}
    dim, heads, levels, points = part["cfg"].tolist()
    attention = DeformableAttention(dim, heads, levels, points, float(part["ratio"])).double()
    torch.testing.assert_close(
        attention.sampling_offsets.bias.detach().float(), torch.from_numpy(part["init.sampling_offsets.bias"])
    )
    attention.load_state_dict({k[2:]: torch.from_numpy(v) for k, v in part.items() if k.startswith("w.")})
    query, feat = (torch.from_numpy(part[key]).requires_grad_() for key in ("query", "feat"))
    grids = [tuple(shape) for shape in part["shapes"].tolist()]
    out = attention(query, torch.from_numpy(part["ref"]), feat, grids)
    (out * torch.arange(out.numel(), dtype=out.dtype).view_as(out).cos()).sum().backward()
    found = {"out": out.detach(), "grad.query": query.grad, "grad.feat": feat.grad}
    found |= {f"grad.{key}": parameter.grad for key, parameter in attention.named_parameters()}
    for key, value in found.items():
        np.testing.assert_allclose(value.numpy(), part[key], rtol=0, atol=1e-9 * np.abs(part[key]).max(), err_msg=key)


def test_it_looks_in_float32_under_autocast():
    values, places = torch.randn(1, 4, 1, 2, dtype=torch.bfloat16), torch.rand(1, 3, 1, 1, 2, 2)
    weights = torch.rand(1, 3, 1, 1, 2)
    exact = sample(values.double(), [(2, 2)], places.double(), weights.double())
    with torch.autocast("cpu", torch.bfloat16):
        found = sample(values, [(2, 2)], places, weights)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=1e-5)


def test_centres_run_row_by_row():
    points = centres([(2, 3), (1, 1)], torch.zeros(1, dtype=torch.float16))
    assert points.dtype == torch.float32
    assert points.shape == (1, 7, 1, 2)
    torch.testing.assert_close(points[0, :, 0, 0], torch.tensor([1, 3, 5, 1, 3, 5, 3]) / 6)
    torch.testing.assert_close(points[0, :, 0, 1], torch.tensor([1, 1, 1, 3, 3, 3, 2]) / 4)


def test_heads_that_do_not_divide_the_channels():
    with pytest.raises(ValueError, match="deform_heads=6 must divide the 1024 channels"):
        DeformableAttention(1024, 6, 1)
