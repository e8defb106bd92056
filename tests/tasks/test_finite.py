"""A training that diverges stops at the first loss that is not finite, and keeps its last good checkpoint."""

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from lightning import Callback, LightningDataModule, Trainer
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import atc
from atc.core import Assign, Plan, Reducer, TokenView, checking
from atc.tasks import finite
from atc.tasks.classification import Classification
from atc.tasks.finite import NotFinite, StopNotFinite
from atc.tasks.interrupt import StopSafely
from atc.tasks.multilabel import Multilabel

# Lightning remarks on runs this short.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

BATCHES = 5  # an epoch


class Toy(nn.Module):
    """One layer; losses of the reducers' own, which are `extra`."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(12, 3)
        self.extra = 0.0

    def forward(self, images: Tensor) -> Tensor:
        return self.head(images.flatten(1))

    def losses(self) -> dict[str, Tensor]:
        return {"own": torch.tensor(self.extra)}


class Data(LightningDataModule):
    """20 images to train on in batches of 4; 10 to evaluate on."""

    def __init__(self, multilabel: bool = False):
        super().__init__()
        self.multilabel = multilabel

    def _loader(self, images: int) -> DataLoader[Any]:
        targets = torch.zeros(images, 3, dtype=torch.uint8) if self.multilabel else torch.arange(images) % 3
        return DataLoader(TensorDataset(torch.randn(images, 3, 2, 2), targets), 4)

    def train_dataloader(self) -> DataLoader[Any]:
        return self._loader(4 * BATCHES)

    def val_dataloader(self) -> DataLoader[Any]:
        return self._loader(10)

    test_dataloader = val_dataloader


class Doing(Callback):
    """Calls a function with the task before update number `at`, counted from 0."""

    def __init__(self, at: int, what: Callable[[Classification], object]):
        self.at, self.what = at, what

    def on_train_batch_start(self, trainer: Trainer, pl_module: Any, *_: Any) -> None:
        if trainer.global_step == self.at:
            self.what(pl_module)


def spoil(task: Classification) -> None:
    """The next loss is NaN."""
    task.model.extra = math.nan  # type: ignore[assignment]


def poison(task: Classification) -> None:
    """The weights are infinite after the next update, whose loss is finite: as of an infinite gradient."""
    task.model.head.weight.register_hook(lambda gradient: gradient * math.inf)  # type: ignore[operator, union-attr]


def configured(model: nn.Module, *_: Any) -> dict[str, Any]:
    return {"optimizer": torch.optim.SGD(model.parameters(), lr=0.1)}


def fit(
    directory: Path,
    *callbacks: Callback,
    task: Classification | None = None,
    data: Data | None = None,
    **settings: Any,
) -> Trainer:
    """Train for two epochs with the checkpoints of a run."""
    task = task or Classification(Toy(), 3, configured)
    score = task.selection_metric
    end = {"save_on_train_epoch_end": True, "enable_version_counter": False}
    kept = [
        ModelCheckpoint(directory, "best", monitor=score, mode="max", **end),
        ModelCheckpoint(directory, "last", **end),
    ]
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False, "num_sanity_val_steps": 0}
    trainer = Trainer(
        accelerator="cpu",
        callbacks=[StopNotFinite(), *callbacks, *kept],
        default_root_dir=directory,
        **{"max_epochs": 2, "log_every_n_steps": 3, **quiet, **settings},
    )
    trainer.fit(task, data or Data(isinstance(task, Multilabel)))
    return trainer


def saved(directory: Path, name: str = "last") -> dict[str, Any]:
    """A checkpoint, all of whose weights are finite."""
    found: dict[str, Any] = torch.load(directory / f"{name}.ckpt", weights_only=True)
    assert all(value.isfinite().all() for value in found["state_dict"].values())
    return found


def test_an_ordinary_training_is_let_alone(tmp_path: Path) -> None:
    trainer = fit(tmp_path)
    assert saved(tmp_path)["global_step"] == trainer.global_step == 2 * BATCHES
    assert saved(tmp_path)["images"] == {"val": {"images": 10, "images_of": 10}}


@pytest.mark.parametrize("at", range(2 * BATCHES))
def test_the_loss_is_nan_at_any_step(tmp_path: Path, at: int) -> None:
    with pytest.raises(NotFinite, match=rf"the loss is not finite at step {at}\b") as error:
        fit(tmp_path, Doing(at, spoil))
    assert ("last finite loss was" in str(error.value)) == (at > 0)
    assert "\n" not in str(error.value)
    if at >= BATCHES:
        assert saved(tmp_path)["global_step"] == saved(tmp_path, "best")["global_step"] == BATCHES
    else:
        assert not list(tmp_path.glob("*.ckpt"))


def test_the_last_finite_loss_is_the_one_before(tmp_path: Path) -> None:
    losses: list[float] = []

    class Noted(Callback):
        def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, *_: Any) -> None:
            losses.append(float(outputs["loss"]))

    with pytest.raises(NotFinite) as error:
        fit(tmp_path, Noted(), Doing(3, spoil), log_every_n_steps=BATCHES)
    (said,) = re.findall(r"the last finite loss was ([\d.]+);", str(error.value))
    assert float(said) == pytest.approx(losses[2], rel=1e-3)


def test_the_device_is_waited_for_where_the_loss_is_logged_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[int] = []
    real = finite._any
    monkeypatch.setattr(finite, "_any", lambda trainer, flag: looked.append(trainer.global_step) or real(trainer, flag))
    fit(tmp_path, max_epochs=1, limit_train_batches=BATCHES, log_every_n_steps=2)
    assert set(looked) == {2, 4, BATCHES}


def test_what_is_saved_within_an_epoch_is_looked_at_too(tmp_path: Path) -> None:
    safely = StopSafely(str(tmp_path / "last.ckpt"), minutes=0)  # after every update
    with pytest.raises(NotFinite, match="at step 3"):
        fit(tmp_path, safely, Doing(3, spoil), log_every_n_steps=1000)
    assert saved(tmp_path)["global_step"] == 3


@pytest.mark.parametrize("weights_only", [False, True])
def test_weights_that_are_not_finite_are_not_saved(tmp_path: Path, weights_only: bool) -> None:
    class Save(Callback):
        def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
            trainer.save_checkpoint(tmp_path / "last.ckpt", weights_only)

    with pytest.raises(NotFinite, match="the weights are no longer finite after 3 updates"):
        fit(tmp_path, Save(), Doing(2, poison))
    assert saved(tmp_path)["global_step"] == 2


def test_with_an_average_of_the_weights(tmp_path: Path) -> None:
    with pytest.raises(NotFinite):
        fit(tmp_path, EMAWeightAveraging(decay=0.5), Doing(BATCHES + 1, poison))
    found = saved(tmp_path)
    assert found["global_step"] == BATCHES
    assert all(value.isfinite().all() for value in found["current_model_state"].values())


def test_an_update_that_is_skipped_does_not_matter(tmp_path: Path) -> None:
    """As in 16-bit training: the gradient is infinite, the scaler leaves the update out and goes on."""

    class Skipping(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            loss = closure()
            gradients = [one.grad for group in self.param_groups for one in group["params"]]
            if all(gradient.isfinite().all() for gradient in gradients):
                super().step()
            return loss

    task = Classification(Toy(), 3, lambda model, *_: {"optimizer": Skipping(model.parameters(), lr=0.1)})
    trainer = fit(tmp_path, Doing(2, poison), task=task)
    assert trainer.global_step == 2 * BATCHES
    assert saved(tmp_path)["global_step"] == 2 * BATCHES


class HalfBroken(Classification):
    """Logits of some validation and test images are not finite."""

    def _counted(self, logits: Tensor, name: str) -> Tensor:
        logits[0, 1] = math.nan
        logits[-1] = math.inf
        return super()._counted(logits, name)


def test_a_validation_that_is_not_finite_stops_a_training(tmp_path: Path) -> None:
    task = HalfBroken(Toy(), 3, configured)
    with pytest.raises(NotFinite, match="validation: the logits of 6 of 10 images are not finite"):
        fit(tmp_path, task=task)
    assert not list(tmp_path.glob("*.ckpt"))


def test_a_test_that_is_not_finite_is_no_result() -> None:
    trainer = Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, limit_test_batches=2)
    task = HalfBroken(Toy(), 3)
    task.test_name = "off_the_shelf"
    with pytest.raises(NotFinite, match="off_the_shelf: the logits of 4 of 8 images are not finite"):
        trainer.test(task, Data())
    whole = Classification(Toy(), 3)
    trainer.test(whole, Data())
    assert whole.images == {"test": {"images": 8, "images_of": 10}}
    trainer.test(whole, Data())
    assert whole.images == {"test": {"images": 8, "images_of": 10}}, "counted anew"


class WithEmptyClusters(Reducer):
    """No token has the last label."""

    def forward(self, view: TokenView, keep: int) -> Plan:
        return Assign((torch.arange(view.x.shape[1]) % (keep - 1)).expand(len(view.x), -1), keep)


class Pictures(Data):
    """Images of 16 patches."""

    def _loader(self, images: int) -> DataLoader[Any]:
        return DataLoader(TensorDataset(torch.randn(4, 3, 32, 32), torch.zeros(4, dtype=torch.int64)), 4)


def test_a_reducer_may_be_to_blame(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As users have it: without ATC_CHECK_PLANS, which is on in the other tests."""
    monkeypatch.setattr(checking, "_ALWAYS", False)
    vit = timm.create_model("vit_tiny_patch16_224", img_size=32, patch_size=8, depth=2, embed_dim=24, num_classes=3)
    task = Classification(atc.wrap(vit, WithEmptyClusters, 0.5, blocks=(1,)), 3, configured)
    plans = "a plan of WithEmptyClusters is wrong, which ATC_CHECK_PLANS=1 in the environment shows"
    trainer = Trainer(accelerator="cpu", logger=False, enable_progress_bar=False)
    with pytest.raises(NotFinite, match=f"are not finite, .*; the weights have .* for them .*, or {plans}$"):
        trainer.test(task, Pictures())
    with pytest.raises(NotFinite, match=f"^the loss is not finite at step 0; .* may help; or {plans}$"):
        fit(tmp_path, task=task, data=Pictures(), log_every_n_steps=1)


