"""Batches of images of one orientation, in an order that survives an interruption."""

from collections.abc import Iterator

import torch
from torch import Tensor

from datamodules.io.loaders import EpochSampler


class GroupedSampler(EpochSampler):
    """A new order every epoch in which a batch of all devices is of one group, so that little of it is padding.

    As mmdet's group sampler: each group is shuffled, filled up to whole batches with items of its own, and the batches
    are shuffled. What comes out depends on the seed and the epoch alone.

    Args:
        groups: ``[n]`` int64, the group of every item.
        batch: items of a batch of one device.
        seed: of all orders.
        skip: items of the first epoch asked for that were seen before a resume.
        world: devices.
        rank: the device whose share this is.
        numbered: as of `EpochSampler`.
    """

    def __init__(
        self,
        groups: Tensor,
        batch: int,
        seed: int,
        skip: int = 0,
        *,
        world: int = 1,
        rank: int = 0,
        numbered: bool = False,
    ):
        self.groups, self.chunk = groups, batch * world
        self.chunks = sum(-(-int(count) // self.chunk) for count in groups.unique(return_counts=True)[1])
        super().__init__(len(groups), seed, skip, world=world, rank=rank, numbered=numbered)

    def __len__(self) -> int:
        """Items of an epoch that are this device's."""
        return self.chunks * self.chunk // self.num_replicas

    def order(self, generator: torch.Generator) -> Tensor:
        """The items of all devices: every `chunk` of them of one group."""
        chunks = []
        for group in self.groups.unique():
            items = (self.groups == group).nonzero()[:, 0]
            items = items[torch.randperm(len(items), generator=generator)]
            missing = -len(items) % self.chunk
            more = items[torch.randint(len(items), (missing,), generator=generator)]
            chunks.append(torch.cat([items, more]).reshape(-1, self.chunk))
        whole = torch.cat(chunks)
        return whole[torch.randperm(len(whole), generator=generator)].flatten()

    def __iter__(self) -> Iterator[int]:
        """The items of this epoch that are this device's, in order; `numbered`, as their numbers."""
        return self.numbers(self.order(torch.Generator().manual_seed(self.number)))
