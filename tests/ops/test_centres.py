"""Clusters around centres: the compiled library against operators of PyTorch, and these against loops and NumPy."""

import itertools
import re

import numpy as np
import pytest
import torch

from atc.ops import centres
from atc.ops.centres import compiled, operator, plain
from atc.ops.linkage import cpu, ranges
from tests import recorded_graph

needs_library = pytest.mark.skipif(cpu.of_library("atc_centres") is None, reason="no compiled library")

KINDS = {
    "real": lambda d: d,
    "ties": lambda d: (3 * d).floor(),  # whole numbers, of which every sum is exact
    "equal": torch.ones_like,
    "zeros": torch.zeros_like,
}


def drawn(kind: str, tokens: int, dtype: torch.dtype, images: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(tokens)
    distance = KINDS[kind](torch.rand(images, tokens, tokens, generator=generator, dtype=torch.float64) * 2)
    weight = (4 * torch.rand(images, tokens, generator=generator, dtype=torch.float64)).floor()
    return distance.to(dtype), weight.to(dtype)


def starts(tokens: int, count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(count)
    return torch.stack([torch.randperm(tokens, generator=generator)[:count] for _ in range(3)])


@pytest.fixture(params=[True, False], ids=["avx2", "baseline"])
def instructions(request, monkeypatch):
    call = cpu.of_library("atc_centres")
    monkeypatch.setattr(cpu, "of_library", lambda name: lambda job, avx2: call(job, avx2 and request.param))


@needs_library
@pytest.mark.usefixtures("instructions")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("tokens", [1, 2, 7, 8, 33, 70])
@pytest.mark.parametrize("kind", KINDS)
def test_the_library_gives_what_pytorch_gives(kind, tokens, dtype):
    distance, weight = drawn(kind, tokens, dtype)
    assert compiled.reads(distance, weight)
    for count in {1, (tokens + 1) // 2, tokens}:
        start = starts(tokens, count)
        assert torch.equal(centres.nearest_centres(distance, start), plain.find_medoids(distance, weight, start, 0)[1])
        assert torch.equal(compiled.smallest_distances(distance, count), plain.smallest_distances(distance, count))
        far = plain.spread_out(distance, start[:, 0], count)
        assert torch.equal(compiled.spread_out(distance, start[:, 0], count), far)
        if kind != "real":  # sums of whole numbers are exact in any order
            for rounds in (1, 3):
                mine, theirs = (f.find_medoids(distance, weight, start, rounds) for f in (compiled, plain))
                assert all(itertools.starmap(torch.equal, zip(mine, theirs, strict=True)))
    assert torch.equal(compiled.nearest_denser(distance, weight), plain.nearest_denser(distance, weight))


def by_loops(distance, weight, start, rounds):
    """K-Medoids of one image, with exact sums."""
    medoids = list(start)
    for done in itertools.count():
        labels = [min(range(len(medoids)), key=lambda k: row[medoids[k]]) for row in distance]
        for k, medoid in enumerate(medoids):
            labels[medoid] = k
        if done == rounds:
            return medoids, labels
        for k in range(len(medoids)):
            members = [i for i, label in enumerate(labels) if label == k]
            costs = [np.longdouble(0) + sum(distance[i][j] * weight[j] for j in members) for i in members]
            medoids[k] = members[int(np.argmin(costs))]


@pytest.mark.parametrize("find", [pytest.param(compiled, marks=needs_library), plain], ids=["library", "PyTorch"])
@pytest.mark.parametrize("kind", ["real", "ties"])
def test_medoids_against_loops(kind, find):
    distance, weight = drawn(kind, 33, torch.float64)
    start = starts(33, 9)
    medoids, labels = find.find_medoids(distance, weight, start, 3)
    for image in range(3):
        right = by_loops(distance[image].numpy(), weight[image].numpy(), start[image].tolist(), 3)
        assert (medoids[image].tolist(), labels[image].tolist()) == right


def test_neighbours_against_numpy():
    distance, density = drawn("real", 33, torch.float64)
    assert np.array_equal(centres.smallest_distances(distance, 5).numpy(), np.sort(distance.numpy(), axis=2)[..., :5])
    found = centres.nearest_denser(distance, density)
    for image, token in itertools.product(range(3), range(33)):
        own = (-density[image, token].item(), token)
        denser = [j for j in range(33) if (-density[image, j].item(), j) < own]
        right = distance[image, token, denser].min() if denser else distance[image].max()
        assert found[image, token] == right


@needs_library
def test_memory_of_any_layout_and_any_number_of_threads(monkeypatch):
    monkeypatch.setattr(ranges, "_CELLS_A_THREAD", 1)
    monkeypatch.setattr(ranges, "_CELLS_A_RANGE", 1)
    distance, weight = drawn("ties", 70, torch.float32, images=40)
    start = starts(70, 20)[:1].expand(40, -1)
    right = plain.find_medoids(distance, weight, start, 2)
    wide = torch.full((40, 70, 99), torch.nan)
    wide[:, :, 5:75] = distance
    transposed = distance.mT.contiguous().mT
    threads = torch.get_num_threads()
    try:
        for one, count in itertools.product((distance, wide[:, :, 5:75], transposed), (1, 3)):
            torch.set_num_threads(count)
            mine = compiled.find_medoids(one, weight, start, 2)
            assert all(itertools.starmap(torch.equal, zip(mine, right, strict=True)))
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_what_is_not_finite_is_pytorchs(value):
    distance, weight = drawn("real", 12, torch.float32)
    distance[1, 3, 4] = value
    start = starts(12, 4)
    assert not compiled.reads(distance, weight, start)
    assert not compiled.reads(torch.ones(1, 3, 3), torch.full((1, 3), value))
    mine, theirs = (f.find_medoids(distance, weight, start, 2) for f in (centres, plain))
    assert all(itertools.starmap(torch.equal, zip(mine, theirs, strict=True)))


@needs_library
def test_what_the_library_does_not_read():
    distance, weight = drawn("real", 12, torch.float32)
    assert compiled.reads(distance, weight)
    assert not compiled.reads(distance.half())
    assert not compiled.reads(distance, weight.double())
    assert not compiled.reads(distance.to("meta"))
    assert not compiled.reads(distance[:0])
    learned = distance.clone().requires_grad_()
    assert not operator.takes(learned)
    assert centres.smallest_distances(learned, 3).requires_grad
    with torch.no_grad():
        assert operator.takes(learned)


def test_operators_keep_their_promises():
    distance, weight = drawn("real", 12, torch.float32)
    checks = "test_schema", "test_faketensor"
    for name, arguments in {
        "find_medoids": (distance, weight, starts(12, 4), 2),
        "spread_out": (distance, starts(12, 4)[:, 0], 4),
        "smallest_distances": (distance, 3),
        "nearest_denser": (distance, weight),
    }.items():
        torch.library.opcheck(getattr(operator, name), arguments, test_utils=checks)
    torch.library.opcheck(operator.find_medoids, (distance, weight, starts(12, 4), 0), test_utils=checks)


@pytest.mark.parametrize("how", ["traced", "compiled"])
def test_a_program_calls_the_operator_again(how):
    """What was traced must not hold the values of the example."""
    start = starts(12, 4)

    def find(distance: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return centres.find_medoids(distance, weight, start, 2)[1]

    one, other = tuple(drawn("real", 12, dtype) for dtype in (torch.float32, torch.float64))
    other = tuple(value.float().flip(0) for value in other)
    program = torch.compile(find, backend="eager", fullgraph=True) if how == "compiled" else torch.jit.trace(find, one)
    for given in (one, other):
        assert torch.equal(program(*given), find(*given))


def test_on_a_gpu_the_host_never_waits(monkeypatch):
    """What runs there, under a recorder that refuses to look at values."""
    distance, weight = drawn("real", 12, torch.float32)
    recorded_graph.replace(monkeypatch)
    with torch.cuda.graph(torch.cuda.CUDAGraph()):
        plain.find_medoids(distance, weight, starts(12, 4), 2)
        plain.spread_out(distance, starts(12, 4)[:, 0], 4)
        plain.nearest_denser(distance, weight)
        plain.smallest_distances(distance, 3)


@needs_library
@pytest.mark.parametrize(
    ("start", "said"),
    [
        ([[0, 12]], "centres must be tokens in [0, 12), got 0 to 12"),
        ([[-1, 3]], "centres must be tokens in [0, 12), got -1 to 3"),
        ([[0, 1], [2, 3]], "centres must be int64 [1, 2], got torch.int64 [2, 2]"),
        ([list(range(13))], "13 of 12 tokens were asked for; take 1 to 12"),
    ],
)
def test_nothing_is_read_out_of_bounds(start, said):
    distance, weight = drawn("real", 12, torch.float32, images=1)
    with pytest.raises(ValueError, match=re.escape(said) + "$"):
        compiled.find_medoids(distance, weight, torch.tensor(start), 1)


def test_without_the_library_pytorch_does_it(monkeypatch):
    monkeypatch.setattr(cpu, "of_library", lambda name: None)
    distance, weight = drawn("ties", 12, torch.float32)
    assert not compiled.reads(distance, weight)
    assert centres.find_medoids(distance, weight, starts(12, 4), 1)[0].shape == (3, 4)
