"""What the latest call of a network was: the size of its latent, and the step of the sampler."""

import inspect
import math
import weakref
from typing import Any

import torch
from torch import Tensor, nn


class Call:
    """The latest call of a network. Its hook runs before all others.

    Args:
        network: which is called.
        patch: latent pixels along a side of a token, where all blocks work at one size; None: any.
        steps: first and last step, counted from 1, in which blocks are reduced; None: all.
        every: for how many steps a decision holds.
        pipeline: that the network belongs to, if one is known.
        draws: the method draws random numbers.
        compiles: the network may be compiled, see `atc.diffusion.compiling`.

    Attributes:
        size: height and width of the latent; None before the first call.
        step: of the sampler, counted from 1 for each image; 0 where nothing depends on it.
        new_image: the step is the first one of an image.
    """

    def __init__(
        self,
        network: nn.Module,
        patch: int | None = None,
        steps: tuple[int, int] | None = None,
        every: int = 1,
        pipeline: Any = None,
        draws: bool = False,
        compiles: bool = True,
    ):
        self.patch, self.steps, self.every, self.draws, self.compiles = patch, steps, every, draws, compiles
        self.size: tuple[int, int] | None = None
        self.step, self.new_image = 0, True
        self._pipeline = None if pipeline is None else weakref.ref(pipeline)
        self._timesteps: Any = None  # of the sampler: a new tensor for every image
        self._timestep: float | None = None
        names = list(inspect.signature(type(network).forward).parameters)[1:]
        self._place = names.index("timestep") if "timestep" in names else None

    def before_network(self, network: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Remember the size of the latent, and count the step."""
        if torch.compiler.is_compiling() and not self.compiles:
            raise ValueError("this version of PyTorch cannot compile a model that is reduced: leave torch.compile out")
        latent = args[0] if args else kwargs["sample" if "sample" in kwargs else "hidden_states"]
        self.size = (int(latent.shape[-2]), int(latent.shape[-1]))
        if self.draws and torch.is_grad_enabled() and getattr(network, "is_gradient_checkpointing", False):
            raise ValueError(
                f"{type(network).__name__} computes its blocks anew for gradients, for which a generator would draw "
                "other numbers: turn gradient checkpointing off, or leave generator out"
            )
        if self.steps is not None or self.every > 1:
            given = self._place is not None and len(args) > self._place
            self._count(args[self._place or 0] if given else kwargs.get("timestep"))

    def _count(self, timestep: Any) -> None:
        """A new image begins where the sampler has new timesteps, or with a timestep above the one before."""
        pipeline = None if self._pipeline is None else self._pipeline()
        timesteps = getattr(getattr(pipeline, "scheduler", None), "timesteps", None)
        fresh = timesteps is not self._timesteps
        self._timesteps = timesteps
        now = None if timestep is None else float(timestep.reshape(-1)[0] if torch.is_tensor(timestep) else timestep)
        rises = now is not None and self._timestep is not None and now > self._timestep
        self._timestep = now
        self.new_image = self.step == 0 or fresh or (rises and not _rise(timesteps))
        self.step = 1 if self.new_image else self.step + 1

    @property
    def reduces(self) -> bool:
        """Whether blocks are reduced in this step."""
        return self.steps is None or self.steps[0] <= self.step <= self.steps[1]

    @property
    def decides(self) -> bool:
        """Whether blocks decide in this step, and do not keep to what they decided in an earlier one."""
        first = 1 if self.steps is None else self.steps[0]
        return self.every == 1 or (self.step - first) % self.every == 0

    def grid(self, tokens: int) -> tuple[int, int, int]:
        """Where a block of so many tokens works.

        Returns:
            How many times smaller than the latent, and the rows and columns of its tokens.
        """
        assert self.size is not None
        height, width = self.size
        if self.patch is not None:
            return 1, height // self.patch, width // self.patch
        factor = math.ceil(math.sqrt(height * width // tokens))
        return factor, math.ceil(height / factor), math.ceil(width / factor)


def _rise(timesteps: Tensor | None) -> bool:
    """Whether a sampler goes up somewhere, as one that turns images into noise."""
    return timesteps is not None and bool((torch.as_tensor(timesteps).diff() > 0).any())
