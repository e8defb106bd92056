"""Zero-shot classification: which class's sentences are closest to an image, for models that encode both."""

import os

from torch import nn

from atc.tasks.frozen import Frozen


class ZeroShot(Frozen):
    """Evaluates a model whose classifier is made of sentences; top-1 and top-5 accuracy.

    Args:
        model: from images ``[B, 3, H, W]`` to a similarity for each class ``[B, classes]``, as `atc.vit.zero_shot`
            builds it.
        num_classes: how many classes there are.
        configure: None; nothing is trained.
        prompts: the file of the sentences; see `atc.config.prompts`.
    """

    option = "zero_shot"

    def __init__(
        self, model: nn.Module, num_classes: int, configure: None = None, *, prompts: os.PathLike[str] | None = None
    ):
        super().__init__(model, num_classes)
        self.prompts = prompts
