"""The pairs behind one number of a gradient: which input met which error, at every image and position.

    conv            dL/dw[i,j,c,f] = sum_{n,p,q} x_pad[n, p*s + i*d, q*s + j*d, c] * delta[n,p,q,f]
    conv_transpose  dL/dw[i,j,f,c] = sum_{n,p,q} delta_pad[n, p*s + i*d, q*s + j*d, f] * x[n,p,q,c]
    dense           dL/dw[c,f]     = sum_n x[n,c] * delta[n,f]

A transposed convolution exchanges the roles: its positions are those of the input, and the window lies in the
output. Here is only indexing; `explain.ledger` multiplies and sums.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kernelearn.engine.reference.precision import round_to_bfloat16
from kernelearn.errors import ArgumentError
from kernelearn.recording.factors import Part

Index = tuple[int, ...]


@dataclass(frozen=True)
class Pairs:
    """Both factors of every term of one weight, for one use of it.

    Attributes:
        inputs, deltas: (n, *positions) float64; an input that lies in the padding is 0. Rounded if
            the engine multiplied rounded numbers.
        window_pixels: (*positions, rank) where the window reads at this tap: the pixel of the input, for a
            transposed convolution of the output; outside of the image where it reads padding.
        input_channel, output_channel: which channel of the input and of the output met.
    """

    inputs: np.ndarray
    deltas: np.ndarray
    window_pixels: np.ndarray
    input_channel: int
    output_channel: int


def pairs_of(part: Part, index: Index, kernel_shape: Sequence[int]) -> Pairs:
    """The pairs of the weight at `index` of a kernel of this shape, as the operator took it."""
    if part.kind == "dense":
        return _dense_pairs(part, index)
    channel, output = channels_of(part, index, kernel_shape)
    tap = index[:-2]
    if part.kind == "conv":
        pixels = tap_pixels(tap, part.attrs, part.delta.shape[1:-1])
        inputs, deltas = read_window(part.x[..., channel], pixels), part.delta[..., output]
    else:
        pixels = tap_pixels(tap, part.attrs, part.x.shape[1:-1])
        inputs, deltas = part.x[..., channel], read_window(part.delta[..., output], pixels)
    return Pairs(_factors(part, inputs), _factors(part, deltas), _grid(pixels), channel, output)


def channels_of(part: Part, index: Index, kernel_shape: Sequence[int]) -> tuple[int, int]:
    """(input channel, output channel) that the weight at `index` connects."""
    if part.kind == "dense":
        return index[-2], index[-1]
    group = index[-1] // (kernel_shape[-1] // int(part.attrs["groups"]))
    of_group = group * kernel_shape[-2] + index[-2]
    return (index[-1], of_group) if part.kind == "conv_transpose" else (of_group, index[-1])


def tap_pixels(tap: Index, attrs: Any, positions: Sequence[int]) -> list[np.ndarray]:
    """Per axis, the pixel that this tap of the window reads at every position: p * s + i * d - padding."""
    axes = zip(tap, positions, attrs["stride"], attrs["dilation"], attrs["padding"])
    return [np.arange(n) * stride + i * dilation - before for i, n, stride, dilation, (before, _) in axes]


def read_window(image: np.ndarray, pixels: Sequence[np.ndarray]) -> np.ndarray:
    """Values of image (n, *spatial) at every combination of the pixels; 0 outside."""
    for axis, wanted in enumerate(pixels, start=1):
        size = image.shape[axis]
        is_inside = (wanted >= 0) & (wanted < size)
        image = np.take(image, np.clip(wanted, 0, size - 1), axis=axis)
        if not is_inside.all():
            shape = [1] * image.ndim
            shape[axis] = len(wanted)
            image = np.where(is_inside.reshape(shape), image, 0)
    return image


def window_at(part: Part, row: int, position: Index, kernel_shape: Sequence[int], channel: int) -> np.ndarray:
    """What a whole kernel reads of the input at one position, with zeros in the padding.

    Returns: (*kernel, c // groups) for a convolution, with the channels of the group of `channel`; the pixel
        (1, ..., c // groups) for a transposed convolution; the features (c,) for a dense layer.
    """
    if part.kind == "dense":
        return np.asarray(part.x[(row, *position)])
    if part.kind == "conv_transpose":
        each = kernel_shape[-1] // int(part.attrs["groups"])
        first = channel // each * each
        pixel = tuple(slice(p, p + 1) for p in position)
        return np.asarray(part.x[row][pixel][..., first : first + each])
    pixels = []
    for axis, taps in enumerate(kernel_shape[:-2]):
        stride, dilation = part.attrs["stride"][axis], part.attrs["dilation"][axis]
        start = position[axis] * stride - part.attrs["padding"][axis][0]
        pixels.append(start + np.arange(taps) * dilation)
    first = channel // kernel_shape[-2] * kernel_shape[-2]
    return np.asarray(read_window(part.x[row : row + 1, ..., first : first + kernel_shape[-2]], pixels)[0])


def operator_index(index: Sequence[int], weight_shape: Sequence[int], kernel_shape: Sequence[int]) -> Index:
    """Where a number of the weight stands in the kernel as the operator took it (same order of numbers).

    Raises: ArgumentError for an index that is not one of the weight.

    >>> operator_index((0, 1, 2, 1), (3, 3, 4, 2), (3, 3, 1, 8))  # depthwise: channel 2, kernel 1 of it
    (0, 1, 0, 5)
    """
    whole = [int(i) for i in index]
    if len(whole) != len(weight_shape) or any(not -n <= i < n for i, n in zip(whole, weight_shape)):
        raise ArgumentError(
            f"weight={tuple(index)} is no index of a weight of shape {tuple(weight_shape)}: give one whole "
            "number per axis, counted from 0."
        )
    positive = tuple(i % n for i, n in zip(whole, weight_shape))
    flat = np.ravel_multi_index(positive, tuple(weight_shape))
    return tuple(int(i) for i in np.unravel_index(flat, tuple(kernel_shape)))


def _dense_pairs(part: Part, index: Index) -> Pairs:
    inputs, deltas = part.x[..., index[0]], part.delta[..., index[1]]
    grid = every_position(inputs.shape[1:])
    return Pairs(_factors(part, inputs), _factors(part, deltas), grid, index[0], index[1])


def every_position(sizes: Sequence[int]) -> np.ndarray:
    """(*sizes, rank): every position itself.

    >>> every_position((2, 2)).tolist()
    [[[0, 0], [0, 1]], [[1, 0], [1, 1]]]
    """
    return np.moveaxis(np.indices(tuple(sizes)), 0, -1)


def _grid(pixels: Sequence[np.ndarray]) -> np.ndarray:
    """(*positions, rank) from the pixels of each axis."""
    return np.stack(np.meshgrid(*pixels, indexing="ij"), axis=-1)


def _factors(part: Part, array: np.ndarray) -> np.ndarray:
    """What the engine multiplied, in float64: rounded if it rounds operands."""
    rounds = part.attrs["precision"] == "bfloat16"
    return np.asarray(round_to_bfloat16(array) if rounds else array, np.float64)
