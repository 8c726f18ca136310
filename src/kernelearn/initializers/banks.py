"""Classical image filters as first (or, with trainable=False, fixed) kernels of a convolution.

A bank is an ordered list of filters for one image channel. In a kernel (*size, in, filters), filter f of the
layer is filter f of the bank, applied to every input channel and divided by their number, so that it
filters the mean of the channels; with `per_channel=True` (depthwise kernels) it is applied undivided to each.
A convolution layer correlates: it does not flip the kernel. Rows go down, columns to the right.
"""

from collections.abc import Iterable, Sequence
from functools import reduce
from math import cos, pi, sin
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernelearn.errors import ArgumentError, ShapeError
from kernelearn.initializers.base import INITIALIZERS, Initializer

Size = tuple[int, ...]


class FilterBank(Initializer):
    """Base of the banks: a subclass defines `bank(size)`, an array (number of filters, *size).

    Args of every bank:
        gain: factor of all values.
        per_channel: see the top of this file.
        cycle: repeat the bank if the layer has more filters than it; otherwise that is an error.
    """

    gain: float
    per_channel: bool
    cycle: bool

    def bank(self, size: Size) -> NDArray[Any]:
        """The filters for kernels of this size, in order: (number of filters, *size)."""
        raise NotImplementedError(f"{type(self).__name__} must define bank(self, size).")

    def values(self, shape: tuple[int, ...]) -> NDArray[Any]:
        if len(shape) < 3:
            raise ShapeError(
                f"{type(self).__name__} needs a convolution kernel (*size, in, filters), got shape {shape}."
            )
        *size, channels, filters = shape
        bank = self._choose(self.bank(tuple(size)), filters)
        share = 1.0 if self.per_channel else 1.0 / channels
        kernel = np.moveaxis(bank, 0, -1)[..., None, :] * (self.gain * share)
        return np.broadcast_to(kernel, shape)

    def _choose(self, bank: NDArray[Any], filters: int) -> NDArray[Any]:
        """As many filters as asked for, from the start of the bank."""
        if filters > len(bank) and not self.cycle:
            raise ArgumentError(
                f"{type(self).__name__} has {len(bank)} filters and the layer asks for {filters}. "
                f"Use filters={len(bank)} or fewer, give the bank more filters, or cycle=True to repeat them."
            )
        return bank[np.arange(filters) % len(bank)]


def _outer(factors: Iterable[NDArray[Any]]) -> NDArray[Any]:
    """The separable filter with these factors, one per axis."""
    return reduce(np.multiply.outer, factors)


def _coordinates(size: Size) -> list[NDArray[Any]]:
    """Pixel coordinates relative to the centre of the kernel, one array per axis, ready to broadcast."""
    axes = [np.arange(length) - (length - 1) / 2 for length in size]
    return list(np.meshgrid(*axes, indexing="ij"))


def _binomial(length: int) -> NDArray[Any]:
    """[1], [1, 1], [1, 2, 1], ...: the smoothing filter of this length."""
    return reduce(np.convolve, [np.ones(2)] * (length - 1), np.ones(1))


def _require_planar(bank: FilterBank, size: Size) -> None:
    if len(size) != 2:
        raise ShapeError(f"{type(bank).__name__} is defined for 2-D kernels, got the size {size}.")


class _GradientBank(FilterBank):
    """Derivatives of the image in equally spaced directions.

    Source: steering of derivatives, Freeman and Adelson (1991), https://doi.org/10.1109/34.93808.
    """

    def __init__(
        self, orientations: int = 2, gain: float = 1.0, per_channel: bool = False, cycle: bool = False
    ) -> None:
        if orientations < 1:
            raise ArgumentError(f"orientations must be at least 1, got {orientations!r}.")
        self.orientations = orientations
        self.gain = gain
        self.per_channel = per_channel
        self.cycle = cycle

    def bank(self, size: Size) -> NDArray[Any]:
        _require_planar(self, size)
        self._check_size(size)
        to_right = _outer([self._smoothing(size[0]), self._slope(size[1])])
        down = _outer([self._slope(size[0]), self._smoothing(size[1])])
        if self.orientations == 2:  # exact zeros and integers for the classical pair
            return np.stack([to_right, down])
        angles = [pi * i / self.orientations for i in range(self.orientations)]
        return np.stack([cos(angle) * to_right + sin(angle) * down for angle in angles])

    def _check_size(self, size: Size) -> None:
        raise NotImplementedError

    def _smoothing(self, length: int) -> NDArray[Any]:
        raise NotImplementedError

    def _slope(self, length: int) -> NDArray[Any]:
        raise NotImplementedError


