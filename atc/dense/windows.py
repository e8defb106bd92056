"""Overlapping windows, through which a model of one size sees images of any size."""

from collections.abc import Iterator


def windows(size: tuple[int, int], window: int, stride: int) -> Iterator[tuple[slice, slice]]:
    """Rows and columns of the windows over an image; the last of each row and column ends with the image.

    Args:
        size: height and width of the image.
        window: pixels per side of a window; an image that is smaller has one window.
        stride: pixels from one to the next.

    Examples:
        >>> [(rows.start, columns.start) for rows, columns in windows((512, 683), 512, 341)]
        [(0, 0), (0, 171)]
    """
    starts = [[min(n * stride, max(0, side - window)) for n in range(_count(side, window, stride))] for side in size]
    for top in starts[0]:
        for left in starts[1]:
            yield slice(top, min(top + window, size[0])), slice(left, min(left + window, size[1]))


def _count(side: int, window: int, stride: int) -> int:
    return -(-max(0, side - window) // stride) + 1
