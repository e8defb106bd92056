"""The order of training images: new every epoch, the same in every run, continued after a resume."""

import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset, TensorDataset

from datamodules.io.loaders import EpochSampler, eval_loader, train_loader

NUMBERS = TensorDataset(torch.arange(103))


def module(epoch: int = 0, seen: int = 0, *, restarting: bool = False, last: bool = False) -> SimpleNamespace:
    """What a data module shows of its trainer."""
    progress = SimpleNamespace(is_last_batch=last, current=SimpleNamespace(ready=seen))
    loop = SimpleNamespace(
        restarting=restarting,
        epoch_loop=SimpleNamespace(batch_progress=progress),
        epoch_progress=SimpleNamespace(current=SimpleNamespace(processed=epoch)),
    )
    return SimpleNamespace(trainer=SimpleNamespace(fit_loop=loop))


def batches(owner: SimpleNamespace, workers: int = 0, seed: int = 0) -> list[list[int]]:
    return [batch.tolist() for (batch,) in train_loader(owner, NUMBERS, 10, workers, seed)]  # type: ignore[arg-type]


def test_every_item_once_and_another_order_every_epoch() -> None:
    sampler = EpochSampler(103, seed=0)
    first = list(sampler)
    assert sorted(first) == list(range(103))
    assert list(sampler) == first
    sampler.set_epoch(1)
    assert list(sampler) != first
    assert list(EpochSampler(103, seed=1)) != first


@pytest.mark.parametrize("workers", [0, 1])
def test_resumed_within_an_epoch_goes_on_where_it_was_cut(workers: int) -> None:
    whole = batches(module(epoch=3), workers)
    assert len(whole) == 10
    assert batches(module(epoch=3, seen=4, restarting=True), workers) == whole[4:]


class Augmented(Dataset[torch.Tensor]):
    """Items with what is drawn for them: by torch, NumPy and Python."""

    def __len__(self) -> int:
        return 103

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.tensor([index, torch.rand(()).item(), np.random.rand(), random.random()])  # noqa: NPY002


def test_workers_augment_a_batch_alike_however_many_they_are() -> None:
    def epoch(workers: int, owner: SimpleNamespace, seed: int = 0) -> list[torch.Tensor]:
        return list(train_loader(owner, Augmented(), 10, workers, seed))  # type: ignore[arg-type]

    whole = torch.stack(epoch(1, module(epoch=3)))
    assert torch.equal(torch.stack(epoch(2, module(epoch=3))), whole)
    resumed = torch.stack(epoch(2, module(epoch=3, seen=4, restarting=True)))
    assert torch.equal(resumed, whole[4:])
    drawn = whole[..., 1:].flatten()
    for other in (epoch(1, module(epoch=4)), epoch(1, module(epoch=3), seed=1)):
        assert not set(torch.stack(other)[..., 1:].flatten().tolist()) & set(drawn.tolist())
    assert len(set(drawn.tolist())) == len(drawn)


def test_resumed_between_epochs_starts_the_next() -> None:
    assert batches(module(epoch=3, seen=10, restarting=True, last=True)) == batches(module(epoch=3))
    assert batches(module(epoch=3)) != batches(module(epoch=2))


def test_only_the_first_epoch_after_a_resume_is_short() -> None:
    loader = train_loader(module(epoch=3, seen=4, restarting=True), NUMBERS, 10, 0, 0)  # type: ignore[arg-type]
    assert [len(list(loader)), len(list(loader))] == [6, 10]
    assert len(loader) == 10


def test_a_data_set_smaller_than_a_batch_is_still_a_batch() -> None:
    small = TensorDataset(torch.arange(3))
    assert len(train_loader(module(), small, 10, 0, 0)) == 1  # type: ignore[arg-type]


def test_evaluation_keeps_the_order_and_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    items = torch.cat([batch for (batch,) in eval_loader(NUMBERS, 10, 1)])
    assert torch.equal(items, torch.arange(103))
    assert torch.equal(torch.get_rng_state(), before)


def test_workers_are_one_per_core_by_default() -> None:
    assert 1 <= eval_loader(NUMBERS, 10, None).num_workers <= 8
    assert eval_loader(NUMBERS, 10, 0).num_workers == 0
