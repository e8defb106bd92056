"""Clustering among neighbours: every backend against the oracle, and the oracle against its definition."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from atc.ops.linkage import BACKENDS_AMONG, METHODS, cpu, labels, labels_among_neighbours
from tests.reference.distances import KINDS, batch

pytestmark = pytest.mark.usefixtures("kernel")
EVERY_BACKEND = pytest.mark.parametrize("backend", [None, *BACKENDS_AMONG])
# A row of four tokens, as worked out by hand: .05 between 0 and 2, .12 between 1 and 3, which do not touch.
ROW = torch.tensor([[[0, 0.10, 0.05, 0.90], [0, 0, 0.20, 0.12], [0, 0, 0, 0.15], [0, 0, 0, 0]]])


def touching(tokens: int, images: int, share: float = 0.1) -> Tensor:
    """Random neighbours, a chain in every other image, none in the last."""
    near = torch.rand(images, tokens, tokens, generator=torch.Generator().manual_seed(tokens)) < share
    near[::2] = torch.ones(tokens, tokens, dtype=torch.bool).triu(1).tril(1)
    near[-1] = False
    return near


@EVERY_BACKEND
def test_as_worked_out_by_hand(backend):
    chain = torch.ones(1, 4, 4, dtype=torch.bool).triu(1).tril(1)
    everybody = torch.ones_like(chain)
    for near, update, expected in [
        (chain, "sequential", [[0, 0, 0, 1]]),  # {0, 1} and 2 are at (.05 + .20) / 2, 2 and 3 at .15
        (chain, "matching", [[0, 0, 1, 1]]),
        (everybody, "sequential", [[0, 1, 0, 1]]),
    ]:
        assert labels_among_neighbours(ROW, near, 2, "average", update=update, backend=backend).tolist() == expected


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("tokens", "keep"), [(1, 1), (17, 4), (40, 33)])
def test_backends_agree_to_the_bit(method, tokens, keep):
    for dtype in (torch.float32, torch.float64):
        distance = batch(tokens, list(KINDS)).to(dtype)
        near = touching(tokens, len(distance))
        expected = labels_among_neighbours(distance, near, keep, method, backend="reference")
        assert (expected.amax(1) == keep - 1).all()
        for backend in ("torch", "cpu"):
            assert torch.equal(labels_among_neighbours(distance, near, keep, method, backend=backend), expected)
        plain = cpu.cluster(distance, keep, method, neighbours=near, avx2=False)
        assert torch.equal(plain.labels, expected)
        everybody = torch.ones_like(near)
        assert torch.equal(labels_among_neighbours(distance, everybody, keep, method), labels(distance, keep, method))


def test_matching_takes_pairs_in_order_of_distance():
    distance = batch(18, list(KINDS))
    near = touching(18, len(distance), share=0.5)[:-1]
    distance = distance[: len(near)]
    found = [
        labels_among_neighbours(distance, near, 13, "average", update="matching", backend=b) for b in BACKENDS_AMONG
    ]
    assert all(torch.equal(one, found[0]) for one in found)
    for image, row in enumerate(found[0].tolist()):
        above = distance[image].nan_to_num(torch.inf).triu(1)
        pairs = [tuple(pair) for pair in near[image].triu(1).nonzero().tolist()]
        free, taken = set(range(18)), set()
        for i, j in sorted(pairs, key=lambda pair: (float(above[pair]), pair)):
            if len(taken) < 5 and {i, j} <= free:
                free -= {i, j}
                taken.add((i, j))
        if not distance[image].isnan().any():
            assert taken == {(i, j) for i in range(18) for j in range(i + 1, 18) if row[i] == row[j]}


@EVERY_BACKEND
def test_a_matching_that_is_too_small_is_refused(backend):
    star = torch.zeros(2, 4, 4, dtype=torch.bool)
    star[:, 0] = True
    assert labels_among_neighbours(ROW.expand(2, 4, 4), star, 3, "average", update="matching", backend=backend).shape
    with pytest.raises(ValueError, match="image 0 has 1 pairs of neighbours without a token in common, and 2 are to"):
        labels_among_neighbours(ROW.expand(2, 4, 4), star, 2, "average", update="matching", backend=backend)


@EVERY_BACKEND
def test_empty_batches_and_images(backend):
    for update in ("sequential", "matching"):
        for shape in ((0, 5, 5), (2, 0, 0), (2, 1, 1)):
            near = torch.zeros(shape, dtype=torch.bool)
            found = labels_among_neighbours(torch.zeros(shape), near, 1 if shape[1] == 1 else 5, "average",
                                            update=update, backend=backend)  # fmt: skip
            assert found.shape == shape[:2]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"neighbours": torch.ones(1, 4, 4)}, r"neighbours must be bool \[1, 4, 4\], got torch.float32 \[1, 4, 4\]"),
        ({"neighbours": torch.ones(4, 4, dtype=torch.bool)}, r"got torch.bool \[4, 4\]"),
        ({"keep": 0}, "keep must be at least 1, got 0"),
        ({"method": "median"}, "method must be one of single, complete, average, ward, got 'median'"),
        ({"update": "once"}, "update must be one of sequential, matching, got 'once'"),
        ({"backend": "triton"}, "backend must be one of reference, torch, cpu among neighbours, got 'triton'"),
    ],
)
def test_bad_input_is_named(changed, said):
    near = torch.ones(1, 4, 4, dtype=torch.bool)
    with pytest.raises(ValueError, match=said):
        labels_among_neighbours(**({"distance": ROW, "neighbours": near, "keep": 2, "method": "average"} | changed))


def test_one_operator_when_compiled_and_a_loop_when_exported():
    class Cluster(torch.nn.Module):
        def __init__(self, update):
            super().__init__()
            self.update = update

        def forward(self, distance, near):
            return labels_among_neighbours(distance, near, 5, "average", update=self.update)

    distance, near = batch(12, ["features", "few_values"]), touching(12, 2)
    expected = labels_among_neighbours(distance, near, 5, "average", backend="reference")
    torch.compiler.reset()
    compiled = torch.compile(Cluster("sequential"), fullgraph=True, backend="eager")
    assert torch.equal(compiled(distance, near), expected)
    exported = torch.export.export(Cluster("sequential"), (distance, near)).module()
    assert torch.equal(exported(distance, near), expected)
    with pytest.raises(Exception, match="update='matching' cannot be exported"):
        torch.export.export(Cluster("matching"), (distance, near))
