"""Moving numbers without changing them: sizes, other shapes, other orders.

Names and arguments are those of `keras.ops`. Of traced values of images the first axis stays open wherever it
stays the first; what crosses it makes a program for one number of images.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kernelearn.errors import ArgumentError, ShapeError
from kernelearn.ops._dispatch import operation
from kernelearn.ops._run import Value, emit, transposed
from kernelearn.ops._shapes import (
    axes_of,
    axis_of,
    known_shape,
    one,
    open_shape,
    reshaped_to,
    window,
)
from kernelearn.tracing import Symbolic, Traced, fixed
from kernelearn.tracing.count import ImageCount


def shape(x: Any) -> tuple[Any, ...]:
    """Sizes of an array, weight, symbolic or traced value.

    The number of images of a traced value may be passed on as the first size of another shape; code that
    computes with it makes a program for one number of images. Of a symbolic tensor it is None.

    >>> from kernelearn import ops
    >>> ops.shape([[1, 2, 3]])
    (1, 3)
    """
    if isinstance(x, Traced) and x.shape[:1] == (None,):
        return (ImageCount(x), *x.shape[1:])
    if isinstance(x, Symbolic | Traced):
        return tuple(getattr(x, "shape", ()))
    return np.shape(x)


def size(x: Any) -> int:
    """Number of entries.

    >>> from kernelearn import ops
    >>> ops.size([[1, 2, 3]])
    3
    """
    return int(np.prod(fixed(x).shape)) if isinstance(x, Traced) else int(np.prod(shape(x)))


def ndim(x: Any) -> int:
    """Number of axes.

    >>> from kernelearn import ops
    >>> ops.ndim([[1, 2, 3]])
    2
    """
    return len(shape(x))


@operation
def reshape(x: Value, newshape: Any) -> Any:
    """The same numbers in another shape; one size may be -1, the first one None for the number of images.

    >>> import numpy as np
    >>> from kernelearn import ops
    >>> ops.reshape(np.arange(6), (2, -1)).shape
    (2, 3)
    """
    return reshaped_to(one(x), newshape)


@operation
def ravel(x: Value) -> Any:
    """All numbers in one row."""
    return reshaped_to(one(x), (-1,))


@operation
def expand_dims(x: Value, axis: Any) -> Any:
    """New axes of size 1, at these places of the result.

    >>> import numpy as np
    >>> from kernelearn import ops
    >>> ops.expand_dims(np.zeros((2, 3)), (0, -1)).shape
    (1, 2, 3, 1)
    """
    x = one(x)
    given = axis if isinstance(axis, list | tuple) else (axis,)
    axes = axes_of(given, x.ndim + len(given), "expand_dims")
    if 0 in axes:
        x = fixed(x)
    old = iter(open_shape(x))
    return reshaped_to(x, [1 if i in axes else next(old) for i in range(x.ndim + len(axes))])


@operation
def squeeze(x: Value, axis: Any = None) -> Any:
    """Leave out axes of size 1: these, or all of them (never that of the images).

    Raises: ShapeError for an axis of another size.
    """
    x = one(x)
    sizes = open_shape(x)
    axes = axes_of(axis, x.ndim, "squeeze") if axis is not None else ()
    if axis is None:
        axes = tuple(i for i, s in enumerate(sizes) if s == 1)
    elif 0 in axes:
        x, sizes = known_shape(x)
    if any(sizes[i] != 1 for i in axes):
        raise ShapeError(f"squeeze leaves out axes of size 1; axis={axis!r} of {sizes} has another size.")
    return reshaped_to(x, [s for i, s in enumerate(sizes) if i not in axes])


@operation
def atleast_1d(x: Value) -> Any:
    """At least one axis."""
    x = one(x)
    return x if x.ndim else reshaped_to(x, (1,))


@operation
def atleast_2d(x: Value) -> Any:
    """At least two axes, new ones in front."""
    x = one(x)
    return x if x.ndim > 1 else expand_dims(x, tuple(range(2 - x.ndim)))


@operation
def transpose(x: Value, axes: Sequence[int] | None = None) -> Any:
    """Axes in another order; by default the reverse one.

    >>> import numpy as np
    >>> from kernelearn import ops
    >>> ops.transpose(np.zeros((2, 3, 4)), (0, 2, 1)).shape
    (2, 4, 3)
    """
    x = one(x)
    order = tuple(reversed(range(x.ndim))) if axes is None else axes_of(tuple(axes), x.ndim, "transpose")
    if len(order) != x.ndim:
        raise ShapeError(f"transpose needs all {x.ndim} axes of {x.shape} in their new order, got {axes}.")
    return transposed(x, order)


@operation
def swapaxes(x: Value, axis1: int, axis2: int) -> Any:
    """Two axes exchanged."""
    x = one(x)
    order = list(range(x.ndim))
    a, b = axis_of(axis1, x.ndim, "swapaxes"), axis_of(axis2, x.ndim, "swapaxes")
    order[a], order[b] = b, a
    return transposed(x, order)


@operation
def moveaxis(x: Value, source: Any, destination: Any) -> Any:
    """Axes moved to other places; the others keep their order."""
    x = one(x)
    start, end = axes_of(source, x.ndim, "moveaxis"), axes_of(destination, x.ndim, "moveaxis")
    if len(start) != len(end):
        raise ArgumentError(f"moveaxis needs as many destinations as sources: {source!r}, {destination!r}.")
    rest = iter(axis for axis in range(x.ndim) if axis not in start)
    to = dict(zip(end, start))
    return transposed(x, [to[i] if i in to else next(rest) for i in range(x.ndim)])


@operation
def flip(x: Value, axis: Any = None) -> Any:
    """Backwards along some axes; None: along all.

    >>> from kernelearn import ops
    >>> ops.flip([[1, 2], [3, 4]], axis=1).tolist()
    [[2, 1], [4, 3]]
    """
    x = one(x)
    axes = tuple(range(x.ndim)) if axis is None else axes_of(axis, x.ndim, "flip")
    if 0 in axes:
        x = fixed(x)
    places = tuple((s - 1, s, -1) if i in axes else None for i, s in enumerate(x.shape))
    return emit("strided_slice", x, places=places) if axes and x.ndim else x


@operation
def rot90(array: Value, k: int = 1, axes: Sequence[int] = (0, 1)) -> Any:
    """Turned k times by 90 degrees, from the first of two axes towards the second."""
    x = one(array)
    first, second = axes_of(tuple(axes), x.ndim, "rot90")
    if k % 2 == 0:
        return flip(x, (first, second)) if k % 4 == 2 else x
    turned = swapaxes(x, first, second)
    return flip(turned, first if k % 4 == 1 else second)


@operation
def roll(x: Value, shift: Any, axis: Any = None) -> Any:
    """Shifted along axes; what leaves at one end enters at the other. None: along all numbers in a row.

    >>> from kernelearn import ops
    >>> ops.roll([1, 2, 3, 4], 1).tolist()
    [4, 1, 2, 3]
    """
    x = one(x)
    if axis is None:
        flat, whole = known_shape(x)
        return reshaped_to(roll(reshaped_to(flat, (-1,)), shift, 0), whole)
    axes = axes_of(axis, x.ndim, "roll")
    shifts = tuple(shift) if isinstance(shift, list | tuple) else (shift,) * len(axes)
    for one_axis, by in zip(axes, shifts, strict=True):
        x = fixed(x) if one_axis == 0 else x
        length = int(x.shape[one_axis])
        start = -int(by) % length if length else 0
        if start:
            parts = [window(x, one_axis, start, length), window(x, one_axis, 0, start)]
            x = emit("concatenate", *parts, axis=one_axis)
    return x


@operation
def fliplr(x: Value) -> Any:
    """Backwards along the second axis."""
    return flip(x, 1)


@operation
def flipud(x: Value) -> Any:
    """Backwards along the first axis."""
    return flip(x, 0)
