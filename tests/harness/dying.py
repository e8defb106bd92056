"""Data whose reading ends the process that reads."""

import os
import signal
from typing import Any

from torch.utils.data import DataLoader, Dataset

from datamodules.digits import Digits


class Dying(Dataset[Any]):
    """Reading kills the process that reads, or finds no memory."""

    def __init__(self, killed: bool):
        self.killed = killed

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> Any:
        if self.killed:
            os.kill(os.getpid(), signal.SIGKILL)
        raise MemoryError


class Killed(Digits):
    """The digits, whose test images cannot be read."""

    killed = True

    def test_dataloader(self) -> DataLoader[Any]:
        return DataLoader(Dying(self.killed), num_workers=1)


class NoMemory(Killed):
    killed = False
