"""Probes: what the features of a model that is not trained tell about the classes of images."""

import logging
import warnings
from typing import Any, Literal

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor, nn
from torch.nn import functional as F

from atc.tasks.finite import NotFinite, causes
from atc.tasks.frozen import Frozen
from atc.values import Count, Positive

log = logging.getLogger(__name__)

Features = NDArray[np.float32]  # [n, C]
K, TEMPERATURE = 20, 0.07  # of DINO (arXiv 2104.14294)
INVERSE_REGULARISATION, MOST_STEPS = 0.316, 1_000  # of CLIP (arXiv 2103.00020)
_LEAST = 1e-12  # a probability of zero counts so much in a loss


class Probe(Frozen):
    """Fits a classifier to the features of the training images and tests it; top-1 and top-5 accuracy.

    The model is not trained, and sees training images without augmentation, with its tokens reduced as in the test.
    "knn": the `k` training images of the highest cosine similarity vote, each with exp(similarity / temperature), as
    DINO's authors do. "linear": scikit-learn's multinomial logistic regression on the features as they are, as
    CLIP's authors do.

    Args:
        model: from images ``[B, 3, H, W]`` to features ``[B, C]``.
        num_classes: how many classes there are.
        configure: None; the model is not trained.
        probe: "knn" or "linear".
        k: how many training images vote; None = 20.
        temperature: of the votes; None = 0.07.
        C: inverse of the L2 regularisation of the logistic regression; None = 0.316.
    """

    option = "probe"

    def __init__(
        self,
        model: nn.Module,
        num_classes: int,
        configure: None = None,
        *,
        probe: Literal["knn", "linear"] = "knn",
        k: Count | None = None,
        temperature: Positive | None = None,
        C: Positive | None = None,
    ):
        super().__init__(model, num_classes)
        self.probe, self.k, self.num_classes = probe, k or K, num_classes
        self.temperature = TEMPERATURE if temperature is None else temperature
        self.C = INVERSE_REGULARISATION if C is None else C
        self.fitted: Any = None
        self.training_images = 0  # that it is fitted to

    def on_test_start(self) -> None:
        """Fit the probe to the training images.

        Raises:
            ValueError: the data set has none, or too few of them.
        """
        features, targets = self._training_features()
        self.training_images = len(targets)
        self.fitted = self._fit(features, targets)

    def on_test_epoch_end(self) -> None:
        """How many images it was over, and fitted to."""
        super().on_test_epoch_end()
        self.images[self.test_name]["training_images"] = self.training_images

    def scores(self, images: Tensor) -> Tensor:
        """``[B, 3, H, W]`` -> log-probabilities ``[B, classes]``; NaN for an image whose features are not finite."""
        found = self._features(images)
        fine = found.isfinite().all(dim=1, keepdim=True)
        features = self._prepared(torch.where(fine, found, 1.0).cpu().numpy())
        likely = np.zeros((len(features), self.num_classes))
        likely[:, self.fitted.classes_] = self.fitted.predict_proba(features)
        logs = torch.from_numpy(likely).clamp_min(_LEAST).log().float().to(found.device)
        return torch.where(fine, logs, torch.nan)

    def _features(self, images: Tensor) -> Tensor:
        found: Tensor = self.evaluated(images).float()
        if found.ndim != 2:
            raise ValueError(
                f"task=probe needs one row of features per image, and the backbone returns {found.ndim - 1}"
            )
        return found

    def _training_features(self) -> tuple[Features, NDArray[np.int64]]:
        trainer: Any = self.trainer
        data = trainer.datamodule
        if not hasattr(data, "unaugmented_train_dataloader"):
            raise ValueError(
                f"task=probe needs the training images without augmentation, and {type(data).__name__} has no "
                f"unaugmented_train_dataloader()"
            )
        limit = trainer.limit_train_batches
        whole = isinstance(limit, float) and limit == 1.0
        loader = data.unaugmented_train_dataloader(None if whole else limit)
        log.info("reading the features of %s training images", f"{len(loader.dataset):,}")
        features, targets = [], []
        for batch in loader:
            images, own = trainer.precision_plugin.convert_input(trainer.strategy.batch_to_device(batch))
            with trainer.precision_plugin.forward_context():
                features.append(self._features(images).cpu())
            targets.append(own.cpu())
        found = _of_all_processes(torch.cat(features), torch.cat(targets))
        broken = int((~found[0].isfinite()).any(dim=1).sum())
        if broken:
            raise NotFinite(
                f"{self.test_name}: the features of {broken:,} of {len(found[0]):,} training images are not finite, so "
                f"that nothing can be fitted to them; {causes(self.model)}"
            )
        return found[0].numpy(), found[1].long().numpy()

    def _prepared(self, features: Features) -> Features:
        """Features as the probe takes them: of norm 1 for cosine similarities."""
        if self.probe == "linear":
            return features
        return F.normalize(torch.from_numpy(features), dim=1).numpy()

    def _fit(self, features: Features, targets: NDArray[np.int64]) -> Any:
        features, there = self._prepared(features), len(np.unique(targets))
        if self.probe == "knn":
            if self.k > len(features):
                raise ValueError(f"task.k={self.k} is more than the {len(features)} training images")
            # Of vectors of norm 1: similarity = 1 - distance^2 / 2; a factor common to all votes does not count.
            weights = _Votes(self.temperature)
            return KNeighborsClassifier(self.k, weights=weights, algorithm="brute").fit(features, targets)
        if there < 2:
            raise ValueError(f"task.probe=linear tells classes apart, and the training images are of {there}")
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always", ConvergenceWarning)
            found = LogisticRegression(C=self.C, max_iter=MOST_STEPS).fit(features, targets)
        if any(issubclass(one.category, ConvergenceWarning) for one in said):
            log.warning("task.probe=linear has not converged after %s steps: a smaller task.C helps", f"{MOST_STEPS:,}")
        return found


class _Votes:
    """How much training images count by their distance, ``exp(similarity / temperature)`` but for a factor."""

    def __init__(self, temperature: float):
        self.temperature = temperature

    def __call__(self, distances: NDArray[Any]) -> NDArray[Any]:
        nearest = distances.min(axis=1, keepdims=True) if distances.ndim == 2 else 0
        return np.exp((nearest**2 - distances**2) / (2 * self.temperature))


def _of_all_processes(features: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return features, targets
    found: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(found, (features, targets))
    return torch.cat([one for one, _ in found]), torch.cat([one for _, one in found])
