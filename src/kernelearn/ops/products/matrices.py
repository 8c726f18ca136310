"""Products of vectors, matrices and tensors; all are sums of products as `einsum` names them."""

from __future__ import annotations

import string
from typing import Any

from kernelearn.errors import ArgumentError, ShapeError
from kernelearn.ops._dispatch import operation
from kernelearn.ops._run import Value, emit, moved, reshaped, transposed
from kernelearn.ops.products.einsum import diagonal_of_last, einsum, multiplied, shape_of, typed
from kernelearn.tracing import fixed, function


@operation
def matmul(x1: Value, x2: Value) -> Any:
    """Products of matrices: (..., m, k) times (..., k, n) -> (..., m, n); leading axes are broadcast.

    A vector on the left is a row, on the right a column, whose axis the result does not have.

    Raises: ShapeError if sizes do not fit, or one of them is a single number.

    >>> import numpy as np
    >>> from kernelearn import ops
    >>> ops.matmul(np.ones((5, 2, 3)), np.ones((3, 4))).shape
    (5, 2, 4)
    """
    a, b = typed(x1, x2)
    if not (a.ndim and b.ndim):
        raise ShapeError(f"matmul takes no single numbers, got shapes {a.shape} and {b.shape}; use multiply.")
    left = reshaped(fixed(a), (1, *fixed(a).shape)) if a.ndim == 1 else a
    right = reshaped(fixed(b), (*fixed(b).shape, 1)) if b.ndim == 1 else b
    y = multiplied(left, right)
    shape = list(shape_of(y))
    kept = shape[:-2] + shape[-2:-1] * (a.ndim > 1) + shape[-1:] * (b.ndim > 1)
    return y if len(kept) == len(shape) else reshaped(y, kept)


@operation
def dot(x1: Value, x2: Value) -> Any:
    """The last axis of x1 times the last but one of x2 (or its only one); of a single number, multiplication.

    >>> from kernelearn import ops
    >>> ops.dot([1.0, 2.0], [3.0, 4.0])
    array(11.)
    """
    a, b = typed(x1, x2)
    if not (a.ndim and b.ndim):
        return function("multiply")(a, b)
    return tensordot(a, b, axes=((a.ndim - 1,), (max(b.ndim - 2, 0),)))


@operation
def tensordot(x1: Value, x2: Value, axes: Any = 2) -> Any:
    """The sum of products over pairs of axes.

    Args:
        axes: how many, the last ones of x1 with the first ones of x2, or two lists of axes.

    >>> import numpy as np
    >>> from kernelearn import ops
    >>> ops.tensordot(np.ones((2, 3, 4)), np.ones((4, 3, 5)), axes=([1, 2], [1, 0])).shape
    (2, 5)
    """
    a, b = typed(x1, x2)
    pairs = _pairs_of_axes(a.ndim, b.ndim, axes)
    left = list(string.ascii_lowercase[: a.ndim])
    right = list(string.ascii_uppercase[: b.ndim])
    for one, other in pairs:
        right[other] = left[one]
    summed = {left[one] for one, _ in pairs}
    output = "".join(x for x in (*left, *right) if x not in summed)
    return einsum(f"{''.join(left)},{''.join(right)}->{output}", a, b)


def _pairs_of_axes(first: int, second: int, axes: Any) -> list[tuple[int, int]]:
    """Axes that go together, counted from the front."""
    if isinstance(axes, int):
        axes = (range(first - axes, first), range(axes))
    lists = [[part] if isinstance(part, int) else list(part) for part in axes]
    is_pair = len(lists) == 2 and len(lists[0]) == len(lists[1])
    if not is_pair or not all(
        -rank <= axis < rank for rank, part in zip((first, second), lists) for axis in part
    ):
        raise ArgumentError(
            "axes of tensordot must be a number of axes, or two lists of equal length of axes that the "
            f"operands have; got {axes!r} for operands of {first} and {second} axes."
        )
    return [(one % first, other % second) for one, other in zip(*lists)]


@operation
def inner(x1: Value, x2: Value) -> Any:
    """The sum of products over the last axes; of a single number, multiplication.

    >>> import numpy as np
    >>> from kernelearn import ops
    >>> ops.inner(np.ones((2, 3)), np.ones((4, 3))).shape
    (2, 4)
    """
    a, b = typed(x1, x2)
    if not (a.ndim and b.ndim):
        return function("multiply")(a, b)
    return tensordot(a, b, axes=((a.ndim - 1,), (b.ndim - 1,)))


@operation
def outer(x1: Value, x2: Value) -> Any:
    """Every entry of x1 times every entry of x2: (size of x1, size of x2).

    >>> from kernelearn import ops
    >>> ops.outer([1.0, 2.0], [3.0, 4.0, 5.0]).shape
    (2, 3)
    """
    a, b = typed(x1, x2)
    rows, columns = _flat(a), _flat(b)
    return function("multiply")(reshaped(rows, (*shape_of(rows), 1)), columns)