@INITIALIZERS.register("sobel_bank", "sobel")
class SobelBank(_GradientBank):
    """Sobel filters: the derivative of the image, smoothed across by binomial weights.

    Filter i is the derivative in the direction 180 i / orientations degrees, clockwise from "to the right";
    with the default two: [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]] (vertical edges), then its transpose.
    Kernels of odd sizes from 3; larger ones convolve the 3 x 3 filter with binomial smoothing.

    Args:
        orientations: number of directions.
        gain, per_channel, cycle: see `FilterBank`.

    >>> SobelBank()((3, 3, 1, 2))[:, :, 0, 0]
    array([[-1.,  0.,  1.],
           [-2.,  0.,  2.],
           [-1.,  0.,  1.]], dtype=float32)
    """

    def _check_size(self, size: Size) -> None:
        if any(length < 3 or length % 2 == 0 for length in size):
            raise ShapeError(f"SobelBank needs an odd kernel size of at least 3 on both axes, got {size}.")

    def _smoothing(self, length: int) -> NDArray[Any]:
        return _binomial(length)

    def _slope(self, length: int) -> NDArray[Any]:
        return np.convolve(_binomial(length - 2), [-1.0, 0.0, 1.0])


@INITIALIZERS.register("prewitt_bank", "prewitt")
class PrewittBank(_GradientBank):
    """Prewitt filters: the slope of the plane that fits the pixels best, in units of [-1, 0, 1] for size 3.

    Order and arguments as `SobelBank`. Kernels of any size from 2: a ramp along, equal weights across.
    """

    def _check_size(self, size: Size) -> None:
        if any(length < 2 for length in size):
            raise ShapeError(f"PrewittBank needs a kernel size of at least 2 on both axes, got {size}.")

    def _smoothing(self, length: int) -> NDArray[Any]:
        return np.ones(length)

    def _slope(self, length: int) -> NDArray[Any]:
        return np.arange(length) - (length - 1) / 2


