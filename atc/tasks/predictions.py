"""The scores of each test image of an evaluation, of all processes, for a file of predictions."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, IterableDataset, RandomSampler
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from atc.runs.predictions import TOP, write

OF_CLASSES = ("target", "prediction", "correct", "loss", "top", "probability")
OF_LABELS = ("targets", "scores")


class Predictions(Metric):
    """Keeps what was said of each image; gathered from all processes, each image once.

    A data set may have `image_name(index)`, the name of an image, and `is_readable(index)`, False for one that was
    left out of its batch; without them an image is called by its number.

    Args:
        multilabel: whether targets are rows of labels.
    """

    full_state_update = False
    index: list[Tensor]

    def __init__(self, multilabel: bool) -> None:
        super().__init__()
        self.columns = OF_LABELS if multilabel else OF_CLASSES
        for name in ("index", *self.columns):
            self.add_state(name, [], dist_reduce_fx="cat")
        self._batches: list[list[int]] = []
        self._dataset: Any = None

    def begin(self, loaders: Any) -> None:
        """Forget what was kept, and find out which images the batches of this process will hold.

        Args:
            loaders: the trainer's.

        Raises:
            ValueError: nothing says in advance in which order images come.
        """
        self.reset()
        several = loaders if isinstance(loaders, list | tuple) else [loaders]
        loader = several[0] if len(several) == 1 else None
        if (
            not isinstance(loader, DataLoader)
            or loader.batch_sampler is None
            or isinstance(loader.dataset, IterableDataset)
            or isinstance(loader.sampler, RandomSampler)
        ):
            raise ValueError(
                "predictions=true needs test images in one order: the data set gives no DataLoader with batches of "
                "numbered images, or shuffles them"
            )
        self._dataset, self._batches = loader.dataset, [list(batch) for batch in loader.batch_sampler]

    def update(self, batch: int, scores: Tensor, targets: Tensor) -> None:
        """Add a batch.

        Args:
            batch: its number.
            scores: logits ``[B, K]``, float32.
            targets: ``[B]``, or ``[B, K]`` in {0, 1}.

        Raises:
            ValueError: the batch does not hold the images that its sampler names.
        """
        readable = getattr(self._dataset, "is_readable", lambda index: True)
        indices = [index for index in self._batches[batch] if readable(index)]
        if len(indices) != len(targets):
            raise ValueError(
                f"predictions=true: batch {batch + 1} has {len(targets)} images and its sampler names {len(indices)}; "
                f"a data set that leaves images out has to say which: is_readable(index)"
            )
        self.index.append(torch.tensor(indices, dtype=torch.int64, device=scores.device))
        for name, values in _columns(scores.detach(), targets, self.columns).items():
            getattr(self, name).append(values)

    def compute(self) -> dict[str, Tensor]:
        """What was kept since `begin`, in the order of the images: `index` int64 [n], and the columns."""
        index = dim_zero_cat(self.index)
        order = index.argsort(stable=True)
        ordered = index[order]
        first = torch.ones_like(ordered, dtype=torch.bool)
        first[1:] = ordered[1:] != ordered[:-1]  # samplers that fill up the last batch repeat images
        order = order[first]
        return {name: dim_zero_cat(getattr(self, name))[order] for name in ("index", *self.columns)}

    def write(self, directory: Path, name: str, found: dict[str, Tensor]) -> Path:
        """Write a file of predictions.

        Args:
            directory: of the run.
            name: of the evaluation.
            found: as `compute` returns it.

        Returns:
            The file.
        """
        columns = {key: values.cpu().numpy() for key, values in found.items() if key != "index"}
        return write(directory, name, self._names(found["index"].tolist()), columns)

    def _names(self, indices: Sequence[int]) -> list[str]:
        named = getattr(self._dataset, "image_name", str)
        return [str(named(index)) for index in indices]


def _columns(scores: Tensor, targets: Tensor, wanted: Sequence[str]) -> dict[str, Tensor]:
    if "targets" in wanted:
        return {"targets": targets.to(torch.uint8), "scores": scores.float()}
    prediction, top = scores.argmax(dim=1), scores.argsort(dim=1, descending=True, stable=True)[:, :TOP]
    return {
        "target": targets.int(),
        "prediction": prediction.int(),
        "correct": prediction == targets,
        "loss": F.cross_entropy(scores, targets, reduction="none"),
        "top": top.int(),
        "probability": scores.softmax(dim=1).gather(1, top),
    }
