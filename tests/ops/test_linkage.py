"""What the public functions promise, on every backend."""

from __future__ import annotations

import pytest
import torch

from atc.ops.linkage import (
    BACKENDS,
    METHODS,
    cosine_distance,
    dendrogram,
    effort,
    labels,
    labels_from_features,
)
from tests.reference.distances import FINITE, KINDS, batch

pytestmark = pytest.mark.usefixtures("kernel")
# The GPU's backends have tests of their own: they need one, or an interpreter, or an emulation.
EVERY_BACKEND = pytest.mark.parametrize("backend", [None, *(b for b in BACKENDS if b not in ("triton", "cuda"))])


@EVERY_BACKEND
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("keep", [1, 5, 19, 20, 21, 500])
def test_exactly_k_clusters_numbered_by_first_appearance(backend, method, keep):
    found = labels(batch(20), keep, method, backend=backend)
    assert found.dtype == torch.int64
    for row in found.tolist():
        assert list(dict.fromkeys(row)) == list(range(min(keep, 20)))


@EVERY_BACKEND
def test_empty_batches_and_images(backend):
    assert labels(torch.zeros(0, 5, 5), 2, "average", backend=backend).shape == (0, 5)
    assert labels(torch.zeros(2, 0, 0), 2, "average", backend=backend).shape == (2, 0)
    assert labels(torch.zeros(2, 1, 1), 1, "single", backend=backend).tolist() == [[0], [0]]


@EVERY_BACKEND
@pytest.mark.parametrize("method", METHODS)
def test_only_the_part_above_the_diagonal_is_read(backend, method):
    distance = batch(20, FINITE)
    expected = labels(distance, 6, method, backend=backend)
    noise = distance.triu(1) + torch.full_like(distance, torch.nan).tril()
    assert torch.equal(labels(noise, 6, method, backend=backend, check_finite=True), expected)


@EVERY_BACKEND
def test_memory_layout_does_not_matter(backend):
    distance = batch(20, FINITE)
    expected = labels(distance, 6, "average", backend=backend)
    wider = torch.zeros(len(distance), 23, 31).copy_(torch.rand(23, 31))
    wider[:, 1:21, 4:24] = distance
    for view in (
        wider[:, 1:21, 4:24],
        distance.mT,
        distance.permute(1, 2, 0).contiguous().permute(2, 0, 1),
        distance.flip(0).contiguous().flip(0),
    ):
        assert torch.equal(labels(view, 6, "average", backend=backend), expected)
    repeated = labels(distance[:1].expand(4, 20, 20), 6, "average", backend=backend)
    assert torch.equal(repeated, expected[:1].expand(4, 20))


@EVERY_BACKEND
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_read_as_float32(backend, dtype):
    distance = batch(20, FINITE[:-1]).to(dtype)
    found = labels(distance, 6, "average", backend=backend)
    assert torch.equal(found, labels(distance.float(), 6, "average", backend="reference"))


@EVERY_BACKEND
def test_the_input_is_left_alone(backend):
    distance = batch(20)
    before = distance.clone()
    labels(distance, 3, "complete", backend=backend)
    assert torch.equal(distance.nan_to_num(7.5), before.nan_to_num(7.5))


@EVERY_BACKEND
def test_nan_is_refused_by_image_where_asked_and_infinity_is_not(backend):
    distance = batch(20, ["features", "infinities", "not_numbers", "not_numbers"])
    with pytest.raises(ValueError, match="image 2 holds NaN"):
        labels(distance, 6, "average", backend=backend, check_finite=True)
    with pytest.raises(ValueError, match="image 2 holds NaN"):
        dendrogram(distance, 6, "average", backend=backend, check_finite=True)
    assert labels(distance[:2], 6, "average", backend=backend, check_finite=True).max() == 5
    assert labels(distance, 6, "average", backend=backend).amax(1).tolist() == [5] * 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.zeros(3, 3), 2, "average"), r"\[B, N, N\], got torch.float32 \[3, 3\]"),
        ((torch.zeros(1, 3, 4), 2, "average"), r"\[1, 3, 4\]"),
        ((torch.zeros(1, 3, 3, dtype=torch.int64), 2, "average"), "int64"),
        ((torch.zeros(1, 3, 3), 0, "average"), "keep must be at least 1, got 0"),
        ((torch.zeros(1, 3, 3), -4, "average"), "got -4"),
        ((torch.zeros(1, 3, 3), 2, "median"), "single, complete, average, ward, got 'median'"),
    ],
)
def test_bad_input_is_named(arguments, message):
    for function in (labels, dendrogram, effort):
        with pytest.raises(ValueError, match=message):
            function(*arguments)


def test_unknown_backend_and_bad_keys_are_named():
    with pytest.raises(ValueError, match=r"triton.* takes up to 1024 tokens, got 1025"):
        labels(torch.zeros(1, 1025, 1025), 2, "average", backend="triton")
    with pytest.raises(ValueError, match="got 'gpu'"):
        labels(torch.zeros(1, 3, 3), 2, "average", backend="gpu")
    with pytest.raises(ValueError, match="got 'gpu'"):
        labels_from_features(torch.zeros(1, 3, 3), 2, "average", backend="gpu")
    for function in (cosine_distance, lambda keys: labels_from_features(keys, 2, "average")):
        with pytest.raises(ValueError, match=r"\[B, N, D\], got torch.float32 \[3, 3\]"):
            function(torch.zeros(3, 3))


@pytest.mark.parametrize("method", METHODS)
def test_a_dendrogram_holds_every_partition(method):
    distance = batch(49, FINITE)
    tree = dendrogram(distance, 5, method)
    assert tree.merges.shape == (len(FINITE), 44, 2)
    assert (tree.merges[..., 0] < tree.merges[..., 1]).all()
    for keep in (5, 6, 20, 48, 49, 60):
        assert torch.equal(tree.labels(keep), labels(distance, keep, method))
    with pytest.raises(ValueError, match="keep=4 is less than the 5 clusters"):
        tree.labels(4)


