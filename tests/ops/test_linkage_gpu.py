"""Both of the GPU's backends on a GPU."""

from __future__ import annotations

import threading

import pytest
import torch

from atc.ops.linkage import METHODS, cosine_distance, dendrogram, labels, labels_from_features
from atc.ops.linkage.dispatch import chosen_backend
from tests.reference.distances import FINITE, batch, thirds

pytestmark = pytest.mark.gpu
BOTH = pytest.mark.parametrize("backend", ["triton", "cuda"])


def skip_unless_it_runs(backend, distance, method="average"):
    try:
        chosen_backend(distance, backend, method)
    except ValueError as reason:
        pytest.skip(str(reason))


@BOTH
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("tokens", [1, 2, 7, 49, 98, 196, 197, 237, 257, 335])
def test_gpu_equals_the_oracle(backend, tokens, method):
    given = batch(tokens)
    # The oracle takes long for many tokens; the compiled kernel equals it, which other tests see to.
    truth = "reference" if tokens < 100 else None
    for distance in (given, thirds(given)):
        skip_unless_it_runs(backend, distance.cuda(), method)
        expected = dendrogram(distance, 1, method, backend=truth)
        found = dendrogram(distance.cuda(), 1, method, backend=backend)
        assert torch.equal(found.merges.cpu(), expected.merges)
        torch.testing.assert_close(found.heights.cpu(), expected.heights, rtol=0, atol=0, equal_nan=True)
        for keep in {1, tokens // 4 + 1, tokens // 2 + 1, tokens}:
            own = labels(distance.cuda(), keep, method, backend=backend)
            assert torch.equal(own.cpu(), expected.labels(keep)), keep


@BOTH
@pytest.mark.parametrize("method", METHODS)
def test_many_images_and_any_memory_layout(backend, method):
    given = batch(49, FINITE).repeat(60, 1, 1)
    expected = labels(given, 20, method)
    distance = given.cuda()
    skip_unless_it_runs(backend, distance, method)
    only_above = distance.triu(1) + torch.full_like(distance, torch.nan).tril()
    for view in (distance, only_above, distance.mT, only_above.permute(1, 2, 0).contiguous().permute(2, 0, 1)):
        assert torch.equal(labels(view, 20, method, backend=backend).cpu(), expected), view.stride()
    assert torch.equal(labels(distance[::7], 20, method, backend=backend).cpu(), expected[::7])
    assert labels(distance[:0], 20, method, backend=backend).shape == (0, 49)


def test_gpu_takes_more_tokens_than_its_backends_do():
    distance = batch(1200, ["regions"]).cuda()
    assert torch.equal(labels(distance, 1190, "average").cpu(), labels(distance.cpu(), 1190, "average"))
    for backend in ("triton", "cuda"):
        with pytest.raises(ValueError, match=f"backend='{backend}'"):
            labels(distance, 1190, "average", backend=backend)


@BOTH
def test_gpu_does_not_wait_for_the_host_and_can_be_captured(backend):
    keys = torch.randn(8, 196, 64, device="cuda")
    skip_unless_it_runs(backend, cosine_distance(keys))
    expected = labels_from_features(keys, 98, "average", backend=backend)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        assert labels(cosine_distance(keys), 98, "average", backend=backend).shape == (8, 196)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = labels_from_features(keys, 98, "average", backend=backend)
    captured.zero_()
    graph.replay()
    assert torch.equal(captured, expected)
    keys.copy_(torch.randn_like(keys))
    graph.replay()
    assert torch.equal(captured, labels_from_features(keys, 98, "average", backend=backend))
    keys[3, 0] = torch.nan
    with pytest.raises(ValueError, match="image 3 holds NaN"):
        labels_from_features(keys, 98, "average", backend=backend, check_finite=True)


@BOTH
def test_compiles_into_a_graph_without_overhead(backend):
    keys = torch.randn(4, 196, 64, device="cuda")
    skip_unless_it_runs(backend, cosine_distance(keys))

    def step(keys):
        return labels_from_features(keys * 2, 98, "average", backend=backend) + 1

    compiled = torch.compile(step, fullgraph=True, mode="reduce-overhead")
    for _ in range(4):  # the first calls record the graph, later ones replay it
        keys = torch.randn_like(keys)
        torch.compiler.cudagraph_mark_step_begin()
        assert torch.equal(compiled(keys), step(keys))


@BOTH
def test_other_streams_and_threads(backend):
    distance = cosine_distance(torch.randn(32, 98, 64)).cuda()
    skip_unless_it_runs(backend, distance)
    expected = labels(distance, 30, "average", backend=backend)
    torch.cuda.synchronize()
    found = []

    def work():
        stream = torch.cuda.Stream()
        with torch.cuda.stream(stream):
            found.append(labels(distance, 30, "average", backend=backend))
        stream.synchronize()

    workers = [threading.Thread(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(found) == 3
    assert all(torch.equal(one, expected) for one in found)
