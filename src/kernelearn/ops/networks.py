"""What networks are also made of: pixels moved between space and channels, norms, gates, sets of classes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

from kernelearn.engine.geometry import normalize_tuple, output_sizes
from kernelearn.errors import ArgumentError, ShapeError
from kernelearn.ops._dispatch import operation
from kernelearn.ops._run import Value, cast_to, emit, floats, transposed, values
from kernelearn.ops._shapes import axis_of, dtype_name, inner_sizes, one, reshaped_to
from kernelearn.ops.choosing.entries import one_hot
from kernelearn.ops.entrywise.arithmetic import maximum, minimum
from kernelearn.ops.entrywise.functions import log10, rsqrt, square
from kernelearn.ops.moving.joining import concatenate, split
from kernelearn.ops.moving.shaping import shape
from kernelearn.ops.reductions import max as largest
from kernelearn.ops.reductions import mean, norm
from kernelearn.ops.reductions import sum as total

# Keras's smallest divisor.
EPSILON = 1e-7


def _images(x: Any, what: str, data_format: str | None) -> tuple[Value, bool]:
    """Images (n, height, width, c) or (n, c, height, width), and whether channels are first."""
    x = one(x)
    if x.ndim != 4:
        raise ShapeError(f"{what} takes images of four axes, got shape {x.shape}.")
    if data_format not in (None, "channels_last", "channels_first"):
        raise ArgumentError(f'data_format must be "channels_last" or "channels_first", got {data_format!r}.')
    return x, data_format == "channels_first"


@operation
def depth_to_space(x: Value, block_size: int, data_format: str | None = None) -> Any:
    """Channels spread over blocks of block_size x block_size pixels ("pixel shuffle").

    Returns: (n, height * block_size, width * block_size, c / block_size^2). The block is the first part of
        the channels with channels last, the last part with channels first, as in TensorFlow and PyTorch.

    >>> import numpy as np
    >>> from kernelearn import ops
    >>> ops.depth_to_space(np.arange(4.0).reshape(1, 1, 1, 4), 2)[0, :, :, 0].tolist()
    [[0.0, 1.0], [2.0, 3.0]]
    """
    x, is_first = _images(x, "depth_to_space", data_format)
    b = int(block_size)
    sizes = inner_sizes(x)
    channels = sizes[0] if is_first else sizes[2]
    if b < 1 or channels % (b * b):
        raise ShapeError(f"depth_to_space needs a multiple of {b * b} channels, got shape {x.shape}.")
    n, rest = shape(x)[0], channels // (b * b)
    if is_first:
        _, height, width = sizes
        apart = transposed(reshaped_to(x, (n, rest, b, b, height, width)), (0, 1, 4, 2, 5, 3))
        return reshaped_to(apart, (n, rest, height * b, width * b))
    height, width, _ = sizes
    apart = transposed(reshaped_to(x, (n, height, width, b, b, rest)), (0, 1, 3, 2, 4, 5))
    return reshaped_to(apart, (n, height * b, width * b, rest))


@operation
def space_to_depth(x: Value, block_size: int, data_format: str | None = None) -> Any:
    """Blocks of block_size x block_size pixels as channels: the inverse of `depth_to_space`.

    >>> import numpy as np
    >>> from kernelearn import ops
    >>> ops.space_to_depth(np.arange(4.0).reshape(1, 2, 2, 1), 2).ravel().tolist()
    [0.0, 1.0, 2.0, 3.0]
    """
    x, is_first = _images(x, "space_to_depth", data_format)
    b = int(block_size)
    sizes = inner_sizes(x)
    height, width = sizes[1:] if is_first else sizes[:2]
    if b < 1 or height % b or width % b:
        raise ShapeError(f"space_to_depth needs heights and widths that {b} divides, got shape {x.shape}.")
    n, rows, columns = shape(x)[0], height // b, width // b
    if is_first:
        channels = sizes[0]
        apart = transposed(reshaped_to(x, (n, channels, rows, b, columns, b)), (0, 1, 3, 5, 2, 4))
        return reshaped_to(apart, (n, channels * b * b, rows, columns))
    channels = sizes[2]
    apart = transposed(reshaped_to(x, (n, rows, b, columns, b, channels)), (0, 1, 3, 2, 4, 5))
    return reshaped_to(apart, (n, rows, columns, channels * b * b))


@operation
def rms_normalization(
    x: Value, scale: Value | None = None, axis: int | Sequence[int] = -1, epsilon: float | None = None
) -> Any:
    """x / sqrt(mean(x^2) + epsilon) along axes, times a scale.

    Args:
        scale: of the sizes of these axes, where they are the last ones, or broadcast.
    Source: Zhang and Sennrich (2019), https://arxiv.org/abs/1910.07467.

    >>> import numpy as np
    >>> from kernelearn import ops
    >>> ops.rms_normalization(np.array([3.0, -3.0])).round(3)
    array([ 1., -1.])
    """
    (x,) = floats(x)
    least = EPSILON if epsilon is None else float(epsilon)
    y = x * rsqrt(mean(square(x), axis, keepdims=True) + least)
    return y if scale is None else y * cast_to(values(y, scale)[1], dtype_name(y))


@operation
def normalize(x: Value, axis: int | Sequence[int] = -1, order: int = 2, epsilon: float | None = None) -> Any:
    """x divided by its norm of this order along axes; the norm counts as `epsilon` at least.

    >>> from kernelearn import ops
    >>> ops.normalize([3.0, 4.0]).round(2).tolist()
    [0.6, 0.8]
    """
    (x,) = floats(x)
    least = EPSILON if epsilon is None else float(epsilon)
    if order == 2:
        return x * minimum(rsqrt(total(square(x), axis, keepdims=True)), 1 / least)
    if not isinstance(order, int) or order < 1:
        raise ArgumentError(f"order must be a whole number from 1 on, got {order!r}.")
    return x / maximum(norm(x, order, axis, keepdims=True), least)


@operation
def glu(x: Value, axis: int = -1) -> Any:
    """The first half of an axis times the sigmoid of the second.

    >>> from kernelearn import ops
    >>> ops.glu([2.0, 0.0]).tolist()
    [1.0]
    """
    (x,) = floats(x)
    place = axis_of(axis, x.ndim, "glu")
    first, second = split(x, 2, place)
    return first * emit("activation", second, kind="sigmoid")


@operation
def multi_hot(x: Value, num_classes: int, axis: int = -1, dtype: Any = None, sparse: bool = False) -> Any:
    """Sets of class numbers (n, k), or one set (k,), as rows with a 1 for each of them.

    >>> from kernelearn import ops
    >>> ops.multi_hot([2, 0], 4).tolist()
    [1.0, 0.0, 1.0, 0.0]
    """
    rows = one_hot(x, num_classes, axis, dtype, sparse)
    return largest(rows, 1 if one(x).ndim > 1 else 0)


@operation
def psnr(x1: Value, x2: Value, max_val: float) -> Any:
    """Peak signal to noise ratio of two arrays in decibel: 20 log10(max_val) - 10 log10(mean((x1 - x2)^2)).

    >>> import numpy as np
    >>> from kernelearn import ops
    >>> float(ops.psnr(np.zeros(3), np.full(3, 0.1), 1.0).round(4))
    20.0
    """
    x1, x2 = floats(x1, x2)
    if x1.shape[1:] != x2.shape[1:] or x1.ndim != x2.ndim:
        raise ShapeError(f"psnr compares arrays of one shape, got {x1.shape} and {x2.shape}.")
    return 20 * math.log10(max_val) - 10 * log10(mean(square(x1 - x2)))


@operation
def unfold(
    input: Value,
    kernel_size: int | Sequence[int],
    dilation: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    stride: int | Sequence[int] = 1,
) -> Any:
    """Windows of images as columns, channels first as in PyTorch.

    Args:
        input: (n, c, height, width).
    Returns: (n, c * kernel_height * kernel_width, windows).

    >>> import numpy as np
    >>> from kernelearn import ops
    >>> ops.unfold(np.zeros((2, 3, 5, 4)), 2).shape
    (2, 12, 12)
    """
    x, _ = _images(input, "unfold", "channels_first")
    kernel = normalize_tuple(kernel_size, 2, "kernel_size")
    rate, step = normalize_tuple(dilation, 2, "dilation"), normalize_tuple(stride, 2, "stride")
    border = normalize_tuple(padding, 2, "padding", minimum=0)
    if any(border):
        x = emit("pad", x, padding=((0, 0), (0, 0), *((b, b) for b in border)))
    channels, *sizes = inner_sizes(x)
    counts = output_sizes(sizes, kernel, step, rate, ((0, 0), (0, 0)))
    windows = []
    for tap in itertools.product(*map(range, kernel)):
        places = [(t * r, count, s) for t, r, count, s in zip(tap, rate, counts, step)]
        taken = emit("strided_slice", x, places=(None, None, *places))
        windows.append(reshaped_to(taken, (shape(x)[0], channels, 1, counts[0] * counts[1])))
    return reshaped_to(concatenate(windows, 2), (shape(x)[0], channels * len(windows), counts[0] * counts[1]))
