"""The partitions of SciPy and scikit-learn, which are ours wherever no two distances tie."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.cluster import hierarchy
from sklearn.cluster import AgglomerativeClustering

from atc.ops.linkage import dendrogram, labels
from tests.reference.distances import batch

IMAGES = 12


def by_first_appearance(found):
    """Rename labels to the order in which they appear."""
    names = {}
    return [names.setdefault(label, len(names)) for label in found]


def scipy_tree(distance, method):
    """SciPy's tree of one image. Its Ward expects distances, ours their squares."""
    above = distance.double().numpy()[np.triu_indices(len(distance), 1)]
    return hierarchy.linkage(np.sqrt(above) if method == "ward" else above, method)


def scipy_labels(tree, tokens, keep):
    """The forest after the first N - K rows: fcluster gives fewer than K clusters in ties."""
    cluster = {slot: [slot] for slot in range(tokens)}
    for row in range(tokens - keep):
        cluster[tokens + row] = cluster.pop(int(tree[row, 0])) + cluster.pop(int(tree[row, 1]))
    found = np.zeros(tokens, dtype=int)
    for number, members in enumerate(cluster.values()):
        found[members] = number
    return by_first_appearance(found.tolist())


def is_clear(heights):
    """No two merges are so close that rounding, or the order of a traversal, decides between them."""
    return bool((np.diff(heights) > 1e-9).all())


@pytest.mark.parametrize("method", ["single", "complete", "average", "ward"])
@pytest.mark.parametrize("kind", ["features", "regions"])
@pytest.mark.parametrize("tokens", [49, 98, 196])
def test_equals_scipy_where_nothing_ties(tokens, kind, method):
    distance = batch(tokens, [kind] * IMAGES)
    clear = 0
    for image in distance:
        tree = scipy_tree(image, method)
        if not is_clear(tree[:, 2]):
            continue
        clear += 1
        for keep in (1, 2, tokens // 4, tokens // 2, tokens * 9 // 10, tokens):
            ours = labels(image[None], keep, method)[0].tolist()
            assert ours == scipy_labels(tree, tokens, keep), f"keep={keep}"
    assert clear >= IMAGES * 3 // 4, f"only {clear} of {IMAGES} images without ties: nothing was compared"


@pytest.mark.parametrize("method", ["single", "complete", "average", "ward"])
def test_heights_are_those_of_scipy(method):
    for image in batch(98, ["regions"] * 4):
        ours = dendrogram(image[None], 1, method).heights[0].numpy()
        theirs = scipy_tree(image, method)[:, 2]
        np.testing.assert_allclose(ours, theirs**2 if method == "ward" else theirs, rtol=1e-12)


@pytest.mark.parametrize("kind", ["duplicates", "few_values", "half", "star", "growing_gaps"])
def test_heights_of_single_linkage_are_those_of_scipy_even_in_ties(kind):
    # A minimum spanning tree's edge lengths do not depend on which of the equal ones are taken. SciPy refuses
    # negative distances: shift them away.
    image = batch(98, [kind])[0].double() + 1
    ours = dendrogram(image[None], 1, "single").heights[0].numpy()
    np.testing.assert_array_equal(ours, np.sort(scipy_tree(image, "single")[:, 2]))


@pytest.mark.parametrize("method", ["single", "complete", "average"])
@pytest.mark.parametrize("keep", [1, 24, 49, 88])
def test_equals_scikit_learn_as_the_authors_call_it(method, keep):
    distance = batch(98, ["regions"] * IMAGES)
    ours = labels(distance, keep, method)
    theirs = AgglomerativeClustering(n_clusters=keep, metric="precomputed", linkage=method)
    compared = 0
    for image, own in zip(distance, ours, strict=True):
        if is_clear(scipy_tree(image, method)[:, 2]):
            compared += 1
            assert own.tolist() == by_first_appearance(theirs.fit(image.numpy()).labels_.tolist())
    assert compared >= IMAGES * 3 // 4


# No two angles that decide are equal: a tie would be broken by the round-off of the machine's cosine.
EIGHT = (4, 53, 85, 99, 126, 149, 166, 170)
EIGHT_MORE = (46, 68, 82, 91, 108, 113, 116, 136)


@pytest.mark.parametrize(
    ("degrees", "method", "expected"),
    [
        (EIGHT, "single", [0, 1, 2, 2, 2, 2, 2, 2]),
        (EIGHT, "complete", [0, 0, 1, 1, 1, 2, 2, 2]),
        (EIGHT, "average", [0, 0, 1, 1, 1, 2, 2, 2]),
        (EIGHT_MORE, "single", [0, 1, 1, 1, 1, 1, 1, 2]),
        (EIGHT_MORE, "complete", [0, 0, 1, 1, 2, 2, 2, 2]),
        (EIGHT_MORE, "average", [0, 1, 1, 1, 2, 2, 2, 2]),
    ],
)
@pytest.mark.parametrize("backend", ["reference", "torch", "cpu"])
def test_unit_vectors_in_the_plane(kernel, backend, degrees, method, expected):
    """Three clusters, as scikit-learn 1.9 finds them; small enough to check with a ruler."""
    angle = torch.deg2rad(torch.tensor(degrees, dtype=torch.float32))
    unit = torch.stack([angle.cos(), angle.sin()], 1)
    assert labels((1 - unit @ unit.T)[None], 3, method, backend=backend)[0].tolist() == expected


def test_exactly_k_clusters_where_scipy_gives_fewer():
    tied = batch(49, ["all_equal"])
    theirs = hierarchy.fcluster(scipy_tree(tied[0], "average"), 12, "maxclust")
    assert len(set(theirs)) < 12
    assert labels(tied, 12, "average").unique().tolist() == list(range(12))


def test_round_off_below_zero_which_scipy_refuses():
    image = batch(49, ["duplicates"])[0]
    image = image - image.abs().max() * 1e-7
    with pytest.raises(ValueError, match="negative"):
        hierarchy.fcluster(scipy_tree(image, "average"), 12, "maxclust")
    assert labels(image[None], 12, "average").max() == 11


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("tokens", "method", "rate"), [(2048, "complete", 0.5), (2309, "average", 0.9), (2309, "single", 0.25)]
)
def test_equals_scipy_where_the_square_does_not_fit_the_cache(tokens, method, rate, dtype):
    pairs = tokens * (tokens - 1) // 2
    different = torch.randperm(2**23, generator=torch.Generator().manual_seed(tokens))[:pairs].to(dtype) / 2**23
    distance = torch.full((1, tokens, tokens), torch.nan, dtype=dtype)  # only what is above the diagonal is read
    distance[0][tuple(torch.triu_indices(tokens, tokens, 1))] = different
    keep = int(tokens * rate)
    tree = hierarchy.linkage(different.double().numpy(), method)
    assert labels(distance, keep, method)[0].tolist() == scipy_labels(tree, tokens, keep)
