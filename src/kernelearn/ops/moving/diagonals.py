"""Diagonals and triangles of matrices."""

from __future__ import annotations

from typing import Any

import numpy as np

from kernelearn.errors import ShapeError
from kernelearn.ops._dispatch import operation
from kernelearn.ops._run import Value, emit, values
from kernelearn.ops._shapes import (
    one,
    reshaped_to,
)
from kernelearn.ops.moving.shaping import ravel
from kernelearn.ops.products.matrices import diagonal
from kernelearn.tracing import fixed


def _diagonal_place(height: int, width: int, offset: int) -> tuple[int, int]:
    """First number and length of a diagonal of a matrix in one row.

    Raises: ShapeError if there is none.
    """
    row, column = max(-offset, 0), max(offset, 0)
    count = min(height - row, width - column)
    if count < 1:
        raise ShapeError(f"A matrix of {height} x {width} has no diagonal with offset {offset}.")
    return row * width + column, count


@operation
def diag(x: Value, k: int = 0) -> Any:
    """A matrix with this diagonal, or the diagonal of a matrix.

    >>> from kernelearn import ops
    >>> ops.diag([1, 2]).tolist()
    [[1, 0], [0, 2]]
    """
    x = one(x)
    if x.ndim == 2:
        return diagonal(x, k)
    if x.ndim != 1:
        raise ShapeError(f"diag takes one or two axes, got shape {x.shape}.")
    x = fixed(x)
    count = int(x.shape[0])
    side = count + abs(k)
    start, _ = _diagonal_place(side, side, k)
    placed = emit("strided_place", x, places=((start, count, side + 1),), shape=(side * side,))
    return reshaped_to(placed, (side, side))


@operation
def diagflat(x: Value, k: int = 0) -> Any:
    """A matrix whose diagonal number k holds all numbers of x."""
    return diag(ravel(x), k)


@operation
def tril(x: Value, k: int = 0) -> Any:
    """Zeros above the diagonal number k of the last two axes.

    >>> from kernelearn import ops
    >>> ops.tril([[1, 2], [3, 4]]).tolist()
    [[1, 0], [3, 4]]
    """
    return _triangle(x, k, np.tril)


@operation
def triu(x: Value, k: int = 0) -> Any:
    """Zeros below the diagonal number k of the last two axes."""
    return _triangle(x, k, np.triu)


def _triangle(x: Value, k: int, of: Any) -> Value:
    x = one(x)
    if x.ndim < 2:
        raise ShapeError(f"tril and triu take matrices, got shape {x.shape}.")
    sizes = (fixed(x) if x.ndim == 2 else x).shape[-2:]
    kept = np.broadcast_to(of(np.ones(sizes, bool), k), (*[1] * (x.ndim - 2), *sizes))
    return emit("where", *values(kept, x, np.zeros((1,) * x.ndim, x.dtype)))
