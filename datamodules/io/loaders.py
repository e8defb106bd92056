"""Data loaders whose order survives an interruption."""

import os
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from lightning import LightningDataModule
from lightning.pytorch.overrides.distributed import UnrepeatedDistributedSampler
from timm.data.distributed_sampler import RepeatAugSampler
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset
from torch.utils.data.distributed import DistributedSampler

from datamodules.io.workers import undisturbed


class EpochSampler(DistributedSampler[int]):
    """A new order every epoch, decided by the seed and the epoch alone, so that a resumed run repeats it.

    A batch of all devices holds the items that a batch of one device, as large as all of theirs, would hold. (Lightning
    recognises the class, and shares out no further.) `generator` is re-seeded with every epoch; a DataLoader that is
    given it seeds its workers from it.

    Args:
        length: items in the data set.
        seed: of all orders.
        skip: items of the first epoch asked for that were seen before a resume.
        repeats: so many copies of an item follow one another, each on another device, for each to be augmented anew;
            the epoch stays as long. timm's sampler, after arXiv 1901.09335 and DeiT: items beyond a multiple of 256 are
            left out.
        world: devices.
        rank: the device whose share this is.
        numbered: instead of item i it yields n * length + i for the n-th that this device has seen in all epochs, which
            is what `SeededBatches` takes.
    """

    def __init__(
        self,
        length: int,
        seed: int,
        skip: int = 0,
        *,
        repeats: int = 1,
        world: int = 1,
        rank: int = 0,
        numbered: bool = False,
    ):
        super().__init__(range(length), world, rank)  # type: ignore[arg-type]  # only its length is read
        self.length, self.seed, self.skip, self.numbered = length, seed, skip, numbered
        self.repeated = None
        if repeats > 1:
            self.repeated = RepeatAugSampler(range(length), world, rank, num_repeats=repeats)
        self.generator = torch.Generator()
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls this at the start of every epoch."""
        self.epoch = epoch
        self.generator.manual_seed(self.number)

    def __len__(self) -> int:
        """Items of an epoch that are this device's."""
        return self.length // self.num_replicas if self.repeated is None else len(self.repeated)

    def __iter__(self) -> Iterator[int]:
        """The items of this epoch that are this device's, in order; `numbered`, as their numbers."""
        if self.repeated is None:
            return self.numbers(torch.randperm(self.length, generator=torch.Generator().manual_seed(self.number)))
        self.repeated.set_epoch(self.number)
        return self.numbers(torch.tensor(list(self.repeated)), shared=True)

    @property
    def number(self) -> int:
        """What an epoch's order follows from."""
        return self.seed * 1_000_003 + self.epoch

    def numbers(self, order: Tensor, shared: bool = False) -> Iterator[int]:
        """This device's share of an order, behind what was seen before a resume; `numbered`, as numbers.

        Args:
            order: items of all devices, device by device in turn.
            shared: whether they are this device's already.
        """
        share = order.tolist() if shared else order[self.rank :: self.num_replicas].tolist()[: len(self)]
        skip, self.skip = self.skip, 0
        if self.numbered:
            share = [n * self.length + item for n, item in enumerate(share, start=self.epoch * len(share))]
        return iter(share[skip:])


