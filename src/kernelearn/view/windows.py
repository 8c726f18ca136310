"""What a kernel read at a position, as a picture of the one input channel that a weight belongs to."""

from __future__ import annotations

from typing import Any

import numpy as np

_LONGEST = 32


def window_picture(book: Any, one: Any) -> np.ndarray:
    """(h, w) of a `Contribution.window`: the slice of the weight's channel; slices of 3-D ones stacked.

    A dense layer reads a row; one that is too long for a picture gives the number that this weight read.
    """
    window = np.asarray(one.window, np.float64)
    if window.ndim > 1:
        window = window[..., channel_of(book, window.shape[-1])]
    flat = np.atleast_2d(window)
    flat = flat.reshape(-1, flat.shape[-1])
    return flat if max(flat.shape) <= _LONGEST else np.full((1, 1), one.input)


def channel_of(book: Any, channels: int) -> int:
    """Number of the weight's input channel within a window that has so many."""
    return int(book.index[-2]) % channels if len(book.index) > 1 else 0


def cell_of(book: Any, picture: np.ndarray) -> tuple[int, int] | None:
    """(row, column) of the weight in the picture of its window; None where that is not told by its index."""
    tap = book.index[:-2]
    if book.kind != "conv" or not tap or picture.shape == (1, 1):
        return None
    row, column = (0, tap[0]) if len(tap) == 1 else (int(tap[-2]), int(tap[-1]))
    if len(tap) == 3:
        row += int(tap[0]) * (picture.shape[0] // book.factors.kernel_shape[0])
    return (row, int(column)) if row < picture.shape[0] and column < picture.shape[1] else None
