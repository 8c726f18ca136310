"""Which inputs one unit of a layer reads, and with which weights: the terms of its sum.

conv            z[p,q,f] = sum_{i,j,c} x_pad[p*s + i*d, q*s + j*d, c] * w[i,j,c,f]
conv_transpose  z[p,q,f] = sum_{i,j,c} x[(p + before - i*d) / s, ..., c] * w[i,j,f,c], where that is whole
dense           z[f]     = sum_c x[c] * w[c,f]
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from kernelearn.engine.program import Operation
from kernelearn.engine.reference.precision import round_to_bfloat16
from kernelearn.errors import ArgumentError
from kernelearn.explain.passes.replay import Index


@dataclass(frozen=True, eq=False)
class Window:
    """What one unit reads.

    Attributes:
        inputs, weights: (*taps, c) float64; (c,) for a dense layer. An input outside of the image is 0.
        pixels: (*taps, rank) which pixel of the input each tap reads; rank 0 for a dense layer on (n, c).
        channels: (c,) numbers of the input channels.
        is_inside: (*taps,) bool: taps that lie in the image and, transposed, meet a pixel at all.
    """

    inputs: np.ndarray
    weights: np.ndarray
    pixels: np.ndarray
    channels: np.ndarray
    is_inside: np.ndarray

    @property
    def products(self) -> np.ndarray:
        """(*taps, c) float64: the terms."""
        return np.asarray(self.inputs * self.weights)


def window_of(op: Operation, x: np.ndarray, kernel: np.ndarray, unit: Index) -> Window:
    """The window of a unit.

    Args:
        x: (*spatial, c) input of the operation for one image.
        kernel: as the operation takes it.
        unit: (*position, filter).
    """
    if op.attrs["precision"] == "bfloat16":
        x, kernel = round_to_bfloat16(x), round_to_bfloat16(kernel)
    x, kernel = np.asarray(x, np.float64), np.asarray(kernel, np.float64)
    if op.operator == "dense":
        inputs = x[unit[:-1]]
        nowhere = np.zeros((0,), np.int64)
        return Window(
            np.asarray(inputs), kernel[:, unit[-1]], nowhere, np.arange(len(inputs)), np.ones((), bool)
        )
    if op.operator == "conv":
        return _conv_window(op.attrs, x, kernel, unit)
    return _transposed_window(op.attrs, x, kernel, unit)


def _conv_window(attrs: Any, x: np.ndarray, kernel: np.ndarray, unit: Index) -> Window:
    *position, f = unit
    taps, per_group = kernel.shape[:-2], kernel.shape[-2]
    group = f // (kernel.shape[-1] // int(attrs["groups"]))
    channels = group * per_group + np.arange(per_group)
    starts = [p * s - before for p, s, (before, _) in zip(position, attrs["stride"], attrs["padding"])]
    steps = [start + np.arange(n) * d for start, n, d in zip(starts, taps, attrs["dilation"])]
    pixels = np.stack(np.meshgrid(*steps, indexing="ij"), axis=-1)
    return _read(x, pixels, np.ones(taps, bool), channels, kernel[..., f])


def _transposed_window(attrs: Any, x: np.ndarray, kernel: np.ndarray, unit: Index) -> Window:
    *position, f = unit
    taps = kernel.shape[:-2]
    axes = zip(position, taps, attrs["stride"], attrs["dilation"], attrs["padding"])
    offsets = [(p + before - np.arange(n) * d, s) for p, n, s, d, (before, _) in axes]
    pixels = np.stack(np.meshgrid(*[o // s for o, s in offsets], indexing="ij"), axis=-1)
    whole = np.stack(np.meshgrid(*[o % s == 0 for o, s in offsets], indexing="ij"), axis=-1)
    meets = np.asarray(whole.all(axis=-1))
    return _read(x, pixels, meets, np.arange(x.shape[-1]), kernel[..., f, :])


def _read(
    x: np.ndarray, pixels: np.ndarray, meets: np.ndarray, channels: np.ndarray, weights: np.ndarray
) -> Window:
    """The window that reads these pixels, with zeros where there is nothing to read."""
    sizes = np.array(x.shape[:-1])
    is_inside = np.asarray(meets & ((pixels >= 0) & (pixels < sizes)).all(axis=-1))
    safe = np.clip(pixels, 0, sizes - 1)
    read = x[tuple(safe[..., axis] for axis in range(len(sizes)))][..., channels]
    return Window(np.where(is_inside[..., None], read, 0.0), weights, pixels, channels, is_inside)


def check_unit(unit: tuple[int, ...], shape: tuple[int, ...], layer: str) -> Index:
    """The unit with numbers counted from 0.

    Raises: ArgumentError for one that the layer does not have.
    """
    if len(unit) != len(shape) or any(not -n <= i < n for i, n in zip(unit, shape)):
        position, filters = tuple(shape[:-1]), shape[-1]
        where = f"positions {' x '.join(map(str, position))} and " if position else ""
        raise ArgumentError(
            f"Layer {layer!r} has {where}filters 0 to {filters - 1}; there is no unit at position "
            f"{tuple(unit[:-1])}, filter {unit[-1]}."
        )
    return tuple(i % n for i, n in zip(unit, shape))


def every_index(sizes: tuple[int, ...]) -> list[Index]:
    """All indices of an array of this shape."""
    return list(product(*map(range, sizes)))
