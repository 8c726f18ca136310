"""Pooling to a size that is asked for: along n, window i of k is [floor(i n / k), ceil((i + 1) n / k)).

Windows are the same for all positions of the other axes, so one axis is pooled after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kernelearn.engine import geometry
from kernelearn.errors import ShapeError
from kernelearn.ops._dispatch import operation
from kernelearn.ops._run import Value, floats
from kernelearn.ops.choosing.entries import take
from kernelearn.ops.convolution import _back, channels_to_end
from kernelearn.ops.moving.shaping import moveaxis, reshape
from kernelearn.ops.pooling import average_pool, max_pool
from kernelearn.ops.products.matrices import tensordot
from kernelearn.ops.reductions import max as largest

Ints = int | Sequence[int]


@operation
def adaptive_average_pool(x: Value, output_size: Ints, data_format: str | None = None) -> Any:
    """Means of windows, as many as asked for.

    Args:
        x: (n, *spatial, c), or (n, c, *spatial) with data_format="channels_first".
        output_size: an int or one per spatial axis; may be larger than x, whose pixels are repeated then.

    >>> import numpy as np
    >>> from kernelearn import ops
    >>> ops.adaptive_average_pool(np.arange(5.0).reshape(1, 5, 1), 2).ravel()
    array([1., 3.])
    """
    return _adaptive(x, output_size, data_format, average_pool, _mean_along)


@operation
def adaptive_max_pool(x: Value, output_size: Ints, data_format: str | None = None) -> Any:
    """Largest values of windows, as many as asked for; arguments as in `adaptive_average_pool`.

    >>> import numpy as np
    >>> from kernelearn import ops
    >>> ops.adaptive_max_pool(np.arange(5.0).reshape(1, 5, 1), 2).ravel()
    array([2., 4.])
    """
    return _adaptive(x, output_size, data_format, max_pool, _max_along)


def _adaptive(
    x: Value,
    output_size: Ints,
    data_format: str | None,
    pool: Callable[..., Any],
    along: Callable[[Value, int, int], Any],
) -> Any:
    (x,) = floats(x)
    if not 3 <= len(x.shape) <= 5:
        raise ShapeError(
            f"x must have 3 to 5 axes: images, 1 to 3 of space, channels; got shape {tuple(x.shape)}."
        )
    x = channels_to_end(x, data_format)
    sizes = tuple(int(n) for n in x.shape[1:-1])
    wanted = geometry.normalize_tuple(output_size, len(sizes), "output_size")
    if all(n % k == 0 for n, k in zip(sizes, wanted)):  # windows side by side
        return _back(pool(x, tuple(n // k for n, k in zip(sizes, wanted))), data_format)
    for axis, count in enumerate(wanted, start=1):
        if x.shape[axis] != count:
            x = along(x, axis, count)
    return _back(x, data_format)


def _windows(size: int, count: int) -> list[tuple[int, int]]:
    return [(i * size // count, -(-(i + 1) * size // count)) for i in range(count)]


def _mean_along(x: Value, axis: int, count: int) -> Any:
    means = np.zeros((x.shape[axis], count), str(x.dtype))
    for i, (start, stop) in enumerate(_windows(x.shape[axis], count)):
        means[start:stop, i] = 1 / (stop - start)
    return moveaxis(tensordot(x, means, axes=[[axis], [0]]), -1, axis)


def _max_along(x: Value, axis: int, count: int) -> Any:
    windows = _windows(x.shape[axis], count)
    longest = max(stop - start for start, stop in windows)
    # NOTE: a shorter window names its last entry again, which changes neither its largest value nor where.
    places = np.array([[min(start + i, stop - 1) for i in range(longest)] for start, stop in windows])
    chosen = take(x, places.ravel(), axis=axis)
    split = reshape(chosen, (-1, *x.shape[1:axis], count, longest, *x.shape[axis + 1 :]))
    return largest(split, axis=axis + 1)
