"""A model's forward captured as a CUDA graph: one launch, where Python would make hundreds."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from atc.ops.arguments import described, is_floating
from atc.values import Whole, checked

_CAPTURABLE = "torch.cuda.graph captures what runs on an NVIDIA or AMD GPU"


class CudaGraph:
    """A forward in evaluation mode, without gradients, captured for images of one shape; calling it replays it.

    The graph reads the weights where they lie: new values that are written into them count, a model that is moved to
    another device or dtype, or reduced elsewhere, has to be captured anew. Methods that draw random numbers on the GPU
    draw new ones at each replay. Autocast is part of the graph: it is as it was when the graph was captured.

    Args:
        model: see `cuda_graph`.
        images: those it is captured for; otherwise see `cuda_graph`.
        clone: see `cuda_graph`.
        warm_up: see `cuda_graph`.

    Attributes:
        model: what was captured.
    """

    def __init__(self, model: nn.Module, images: Tensor, clone: bool = True, warm_up: int = 3):
        _check_mode(model)
        self.model, self._clone = model, clone
        # Tensors of inference mode could not be written to outside of it.
        with torch.inference_mode(False), torch.no_grad(), torch.cuda.device(images.device), _autocast_without_cache():
            self._images = images.clone()
            self._graph = torch.cuda.CUDAGraph()
            stream, current = torch.cuda.Stream(images.device), torch.cuda.current_stream(images.device)
            stream.wait_stream(current)
            with torch.cuda.stream(stream):  # kernels are compiled and loaded before the capture, which may not wait
                for _ in range(max(warm_up, 1)):
                    model(self._images)
            current.wait_stream(stream)
            with torch.cuda.graph(self._graph, stream=stream):
                self._output = model(self._images)
        self._reductions = getattr(model, "_reductions", None)

    @property
    def trace(self) -> Any:
        """The `trace` of the latest replay; None for a model without one."""
        return None if self._reductions is None else self._reductions.trace()

    def takes(self, images: Tensor) -> bool:
        """Whether images are of the shape, dtype and device that were captured."""
        return isinstance(images, Tensor) and _kind(images) == _kind(self._images)

    def __call__(self, images: Tensor) -> Any:
        """Replay the forward.

        The model's `trace` is that of this forward until the next replay.

        Args:
            images: of the shape, dtype and device of those that were captured.

        Returns:
            What the model returns; the next replay changes it unless it was asked to be cloned.

        Raises:
            ValueError: other images, or a model in training mode.
        """
        if not self.takes(images):
            captured = described(self._images)
            raise ValueError(f"this CUDA graph was captured for images {captured}, got {described(images)}")
        _check_mode(self.model)
        self._images.copy_(images)
        self._graph.replay()
        if self._reductions is not None:
            self.model._reductions = self._reductions = self._reductions.again()
        return pytree.tree_map_only(Tensor, Tensor.clone, self._output) if self._clone else self._output


class Replayed:
    """A forward that is captured with the first images it sees in evaluation mode, and replayed with all like them.

    Other images, such as a smaller last batch, and those of a training go through the model as it is.

    Args:
        model: what `cuda_graph` takes.
    """

    def __init__(self, model: Any):
        self.model = model
        self._graph: CudaGraph | None = None

    def __call__(self, images: Tensor) -> Any:
        """What the model returns for images ``[B, 3, H, W]``."""
        if self.model.training:
            return self.model(images)
        if self._graph is None:
            self._graph = cuda_graph(self.model, images)
        return self._graph(images) if self._graph.takes(images) else self.model(images)


@checked
def cuda_graph(model: nn.Module, images: Tensor, *, clone: bool = True, warm_up: Whole = 3) -> CudaGraph:
    """Capture a model's forward on a GPU, to be replayed without Python: for few images, several times as fast.

    Args:
        model: a wrapped model, or any whose forward takes images alone, on a GPU and in evaluation mode.
        images: ``[B, 3, H, W]`` on that GPU; those to be replayed with have the same shape and dtype.
        clone: return copies; False returns the graph's own memory, which the next replay overwrites.
        warm_up: forwards before the capture, at least 1.

    Returns:
        What is called as the model is, ``graph(images)``, with its `trace`.

    Raises:
        ValueError: images that are not on a GPU, or a model in training mode.
        RuntimeError: the forward does what cannot be captured, such as a wait for the GPU.
    """
    if not is_floating(images, 4):
        raise ValueError(f"images must be a dense floating tensor [B, 3, H, W], got {described(images)}")
    if not on_gpu(images):
        raise ValueError(f"images must be on a GPU, got {described(images)}: {_CAPTURABLE}")
    return CudaGraph(model, images, clone, warm_up)


def _check_mode(model: nn.Module) -> None:
    if model.training:
        raise ValueError("a CUDA graph is of a model in evaluation mode, without gradients: call model.eval() first")


def on_gpu(images: Tensor) -> bool:
    """Whether a forward of these images can be captured."""
    return images.is_cuda


def _kind(images: Tensor) -> tuple[Any, ...]:
    return images.shape, images.dtype, images.device, images.layout


def _autocast_without_cache() -> AbstractContextManager[Any]:
    """Autocast as it is now; its cache of weights would be filled by a capture and used outside of it."""
    if not torch.is_autocast_enabled("cuda"):
        return nullcontext()
    return torch.autocast("cuda", dtype=torch.get_autocast_dtype("cuda"), cache_enabled=False)
