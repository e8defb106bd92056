"""Tasks on models that are not trained."""

from typing import ClassVar

from torch import Tensor

from atc.tasks.classification import Classification
from atc.tasks.task import Batch


class Frozen(Classification):
    """Evaluates the classes that a model tells apart, without training it.

    Attributes:
        option: of conf/task, that subclasses are chosen by.
    """

    option: ClassVar[str]

    def training_loss(self, batch: Batch) -> Tensor:
        """Not to be called: there is no training.

        Raises:
            ValueError: always.
        """
        option = self.option
        raise ValueError(f"task={option} evaluates a model that is not trained: python evaluate.py task={option} ...")
