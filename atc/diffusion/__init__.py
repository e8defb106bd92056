"""Token merging inside the attention of diffusion models of diffusers: `reduce` a pipeline, `remove` it again."""

from atc.diffusion.handle import Handle, Reduced
from atc.diffusion.reducing import reduce

__all__ = ["Handle", "Reduced", "reduce"]
