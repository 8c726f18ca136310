"""Products of matrices, many at once.

    y[..., i, j] = sum_k A[..., i, k] * B[..., k, j]

A is `a`, or with `transpose_a` each of its matrices transposed; likewise B. Leading axes are broadcast as
NumPy does. The gradients are such products again: dL/dA = g B', dL/dB = A' g.
"""

from typing import Any

import numpy as np

from kernelearn.engine.arrays import Array
from kernelearn.engine.reference.precision import with_precision


@with_precision
def matmul(a: Array, b: Array, *, transpose_a: bool, transpose_b: bool) -> Array:
    """(..., m, k) @ (..., k, n) -> (..., m, n); stored as (..., k, m), (..., n, k) where transposed."""
    left = np.swapaxes(a, -1, -2) if transpose_a else a
    right = np.swapaxes(b, -1, -2) if transpose_b else b
    return np.matmul(left, right)


def turned_matmul(
    a: Array,
    b: Array,
    *,
    order_a: tuple[int, ...] | None,
    order_b: tuple[int, ...] | None,
    order_y: tuple[int, ...] | None,
    **attrs: Any,
) -> Array:
    """`matmul` of operands with their axes in these orders, the result's in that; None: as they are."""
    return _turned(matmul(_turned(a, order_a), _turned(b, order_b), **attrs), order_y)


def _turned(x: Array, order: tuple[int, ...] | None) -> Array:
    return x if order is None else np.ascontiguousarray(np.transpose(x, order))
