"""Data loaders whose order survives an interruption."""

import os
from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist
from lightning import LightningDataModule
from lightning.pytorch.overrides.distributed import UnrepeatedDistributedSampler
from torch.utils.data import DataLoader, Dataset, Sampler


class EpochSampler(Sampler[int]):
    """A new order every epoch, decided by the seed and the epoch alone, so that a resumed run repeats it.

    length: items in the data set; skip: items of the first epoch asked for that were seen before a resume.
    `generator` is re-seeded with every epoch; a DataLoader that is given it seeds its workers from it.
    """

    def __init__(self, length: int, seed: int, skip: int = 0):
        self.length, self.seed, self.skip = length, seed, skip
        self.generator = torch.Generator()
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls this at the start of every epoch."""
        self.epoch = epoch
        self.generator.manual_seed(self.seed * 1_000_003 + epoch)

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        order = torch.randperm(self.length, generator=generator)
        skip, self.skip = self.skip, 0
        return iter(order[skip:].tolist())


def train_loader(
    module: LightningDataModule, dataset: Dataset[Any], batch_size: int, num_workers: int | None, seed: int
) -> DataLoader[Any]:
    """Shuffled batches of `batch_size` per device, the last short one left out.

    num_workers: processes that read; None = one per core that this process may use, at most 8.
    In a run resumed in the middle of an epoch it continues that epoch's order where the run was cut.
    """
    epoch, batches = _position(module)
    sampler = EpochSampler(len(dataset), seed, skip=batches * batch_size)  # type: ignore[arg-type]
    sampler.set_epoch(epoch)  # Lightning does so as well, but after the workers have started to read ahead
    return DataLoader(
        dataset,
        batch_size,
        sampler=sampler,
        num_workers=_workers(num_workers),
        drop_last=len(sampler) >= batch_size,
        pin_memory=torch.cuda.is_available(),
        generator=sampler.generator,
    )


def eval_loader(dataset: Dataset[Any], batch_size: int, num_workers: int | None) -> DataLoader[Any]:
    """All items in order, in batches of `batch_size` per device; each item on one device only."""
    several = dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
    # Left to itself, Lightning makes the shares of all devices equal by evaluating some items twice.
    sampler = UnrepeatedDistributedSampler(dataset, shuffle=False) if several else None
    # Its own generator: drawing worker seeds must not move the one that training draws from.
    return DataLoader(
        dataset,
        batch_size,
        sampler=sampler,
        num_workers=_workers(num_workers),
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator(),
    )


def _workers(wanted: int | None) -> int:
    if wanted is not None:
        return wanted
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(8, cores)


def _position(module: LightningDataModule) -> tuple[int, int]:
    """The epoch a training is in, and how many of its batches were trained on before a resume."""
    if module.trainer is None:
        return 0, 0
    loop = module.trainer.fit_loop
    progress = loop.epoch_loop.batch_progress
    resumed_within = loop.restarting and not progress.is_last_batch
    return loop.epoch_progress.current.processed, progress.current.ready if resumed_within else 0
