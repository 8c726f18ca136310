"""Initialisers that draw at random: plain distributions, and those scaled to the size of the layer.

seed: None draws a new seed from the process's sequence (`kernelearn.utils.set_random_seed`) at every call, so
that layers that share an initialiser differ; an integer gives the same values at every call, as in Keras.
The numbers come from NumPy's PCG64 generator in float64: they are not those of Keras for the same seed.
"""

from collections.abc import Sequence
from math import prod, sqrt
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from kernelearn import config
from kernelearn.errors import ArgumentError, ShapeError
from kernelearn.initializers.base import INITIALIZERS, Initializer, compute_fans

# Standard deviation of a standard normal cut at two standard deviations.
TRUNCATED_STDDEV = 0.87962566103423978

Seed = int | None


class RandomInitializer(Initializer):
    """Base of the initialisers with a seed."""

    seed: Seed

    def _generator(self) -> np.random.Generator:
        return np.random.default_rng(config.next_seed() if self.seed is None else self.seed)


def _checked_seed(seed: Any) -> Seed:
    if seed is None:
        return None
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise ArgumentError(f"seed must be None or an integer, 0 or greater, got {seed!r}.")
    return int(seed)


def _truncated_normal(generator: np.random.Generator, shape: tuple[int, ...]) -> NDArray[Any]:
    """Standard normal numbers; those beyond two standard deviations are drawn again."""
    values = generator.standard_normal(shape)
    outside = np.abs(values) > 2
    while outside.any():
        values[outside] = generator.standard_normal(np.count_nonzero(outside))
        outside = np.abs(values) > 2
    return values


@INITIALIZERS.register("random_normal", "normal")
class RandomNormal(RandomInitializer):
    """Normal numbers."""

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: Seed = None) -> None:
        self.mean = mean
        self.stddev = stddev
        self.seed = _checked_seed(seed)

    def values(self, shape: tuple[int, ...]) -> NDArray[Any]:
        return self.mean + self.stddev * self._generator().standard_normal(shape)


@INITIALIZERS.register("truncated_normal")
class TruncatedNormal(RandomInitializer):
    """Normal numbers within two standard deviations of the mean (their own deviation is 0.88 `stddev`)."""

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: Seed = None) -> None:
        self.mean = mean
        self.stddev = stddev
        self.seed = _checked_seed(seed)

    def values(self, shape: tuple[int, ...]) -> NDArray[Any]:
        return self.mean + self.stddev * _truncated_normal(self._generator(), shape)


@INITIALIZERS.register("random_uniform", "uniform")
class RandomUniform(RandomInitializer):
    """Uniform numbers in [minval, maxval)."""

    def __init__(self, minval: float = -0.05, maxval: float = 0.05, seed: Seed = None) -> None:
        self.minval = minval
        self.maxval = maxval
        self.seed = _checked_seed(seed)

    def values(self, shape: tuple[int, ...]) -> NDArray[Any]:
        return self._generator().uniform(self.minval, self.maxval, shape)


MODES = ("fan_in", "fan_out", "fan_avg")
DISTRIBUTIONS = ("truncated_normal", "normal", "untruncated_normal", "uniform")


class _Scaled(RandomInitializer):
    """Numbers of mean 0 and variance scale / fan."""

    scale: float
    mode: str
    distribution: str
    input_axes: Sequence[int] | None
    output_axes: Sequence[int] | None

    def values(self, shape: tuple[int, ...]) -> NDArray[Any]:
        fan_in, fan_out = compute_fans(shape, self.input_axes, self.output_axes)
        fan = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[self.mode]
        variance = self.scale / max(1.0, fan)
        if self.distribution == "uniform":
            limit = sqrt(3 * variance)
            return self._generator().uniform(-limit, limit, shape)
        if self.distribution == "untruncated_normal":
            return sqrt(variance) * self._generator().standard_normal(shape)
        return sqrt(variance) / TRUNCATED_STDDEV * _truncated_normal(self._generator(), shape)


