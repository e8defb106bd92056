"""Memory that a process keeps, so that a benchmark times the work and not the system's pages."""

from __future__ import annotations

import ctypes

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # of glibc's malloc.h


def keep_memory() -> bool:
    """Have the C library keep what is freed, where it is glibc.

    By default it gives large blocks back to the system at once. Activations of a batch of 32 are such blocks: every
    forward then fetches fresh pages for them, which slows a dense model more than a reduced one, and not always alike.

    Returns:
        Whether memory is kept from now on.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library, or Windows
        return False
    return bool(mallopt(_MMAP_MAX, 0)) and bool(mallopt(_TRIM_THRESHOLD, -1))
