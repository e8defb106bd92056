"""A batch in ranges of images, which the compiled library works on in several threads."""

from __future__ import annotations

import itertools
import os
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import torch
from torch import Tensor

# Below this many cells, handing work to another thread takes longer than doing it; and so many make a range.
_CELLS_A_THREAD, _CELLS_A_RANGE = 100_000, 60_000


def readable(tensor: Tensor) -> Tensor:
    """A tensor as the library reads its memory.

    Args:
        tensor: any, with values.

    Returns:
        The same, or a copy where a minus is still to be applied, or where the last dimension has a stride.
    """
    tensor = tensor.resolve_neg()
    return tensor if tensor.stride(-1) == 1 else tensor.contiguous()


def addresses(tensors: Mapping[str, Tensor]) -> Callable[[int], dict[str, int]]:
    """Where the rest of tensors of a batch lies, from an image on.

    Args:
        tensors: ``[B, ...]`` by the name of an argument.

    Returns:
        A function of the first image.
    """
    places = [(name, one.data_ptr(), one.stride(0) * one.element_size()) for name, one in tensors.items()]
    return lambda start: {name: first + start * size for name, first, size in places}


def split(run_range: Callable[[int, int], int], batch: int, cells: int) -> int:
    """Run ranges of a batch in ``torch.get_num_threads()`` threads.

    Args:
        run_range: called with the first image of a range and the one behind its last; returns a status.
        batch: images.
        cells: distances of all of them.

    Returns:
        The largest status.
    """
    threads = min(torch.get_num_threads(), batch, max(1, cells // _CELLS_A_THREAD))
    if threads <= 1:
        return run_range(0, batch) if batch else 0
    # Several ranges a thread, because other work on the machine may hold one of them up.
    number = min(batch, 4 * threads, max(threads, cells // _CELLS_A_RANGE))
    bounds = [batch * index // number for index in range(number + 1)]
    waiting = deque(itertools.pairwise(bounds))

    def work() -> int:
        status = 0
        while waiting:
            try:
                start, stop = waiting.popleft()
            except IndexError:  # another thread was faster
                break
            status = max(status, run_range(start, stop))
        return status

    # The calling thread begins at once: waking another may take longer than all the work does.
    helpers = [_threads(threads - 1).submit(work) for _ in range(threads - 1)]
    statuses = [work()]
    return max(statuses + [helper.result() for helper in helpers if not helper.cancel()])


@cache
def _threads(count: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(count, thread_name_prefix="atc-linkage")


if hasattr(os, "register_at_fork"):  # a child has the pool, but none of its threads
    os.register_at_fork(after_in_child=_threads.cache_clear)
