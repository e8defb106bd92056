"""Clustering up to a distance, image by image as SciPy does it."""

import numpy as np
import pytest
import torch
from scipy.cluster import hierarchy
from torch import nn

from atc.ops.linkage import cosine_distance, cpu, labels_from_features, labels_within, merge_heights, reference
from atc.ops.linkage.exportable import labels_within_by_loop
from tests.reference.distances import batch as distances

METHODS = ("single", "complete", "average")
TOKENS = 23


def by_first_appearance(found):
    names: dict[int, int] = {}
    return [names.setdefault(label, len(names)) for label in found]


def by_scipy(distance, threshold, method, least=1, most=None):
    """The labels of one image by SciPy's tree, cut at the number of clusters that `fcluster` finds."""
    tokens = len(distance)
    if tokens < 2:
        return [0] * tokens
    above = distance.double().clamp_min(0).numpy()[np.triu_indices(tokens, 1)]  # equal keys are 2e-16 apart, or -2e-16
    tree = hierarchy.linkage(above, method)
    left = len(set(hierarchy.fcluster(tree, threshold, "distance").tolist()))
    left = min(max(left, least), most or tokens, tokens)
    cluster = {slot: [slot] for slot in range(tokens)}
    for row in range(tokens - left):
        cluster[tokens + row] = cluster.pop(int(tree[row, 0])) + cluster.pop(int(tree[row, 1]))
    found = np.zeros(tokens, dtype=int)
    for number, members in enumerate(cluster.values()):
        found[members] = number
    return by_first_appearance(found.tolist())


def by_loops(distance, threshold, method, least=1, most=None):
    """The labels of one image by the plain algorithm, ties as every backend breaks them."""
    tokens = len(distance)
    merges, heights = reference.merge_greedily(distance.double().numpy(), 1, method)
    left = tokens - sum(height <= threshold for height in heights)
    left = min(max(left, least), most or tokens, tokens)
    parent = list(range(tokens))
    for low, high in merges[: tokens - left]:
        parent = [high if slot == low else slot for slot in parent]
    return by_first_appearance(parent)


def keys_of(kind, batch=5, seed=0):
    drawn = torch.randn(batch, TOKENS, 6, generator=torch.Generator().manual_seed(seed)).double()
    if kind == "ties":  # a few directions, each of several lengths
        return drawn.sign()[:, torch.arange(TOKENS) % 7] * torch.arange(1, TOKENS + 1)[:, None]
    return {"plain": drawn, "equal": torch.ones_like(drawn), "zero": torch.zeros_like(drawn)}[kind]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["plain", "equal", "zero", "ties"])
def test_image_by_image(kind, method):
    keys = keys_of(kind)
    real = torch.tensor([TOKENS, 11, 1, 0, 11])
    distance = cosine_distance(keys)
    counts_seen = set()
    for valid in (None, torch.arange(TOKENS) < real[:, None]):
        for threshold, least, most in ((0, 1, None), (0.4, 1, None), (0.8, 3, 9), (1.0, 1, None), (2.0, 1, None)):
            labels, counts = labels_within(keys, threshold, method, least=least, most=most, valid=valid)
            looped = labels_within_by_loop(distance, threshold, method, least, most, valid)
            assert torch.equal(labels, looped[0])
            assert torch.equal(counts, looped[1])
            for image, count in enumerate(counts.tolist()):
                n = TOKENS if valid is None else int(real[image])
                alone = distance[image, :n, :n]
                # Of equally close pairs SciPy takes others than we do.
                by = by_loops if kind == "ties" else by_scipy
                assert labels[image, :n].tolist() == by(alone, threshold, method, least, most)
                assert count == len(set(labels[image, :n].tolist()))
                assert (labels[image, n:] == -1).all()
                counts_seen.add(count)
    assert {1, 0} < counts_seen


def test_a_cap_that_is_also_the_floor_is_a_number_of_clusters():
    keys = keys_of("plain").float()
    for method in (*METHODS, "ward"):
        labels, counts = labels_within(keys, 0.5, method, least=9, most=9)
        assert torch.equal(labels, labels_from_features(keys, 9, method))
        assert counts.tolist() == [9] * 5


def test_each_image_is_what_it_is_alone():
    keys = keys_of("plain").float()
    real = [TOKENS, 11, 1, 0, 11]
    valid = torch.arange(TOKENS) < torch.tensor(real)[:, None]
    for method in METHODS:
        labels, counts = labels_within(keys, 0.6, method, valid=valid)
        heights, known = merge_heights(keys, method, valid=valid)
        assert known.tolist() == real
        for image, n in enumerate(real):
            alone = keys[image : image + 1, :n]
            assert torch.equal(labels_within(alone, 0.6, method)[0][0], labels[image, :n])
            assert labels_within(alone, 0.6, method)[1] == counts[image]
            assert torch.equal(merge_heights(alone, method)[0][0], heights[image, : max(n - 1, 0)])
            assert heights[image, max(n - 1, 0) :].isinf().all()


