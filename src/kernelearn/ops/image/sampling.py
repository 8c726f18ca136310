"""Images read at any places: between the pixels, and outside of the image by a rule."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernelearn.engine.reference.images.augmentation import INDEX_RULES
from kernelearn.errors import ArgumentError, ShapeError, unknown_name
from kernelearn.ops._dispatch import operation
from kernelearn.ops._run import Value, cast_to, floats, run, values
from kernelearn.ops._shapes import dtype_name, inner_sizes, known_shape, reshaped_to
from kernelearn.ops.choosing.entries import take, take_along_axis
from kernelearn.ops.entrywise.arithmetic import clip, minimum, mod
from kernelearn.ops.entrywise.conditions import logical_and, where
from kernelearn.ops.entrywise.functions import floor, sign
from kernelearn.ops.image.batches import as_batch
from kernelearn.ops.moving.joining import concatenate, unstack
from kernelearn.ops.moving.repeating import broadcast_to
from kernelearn.ops.moving.shaping import expand_dims, shape
from kernelearn.tracing import Symbolic, Traced

ORDERS = {"nearest": 0, "bilinear": 1}


def _nearest_inside(index: Value, size: int) -> Value:
    return clip(index, 0, size - 1)


def _wrapped(index: Value, size: int) -> Value:
    return mod(index, float(size))


def _mirrored(index: Value, size: int) -> Value:
    """c b | a b c | b a"""
    return abs(mod(index + (size - 1), 2.0 * (size - 1)) - (size - 1)) if size > 1 else index * 0.0


def _reflected(index: Value, size: int) -> Value:
    """b a | a b c | c b"""
    folded = mod(index, 2.0 * size)
    return minimum(folded, 2 * size - 1 - folded)


# What stands at a whole place outside of an axis of this size; "constant" reads some pixel without using it.
RULES: dict[str, Callable[[Value, int], Value]] = {
    "constant": _nearest_inside,
    "nearest": _nearest_inside,
    "wrap": _wrapped,
    "mirror": _mirrored,
    "reflect": _reflected,
}


def interpolated(
    read: Callable[[Value], Value],
    places: Sequence[Value],
    sizes: Sequence[int],
    order: int,
    fill_mode: str,
    fill_value: float,
    spread: Callable[[Value], Value],
) -> Value:
    """The sum of the pixels around each place, by their distances.

    Args:
        read: whole numbers of pixels in one row -> their values.
        places: one value of floats for each axis; sizes: of the axes.
        order: 0: the nearest pixel; 1: linear between the neighbours.
        spread: brings weights to the axes of the values.
    """
    total: Any = None
    for corner in itertools.product(*[_neighbours(place, order) for place in places]):
        number: Any = 0
        weight: Any = None
        is_inside: Any = None
        for (index, share), size in zip(corner, sizes):
            number = number * size + cast_to(RULES[fill_mode](index, size), "int32")
            weight = share if weight is None else weight * share
            there = logical_and(index >= 0, index < size)
            is_inside = there if is_inside is None else logical_and(is_inside, there)
        value = read(number)
        if fill_mode == "constant":
            value = where(spread(is_inside), value, fill_value)
        value = value if weight is None else value * spread(weight)
        total = value if total is None else total + value
    return total


def _neighbours(place: Value, order: int) -> list[tuple[Value, Value | None]]:
    """Whole places near a place, and their weights (None: one)."""
    if order == 0:
        # NOTE: halves go away from zero, as in Keras.
        return [(sign(place) * floor(abs(place) + 0.5), None)]
    below = floor(place)
    share = place - below
    return [(below, 1.0 - share), (below + 1.0, share)]


@operation(name="image.map_coordinates")
def map_coordinates(
    inputs: Value, coordinates: Value, order: int, fill_mode: str = "constant", fill_value: float = 0.0
) -> Any:
    """An array read at any places.

    Args:
        inputs: of any axes.
        coordinates: (axes of inputs, ...): the places, one row for each axis.
        order: 0: the nearest entry; 1: linear between neighbours.
        fill_mode: what stands outside: "constant" (fill_value), "nearest", "wrap", "mirror" or "reflect".
    Returns: of the shape of a row of coordinates. Gradients go to both, where order is 1.

    >>> import numpy as np
    >>> from kernelearn import ops
    >>> ops.image.map_coordinates(np.array([0.0, 2.0, 4.0]), np.array([[0.5, 1.0]]), order=1)
    array([1., 2.])
    """
    _check_mode(fill_mode)
    if order not in (0, 1):
        raise ArgumentError(f"order must be 0 (nearest) or 1 (linear), got {order!r}.")
    x, where_to = values(inputs, coordinates)
    kind = dtype_name(x)
    x, sizes = known_shape(floats(x)[0])
    if where_to.ndim < 2 or where_to.shape[0] != len(sizes):
        raise ShapeError(
            f"coordinates have one row for each axis of inputs {sizes}; got shape {where_to.shape}."
        )
    flat = reshaped_to(x, (-1,))
    places = unstack(floats(where_to)[0], axis=0)
    found = interpolated(
        lambda number: take(flat, number, 0), places, sizes, order, fill_mode, fill_value, lambda w: w
    )
    return cast_to(found, kind)


def _check_mode(fill_mode: str) -> None:
    if fill_mode not in RULES:
        raise unknown_name("fill_mode", fill_mode, RULES)


def _order(interpolation: str) -> int:
    if interpolation not in ORDERS:
        raise unknown_name("interpolation", interpolation, ORDERS)
    return ORDERS[interpolation]


def read_images(
    x: Value, rows: Value, columns: Value, interpolation: str, fill_mode: str, fill_value: float
) -> Value:
    """Images (n, height, width, c) read at rows and columns, both (n or 1, new height, new width)."""
    height, width, channels = inner_sizes(x)
    new = tuple(int(s or 0) for s in rows.shape[1:])
    flat = reshaped_to(x, (shape(x)[0], height * width, channels))

    def read(number: Value) -> Value:
        pixels = take_along_axis(flat, reshaped_to(number, (shape(number)[0], math.prod(new), 1)), 1)
        return reshaped_to(pixels, (shape(x)[0], *new, channels))

    def spread(weight: Value) -> Value:
        return expand_dims(weight, -1)

    order = _order(interpolation)
    return interpolated(read, [rows, columns], [height, width], order, fill_mode, fill_value, spread)


@operation(name="image.affine_transform")
def affine_transform(
    images: Value,
    transform: Value,
    interpolation: str = "bilinear",
    fill_mode: str = "constant",
    fill_value: float = 0.0,
    data_format: str | None = None,
) -> Any:
    """Images whose pixel (x, y) is read at (a0 x + a1 y + a2, b0 x + b1 y + b2).

    Args:
        transform: (n, 8) or (8,): a0, a1, a2, b0, b1, b2 and two numbers that count for perspectives only.
        fill_mode: what lies outside: "constant" (fill_value), "nearest", "wrap", "mirror" or "reflect".

    >>> import numpy as np
    >>> from kernelearn import ops
    >>> right = [1, 0, 1, 0, 1, 0, 0, 0]
    >>> ops.image.affine_transform(np.array([1.0, 2.0, 3.0]).reshape(1, 3, 1), right).ravel()
    array([2., 3., 0.])
    """
    _check_mode(fill_mode)
    _order(interpolation)
    x, back = as_batch(images, data_format, "affine_transform")
    kind = dtype_name(x)
    x, numbers = floats(x, transform)
    numbers = expand_dims(numbers, 0) if numbers.ndim == 1 else numbers
    if numbers.ndim != 2 or numbers.shape[-1] != 8:
        raise ShapeError(f"transform must have shape (8,) or (n, 8), got {numbers.shape}.")
    a0, a1, a2, b0, b1, b2 = (numbers[:, i : i + 1] for i in range(6))
    if fill_mode in INDEX_RULES and not isinstance(transform, Traced):
        maps = cast_to(reshaped_to(concatenate([b1, b0, b2, a1, a0, a2], 1), (-1, 2, 3)), "float64")
        maps = broadcast_to(maps, (shape(x)[0], 2, 3))
        outside = {"fill_mode": fill_mode, "fill_value": float(fill_value)}
        y = run("warp", (x, maps), None, batched=2, interpolation=interpolation, **outside)
        return back(cast_to(y, kind))
    across, down = _pixels(x)
    rows = _plane(b0) * across + _plane(b1) * down + _plane(b2)
    columns = _plane(a0) * across + _plane(a1) * down + _plane(a2)
    return back(cast_to(read_images(x, rows, columns, interpolation, fill_mode, fill_value), kind))


def _plane(numbers: Value) -> Value:
    """(n, 1) -> (n, 1, 1)"""
    return expand_dims(numbers, -1)


def _pixels(x: Value) -> tuple[NDArray[Any], NDArray[Any]]:
    """Column and row of every pixel of images: (1, height, width)."""
    height, width, _ = inner_sizes(x)
    across, down = np.meshgrid(np.arange(width), np.arange(height))
    kind = dtype_name(x)
    return across[None].astype(kind), down[None].astype(kind)


@operation(name="image.perspective_transform")
def perspective_transform(
    images: Value,
    start_points: Any,
    end_points: Any,
    interpolation: str = "bilinear",
    fill_value: float = 0.0,
    data_format: str | None = None,
) -> Any:
    """Images seen from elsewhere: what was at four start points (x, y) comes to the end points.

    Args:
        start_points, end_points: (n, 4, 2) or (4, 2), plain numbers.

    >>> import numpy as np
    >>> from kernelearn import ops
    >>> corners = [[0, 0], [2, 0], [0, 2], [2, 2]]
    >>> ops.image.perspective_transform(np.ones((3, 3, 1)), corners, corners).sum()
    np.float64(9.0)
    """
    if any(isinstance(points, Traced | Symbolic) for points in (start_points, end_points)):
        raise ArgumentError("start_points and end_points of perspective_transform must be plain numbers.")
    x, back = as_batch(images, data_format, "perspective_transform")
    kind = dtype_name(x)
    (x,) = floats(x)
    starts, ends = (np.asarray(p, "float64").reshape(-1, 4, 2) for p in (start_points, end_points))
    map_ = homography(starts, ends)[:, :, None, None].astype(dtype_name(x))
    a0, a1, a2, b0, b1, b2, c0, c1 = (map_[:, i] for i in range(8))
    across, down = _pixels(x)
    depth = c0 * across + c1 * down + 1
    columns, rows = (a0 * across + a1 * down + a2) / depth, (b0 * across + b1 * down + b2) / depth
    return back(cast_to(read_images(x, rows, columns, interpolation, "constant", fill_value), kind))


def homography(starts: NDArray[Any], ends: NDArray[Any]) -> NDArray[Any]:
    """The eight numbers (n, 8) of the maps that take four end points (n, 4, 2) to start points.

    Of a point (x, y) at the end, (u, v) at the start: u = (a0 x + a1 y + a2) / (c0 x + c1 y + 1), v likewise.
    """
    x, y = ends[..., 0], ends[..., 1]
    u, v = starts[..., 0], starts[..., 1]
    one, zero = np.ones_like(x), np.zeros_like(x)
    first = np.stack([x, y, one, zero, zero, zero, -u * x, -u * y], -1)
    second = np.stack([zero, zero, zero, x, y, one, -v * x, -v * y], -1)
    matrix, wanted = np.concatenate([first, second], 1), np.concatenate([u, v], 1)
    return np.linalg.solve(matrix, wanted[..., None])[..., 0]
