"""Which backend is chosen on a GPU, and which of its kernels."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from atc.ops.linkage import METHODS, cuda, dispatch, labels
from atc.ops.linkage.cuda import binaries, launch, memory, program


def test_a_request_that_cannot_be_met_is_refused(monkeypatch):
    with pytest.raises(ValueError, match="backend='cuda' needs a tensor on an NVIDIA GPU, got one on cpu"):
        labels(torch.zeros(1, 3, 3), 2, "average", backend="cuda")
    on_gpu = SimpleNamespace(
        device=torch.device("cuda", 0), shape=(2, 300, 300), dtype=torch.float32, get_device=lambda: 0
    )
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(launch, "bindings", lambda: None)
    assert "needs the cuda-bindings package" in cuda.complaint(on_gpu, "average")
    monkeypatch.setattr(launch, "bindings", lambda: ("nvrtc", "driver"))
    monkeypatch.setattr(program, "capability", lambda device: (9, 0))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Tesla C2050")
    monkeypatch.setattr(launch, "supports", lambda capability: False)
    assert cuda.complaint(on_gpu, "complete") == "needs a GPU that NVRTC still compiles for, got Tesla C2050"
    monkeypatch.setattr(launch, "supports", lambda capability: capability == (9, 0))
    assert cuda.complaint(on_gpu, "complete") is None
    on_gpu.shape = (1, 65537, 65537)
    with pytest.raises(ValueError, match="backend='cuda' takes up to 65536 tokens, got 65537"):
        dispatch.chosen_backend(on_gpu, "cuda", "average")
    with pytest.raises(ValueError, match="clustering on a GPU takes up to 65536 tokens, got 65537"):
        dispatch.chosen_backend(on_gpu, None, "average")


def test_the_choice_on_a_gpu(monkeypatch):
    """Wherever cuda runs it is the choice, at any number of tokens; without it triton, and torch beyond its tokens."""
    can_run = {"answer": None}
    monkeypatch.setattr(dispatch, "why_not_cuda", lambda distance, method: can_run["answer"])
    monkeypatch.setattr(dispatch, "has_triton", lambda: True)

    def choice(tokens, method="average"):
        return dispatch.chosen_backend(
            SimpleNamespace(device=torch.device("cuda"), shape=(1, tokens, tokens)), None, method
        )

    assert {choice(tokens, method) for tokens in (0, 1, 196, 5000, 65536) for method in METHODS} == {"cuda"}
    can_run["answer"] = "needs the cuda-bindings package"
    assert [choice(tokens) for tokens in (0, 1, 196, 1024, 1025)] == ["triton"] * 4 + ["torch"]
    monkeypatch.setattr(dispatch, "has_triton", lambda: False)
    assert choice(196) == "torch"


@pytest.mark.parametrize(
    ("kilobytes", "average", "complete"), [(64, 124, 175), (99, 155, 219), (163, 200, 283), (227, 237, 335)]
)
def test_which_kernel_by_shared_memory(monkeypatch, kilobytes, average, complete):
    """A GPU of compute capability 7.5, 8.6 and 8.9, 8.0, 9.0."""
    monkeypatch.setattr(program, "shared_memory", lambda device: kilobytes * 1024)
    monkeypatch.setattr(program, "multiprocessors", lambda device: 100)
    monkeypatch.setattr(program, "blocks_at_once", lambda device, *kernel: 100)
    monkeypatch.setattr(program, "loaded", lambda device, source, method, dtype: source)

    def shape(tokens, method="average", dtype=torch.float32, batch=8, together=True):
        return launch.shape_of.__wrapped__(0, method, dtype, tokens, batch, None, False, together)

    for method, most in {"average": average, "ward": average, "complete": complete, "single": complete}.items():
        assert memory.most_tokens(kilobytes * 1024, method, torch.float32) == most
        assert shape(most, method).kernel == binaries.BLOCK
        assert shape(most, method)[1:] == (
            8,
            launch.THREADS_ALONE,
            memory.shared_bytes(most, method, torch.float32),
            1,
            0,
        )
        assert shape(most + 1, method).kernel == (binaries.TREE if method == "single" else binaries.GRID)
    assert shape(average, "complete", torch.float64).kernel == binaries.BLOCK
    assert shape(average + 1, "complete", torch.float64).kernel == binaries.GRID
    assert shape(49).threads == launch.THREADS
    assert (shape(1024).blocks, shape(1024).of_group) == (96, 12)
    assert (shape(1024, batch=64).blocks, shape(1024, batch=64).of_group) == (64, 1)
    assert (shape(1024, together=False).blocks, shape(1024, together=False).of_group) == (8, 1)
    # Four images of 8,192 tokens, with 512 MiB each, take 2 GiB: others wait their turn. One of 65,536 takes more.
    assert shape(8000).blocks // shape(8000).of_group == 4
    assert shape(65536).blocks // shape(65536).of_group == 1