def _flat(value: Value) -> Value:
    """All entries on one axis."""
    if value.ndim == 1:
        return value
    value = fixed(value)
    return reshaped(value, (value.size,))


@operation
def vdot(x1: Value, x2: Value) -> Any:
    """The sum of products of all entries, a single number.

    >>> from kernelearn import ops
    >>> ops.vdot([[1.0, 2.0]], [3.0, 4.0])
    array(11.)
    """
    a, b = typed(x1, x2)
    if shape_of(a) != shape_of(b):
        a, b = _flat(a), _flat(b)
    letters = string.ascii_lowercase[: a.ndim]
    return einsum(f"{letters},{letters}->", a, b)


@operation
def vecdot(x1: Value, x2: Value, axis: int = -1) -> Any:
    """The sum of products along one axis; the others are broadcast, as NumPy does.

    >>> import numpy as np
    >>> from kernelearn import ops
    >>> ops.vecdot(np.ones((2, 3)), np.ones(3))
    array([3., 3.])
    """
    a, b = typed(x1, x2)
    if axis != -1:
        a, b = (moved(value, axis, -1) for value in (a, b))
    return einsum("...i,...i->...", a, b)


@operation
def kron(x1: Value, x2: Value) -> Any:
    """Kronecker's product: each entry of x1 times all of x2, as blocks.

    >>> from kernelearn import ops
    >>> ops.kron([1.0, 10.0], [1.0, 2.0])
    array([ 1.,  2., 10., 20.])
    """
    a, b = (fixed(value) for value in typed(x1, x2))
    rank = max(a.ndim, b.ndim)
    first, second = ((1,) * (rank - value.ndim) + tuple(value.shape) for value in (a, b))
    left = reshaped(a, [size for one in first for size in (one, 1)])
    right = reshaped(b, [size for one in second for size in (1, one)])
    sizes = [one * other for one, other in zip(first, second)]
    return reshaped(function("multiply")(left, right), sizes)


@operation
def cross(
    x1: Value, x2: Value, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: int | None = None
) -> Any:
    """The vector product of vectors of three numbers, or of two: then the third of the product alone.

    Args:
        axisa, axisb: axes of the vectors; axisc: of the result. axis: all three at once.

    >>> from kernelearn import ops
    >>> ops.cross([1.0, 0.0, 0.0], [0.0, 1.0, 0.0])
    array([0., 0., 1.])
    """
    axisa, axisb, axisc = (axisa, axisb, axisc) if axis is None else (axis, axis, axis)
    a, b = (moved(x, at, -1) for x, at in zip(typed(x1, x2), (axisa, axisb)))
    sizes = (a.shape[-1], b.shape[-1])
    if sizes == (2, 2):
        return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
    if sizes != (3, 3):
        raise ShapeError(f"cross takes vectors of three numbers, or all of two; got {sizes}.")
    roll = function("roll")
    y = roll(a, -1, -1) * roll(b, -2, -1) - roll(a, -2, -1) * roll(b, -1, -1)
    return y if axisc in (-1, y.ndim - 1) else moved(y, -1, axisc)


@operation
def diagonal(x: Value, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """The diagonal of two axes, as the last axis of the result.

    Args:
        offset: above (positive) or below the main one.

    >>> import numpy as np
    >>> from kernelearn import ops
    >>> ops.diagonal(np.arange(9.0).reshape(3, 3), offset=1)
    array([1., 5.])
    """
    (x,) = typed(x)
    first, second = _two_axes(x, axis1, axis2)
    rest = [i for i in range(x.ndim) if i not in (first, second)]
    x = transposed(x, [*rest, first, second])
    rows, columns = fixed(x).shape[-2:] if not rest else x.shape[-2:]
    start, left = max(-offset, 0), max(offset, 0)
    size = min(rows - start, columns - left)
    if size < 1:
        raise ShapeError(f"A matrix of shape {(rows, columns)} has no diagonal at offset {offset}.")
    square = function("get_item")(x, (..., slice(start, start + size), slice(left, left + size)))
    return diagonal_of_last(square)


def _two_axes(x: Value, axis1: int, axis2: int) -> tuple[int, int]:
    found = [axis % x.ndim for axis in (axis1, axis2) if x.ndim and -x.ndim <= axis < x.ndim]
    if len(set(found)) != 2:
        raise ShapeError(f"A diagonal takes two different axes; got {axis1} and {axis2} for shape {x.shape}.")
    return found[0], found[1]


@operation
def trace(x: Value, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """The sum of the diagonal of two axes; arguments as of `diagonal`.

    >>> import numpy as np
    >>> from kernelearn import ops
    >>> ops.trace(np.eye(3))
    array(3.)
    """
    numbers = diagonal(x, offset, axis1, axis2)
    return emit("sum_to", numbers, axes=(numbers.ndim - 1,), shape=shape_of(numbers)[:-1])