class SeededBatches(Dataset[Any]):
    """Training items for loader workers, which draw from the seed and the number of the batch alone.

    So that a batch is augmented alike however many workers there are, and after a resume within an epoch. It gives
    whole batches, by the numbers of EpochSampler(numbered=True).

    Args:
        dataset: the items.
        seed: whole numbers that set runs apart.
    """

    def __init__(self, dataset: Dataset[Any], seed: tuple[int, ...]):
        self.dataset, self.seed = dataset, seed
        self.length: int = len(dataset)  # type: ignore[arg-type]  # torch declares no length

    def __len__(self) -> int:
        """Items in the data set."""
        return self.length

    def __getitems__(self, numbers: Sequence[int]) -> list[Any]:
        """A batch, as the data set makes it."""
        state = np.random.SeedSequence([*self.seed, numbers[0] // self.length]).generate_state(3)
        torch.manual_seed(int(state[0]))
        np.random.seed(state[1])  # noqa: NPY002 - the transforms draw from the global state
        random.seed(int(state[2]))
        items = [number % self.length for number in numbers]
        if hasattr(self.dataset, "__getitems__"):
            return self.dataset.__getitems__(items)
        return [self.dataset[item] for item in items]


def train_loader(
    module: LightningDataModule,
    dataset: Dataset[Any],
    batch_size: int,
    num_workers: int | None,
    seed: int,
    collate: Callable[..., Any] | None = None,
    sampler_of: Callable[..., EpochSampler] | None = None,
) -> DataLoader[Any]:
    """Shuffled batches, the last short one left out.

    In a run resumed in the middle of an epoch it continues that epoch's order where the run was cut.

    Args:
        module: the data module; with `repeats` it gets repeated augmentation, on one device only if it also has
            `repeats_alone`.
        dataset: the items.
        batch_size: items per device.
        num_workers: processes that read; None = one per core that this process may use, at most 8.
        seed: of the order.
        collate: from items to a batch; None: PyTorch's.
        sampler_of: makes the sampler from `EpochSampler`'s arguments without the length; None: an `EpochSampler`.
    """
    epoch, batches = _position(module)
    rank, world = (dist.get_rank(), dist.get_world_size()) if _several() else (0, 1)
    repeats = getattr(module, "repeats", None) if world > 1 or getattr(module, "repeats_alone", None) else None
    length: int = len(dataset)  # type: ignore[arg-type]  # torch declares no length
    workers = _workers(num_workers)
    shared: dict[str, Any] = {"world": world, "rank": rank, "numbered": workers > 0}
    if sampler_of is None:
        sampler = EpochSampler(length, seed, batches * batch_size, repeats=repeats or 1, **shared)
    else:
        sampler = sampler_of(seed=seed, skip=batches * batch_size, **shared)
    sampler.set_epoch(epoch)  # Lightning does so as well, but after the workers have started to read ahead
    return DataLoader(
        SeededBatches(dataset, (seed, rank)) if workers else dataset,  # without workers, atc.tasks.reproducible does it
        batch_size,
        sampler=sampler,
        num_workers=workers,
        drop_last=len(sampler) >= batch_size,
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=undisturbed,
        generator=sampler.generator,
        collate_fn=collate,
    )


def eval_loader(
    dataset: Dataset[Any], batch_size: int, num_workers: int | None, collate: Callable[..., Any] | None = None
) -> DataLoader[Any]:
    """All items in order, in batches of `batch_size` per device; each item on one device only."""
    # Left to itself, Lightning makes the shares of all devices equal by evaluating some items twice.
    sampler = UnrepeatedDistributedSampler(dataset, shuffle=False) if _several() else None
    # Its own generator: drawing worker seeds must not move the one that training draws from.
    return DataLoader(
        dataset,
        batch_size,
        sampler=sampler,
        num_workers=_workers(num_workers),
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=undisturbed,
        generator=torch.Generator(),
        collate_fn=collate,
    )


def some_of(dataset: Dataset[Any], limit: int | float | None, batch_size: int) -> Dataset[Any]:
    """A part of a data set, spread evenly over it.

    Args:
        dataset: the data set.
        limit: batches, if it is an integer, or a share of the data set; None for all of it.
        batch_size: items of a batch.
    """
    length: int = len(dataset)  # type: ignore[arg-type]  # torch declares no length
    if limit is None:
        return dataset
    wanted = limit * batch_size if isinstance(limit, int) else int(limit * length)
    if wanted < 1:
        raise ValueError(f"trainer.limit_train_batches={limit} leaves none of the {length:,} training images")
    count = min(length, wanted)
    return Subset(dataset, [place * length // count for place in range(count)])


def _several() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


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
    # Declared as a tracker without `processed`, and made as one with it.
    epoch: Any = loop.epoch_progress.current
    return epoch.processed, progress.current.ready if resumed_within else 0
