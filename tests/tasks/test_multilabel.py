"""The multi-label task: its loss, its metrics, in one process and in two."""

import inspect

import numpy as np
import pytest
import torch
from lightning import Trainer
from sklearn.metrics import average_precision_score
from timm.loss import AsymmetricLossMultiLabel
from torch import nn
from torchmetrics.classification import MultilabelAveragePrecision

from atc.tasks.average_precision import MeanAveragePrecision, mean_average_precision
from atc.tasks.losses import asymmetric_loss
from atc.tasks.multilabel import Multilabel
from datamodules.shapes import Shapes


def _batch(n: int = 40, labels: int = 7) -> tuple[torch.Tensor, torch.Tensor]:
    targets = (torch.rand(n, labels) < 0.3).float()
    return torch.randn(n, labels) * 3 + targets, targets


def test_asymmetric_loss_is_timms_summed() -> None:
    logits, targets = _batch()
    settings = {"gamma_neg": 4, "gamma_pos": 0, "clip": 0.05}
    if "reduction" in inspect.signature(AsymmetricLossMultiLabel).parameters:
        settings["reduction"] = "sum"
    ours, theirs = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    a, b = asymmetric_loss(ours, targets), AsymmetricLossMultiLabel(**settings)(theirs, targets)
    torch.testing.assert_close(a, b)
    a.backward()
    b.backward()
    torch.testing.assert_close(ours.grad, theirs.grad)


def test_asymmetric_loss_entry_by_entry() -> None:
    """As the specification words it, one entry at a time."""
    logits, targets = (x.double() for x in _batch(6, 4))
    total = 0.0
    for x, y in zip(logits.flatten().tolist(), targets.flatten().tolist(), strict=True):
        p = 1 / (1 + np.exp(-x))
        q = min(1 - p + 0.05, 1)
        total -= np.log(p) if y else (1 - q) ** 4 * np.log(q)
    assert asymmetric_loss(logits, targets).item() == pytest.approx(total, rel=1e-12)


def test_asymmetric_loss_at_the_ends() -> None:
    logits = torch.tensor([[200.0, -200.0]], dtype=torch.bfloat16, requires_grad=True)
    for targets in (torch.tensor([[1, 0]]), torch.tensor([[0, 1]])):
        loss = asymmetric_loss(logits, targets)
        loss.backward()
        assert loss.dtype == torch.float32
        assert loss.isfinite()
        assert logits.grad is not None
        assert logits.grad.isfinite().all()
    assert asymmetric_loss(logits, torch.tensor([[1, 0]])).item() == 0


def test_classes_are_no_labels() -> None:
    with pytest.raises(ValueError, match=r"targets \(7,\) are not a row of labels per picture, \(7, 7\)"):
        asymmetric_loss(torch.zeros(7, 7), torch.arange(7))


def test_map_is_sklearns_without_ties() -> None:
    scores, targets = _batch(200, 9)
    expected = average_precision_score(targets.numpy(), scores.numpy(), average="macro")
    assert mean_average_precision(scores, targets).item() == pytest.approx(expected, abs=1e-9)


def test_map_counts_a_label_without_positives_as_zero() -> None:
    scores, targets = _batch(50, 4)
    without = targets.clone()
    without[:, 2] = 0
    kept = [0, 1, 3]
    rest = mean_average_precision(scores[:, kept], without[:, kept])
    assert mean_average_precision(scores, without).item() == pytest.approx(rest.item() * 3 / 4)


def test_map_is_torchmetrics_but_for_ties() -> None:
    scores, targets = _batch(200, 5)
    theirs = MultilabelAveragePrecision(5, average="macro")
    assert theirs(scores.sigmoid(), targets.long()).item() == pytest.approx(
        mean_average_precision(scores, targets).item(), abs=1e-6
    )
    coarse = scores.round()
    assert theirs(coarse.sigmoid(), targets.long()) > mean_average_precision(coarse, targets)


def test_map_with_ties_does_not_depend_on_the_order() -> None:
    scores, targets = _batch(60, 5)
    scores = scores.round()
    order = torch.randperm(60)
    assert mean_average_precision(scores, targets) == mean_average_precision(scores[order], targets[order])
    assert mean_average_precision(torch.zeros(4, 1), torch.tensor([[1], [0], [0], [0]])).item() == pytest.approx(0.25)


def test_metric_gathers_before_it_ranks() -> None:
    scores, targets = _batch(90, 6)
    metric = MeanAveragePrecision()
    for part in range(3):
        metric.update(scores[part::3], targets[part::3])
    expected = mean_average_precision(scores, targets).float()
    assert metric.compute() == expected
    with pytest.raises(ValueError, match=r"scores \(2, 3\) and targets \(2, 4\)"):
        metric.update(torch.zeros(2, 3), torch.zeros(2, 4))


def _two_processes(rank: int, port: int, scores: torch.Tensor, targets: torch.Tensor, results: object) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    metric = MeanAveragePrecision()
    # Shards of different size: 50 and 40.
    shard = slice(0, 50) if rank == 0 else slice(50, 90)
    for chunk_scores, chunk_targets in zip(scores[shard].split(20), targets[shard].split(20), strict=True):
        metric.update(chunk_scores, chunk_targets)
    results[rank] = metric.compute().item()  # type: ignore[index]
    torch.distributed.destroy_process_group()


def test_two_processes_get_the_map_of_one(unused_port: int) -> None:
    scores, targets = _batch(90, 6)
    with torch.multiprocessing.get_context("fork").Manager() as manager:
        results = manager.dict()
        arguments = (unused_port, scores, targets, results)
        # Forked, for new processes would spend half a minute on imports.
        torch.multiprocessing.start_processes(_two_processes, arguments, nprocs=2, start_method="fork")
        whole = mean_average_precision(scores, targets).float().item()
        shards = [mean_average_precision(scores[part], targets[part]).item() for part in (slice(50), slice(50, 90))]
        assert list(results.values()) == [whole, whole]
    assert abs(sum(shards) / 2 - whole) > 1e-4, "the mean over shards is something else"


@pytest.fixture
def unused_port() -> int:
    import socket

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def test_settings_are_checked() -> None:
    with pytest.raises(ValueError, match=r"task.loss=focal is neither"):
        Multilabel(nn.Identity(), 3, loss="focal")  # type: ignore[arg-type]


def _tested(devices: int) -> dict[str, float]:
    torch.manual_seed(0)
    task = Multilabel(nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 10)), 10)
    data = Shapes(batch_size=4, eval_batch_size=4, num_workers=0, seed=0, size=16, test=21)
    trainer = Trainer(
        accelerator="cpu",
        devices=devices,
        strategy="ddp_fork" if devices > 1 else "auto",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    return trainer.test(task, data, verbose=False)[0]


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_two_devices_measure_what_one_does() -> None:
    """21 scenes, which two devices cannot share evenly: none counts twice."""
    one, two = _tested(1), _tested(2)
    assert one.keys() == two.keys() == {"test/loss", "test/map", "test/map_torchmetrics"}
    assert two == pytest.approx(one, abs=1e-6)
