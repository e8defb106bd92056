"""The loaders of evaluations, for every data set of three parts."""

from collections.abc import Callable
from typing import Any, ClassVar

from lightning import LightningDataModule
from torch.utils.data import DataLoader, Dataset

from datamodules.io.loaders import eval_loader, some_of


class EvaluatedParts(LightningDataModule):
    """A data set of the parts "train", "val" and "test": a subclass says what an evaluation sees of a part.

    Attributes:
        eval_collate: what makes a batch of items in evaluations; None: PyTorch's own.
    """

    eval_collate: ClassVar[Callable[..., Any] | None] = None
    batch_size: int
    eval_batch_size: int
    num_workers: int | None

    def evaluated(self, part: str) -> Dataset[Any]:
        """A part, unaugmented."""
        raise NotImplementedError

    def unaugmented_train_dataloader(self, limit: int | float | None = None) -> DataLoader[Any]:
        """What there is to train on in order, as evaluations see it; see `some_of` for limit."""
        return self._in_order(some_of(self.evaluated("train"), limit, self.batch_size))

    def val_dataloader(self) -> DataLoader[Any]:
        """The part that epochs are validated on."""
        return self._in_order(self.evaluated("val"))

    def test_dataloader(self) -> DataLoader[Any]:
        """The part that final numbers are for."""
        return self._in_order(self.evaluated("test"))

    def _in_order(self, items: Dataset[Any]) -> DataLoader[Any]:
        return eval_loader(items, self.eval_batch_size, self.num_workers, type(self).eval_collate)
