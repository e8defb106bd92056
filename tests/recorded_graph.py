"""A CUDA graph without a GPU: the operators of a forward, recorded, and replayed into the same memory.

It refuses what a capture refuses: operators for which the host waits for values.
"""

import contextlib

import torch
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from atc.core import applying, checking
from atc.vit import cuda_graph, gating, packing

WAITS = {"_local_scalar_dense", "item", "nonzero", "masked_select", "unique", "_unique2", "equal", "is_nonzero"}


made = []  # the graphs of this test


class Recording(TorchDispatchMode):
    """What a capture sees of a forward."""

    now = False

    def __init__(self):
        super().__init__()
        self.calls = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = function.__name__.split(".")[0]
        boolean = name in ("index", "index_put", "index_put_") and any(
            index is not None and index.dtype == torch.bool for index in args[1]
        )
        if name in WAITS or boolean:
            raise RuntimeError(f"the host waits for values: {function}")
        made = function(*args, **kwargs)
        self.calls.append((function, args, kwargs, made))
        return made


class Graph:
    """As `torch.cuda.CUDAGraph`."""

    def replay(self):
        """Every operator again, and its result where the recorded one lies."""
        with torch.no_grad():
            for function, args, kwargs, made in self.recording.calls:
                again = function(*args, **kwargs)
                for old, new in zip(pytree.tree_leaves(made), pytree.tree_leaves(again), strict=True):
                    if isinstance(old, torch.Tensor) and old.data_ptr() != new.data_ptr():
                        old.copy_(new)


class Stream:
    """As `torch.cuda.Stream`."""

    def __init__(self, device=None):
        self.device = device

    def wait_stream(self, other):
        """Nothing runs beside anything else here."""


@contextlib.contextmanager
def recording(graph, stream=None):
    """As `torch.cuda.graph`."""
    graph.recording = Recording()
    made.append(graph)
    Recording.now = True
    try:
        with graph.recording:
            yield
    finally:
        Recording.now = False


def replace(monkeypatch):
    """Let PyTorch's graphs, streams and devices be these; values of plans are not looked at, as in a real capture."""
    made.clear()
    monkeypatch.setattr(cuda_graph, "on_gpu", lambda images: True)
    monkeypatch.setattr(checking, "_ALWAYS", False)
    for place in (gating, applying, packing):
        monkeypatch.setattr(place, "may_keep_constants", lambda tensor: not Recording.now)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "current_stream", Stream)
    monkeypatch.setattr(torch.cuda, "graph", recording)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "device", lambda device: contextlib.nullcontext())
