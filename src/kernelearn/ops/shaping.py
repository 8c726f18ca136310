"""Moving numbers without changing them: other shapes, other orders, joined, repeated, bordered.

Names and arguments are those of `keras.ops`. Of traced values of images the first axis stays open wherever it
stays the first; what crosses it makes a program for one number of images.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kernelearn.errors import ArgumentError, ShapeError
from kernelearn.ops._dispatch import operation
from kernelearn.ops._run import Value, emit, transposed, values
from kernelearn.ops._shapes import (
    alike,
    axes_of,
    axis_of,
    is_open,
    known_shape,
    means_images,
    one,
    reshaped_to,
    sizes_of,
)
from kernelearn.ops.products import diagonal
from kernelearn.tracing import Symbolic, Traced, fixed
from kernelearn.tracing.count import ImageCount

# --- sizes


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


# --- the same numbers in the same order


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
    old = iter(_open_shape(x))
    return reshaped_to(x, [1 if i in axes else next(old) for i in range(x.ndim + len(axes))])


@operation
def squeeze(x: Value, axis: Any = None) -> Any:
    """Leave out axes of size 1: these, or all of them (never that of the images).

    Raises: ShapeError for an axis of another size.
    """
    x = one(x)
    sizes = _open_shape(x)
    axes = axes_of(axis, x.ndim, "squeeze") if axis is not None else ()
    if axis is None:
        axes = tuple(i for i, s in enumerate(sizes) if s == 1)
    elif 0 in axes:
        x, sizes = known_shape(x)
    if any(sizes[i] != 1 for i in axes):
        raise ShapeError(f"squeeze leaves out axes of size 1; axis={axis!r} of {sizes} has another size.")
    return reshaped_to(x, [s for i, s in enumerate(sizes) if i not in axes])


def _open_shape(x: Value) -> tuple[int | None, ...]:
    """The shape, with None for the axis of images of a traced value."""
    return x.buffer.shape if isinstance(x, Traced) else x.shape


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


# --- other orders


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
            parts = [_window(x, one_axis, start, length), _window(x, one_axis, 0, start)]
            x = emit("concatenate", *parts, axis=one_axis)
    return x


def _window(x: Value, axis: int, start: int, stop: int) -> Value:
    """Entries [start, stop) of an axis."""
    if (start, stop) == (0, x.shape[axis]):
        return x
    return emit("slice", x, bounds=tuple((start, stop) if i == axis else None for i in range(x.ndim)))


# --- joins and parts


@operation
def concatenate(xs: Sequence[Value], axis: int = 0) -> Any:
    """Arrays joined along an axis; they agree on all others.

    >>> from kernelearn import ops
    >>> ops.concatenate([[1, 2], [3]]).tolist()
    [1, 2, 3]
    """
    parts = alike(*_several(xs, "concatenate"))
    place = axis_of(axis, parts[0].ndim, "concatenate")
    return emit("concatenate", *parts, axis=place) if len(parts) > 1 else parts[0]


def _several(xs: Any, what: str) -> list[Any]:
    if not isinstance(xs, list | tuple | np.ndarray) or not len(xs):
        raise ArgumentError(f"{what} takes a list of arrays, got {xs!r}.")
    return list(xs)


@operation
def stack(x: Sequence[Value], axis: int = 0) -> Any:
    """Arrays of one shape joined along a new axis.

    >>> from kernelearn import ops
    >>> ops.stack([[1, 2], [3, 4]], axis=1).tolist()
    [[1, 3], [2, 4]]
    """
    parts = alike(*_several(x, "stack"))
    return concatenate([expand_dims(part, axis) for part in parts], axis)


@operation
def hstack(xs: Sequence[Value]) -> Any:
    """Joined along the second axis, or the only one."""
    parts = [atleast_1d(x) for x in _several(xs, "hstack")]
    return concatenate(parts, 0 if parts[0].ndim == 1 else 1)


@operation
def vstack(xs: Sequence[Value]) -> Any:
    """Joined along the first axis; rows are made of single axes."""
    return concatenate([atleast_2d(x) for x in _several(xs, "vstack")], 0)


@operation
def unstack(x: Value, num: int | None = None, axis: int = 0) -> Any:
    """The entries along an axis, as a list.

    Args:
        num: how many there are; checked.
    """
    x = one(x)
    place = axis_of(axis, x.ndim, "unstack")
    x = fixed(x) if place == 0 else x
    count = int(x.shape[place])
    if num not in (None, count):
        raise ShapeError(f"unstack got num={num}, but axis {axis} of {x.shape} has {count} entries.")
    return [squeeze(_window(x, place, i, i + 1), place) for i in range(count)]


@operation
def split(x: Value, indices_or_sections: Any, axis: int = 0) -> Any:
    """Parts along an axis, as a list: so many equal ones, or cut before these entries.

    >>> from kernelearn import ops
    >>> [part.tolist() for part in ops.split([1, 2, 3, 4, 5], [1, 3])]
    [[1], [2, 3], [4, 5]]
    """
    x = one(x)
    place = axis_of(axis, x.ndim, "split")
    x = fixed(x) if place == 0 else x
    length = int(x.shape[place])
    if isinstance(indices_or_sections, int | np.integer):
        count = int(indices_or_sections)
        if count < 1 or length % count:
            raise ShapeError(
                f"split cannot cut {length} entries (axis {axis} of {x.shape}) into {count} equal parts."
            )
        cuts = list(range(0, length, length // count))[1:]
    else:
        cuts = [int(cut) for cut in indices_or_sections]
    ends = [slice(None, cut).indices(length)[1] for cut in cuts]
    return [_window(x, place, lo, hi) for lo, hi in zip([0, *ends], [*ends, length])]


@operation
def array_split(x: Value, indices_or_sections: Any, axis: int = 0) -> Any:
    """As `split`; where parts cannot be equal, the first ones are longer by one."""
    x = one(x)
    place = axis_of(axis, x.ndim, "array_split")
    if not isinstance(indices_or_sections, int | np.integer):
        return split(x, indices_or_sections, axis)
    x = fixed(x) if place == 0 else x
    short, longer = divmod(int(x.shape[place]), int(indices_or_sections))
    sizes = [short + (i < longer) for i in range(int(indices_or_sections))]
    return split(x, np.cumsum(sizes)[:-1].tolist(), axis)


# --- repeated


@operation
def broadcast_to(x: Value, shape: Any) -> Any:
    """Repeated along axes of size 1 and along new ones in front.

    >>> from kernelearn import ops
    >>> ops.broadcast_to([1, 2], (2, 2)).tolist()
    [[1, 2], [1, 2]]
    """
    sizes = sizes_of(shape)
    count = next((s for s in sizes if isinstance(s, ImageCount)), None)
    if count is not None:
        x, like = values(x, count.value)
        return emit("broadcast_to", x, like, shape=(None, *[int(s) for s in sizes[1:]]))
    x = one(x)
    if is_open(x) and len(sizes) == x.ndim and means_images(sizes[0], x):
        return emit("broadcast_to", x, shape=(None, *[int(s) for s in sizes[1:]]))
    return emit("broadcast_to", fixed(x), shape=tuple(int(s) for s in sizes))


@operation
def repeat(x: Value, repeats: Any, axis: int | None = None) -> Any:
    """Every entry along an axis several times; None: of all numbers in a row.

    Args:
        repeats: how often, one number or one for each entry.

    >>> from kernelearn import ops
    >>> ops.repeat([1, 2], 2).tolist()
    [1, 1, 2, 2]
    """
    x = one(x)
    if axis is None:
        x, axis = reshaped_to(x, (-1,)), 0
    place = axis_of(axis, x.ndim, "repeat")
    x = fixed(x) if place == 0 else x
    if np.ndim(repeats) and np.size(repeats) > 1:
        chosen = np.repeat(np.arange(x.shape[place]), np.asarray(repeats))
        return emit("gather", x, chosen, axis=place)
    count = int(np.reshape(repeats, ()))
    sizes = list(_open_shape(x))
    spread = [*sizes[: place + 1], count, *sizes[place + 1 :]]
    wide = emit("broadcast_to", expand_dims(x, place + 1), shape=tuple(spread))
    return reshaped_to(wide, [*sizes[:place], int(x.shape[place]) * count, *sizes[place + 1 :]])


@operation
def tile(x: Value, repeats: Any) -> Any:
    """The whole array several times along each axis; numbers for the last axes, as in NumPy.

    >>> from kernelearn import ops
    >>> ops.tile([1, 2], 2).tolist()
    [1, 2, 1, 2]
    """
    x = one(x)
    counts = [int(r) for r in np.atleast_1d(repeats)]
    counts = [1] * (x.ndim - len(counts)) + counts
    if len(counts) > x.ndim or counts[:1] != [1]:
        x = fixed(x)
    sizes = [*[1] * (len(counts) - x.ndim), *_open_shape(x)]
    if sizes[:1] == [None]:
        pairs = [(1, s) for s in sizes[1:]]
        lead: list[Any] = [None]
        shown = counts[1:]
    else:
        pairs, lead, shown = [(1, s) for s in sizes], [], counts
    apart = reshaped_to(x, [*lead, *[size for pair in pairs for size in pair]])
    wide = [*lead, *[size for count, (_, s) in zip(shown, pairs) for size in (count, s)]]
    made = emit("broadcast_to", apart, shape=tuple(wide))
    return reshaped_to(made, [*lead, *[count * int(s or 0) for count, (_, s) in zip(shown, pairs)]])


@operation
def meshgrid(*x: Value, indexing: str = "xy") -> Any:
    """Coordinates of all points of a grid, one array for each of the given rows.

    Args:
        indexing: "xy": the first row runs along the second axis; "ij": along the first.
    """
    if indexing not in ("xy", "ij"):
        raise ArgumentError(f'indexing must be "xy" or "ij", got {indexing!r}.')
    rows = [fixed(row) for row in values(*x)]
    rows = [reshaped_to(row, (-1,)) for row in rows]
    order = list(range(len(rows)))
    if indexing == "xy" and len(rows) > 1:
        order[0], order[1] = 1, 0
    lengths = [int(row.shape[0]) for row in rows]
    whole = tuple(lengths[order.index(axis)] for axis in range(len(rows)))
    found = []
    for row, axis in zip(rows, order):
        placed = reshaped_to(row, [-1 if i == axis else 1 for i in range(len(rows))])
        found.append(emit("broadcast_to", placed, shape=whole))
    return found


# --- borders

_MODES = ("constant", "reflect", "symmetric", "edge", "wrap")


@operation
def pad(x: Value, pad_width: Any, mode: str = "constant", constant_values: float | None = None) -> Any:
    """A border around an array.

    Args:
        pad_width: entries before and behind: ((before, behind), ...) for each axis, (before, behind) or one
            number for all.
        mode: "constant", "reflect" (mirrored, without the last entry), "symmetric" (with it), "edge" (the
            last entry repeated) or "wrap" (from the other end).
        constant_values: what a constant border holds; 0 by default.

    >>> from kernelearn import ops
    >>> ops.pad([1, 2, 3], (2, 1), mode="reflect").tolist()
    [3, 2, 1, 2, 3, 2]
    """
    x = one(x)
    widths = np.broadcast_to(np.asarray(pad_width), (x.ndim, 2)).tolist()
    if mode not in _MODES:
        raise ArgumentError(f"mode of pad must be one of {', '.join(_MODES)}; got {mode!r}.")
    if constant_values is not None and mode != "constant":
        raise ArgumentError(f'constant_values belong to mode="constant"; the mode is {mode!r}.')
    if any(not isinstance(w, int) or w < 0 for pair in widths for w in pair):
        raise ArgumentError(f"pad_width holds whole numbers that are not negative, got {pad_width!r}.")
    if mode == "constant":
        padding = tuple((lo, hi) for lo, hi in widths)
        value = float(constant_values or 0)
        return emit("pad", x, padding=padding, value=value) if any(map(any, padding)) else x
    for axis, (lo, hi) in enumerate(widths):
        if lo or hi:
            x = _bordered(fixed(x) if axis == 0 else x, axis, lo, hi, mode)
    return x


def _bordered(x: Value, axis: int, lo: int, hi: int, mode: str) -> Value:
    """One axis with a border that is made of its own entries."""
    length = int(x.shape[axis])
    places = np.arange(-lo, length + hi)
    if mode == "edge":
        chosen = np.clip(places, 0, length - 1)
    elif mode == "wrap":
        chosen = places % length
    else:
        period = 2 * length if mode == "symmetric" else max(2 * length - 2, 1)
        inside = places % period
        chosen = np.where(inside < length, inside, (period if mode == "reflect" else period - 1) - inside)
    return emit("gather", x, chosen, axis=axis)


# --- diagonals


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
