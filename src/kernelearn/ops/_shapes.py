"""What functions that move numbers have in common: axes, shapes with an open first size, and joined types."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from kernelearn.errors import ArgumentError, ShapeError
from kernelearn.ops._run import Value, emit, values
from kernelearn.tracing import Traced, current, fixed
from kernelearn.tracing.count import ImageCount


def one(x: Any) -> Value:
    """A single argument as an array or traced value."""
    return values(x)[0]


def dtype_name(x: Value) -> str:
    """The name of a value's type."""
    return str(x.dtype)


def axis_of(axis: Any, ndim: int, what: str) -> int:
    """An axis counted from the front.

    Raises: ArgumentError for no whole number, ShapeError for an axis that there is not.
    """
    if isinstance(axis, bool) or not isinstance(axis, int | np.integer):
        raise ArgumentError(f"{what} takes whole numbers as axes, got {axis!r}.")
    if not -ndim <= axis < ndim:
        raise ShapeError(f"{what} got axis={axis} for {ndim} axes; it must lie in [{-ndim}, {ndim}).")
    return int(axis) % ndim


def axes_of(axes: Any, ndim: int, what: str) -> tuple[int, ...]:
    """Several axes, or one, counted from the front.

    Raises: as `axis_of`; ArgumentError for an axis named twice.
    """
    given = axes if isinstance(axes, list | tuple) else (axes,)
    found = tuple(axis_of(axis, ndim, what) for axis in given)
    if len(set(found)) < len(found):
        raise ArgumentError(f"{what} got an axis twice: {axes!r}.")
    return found


def sizes_of(shape: Any) -> list[Any]:
    """The entries of a shape: whole numbers, -1, or None or an `ImageCount` for the number of images."""
    if isinstance(shape, int | np.integer | ImageCount):
        shape = (shape,)
    return [s if s is None or isinstance(s, ImageCount) else int(s) for s in shape]


def with_count(sizes: list[Any]) -> list[Any]:
    """Sizes with the count of the images of the program in place of a first None, such as x.shape[0] is."""
    graph = current()
    if graph is None or sizes[:1] != [None]:
        return sizes
    images = next((b for b in graph.buffers.values() if b.shape[:1] == (None,)), None)
    return sizes if images is None else [ImageCount(Traced(graph, images)), *sizes[1:]]


def is_open(x: Value) -> bool:
    """Whether the first axis counts images, in a program for any number of them or for one."""
    return isinstance(x, Traced) and x.buffer.shape[:1] == (None,)


def counted(x: Value, other: Value) -> tuple[Value, Value]:
    """Both with the number of images itself, where one has images on its first axis and the other numbers."""
    closed = [value for value in (x, other) if not is_open(value)]
    if len(closed) == 1 and closed[0].shape[:1] != (1,):
        return fixed(x), fixed(other)
    return x, other


def means_images(size: Any, x: Value) -> bool:
    """Whether a size asked for stands for the number of images of x."""
    return (
        size is None or isinstance(size, ImageCount) or (x.graph.batch is not None and size == x.graph.batch)
    )


def inner_sizes(x: Value) -> tuple[int, ...]:
    """Sizes behind the first axis."""
    return tuple(int(s or 0) for s in x.shape[1:])


def open_shape(x: Value) -> tuple[int | None, ...]:
    """The shape, with None for the axis of images of a traced value."""
    return x.buffer.shape if isinstance(x, Traced) else x.shape


def window(x: Value, axis: int, start: int, stop: int) -> Value:
    """Entries [start, stop) of an axis."""
    if (start, stop) == (0, x.shape[axis]):
        return x
    return emit("slice", x, bounds=tuple((start, stop) if i == axis else None for i in range(x.ndim)))


def known_shape(x: Value) -> tuple[Value, tuple[int, ...]]:
    """A value whose sizes are all numbers, and these; see `tracing.fixed`."""
    x = fixed(x)
    return x, tuple(int(s or 0) for s in x.shape)


def reshaped_to(x: Value, shape: Sequence[Any]) -> Value:
    """A value in another shape, which may hold one -1; the axis of images stays open where it stays first."""
    sizes = sizes_of(shape)
    if sum(isinstance(s, int) and s == -1 for s in sizes) > 1:
        raise ShapeError(f"Only one size of a new shape may be -1; got {tuple(sizes)}.")
    if is_open(x) and sizes and (means_images(sizes[0], x) or sizes[0] == -1):
        rest = _completed(sizes[1:], math.prod(inner_sizes(x)))
        if rest is not None:
            return emit("reshape", x, shape=(None, *rest))
    x, old = known_shape(x)
    whole = _completed([_number(s, x) for s in sizes], math.prod(old))
    if whole is None:
        raise ShapeError(f"Cannot reshape {old} to {tuple(sizes)}: the number of entries differs.")
    return emit("reshape", x, shape=tuple(whole))


def _number(size: Any, x: Value) -> int:
    """A size as a number; None is the number of images."""
    if size is None:
        return int(x.graph.batch or -1) if isinstance(x, Traced) else int(x.shape[0])
    return int(size)


def _completed(sizes: Sequence[Any], total: int) -> list[int] | None:
    """The sizes with a number for -1; None if they do not hold so many entries."""
    if any(not isinstance(s, int) for s in sizes):
        return None
    known = math.prod(s for s in sizes if s != -1)
    if -1 in sizes and known and total % known == 0:
        return [total // known if s == -1 else s for s in sizes]
    return list(sizes) if -1 not in sizes and known == total else None


def check_whole(indices: Value, what: str, of: str = "indices") -> None:
    """Raises: ArgumentError for indices that are no whole numbers."""
    if not dtype_name(indices).startswith(("int", "uint")):
        raise ArgumentError(f"{what} takes integer {of}, got type {dtype_name(indices)}; cast them first.")
