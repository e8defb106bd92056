"""Merging and distances in the operators of an exported model equal what is computed otherwise."""

from unittest import mock

import pytest
import torch
from torch import Tensor, nn

from atc.ops import exporting, scale
from atc.ops.linkage import METHODS, cosine_distance, exportable, labels


def distances(kind: str, tokens: int, dtype: torch.dtype) -> Tensor:
    points = torch.randn(4, tokens, 5, dtype=dtype)
    found = torch.cdist(points, points)
    if kind == "ties":
        found = found.round()
    found = (found + found.mT) / 2
    if kind == "odd":
        found[0] = 0
        found[1] = torch.inf
        found[2, 0, -1] = found[2, -1, 0] = torch.nan
        found[3, 0, 1] = found[3, 1, 0] = torch.inf
    return found


@pytest.mark.parametrize("kind", ["plain", "ties", "odd"])
@pytest.mark.parametrize(("tokens", "keep"), [(2, 1), (7, 3), (7, 7), (7, 9), (33, 12)])
@pytest.mark.parametrize("method", METHODS)
def test_the_labels_of_the_reference(method: str, tokens: int, keep: int, kind: str) -> None:
    for dtype in (torch.float32, torch.float64):
        distance = distances(kind, tokens, dtype)
        expected = labels(distance, keep, method, backend="reference")
        assert torch.equal(exportable.labels_by_loop(distance, keep, method), expected)


class Labels(nn.Module):
    def forward(self, distance: Tensor) -> Tensor:
        return labels(distance, 3, "average")


@pytest.mark.parametrize("loops", [True, False], ids=["one loop", "written out"])
def test_exported_programs_hold_no_operator_of_ours(loops: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not loops:
        monkeypatch.setattr(exportable, "scan", None)
    distance = distances("plain", 8, torch.float32)
    program = torch.export.export(Labels(), (distance,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    assert "atc." not in str(program.graph)
    assert ("scan" in str(program.graph)) == (loops and exportable.scan is not None)
    again = distances("ties", 8, torch.float32)
    assert torch.equal(program.module()(again), labels(again, 3, "average"))


def test_a_named_backend_stays_an_operator() -> None:
    class Named(nn.Module):
        def forward(self, distance: Tensor) -> Tensor:
            return labels(distance, 3, "average", backend="torch")

    program = torch.export.export(Named(), (distances("plain", 8, torch.float32),))
    assert "torch.ops.atc.linkage" in str(program.graph)


@pytest.mark.parametrize("tokens", [1, 9, 25, 26, 60])
def test_distances_written_out(tokens: int) -> None:
    x = torch.randn(3, tokens, 7, dtype=torch.float64)
    with mock.patch.object(exporting, "exporting", return_value=True):
        found = exporting.pairwise_cdist(x)
    torch.testing.assert_close(found, torch.cdist(x, x), atol=2e-7, rtol=0)  # the root of what rounds to zero


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16], ids=str)
def test_powers_of_two_without_bits(dtype: torch.dtype) -> None:
    kind = torch.finfo(dtype)
    values = [kind.tiny, kind.max, 1, 3.99, 4, 1e-3, -7, torch.inf]
    x = torch.tensor(values, dtype=dtype).unsqueeze(1)
    expected = scale.power_of_two(x, 1)
    with mock.patch.object(scale, "exporting", return_value=True):
        assert torch.equal(scale.power_of_two(x, 1), expected)
        strange = scale.power_of_two(torch.tensor([[0.0], [torch.nan]], dtype=dtype), 1)
    assert bool(strange.isfinite().all())
    assert bool((strange > 0).all())


def test_cosine_distances() -> None:
    keys = torch.randn(2, 30, 8)
    keys[0, 3] = 0
    expected = cosine_distance(keys)
    with mock.patch("atc.ops.linkage.cosine.exporting", return_value=True):
        torch.testing.assert_close(cosine_distance(keys), expected)
