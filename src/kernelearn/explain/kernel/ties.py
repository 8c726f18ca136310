"""Which entries of the dense matrix of a convolution are not zero, and which kernel entry each of them is.

y.ravel() = matrix @ x.ravel(): row = an output number, column = an input number. The window puts the same
kernel entries into the rows of every position (p, q): these entries are tied. NumPy only, plain ints.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernelearn.explain.gradient.pairs import tap_pixels


@dataclass(frozen=True, eq=False)
class Ties:
    """The entries that are not structurally zero, in order of rows, then columns.

    Attributes:
        rows, columns: (entries,) int64 place in the matrix.
        kernel: (entries,) int64 which number of the kernel, counted in C order.
    """

    rows: NDArray[Any]
    columns: NDArray[Any]
    kernel: NDArray[Any]


@dataclass(frozen=True)
class Side:
    """How the numbers of an input or output are counted: spatial sizes, channels, which of them first."""

    sizes: tuple[int, ...]
    channels: int
    channels_first: bool = False

    def flat(self, position: NDArray[Any], channel: NDArray[Any]) -> NDArray[Any]:
        """The place of a number in the flattened array; positions are counted in C order."""
        if self.channels_first:
            return np.asarray(channel * prod(self.sizes) + position)
        return np.asarray(position * self.channels + channel)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one sample, in the order of the layer."""
        return (self.channels, *self.sizes) if self.channels_first else (*self.sizes, self.channels)


def conv_ties(x: Side, y: Side, kernel_shape: Sequence[int], attrs: Any, untied: bool = False) -> Ties:
    """Of a convolution from x to y.

    Args:
        kernel_shape: (*size, channels // groups, filters).
        attrs: of the operator: stride, padding, dilation, groups.
        untied: every position has a kernel of its own: kernel (*size, channels, positions * filters).
    """
    per_group, filters = kernel_shape[-2], kernel_shape[-1]
    c, f = np.indices((per_group, filters))
    channel = f // (filters // int(attrs["groups"])) * per_group + c
    parts = []
    for number, tap in enumerate(np.ndindex(*kernel_shape[:-2])):
        at, read = _windows(tap_pixels(tap, attrs, y.sizes), x.sizes)
        at, read = at[:, None, None], read[:, None, None]
        entry = (number * per_group + c) * filters + f
        if untied:
            entry = (number * per_group + c) * filters * prod(y.sizes) + at * filters + f
        parts.append(np.broadcast_arrays(y.flat(at, f), x.flat(read, channel), entry))
    rows, columns, kernel = (np.concatenate([part[i].ravel() for part in parts]) for i in range(3))
    return _sorted(rows, columns, kernel)


def transposed(ties: Ties) -> Ties:
    """The same entries of the transposed matrix."""
    return _sorted(ties.columns, ties.rows, ties.kernel)


def _windows(pixels: Sequence[NDArray[Any]], sizes: Sequence[int]) -> tuple[NDArray[Any], NDArray[Any]]:
    """(positions whose window reads inside at this tap, the pixels they read), both flat."""
    inside = [np.flatnonzero((u >= 0) & (u < size)) for u, size in zip(pixels, sizes)]
    positions = np.meshgrid(*inside, indexing="ij")
    read = np.meshgrid(*(u[kept] for u, kept in zip(pixels, inside)), indexing="ij")
    return _flat(positions, [len(u) for u in pixels]), _flat(read, sizes)


def _flat(indices: Sequence[NDArray[Any]], sizes: Sequence[int]) -> NDArray[Any]:
    """Indices of every axis -> place in C order; one position for no axes."""
    if not indices:
        return np.zeros(1, np.int64)
    return np.ravel_multi_index([i.ravel() for i in indices], tuple(sizes)).astype(np.int64)


def _sorted(rows: NDArray[Any], columns: NDArray[Any], kernel: NDArray[Any]) -> Ties:
    order = np.lexsort((columns, rows))
    return Ties(rows[order], columns[order], kernel[order])