@INITIALIZERS.register("laplacian")
class Laplacian(FilterBank):
    """The discrete Laplacian: neighbours minus the centre, in 1, 2 or 3 dimensions.

    Filter 0 takes the neighbours along the axes ([[0, 1, 0], [1, -4, 1], [0, 1, 0]] in 2-D), filter 1 all
    neighbours ([[1, 1, 1], [1, -8, 1], [1, 1, 1]]); in 1-D there is only the first. Kernels of odd sizes
    from 3; larger ones are zero outside the middle.

    Args:
        gain, per_channel, cycle: see `FilterBank`.
    """

    def __init__(self, gain: float = 1.0, per_channel: bool = False, cycle: bool = False) -> None:
        self.gain = gain
        self.per_channel = per_channel
        self.cycle = cycle

    def bank(self, size: Size) -> NDArray[Any]:
        if any(length < 3 or length % 2 == 0 for length in size):
            raise ShapeError(f"Laplacian needs an odd kernel size of at least 3 on every axis, got {size}.")
        distance = sum(np.abs(axis) for axis in _coordinates((3,) * len(size)))
        stencils = [(distance == 1).astype(float), (distance > 0).astype(float)][: len(size)]
        margin = [((length - 3) // 2,) * 2 for length in size]
        filters = [np.pad(stencil - stencil.sum() * (distance == 0), margin) for stencil in stencils]
        return np.stack(filters)


@INITIALIZERS.register("gaussian_bank", "gaussian")
class GaussianBank(FilterBank):
    """Gaussian blurs, one per width, each with sum 1; kernels of any size and dimension.

    Args:
        sigmas: standard deviations in pixels, in the order of the filters.
        gain, per_channel, cycle: see `FilterBank`.
    """

    def __init__(
        self,
        sigmas: Sequence[float] = (0.5, 1.0, 2.0),
        gain: float = 1.0,
        per_channel: bool = False,
        cycle: bool = False,
    ) -> None:
        self.sigmas = _positive_list("sigmas", sigmas)
        self.gain = gain
        self.per_channel = per_channel
        self.cycle = cycle

    def bank(self, size: Size) -> NDArray[Any]:
        squared_radius = sum(np.square(axis) for axis in _coordinates(size))
        # Relative to the nearest pixel, so that a narrow blur of even size is not zero everywhere.
        squared_radius = squared_radius - squared_radius.min()
        blurs = [np.exp(-squared_radius / (2 * sigma * sigma)) for sigma in self.sigmas]
        return np.stack([blur / blur.sum() for blur in blurs])


@INITIALIZERS.register("gabor_bank", "gabor")
class GaborBank(FilterBank):
    """Gabor filters: waves under a Gaussian window, the shape of simple cells and of many first layers.

    Filter (f, o, p) is exp(-r^2 / 2 sigma^2) cos(2 pi frequency u + phase), u the coordinate in direction o,
    made to have mean 0 and Euclidean norm 1. The phase changes fastest, the frequency slowest:
    number = (f * orientations + o) * phases + p. Two-dimensional kernels of any size from 2.

    Args:
        orientations: number of directions, equally spaced over 180 degrees from "to the right" clockwise.
        frequencies: cycles per pixel, below 0.5.
        phases: in radians; 0 is even (a bar), pi / 2 is odd (an edge).
        sigma: width of the window in pixels; None for 0.56 / frequency, a bandwidth of one octave.
        gain, per_channel, cycle: see `FilterBank`.
    Source: Daugman (1985), https://doi.org/10.1364/JOSAA.2.001160.
    """

    def __init__(
        self,
        orientations: int = 4,
        frequencies: Sequence[float] = (0.25,),
        phases: Sequence[float] = (0.0, pi / 2),
        sigma: float | None = None,
        gain: float = 1.0,
        per_channel: bool = False,
        cycle: bool = False,
    ) -> None:
        if orientations < 1:
            raise ArgumentError(f"orientations must be at least 1, got {orientations!r}.")
        self.orientations = orientations
        self.frequencies = _positive_list("frequencies", frequencies)
        self.phases = [float(phase) for phase in np.atleast_1d(phases)]
        self.sigma = None if sigma is None else _positive_list("sigma", sigma)[0]
        self.gain = gain
        self.per_channel = per_channel
        self.cycle = cycle
        if max(self.frequencies) > 0.5:
            raise ArgumentError(f"frequencies must be at most 0.5 cycles per pixel, got {self.frequencies}.")

    def bank(self, size: Size) -> NDArray[Any]:
        _require_planar(self, size)
        if min(size) < 2:
            raise ShapeError(f"GaborBank needs a kernel size of at least 2 on both axes, got {size}.")
        angles = [pi * i / self.orientations for i in range(self.orientations)]
        filters = [
            self._filter(size, frequency, angle, phase)
            for frequency in self.frequencies
            for angle in angles
            for phase in self.phases
        ]
        return np.stack(filters)

    def _filter(self, size: Size, frequency: float, angle: float, phase: float) -> NDArray[Any]:
        y, x = _coordinates(size)
        sigma = self.sigma or 0.56 / frequency
        window = np.exp(-(x * x + y * y) / (2 * sigma * sigma))
        wave = np.cos(2 * pi * frequency * (cos(angle) * x + sin(angle) * y) + phase)
        values = window * wave
        values -= window * (values.sum() / window.sum())
        norm = np.linalg.norm(values)
        if norm < 1e-9:
            raise ShapeError(
                f"The Gabor filter of frequency {frequency}, angle {angle:.3f}, phase {phase:.3f} is "
                f"constant on a kernel of size {size}. Use a larger kernel or another phase."
            )
        return np.asarray(values / norm)


def _positive_list(name: str, values: Any) -> list[float]:
    numbers = [float(value) for value in np.atleast_1d(values)]
    if not numbers or min(numbers) <= 0:
        raise ArgumentError(f"{name} must be numbers greater than 0, got {values!r}.")
    return numbers
