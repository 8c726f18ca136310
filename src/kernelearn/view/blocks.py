"""The block of a convolution's matrix that leads from one input channel to one filter."""

from __future__ import annotations

from typing import Any

import numpy as np

from kernelearn.errors import ArgumentError


def block_of(wide: Any, channel: int, filter: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(values, numbers of kernel taps or NaN, the kernel's slice) from one input channel to one filter."""
    shape = wide.kernel.shape
    place = np.unravel_index(wide.ties.kernel, shape)
    wanted = (place[-2] == channel) & (place[-1] == filter)
    if not wanted.any():
        raise ArgumentError(
            f"No entry goes from channel {channel} to filter {filter} of a kernel of shape {shape}."
        )
    rows, row = np.unique(wide.ties.rows[wanted], return_inverse=True)
    columns, column = np.unique(wide.ties.columns[wanted], return_inverse=True)
    ties = np.full((len(rows), len(columns)), np.nan)
    values = ties.copy()
    taps = wide.ties.kernel[wanted] // (shape[-1] * shape[-2])
    kernel = np.asarray(wide.kernel, np.float64)[..., channel, filter]
    ties[row, column], values[row, column] = taps, kernel.ravel()[taps]
    return values, ties, kernel
