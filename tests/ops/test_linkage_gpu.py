"""Both of the GPU's backends on a GPU."""

from __future__ import annotations

import threading

import pytest
import torch

from atc.ops.linkage import METHODS, cosine_distance, dendrogram, labels, labels_from_features
from atc.ops.linkage.cuda import binaries, launch, memory
from atc.ops.linkage.dispatch import chosen_backend
from tests.ops.emulation import assert_equals
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


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("tokens", [1, 2, 17, 50, 196, 300, 577, 1200])
def test_device_memory_equals_the_oracle(tokens, method):
    """The kernel of several blocks an image, also where the one in shared memory would do."""
    given = batch(tokens) if tokens < 1000 else batch(tokens, ["regions", "duplicates", "few_values", "not_numbers"])
    for distance in (given, thirds(given)):
        on_gpu = distance.cuda()
        skip_unless_it_runs("cuda", on_gpu, method)
        tree = dendrogram(distance, 1, method, backend="reference" if tokens < 100 else None)
        for keep in {1, tokens // 4 + 1, tokens // 2 + 1, tokens}:
            found = launch.cluster(on_gpu, keep, method, want_merges=True, source=binaries.GRID)
            on_cpu = launch.Result(*(None if tensor is None else tensor.cpu() for tensor in found))
            assert_equals(on_cpu, tree, keep, f"keep={keep}")
            own = launch.cluster(on_gpu, keep, method, source=binaries.GRID).labels  # single linkage: another algorithm
            assert torch.equal(own.cpu(), tree.labels(keep)), keep


@pytest.mark.parametrize("method", METHODS)
def test_more_images_than_fit_one_block_an_image_and_any_layout(method, monkeypatch):
    given = batch(300, ["regions", "duplicates", "few_values"]).repeat(60, 1, 1)
    expected = labels(given, 100, method)
    distance = given.cuda()
    skip_unless_it_runs("cuda", distance, method)
    only_above = distance.triu(1) + torch.full_like(distance, torch.nan).tril()
    for view in (distance, distance.mT, only_above.permute(1, 2, 0).contiguous().permute(2, 0, 1)):
        assert torch.equal(launch.cluster(view, 100, method, source=binaries.GRID).labels.cpu(), expected)
    launch.shape_of.cache_clear()
    monkeypatch.setattr(launch, "MOST_SCRATCH", 3 * memory.grid_bytes(300, method, distance.dtype))
    assert torch.equal(launch.cluster(distance, 100, method, source=binaries.GRID).labels.cpu(), expected)
    monkeypatch.setattr(launch, "_refused", {0})
    assert torch.equal(launch.cluster(distance, 100, method, source=binaries.GRID).labels.cpu(), expected)
    launch.shape_of.cache_clear()


@pytest.mark.parametrize("method", ["single", "complete", "average"])
def test_equal_tokens_do_not_take_long(method):
    """At most ten times as long as distinct ones, as docs promise; a clock decides, so twice that is allowed."""
    keys = torch.randn(2, 2048, 64, device="cuda")
    equal = keys.clone()
    equal[:, ::2] = keys[:, :1]
    skip_unless_it_runs("cuda", cosine_distance(keys), method)
    times = []
    for distance in (cosine_distance(keys), torch.full_like(cosine_distance(keys), 0.5), cosine_distance(equal)):
        for _ in range(3):
            start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            start.record()
            found = labels(distance, 1024, method)
            end.record()
            end.synchronize()
        times.append(start.elapsed_time(end))
        assert torch.equal(found.cpu(), labels(distance.cpu(), 1024, method))
    assert max(times) < 20 * times[0]


def test_the_choice_takes_any_number_of_tokens():
    distance = batch(1200, ["regions"]).cuda()
    skip_unless_it_runs("cuda", distance)
    for keep in (300, 1190):
        assert torch.equal(labels(distance, keep, "average").cpu(), labels(distance.cpu(), keep, "average"))
    with pytest.raises(ValueError, match="backend='triton'"):
        labels(distance, 1190, "average", backend="triton")
    with pytest.raises(ValueError, match="clustering on a GPU takes up to 65536 tokens, got 65537"):
        labels(distance.new_empty(1).expand(1, 65537, 65537), 5, "average")


@pytest.mark.parametrize("method", METHODS)
def test_more_than_1024_tokens_can_be_captured_and_do_not_wait_for_the_host(method):
    keys = torch.randn(2, 1369, 64, device="cuda")
    skip_unless_it_runs("cuda", cosine_distance(keys), method)
    expected = labels_from_features(keys, 700, method)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        labels_from_features(keys, 700, method)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = labels_from_features(keys, 700, method)
    captured.zero_()
    graph.replay()
    assert torch.equal(captured, expected)
    keys.copy_(torch.randn_like(keys))
    graph.replay()
    assert torch.equal(captured, labels_from_features(keys, 700, method))


def test_two_streams_of_blocks_that_wait_do_not_wait_for_each_other():
    """Two plain launches could each hold half of the GPU, and wait for ever."""
    distances = [cosine_distance(torch.randn(1, 2048, 64, device="cuda")) for _ in range(2)]
    skip_unless_it_runs("cuda", distances[0])
    expected = [labels(distance, 700, "average") for distance in distances]
    torch.cuda.synchronize()
    streams = [torch.cuda.Stream() for _ in distances]
    for _ in range(50):
        found = []
        for stream, distance in zip(streams, distances, strict=True):
            with torch.cuda.stream(stream):
                found.append(labels(distance, 700, "average"))
    torch.cuda.synchronize()
    assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="one GPU")
def test_another_device_than_the_current_one():
    distance = cosine_distance(torch.randn(3, 700, 64))
    expected = labels(distance, 200, "complete")
    for index in (1, 0):
        assert torch.equal(labels(distance.to(f"cuda:{index}"), 200, "complete").cpu(), expected)


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
@pytest.mark.parametrize(("batch", "tokens"), [(32, 98), (3, 700)])
def test_other_streams_and_threads(backend, batch, tokens):
    distance = cosine_distance(torch.randn(batch, tokens, 64)).cuda()
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
