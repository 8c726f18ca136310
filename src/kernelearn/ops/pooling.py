"""Pooling on arrays: the largest or the mean value of windows, or of whole maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kernelearn.engine import geometry
from kernelearn.errors import ArgumentError, ShapeError
from kernelearn.ops._dispatch import operation
from kernelearn.ops._run import Value, floats, run
from kernelearn.ops.convolution import Padding, _back, channels_to_end, resolve_pairs

Ints = int | Sequence[int]


@operation
def max_pool(
    x: Value,
    pool_size: Ints,
    strides: Ints | None = None,
    padding: Padding = "valid",
    data_format: str | None = None,
    engine: str | None = None,
) -> Any:
    """Largest value of every window.

    Args:
        x: (n, *spatial, c), or (n, c, *spatial) with data_format="channels_first".
        pool_size: an int or one per spatial axis.
        strides: None for pool_size.
        padding: "valid", "same", an int, or one pair (before, after) per spatial axis; padded pixels
            never win.
        engine: "cpu" (compiled, float32), "reference" (NumPy) or None for the default one.
    Returns: (n, *outputs, c), in the data format of x.

    >>> import numpy as np
    >>> from kernelearn import ops
    >>> ops.max_pool(np.array([1.0, 4.0, 2.0, 3.0]).reshape(1, 4, 1), 2).ravel()
    array([4., 3.])
    """
    return _pool("max_pool", x, pool_size, strides, padding, data_format, engine)


@operation
def average_pool(
    x: Value,
    pool_size: Ints,
    strides: Ints | None = None,
    padding: Padding = "valid",
    data_format: str | None = None,
    engine: str | None = None,
) -> Any:
    """Mean of the real (not padded) pixels of every window; arguments as in `max_pool`.

    >>> import numpy as np
    >>> from kernelearn import ops
    >>> ops.average_pool(np.array([1.0, 4.0, 2.0]).reshape(1, 3, 1), 2, padding="same").ravel()
    array([2.5, 2. ])
    """
    return _pool("average_pool", x, pool_size, strides, padding, data_format, engine)


def _pool(
    operator: str,
    x: Value,
    pool_size: Ints,
    strides: Ints | None,
    padding: Padding,
    data_format: str | None,
    engine: str | None,
) -> Value:
    x = _spatial(x, data_format)
    rank = x.ndim - 2
    size = geometry.normalize_tuple(pool_size, rank, "pool_size")
    stride = size if strides is None else geometry.normalize_tuple(strides, rank, "strides")
    if isinstance(padding, str) and padding.lower() not in ("valid", "same"):
        raise ArgumentError(f"padding of a pool must be 'valid', 'same', an int or pairs, got {padding!r}.")
    pairs = resolve_pairs(padding, x.shape[1:-1], size, stride, (1,) * rank)
    _check_filled(pairs, size)
    return _back(run(operator, (x,), engine, size=size, stride=stride, padding=pairs), data_format)


def _check_filled(pairs: Sequence[tuple[int, int]], size: Sequence[int]) -> None:
    """Raise ShapeError where a window would hold nothing but padding."""
    if any(min(pair) < 0 or max(pair) >= window for pair, window in zip(pairs, size)):
        raise ShapeError(
            f"The padding of a pool must be at least 0 and smaller than its window on every side; got "
            f"{tuple(pairs)} for windows of {tuple(size)}."
        )


@operation
def global_max_pool(
    x: Value, keepdims: bool = False, data_format: str | None = None, engine: str | None = None
) -> Any:
    """Largest value of every map: (n, c), or with sizes of 1 for space if `keepdims`."""
    return _global("reduce_max", x, keepdims, data_format, engine)


@operation
def global_average_pool(
    x: Value, keepdims: bool = False, data_format: str | None = None, engine: str | None = None
) -> Any:
    """Mean of every map: (n, c), or with sizes of 1 for space if `keepdims`.

    >>> import numpy as np
    >>> from kernelearn import ops
    >>> ops.global_average_pool(np.arange(8.0).reshape(1, 2, 2, 2))
    array([[3., 4.]])
    """
    return _global("reduce_mean", x, keepdims, data_format, engine)


def _global(operator: str, x: Value, keepdims: bool, data_format: str | None, engine: str | None) -> Value:
    x = _spatial(x, data_format)
    y = run(operator, (x,), engine, axes=tuple(range(1, x.ndim - 1)), keepdims=bool(keepdims))
    return _back(y, data_format) if keepdims else y


def _spatial(x: Value, data_format: str | None) -> Value:
    """x as a channels-last float array with 1 to 3 spatial axes."""
    (array,) = floats(x)
    if not 3 <= array.ndim <= 5:
        raise ShapeError(
            f"x must have 3 to 5 axes: images, 1 to 3 of space, channels; got shape {array.shape}."
        )
    return channels_to_end(array, data_format)