def test_heights_and_labels_agree():
    keys = keys_of("plain", batch=3)
    heights, real = merge_heights(keys, "complete")
    assert heights.shape == (3, TOKENS - 1)
    assert real.tolist() == [TOKENS] * 3
    assert (heights.diff(dim=1) >= 0).all()
    threshold = float(heights[1, 7])  # that merge is made, and none above it
    assert labels_within(keys, threshold, "complete")[1][1] == TOKENS - 8
    assert labels_within(keys, threshold - 1e-9, "complete")[1][1] == TOKENS - 7


@pytest.mark.parametrize("kind", ["plain", "ties", "nan"])
@pytest.mark.parametrize("method", [*METHODS, "ward"])
def test_backends_agree(method, kind):
    keys = keys_of("plain" if kind == "nan" else kind).float()
    if kind == "nan":
        keys[1, 4] = torch.nan
    valid = torch.arange(TOKENS) < torch.tensor([TOKENS, 11, 1, 0, 20])[:, None]
    for threshold, most in ((0.5, None), (0.5, 6), (0.0, 15)):
        plain = labels_within(keys, threshold, method, most=most, valid=valid, backend="reference")
        for backend in ("torch", None):
            found = labels_within(keys, threshold, method, most=most, valid=valid, backend=backend)
            assert torch.equal(found[0], plain[0])
            assert torch.equal(found[1], plain[1])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("content", ["regions", "ties", "nan"])
def test_a_limit_leaves_out_the_last_merges(kernel, method, content):
    distance = torch.cat([distances(61, seed=seed) for seed in range(3)])
    if content == "ties":
        distance = (distance * 8).round() / 8
    elif content == "nan":
        distance[1, :20, 20:] = torch.nan
        distance[2, 3, 4:] = torch.inf
    whole = cpu.cluster(distance, 1, method, want_merges=True)
    for limit in (-1.0, float(whole.heights[0, 17]), 1e9):
        for forced in (0, 25):
            for avx2 in (False, True):
                found = cpu.cluster(distance, 1, method, limit=limit, forced=forced, want_merges=True, avx2=avx2)
                for image, heights in enumerate(whole.heights):
                    above = (~(heights <= limit)).nonzero().flatten().tolist()  # NaN is above any limit
                    made = max(next(iter(above), len(heights)), forced)
                    assert torch.equal(found.merges[image, :made], whole.merges[image, :made])
                    made_at = found.heights[image, :made]
                    torch.testing.assert_close(made_at, heights[:made], rtol=0, atol=0, equal_nan=True)
                    assert (found.merges[image, made:] == 60).all()
                    assert found.heights[image, made:].isposinf().all()


def test_a_limit_goes_with_merges(kernel):
    with pytest.raises(RuntimeError, match="refused its arguments"):
        cpu.cluster(distances(9), 1, "average", limit=0.5)


def test_no_image_and_no_token():
    for batch, tokens in ((0, 5), (2, 0)):
        labels, counts = labels_within(torch.zeros(batch, tokens, 3), 0.3, "average")
        assert labels.shape == (batch, tokens)
        assert counts.tolist() == [0] * batch
        assert merge_heights(torch.zeros(batch, tokens, 3), "average")[0].shape == (batch, max(tokens - 1, 0))


class Within(nn.Module):
    def forward(self, keys, valid):
        return labels_within(keys, 0.6, "average", valid=valid)


def test_compiled_and_exported():
    keys, valid = keys_of("plain").float(), torch.arange(TOKENS) < torch.tensor([TOKENS, 11, 1, 4, 11])[:, None]
    expected = Within()(keys, valid)
    torch.compiler.reset()
    program = torch.export.export(Within(), (keys, valid))
    assert "atc." not in str(program.graph)
    for run in (torch.compile(Within(), fullgraph=True, backend="aot_eager"), program.module()):
        for found, wanted in zip(run(keys, valid), expected, strict=True):
            assert torch.equal(found, wanted)


WRONG = {
    "threshold": ({"threshold": float("nan")}, "threshold must be a number"),
    "negative": ({"threshold": -0.1}, "threshold=-0.1 must be 0 or more"),
    "cap": ({"least": 4, "most": 3}, "most=3 must be at least as many as least=4"),
    "mask": ({"valid": torch.ones(2, 3)}, r"valid must be bool \[2, 3\]"),
    "linkage": ({"method": "nearest"}, "method must be one of"),
}


@pytest.mark.parametrize(("wrong", "said"), WRONG.values(), ids=WRONG)
def test_one_line_for_what_cannot_be(wrong, said):
    settings = {"threshold": 0.3, "method": "average"} | wrong
    with pytest.raises(ValueError, match=said):
        labels_within(torch.randn(2, 3, 4), settings.pop("threshold"), settings.pop("method"), **settings)