def test_without_a_reducer_the_weights_are() -> None:
    said = "the weights have diverged, or the precision is too low for them (trainer.precision)"
    assert finite.causes(Toy()) == said
    vit = timm.create_model("vit_tiny_patch16_224", img_size=32, depth=2, embed_dim=24)
    assert finite.causes(atc.wrap(vit, "none")) == said


class Undefined(Classification):
    """A score that is NaN from the second epoch on, of logits that are finite."""

    def log_dict(self, metrics: Any, *_: Any, **__: Any) -> None:
        self.log("val/accuracy", math.nan if self.current_epoch else 0.5)


def test_nan_is_never_the_best(tmp_path: Path) -> None:
    with pytest.raises(NotFinite, match="val/accuracy, by which the best epoch is chosen, is nan after 2 epochs"):
        fit(tmp_path, task=Undefined(Toy(), 3, configured))
    assert saved(tmp_path, "best")["global_step"] == BATCHES


class Besides(Multilabel):
    """Logs something beside the score that is not defined."""

    def validation_step(self, batch: Any, index: int) -> None:
        super().validation_step(batch, index)
        self.log("val/other", math.nan)


@pytest.mark.filterwarnings("ignore:.*Average precision score for one or more classes was `nan`")
def test_labels_without_positives_are_no_fault(tmp_path: Path) -> None:
    """Where no label has any, torchmetrics' mean is NaN in some versions, and ours is 0."""
    trainer = fit(tmp_path, task=Besides(Toy(), 3, configured))
    assert trainer.callback_metrics["val/map"] == 0
    assert trainer.callback_metrics["val/other"].isnan()
    assert saved(tmp_path, "best")["global_step"] == BATCHES
