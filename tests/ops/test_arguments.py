"""What the public operations take for a number, a switch or a tensor, and what they say to anything else."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch

from atc.ops.linkage import cosine_distance, dendrogram, effort, labels, labels_from_features, usable_backends
from atc.ops.segment import group_sum
from tests.reference.distances import batch

pytestmark = pytest.mark.usefixtures("kernel")
CLUSTERINGS = [labels, dendrogram, effort]
each_clustering = pytest.mark.parametrize("function", CLUSTERINGS, ids=lambda function: function.__name__)

KEEPS = [
    1.5,
    "3",
    None,
    True,
    np.True_,
    float("nan"),
    float("inf"),
    [3],
    torch.tensor([3]),
    torch.tensor(2.5),
    1j,
    b"3",
]
KEEPS += [
    np.array([3]),
    np.float32(2.5),
    torch.tensor(True),
    Fraction(7, 2),
    slice(3),
    object(),
    torch.tensor(3).to("meta"),
]


def square() -> torch.Tensor:
    return torch.rand(2, 5, 5)


NO_DISTANCES = {
    "numpy": square().numpy(),
    "list": square().tolist(),
    "none": None,
    "sparse": square().to_sparse(),
    "complex": square().to(torch.complex64),
    "integers": square().long(),
    "booleans": square() > 0.5,
    "jagged": torch.nested.nested_tensor([torch.rand(3, 5), torch.rand(4, 5)], layout=torch.jagged),
    "matrix": square()[0],
    "four_dimensions": square()[None],
    "rectangles": torch.rand(1, 20000, 1),
}


@each_clustering
@pytest.mark.parametrize("keep", KEEPS, ids=lambda keep: type(keep).__name__)
def test_no_integer_is_refused_as_number_of_clusters(function, keep):
    with pytest.raises(ValueError, match="keep must be an integer, got") as error:
        function(square(), keep, "average")
    assert "\n" not in str(error.value)


def test_every_function_of_features_and_sums_refuses_it_too():
    for keep in KEEPS:
        with pytest.raises(ValueError, match="keep must be an integer, got"):
            labels_from_features(square(), keep, "average")
        with pytest.raises(ValueError, match="keep must be an integer, got"):
            dendrogram(square(), 1, "average").labels(keep)
        with pytest.raises(ValueError, match="num_groups must be an integer, got"):
            group_sum(square(), torch.zeros(2, 5, dtype=torch.int64), keep)


@pytest.mark.parametrize("kind", [int, float, np.int64, np.uint8, np.float32, np.array, torch.tensor])
def test_numbers_are_numbers(kind):
    distance = batch(20)
    expected = labels(distance, 6, "average")
    assert torch.equal(labels(distance, kind(6), "average"), expected)
    assert torch.equal(dendrogram(distance, kind(1), "average").labels(kind(6)), expected)
    assert effort(distance, kind(6), "average").merges.tolist() == [14.0] * len(distance)
    keys = torch.randn(2, 20, 4)
    assert torch.equal(labels_from_features(keys, kind(6), "ward"), labels_from_features(keys, 6, "ward"))
    assert group_sum(torch.ones(2, 5), torch.zeros(2, 5, dtype=torch.int64), kind(6)).shape == (2, 6)


def test_more_clusters_than_an_operator_can_count_are_the_identity():
    assert labels(square(), 10**30, "single").tolist() == [[0, 1, 2, 3, 4]] * 2
    assert dendrogram(square(), 10**30, "single").labels(10**30).tolist() == [[0, 1, 2, 3, 4]] * 2


@each_clustering
@pytest.mark.parametrize("distance", NO_DISTANCES.values(), ids=NO_DISTANCES)
def test_what_is_no_tensor_of_distances_is_named(function, distance):
    with pytest.raises(ValueError, match=r"distance must be a dense floating tensor \[B, N, N\], got") as error:
        function(distance, 2, "average")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("keys", list(NO_DISTANCES.values())[:-1], ids=list(NO_DISTANCES)[:-1])
def test_what_is_no_tensor_of_keys_is_named(keys):
    for function in (cosine_distance, lambda keys: labels_from_features(keys, 2, "average")):
        with pytest.raises(ValueError, match=r"keys must be a dense floating tensor \[B, N, D\], got"):
            function(keys)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_a_nested_tensor_is_named():
    nested = torch.nested.nested_tensor([torch.rand(3, 3), torch.rand(4, 4)])
    with pytest.raises(ValueError, match=r"got a nested tensor of torch\.float32"):
        labels(nested, 2, "average")


def test_a_tensor_without_values_has_labels_of_a_shape_and_no_tree():
    meta = torch.rand(2, 5, 5, device="meta")
    assert labels(meta, 2, "average").shape == (2, 5)
    assert labels(meta, 2, "average").is_meta
    for function in (dendrogram, effort):
        with pytest.raises(ValueError, match="must hold values, got a meta tensor"):
            function(meta, 2, "average")


def test_names_and_switches_are_named():
    for function in (labels, dendrogram, labels_from_features):
        for method in (None, 2, ["average"], "Average"):
            with pytest.raises(ValueError, match="method must be one of single, complete, average, ward, got"):
                function(square(), 2, method)
        for backend in (0, "CPU", ["cpu"], torch):
            with pytest.raises(ValueError, match="backend must be one of reference, torch, cpu, triton, cuda, got"):
                function(square(), 2, "average", backend=backend)
        for answer in ("no", 0, None, "False"):
            with pytest.raises(ValueError, match="check_finite must be True or False, got"):
                function(square(), 2, "average", check_finite=answer)


def test_a_height_is_a_number():
    tree = dendrogram(torch.tensor([[[0, 1, 9], [1, 0, 5], [9, 5, 0.0]]]), 1, "single")
    for height in (1, 1.0, np.float32(1), torch.tensor(1.0), torch.tensor([[1.0]])):
        assert tree.clusters_below(height).tolist() == [2]
    assert tree.clusters_below(float("inf")).tolist() == [1]
    wrong_tensors = (
        torch.ones(2, 1),
        torch.ones(1),
        torch.ones(1, 1, 1),
        torch.tensor(torch.nan),
        torch.tensor([[torch.nan]]),
    )
    for height in ("1", None, True, float("nan"), [1.0], *wrong_tensors):
        with pytest.raises(ValueError, match=r"height must be a number, (or one for each image .*, )?got"):
            tree.clusters_below(height)


def test_sums_of_any_floating_dtype():
    groups = torch.tensor([[0, 1, 1]])
    for dtype in (torch.float8_e4m3fn, torch.float16, torch.bfloat16, torch.float32, torch.float64):
        found = group_sum(torch.tensor([[1.0, 2.0, 4.0]]).to(dtype), groups, 2)
        assert found.dtype == dtype
        assert found.float().tolist() == [[1, 6]]


def test_sums_of_what_is_no_tensor_are_named():
    x, groups = torch.rand(2, 3, 4), torch.zeros(2, 3, dtype=torch.int64)
    for wrong in (x.numpy(), x.to_sparse(), x.long(), None):
        with pytest.raises(ValueError, match="x must be a dense floating tensor"):
            group_sum(wrong, groups, 2)
    for wrong in (groups.numpy(), groups.int(), groups.to_sparse(), [[0, 0, 0]] * 2):
        with pytest.raises(ValueError, match="labels must be int64"):
            group_sum(x, wrong, 2)
    for wrong in (groups, "1", np.ones((2, 3)), torch.ones(2, 3).to_sparse()):
        with pytest.raises(ValueError, match="weight must be"):
            group_sum(x, groups, 2, wrong)
    with pytest.raises(ValueError, match="labels must be on the device of x, cpu, got meta"):
        group_sum(x, groups.to("meta"), 2)


@pytest.mark.parametrize(("wrong", "image", "token"), [(2, 0, 1), (7, 1, 0), (-2, 0, 2), (2**40, 1, 2)])
def test_a_label_out_of_range_reaches_no_other_image(wrong, image, token):
    groups = torch.tensor([[0, 1, 1], [0, -1, 1]])
    groups[image, token] = wrong
    message = rf"labels must lie in \[-1, 2\), got {wrong} for token {token} of image {image}"
    for x in (torch.rand(2, 3, 4), torch.rand(2, 3)):
        with pytest.raises(ValueError, match=message):
            group_sum(x, groups, 2)


def test_the_backends_that_can_run_here():
    found = usable_backends()
    assert found[:3] == ("reference", "torch", "cpu")
    assert ("cuda" in found) <= torch.cuda.is_available()