@INITIALIZERS.register("variance_scaling")
class VarianceScaling(_Scaled):
    """Numbers of mean 0 and variance scale / fan, so that signals keep their size from layer to layer.

    Args:
        mode: which fan: "fan_in", "fan_out" or "fan_avg" (their mean), see `compute_fans`.
        distribution: "truncated_normal" (also called "normal"), "untruncated_normal" or "uniform".
        input_axes, output_axes: axes that make up the fans, given together; see `compute_fans`.
    """

    def __init__(
        self,
        scale: float = 1.0,
        mode: str = "fan_in",
        distribution: str = "truncated_normal",
        seed: Seed = None,
        input_axes: Sequence[int] | None = None,
        output_axes: Sequence[int] | None = None,
    ) -> None:
        if not scale > 0:
            raise ArgumentError(f"scale must be greater than 0, got {scale!r}.")
        if mode not in MODES:
            raise ArgumentError(f"mode must be one of {MODES}, got {mode!r}.")
        if distribution not in DISTRIBUTIONS:
            raise ArgumentError(f"distribution must be one of {DISTRIBUTIONS}, got {distribution!r}.")
        self.scale = scale
        self.mode = mode
        self.distribution = distribution
        self.seed = _checked_seed(seed)
        self.input_axes = input_axes
        self.output_axes = output_axes


class _Named(_Scaled):
    """A variance scaling with a name of its own; arguments as there."""

    scaling: ClassVar[tuple[float, str, str]]

    def __init__(
        self,
        seed: Seed = None,
        input_axes: Sequence[int] | None = None,
        output_axes: Sequence[int] | None = None,
    ) -> None:
        self.scale, self.mode, self.distribution = self.scaling
        self.seed = _checked_seed(seed)
        self.input_axes = input_axes
        self.output_axes = output_axes


@INITIALIZERS.register("glorot_uniform", "xavier_uniform")
class GlorotUniform(_Named):
    """Uniform, variance 2 / (fan_in + fan_out): Glorot and Bengio (2010)."""

    scaling = (1.0, "fan_avg", "uniform")


@INITIALIZERS.register("glorot_normal", "xavier_normal")
class GlorotNormal(_Named):
    """Truncated normal, variance 2 / (fan_in + fan_out): Glorot and Bengio (2010)."""

    scaling = (1.0, "fan_avg", "truncated_normal")


@INITIALIZERS.register("he_uniform")
class HeUniform(_Named):
    """Uniform, variance 2 / fan_in, for ReLU: He et al. (2015), https://arxiv.org/abs/1502.01852."""

    scaling = (2.0, "fan_in", "uniform")


@INITIALIZERS.register("he_normal")
class HeNormal(_Named):
    """Truncated normal, variance 2 / fan_in, for ReLU: He et al. (2015), https://arxiv.org/abs/1502.01852."""

    scaling = (2.0, "fan_in", "truncated_normal")


@INITIALIZERS.register("lecun_uniform")
class LecunUniform(_Named):
    """Uniform, variance 1 / fan_in: LeCun et al. (1998), "Efficient BackProp"."""

    scaling = (1.0, "fan_in", "uniform")


@INITIALIZERS.register("lecun_normal")
class LecunNormal(_Named):
    """Truncated normal, variance 1 / fan_in, for SELU: LeCun et al. (1998), "Efficient BackProp"."""

    scaling = (1.0, "fan_in", "truncated_normal")


@INITIALIZERS.register("orthogonal", "OrthogonalInitializer")
class Orthogonal(RandomInitializer):
    """A random orthogonal matrix times `gain`; all axes but the last count as rows.

    The columns are orthonormal if there are at least as many rows, else the rows are. Uniformly distributed
    among all such matrices (signs fixed by the diagonal of R).
    Source: Saxe et al. (2013), https://arxiv.org/abs/1312.6120.
    """

    def __init__(self, gain: float = 1.0, seed: Seed = None) -> None:
        self.gain = gain
        self.seed = _checked_seed(seed)

    def values(self, shape: tuple[int, ...]) -> NDArray[Any]:
        if len(shape) < 2:
            raise ShapeError(f"Orthogonal needs at least two axes, got shape {shape}.")
        rows, columns = prod(shape[:-1]), shape[-1]
        normal = self._generator().standard_normal((max(rows, columns), min(rows, columns)))
        q, r = np.linalg.qr(normal)
        q = q * np.sign(np.diag(r))
        return self.gain * (q if rows >= columns else q.T).reshape(shape)