def test_a_threshold_counts_the_clusters_below_it():
    tree = dendrogram(torch.tensor([[[0, 1, 9], [1, 0, 5], [9, 5, 0.0]]]), 1, "single")
    assert tree.heights.tolist() == [[1, 5]]
    assert [int(tree.clusters_below(height)) for height in (0.5, 1, 4.9, 5)] == [3, 2, 2, 1]


@pytest.mark.parametrize("method", METHODS)
def test_heights_never_fall(method):
    heights = dendrogram(batch(98, ["features", "regions", "star", "growing_gaps"]), 1, method).heights
    assert (heights.diff(dim=1) >= -1e-12 * heights[:, :-1].abs()).all()


class TestCosineDistance:
    def test_is_what_the_paper_writes(self):
        keys = torch.randn(3, 20, 8)
        unit = keys / keys.norm(dim=-1, keepdim=True)
        assert torch.equal(cosine_distance(keys), 1 - unit @ unit.mT)

    def test_zero_vectors_are_at_distance_one(self):
        keys = torch.randn(1, 6, 8)
        keys[0, 2] = keys[0, 4] = 0
        distance = cosine_distance(keys)
        assert (distance[0, 2] == 1).all()
        assert (distance[0, :, 4] == 1).all()

    @pytest.mark.parametrize("precision", ["high", "medium"])
    def test_autocast_and_matmul_precision_do_not_reach_it(self, precision):
        keys = torch.randn(2, 64, 64)
        expected = cosine_distance(keys)
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision(precision)
        try:
            with torch.autocast("cpu", dtype=torch.bfloat16):
                assert torch.equal(cosine_distance(keys), expected)
                assert torch.equal(labels_from_features(keys, 20, "average"), labels(expected, 20, "average"))
            assert torch.get_float32_matmul_precision() == precision
        finally:
            torch.set_float32_matmul_precision(before)

    @pytest.mark.parametrize(("dtype", "expected"), [(torch.float64, torch.float64), (torch.bfloat16, torch.float32)])
    def test_dtype(self, dtype, expected):
        assert cosine_distance(torch.randn(1, 4, 8).to(dtype)).dtype == expected


@EVERY_BACKEND
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
def test_from_features_equals_from_distances(backend, dtype):
    keys = torch.randn(5, 49, 16).to(dtype)
    keys[1, 3] = 0
    found = labels_from_features(keys, 12, "average", backend=backend)
    assert torch.equal(found, labels(cosine_distance(keys), 12, "average", backend=backend))


def test_from_features_a_few_images_at_a_time(monkeypatch):
    keys = torch.randn(7, 49, 16)
    expected = labels_from_features(keys, 12, "complete")
    monkeypatch.setattr("atc.ops.linkage.features._CELLS", {"cpu": 2 * 49 * 49})
    assert torch.equal(labels_from_features(keys, 12, "complete"), expected)
    keys[6, 0, 0] = torch.nan
    with pytest.raises(ValueError, match="image 6 holds NaN"):
        labels_from_features(keys, 12, "complete", check_finite=True)


class TestCompiled:
    def test_one_graph(self):
        distance, keys = batch(20, FINITE), torch.randn(3, 20, 8)

        def both(distance, keys):
            far = labels(cosine_distance(keys), 5, "complete")
            return labels(distance * 2, 5, "average") + 1, labels_from_features(keys, 5, "single"), far

        found = torch.compile(both, fullgraph=True, backend="aot_eager")(distance, keys)
        for one, other in zip(found, both(distance, keys), strict=True):
            assert torch.equal(one, other)

    def test_export_with_a_batch_of_any_size(self):
        class Cluster(torch.nn.Module):
            def forward(self, distance):
                return labels(distance, 5, "average", backend="torch")  # named, it stays one operator

        images = torch.export.Dim("images")
        exported = torch.export.export(Cluster(), (batch(20, FINITE),), dynamic_shapes=({0: images},))
        calls = [str(node.target) for node in exported.graph.nodes if node.op == "call_function"]
        assert calls.count("atc.linkage.default") == 1
        assert set(calls) <= {"atc.linkage.default", "aten.detach.default"}
        fewer = batch(20, FINITE[:2])
        assert torch.equal(exported.module()(fewer), labels(fewer, 5, "average"))

    def test_operator_rules(self):
        distance, keys = batch(9, FINITE), torch.randn(2, 9, 4)
        torch.library.opcheck(torch.ops.atc.linkage, (distance, 3, "average", None, None))
        torch.library.opcheck(torch.ops.atc.linkage_from_features, (keys, 3, "average", None, None))
        torch.library.opcheck(torch.ops.atc.cosine_distance, (keys,))

    def test_gradients_pass_by(self):
        keys = torch.randn(2, 9, 4, requires_grad=True)
        found = labels(cosine_distance(keys), 3, "average")
        assert not found.requires_grad
        (keys * found.unsqueeze(-1)).sum().backward()
        assert torch.equal(keys.grad, found.unsqueeze(-1).expand_as(keys).to(keys.dtype))


def test_every_kind_is_symmetric_and_has_its_trouble():
    for name, kind in KINDS.items():
        distance = kind(20, 1)
        assert torch.equal(distance.nan_to_num(7.5), distance.mT.nan_to_num(7.5)), name
    assert KINDS["not_numbers"](20, 1).isnan().any()
    assert KINDS["infinities"](20, 1).isinf().any()
    assert (batch(49, ["duplicates"]).triu(1) < 0).any()
