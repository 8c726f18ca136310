"""What a kernel is, by its numbers alone: norm, frequency response, orientation, symmetry, separability.

Of a kernel with several channels every property is the mean over its channels, weighted by their energy
(sum of squares), so that a channel it hardly reads hardly counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from kernelearn.errors import ArgumentError, ShapeError

_RESPONSE_SIZE = 32
_RANK_ENERGY = 0.99


@dataclass(frozen=True, eq=False)
class KernelShape:
    """Properties of filters; every array is (filters,), NaN where not defined (a kernel of zeros, 1-D).

    Attributes:
        norm: Euclidean norm.
        mean_share: share of the energy in the mean of each channel: 1 for a flat kernel, 0 if they sum to 0.
        frequency: where the frequency response is largest, in cycles per pixel, 0 to about 0.7 (diagonal).
        mean_frequency: mean frequency of the response, weighted by power.
        angle: direction along which the kernel varies most, degrees clockwise from "to the right", [0, 180).
        coherence: how much it varies along that one direction: 1 for a straight edge or bar, 0 for a ring.
        even: share of the energy that half a turn leaves as it is: 1 for bars and rings, 0 for edges.
        mirror_rows, mirror_columns: the same for reversing the rows (up-down), the columns (left-right).
        separability: share of the energy in the best column x row product per channel (2-D).
        rank: number of such products that hold 99 % of the energy (SVD).
        channel_rank1: share of the energy in one pattern times one number per channel.
    """

    norm: np.ndarray
    mean_share: np.ndarray
    frequency: np.ndarray
    mean_frequency: np.ndarray
    angle: np.ndarray
    coherence: np.ndarray
    even: np.ndarray
    mirror_rows: np.ndarray
    mirror_columns: np.ndarray
    separability: np.ndarray
    rank: np.ndarray
    channel_rank1: np.ndarray

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the properties."""
        return tuple(self.__dataclass_fields__)

    def row(self, filter: int) -> tuple[Any, ...]:
        """The properties of one filter, None for NaN."""
        values = [float(getattr(self, name)[filter]) for name in self.columns]
        return tuple(None if np.isnan(value) else value for value in values)


def kernel_shape(kernel: np.ndarray) -> KernelShape:
    """Properties of kernels (*size, channels, filters).

    Raises: ShapeError without spatial axes.

    >>> from kernelearn.initializers import SobelBank
    >>> shape = kernel_shape(SobelBank(2)((3, 3, 1, 2)))
    >>> shape.angle.tolist(), shape.separability.round(9).tolist(), shape.even.tolist()
    ([0.0, 90.0], [1.0, 1.0], [0.0, 0.0])
    """
    values = np.asarray(kernel, np.float64)
    if values.ndim < 3:
        raise ShapeError(f"kernel must have the shape (*size, channels, filters); got {values.shape}.")
    energy = np.square(values).sum(axis=tuple(range(values.ndim - 1)))
    power = np.square(frequency_response(values))
    angle, coherence = _orientation(power)
    separability, rank = _separability(values, energy)
    axes = tuple(range(values.ndim - 2))
    nothing = np.full(values.shape[-1], np.nan)
    return KernelShape(
        norm=np.sqrt(energy),
        mean_share=_mean_share(values, energy),
        frequency=_peak(power),
        mean_frequency=_mean_frequency(power),
        angle=angle,
        coherence=coherence,
        even=_even_share(values, axes, energy),
        mirror_rows=_even_share(values, (0,), energy),
        mirror_columns=_even_share(values, (1,), energy) if len(axes) > 1 else nothing,
        separability=separability,
        rank=rank,
        channel_rank1=_channel_rank1(values, energy),
    )


def frequency_response(kernel: np.ndarray, size: int = _RESPONSE_SIZE) -> np.ndarray:
    """How strongly filters pass each frequency: root mean square over channels of |Fourier transform|.

    Args:
        kernel: (*kernel size, channels, filters).
        size: frequencies per axis, at least the kernel's size.
    Returns: (size, ..., filters); frequency 0 is at index size // 2, index i is (i - size // 2) / size
        cycles per pixel.
    Raises: ArgumentError for a size smaller than the kernel.
    """
    values = np.asarray(kernel, np.float64)
    axes = tuple(range(values.ndim - 2))
    if size < max(values.shape[:-2]):
        raise ArgumentError(
            f"size must be at least {max(values.shape[:-2])}, that of the kernel; got {size}."
        )
    spectrum = np.fft.fftshift(np.fft.fftn(values, (size,) * len(axes), axes), axes)
    return np.asarray(np.sqrt(np.square(np.abs(spectrum)).mean(axis=-2)))


