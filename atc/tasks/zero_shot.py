"""Zero-shot classification: which class's sentences are closest to an image, for models that encode both."""

import os

from torch import Tensor, nn

from atc.tasks.classification import Classification
from atc.tasks.task import Batch


class ZeroShot(Classification):
    """Evaluates a model whose classifier is made of sentences; top-1 and top-5 accuracy.

    Args:
        model: from images ``[B, 3, H, W]`` to a similarity for each class ``[B, classes]``, as `atc.vit.zero_shot`
            builds it.
        num_classes: how many classes there are.
        configure: None; nothing is trained.
        prompts: the file of the sentences; see `atc.config.prompts`.
    """

    def __init__(
        self, model: nn.Module, num_classes: int, configure: None = None, *, prompts: os.PathLike[str] | None = None
    ):
        super().__init__(model, num_classes)
        self.prompts = prompts

    def training_loss(self, batch: Batch) -> Tensor:
        """Not to be called: there is no training.

        Raises:
            ValueError: always.
        """
        raise ValueError("task=zero_shot evaluates a model that is not trained: python evaluate.py task=zero_shot ...")