def _frequencies(power: np.ndarray) -> list[np.ndarray]:
    """Signed frequency of every entry along each axis, ready to broadcast against power (..., filters)."""
    sizes = power.shape[:-1]
    axes = [(np.arange(n) - n // 2) / n for n in sizes]
    return [f[..., None] for f in np.meshgrid(*axes, indexing="ij")]


def _radius(power: np.ndarray) -> np.ndarray:
    return np.asarray(np.sqrt(np.sum([np.square(f) for f in _frequencies(power)], axis=0)))


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole, NaN where there is nothing."""
    return np.asarray(np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=whole > 0))


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """The same for a part that is at most the whole; its rounding error is cut off."""
    return np.asarray(np.clip(_ratio(part, whole), 0, 1))


def _peak(power: np.ndarray) -> np.ndarray:
    """Frequency of the largest response; the lowest of equal ones."""
    filters = power.shape[-1]
    radius = np.broadcast_to(_radius(power), power.shape).reshape(-1, filters)
    flat = power.reshape(-1, filters)
    top = flat.max(axis=0)
    near = np.where(flat >= top * (1 - 1e-9), radius, np.inf).min(axis=0)
    return np.where(top > 0, near, np.nan)


def _mean_frequency(power: np.ndarray) -> np.ndarray:
    axes = tuple(range(power.ndim - 1))
    return _ratio((power * _radius(power)).sum(axis=axes), power.sum(axis=axes))


def _orientation(power: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(angle in degrees, coherence) of 2-D kernels, from the second moments of the power spectrum.

    They are the kernel's structure tensor: sums of products of its derivatives (Bigun and Granlund 1987).
    """
    nothing = np.full(power.shape[-1], np.nan)
    if power.ndim != 3:
        return nothing, nothing
    down, right = _frequencies(power)
    # NOTE: half a cycle per pixel has no direction of its own: + and - are the same wave.
    inside = power * (np.abs(down) < 0.5) * (np.abs(right) < 0.5)
    xx, yy, xy = (
        (inside * product).sum(axis=(0, 1)) for product in (right * right, down * down, right * down)
    )
    length = np.hypot(xx - yy, 2 * xy)
    coherence = _ratio(length, xx + yy)
    angle = np.degrees(np.arctan2(2 * xy, xx - yy) / 2) % 180.0
    angle = np.where(angle > 180.0 - 1e-7, 0.0, angle)
    return np.where(coherence > 1e-9, np.round(angle, 9), np.nan), coherence


def _mean_share(values: np.ndarray, energy: np.ndarray) -> np.ndarray:
    axes = tuple(range(values.ndim - 2))
    pixels = np.prod(values.shape[:-2])
    return _share(np.square(values.sum(axis=axes)).sum(axis=0) / pixels, energy)


def _even_share(values: np.ndarray, axes: tuple[int, ...], energy: np.ndarray) -> np.ndarray:
    even = (values + np.flip(values, axes)) / 2
    return _share(np.square(even).sum(axis=tuple(range(values.ndim - 1))), energy)


def _separability(values: np.ndarray, energy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(share of the first singular values, number of them for 99 %), NaN unless 2-D."""
    nothing = np.full(values.shape[-1], np.nan)
    if values.ndim != 4:
        return nothing, nothing
    squares = np.square(np.linalg.svd(values.transpose(3, 2, 0, 1), compute_uv=False)).sum(axis=1)
    shares = _share(np.cumsum(squares, axis=1), energy[:, None])
    rank = 1 + (shares < _RANK_ENERGY).sum(axis=1)
    return shares[:, 0], np.where(energy > 0, rank, np.nan)


def _channel_rank1(values: np.ndarray, energy: np.ndarray) -> np.ndarray:
    flat = np.moveaxis(values.reshape(-1, *values.shape[-2:]), -1, 0)
    return _share(np.square(np.linalg.svd(flat, compute_uv=False)[:, 0]), energy)
