"""Hyperkernels: kernels between pairs of points, from which a kernel between points is learnt.

Ong, Smola and Williamson, Learning the kernel with hyperkernels, JMLR 2005. All families here are products
prod_j g(s_j(pair) s_j(pair')) of a power series g with nonnegative coefficients, for similarities s_j in
[0, 1] of the two points of a pair.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from kernelearn.errors import ArgumentError
from kernelearn.kernel_machines.kernels.functions import Kernel, KernelLike, as_kernels, squared_distances
from kernelearn.kernel_machines.kernels.grams import GramBank

HYPERKERNELS = ("harmonic", "gaussian", "ard", "power")
_QUANTILE = 0.9
_WIDTH_FACTOR = 50.0
_ROWS = 2**18


@dataclass(frozen=True)
class HarmonicSeries:
    """g(x) = (1 - l) / (1 - l x) = (1 - l) sum_i (l x)^i; l near 1 favours high powers."""

    lambda_h: float

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(np.exp(np.log1p(-self.lambda_h) - np.log1p(-self.lambda_h * x)))


@dataclass(frozen=True)
class PowerSeries:
    """g(x) = sum_i c_i x^i with c_i >= 0 that sum to one."""

    coefficients: tuple[float, ...]

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(np.polynomial.polynomial.polyval(x, np.array(self.coefficients)))


def exponential_series(x: np.ndarray) -> np.ndarray:
    """g(x) = exp(x - 1): the power series of the exponential function, one at one."""
    return np.exp(x - 1.0)


@dataclass(frozen=True)
class Hyperkernel:
    """A hyperkernel with its widths fixed.

    similarity: x (n, d), x' (m, d) -> (n, m, D), values in [0, 1], 1 for equal points.
    series: g, elementwise on arrays; a power series with nonnegative coefficients.
    """

    similarity: Callable[[np.ndarray, np.ndarray], np.ndarray]
    series: Callable[[np.ndarray], np.ndarray]

    def values(self, pairs: np.ndarray, pivot: np.ndarray) -> np.ndarray:
        """Hyperkernel between similarities `pairs` (..., D) and one pair's similarities (D,)."""
        return np.asarray(self.series(pairs * pivot).prod(axis=-1))

    def diagonal(self, pairs: np.ndarray) -> np.ndarray:
        """Hyperkernel of every pair with itself, (...)."""
        return self.values(pairs, pairs)


@dataclass(frozen=True)
class HyperkernelSettings:
    """What the user chose.

    name: one of `HYPERKERNELS`. lambda_h: of the harmonic series (all but "power").
    widths: "auto" or numbers, of "gaussian" and "ard". base_kernel: of "harmonic" and "power".
    series: of "power": "exponential", or the coefficients c_0, c_1, ...
    """

    name: str
    lambda_h: float
    widths: str | ArrayLike
    base_kernel: KernelLike
    series: str | ArrayLike = "exponential"


def make_hyperkernel(
    settings: HyperkernelSettings, points: np.ndarray, weights: np.ndarray | None = None
) -> Hyperkernel:
    """The hyperkernel, with widths from the training points (n, d) when `widths` is "auto".

    Source: Ong et al., (11) power series, (12) harmonic, (13) Gaussian harmonic, (14) ARD.
    Raises: ArgumentError for a base kernel with values outside [0, 1] (then the products need not be
        kernels).
    """
    counts = np.ones(len(points)) if weights is None else weights
    if settings.name == "power":
        return Hyperkernel(_base_similarity(settings.base_kernel, points, counts), _series(settings.series))
    harmonic = HarmonicSeries(settings.lambda_h)
    if settings.name == "harmonic":
        return Hyperkernel(_base_similarity(settings.base_kernel, points, counts), harmonic)
    if settings.name == "gaussian":
        width = _scalar_width(settings.widths, points, counts)
        return Hyperkernel(_GaussianSimilarity(width), harmonic)
    return Hyperkernel(_ArdSimilarity(_feature_widths(settings.widths, points, counts)), harmonic)


def _series(series: str | ArrayLike) -> Callable[[np.ndarray], np.ndarray]:
    """The function g of a power-series hyperkernel."""
    if isinstance(series, str):
        if series != "exponential":
            raise ArgumentError(f"series must be 'exponential' or coefficients, got {series!r}.")
        return exponential_series
    coefficients = np.asarray(series, dtype=np.float64)
    is_valid = coefficients.ndim == 1 and np.all(np.isfinite(coefficients)) and np.all(coefficients >= 0)
    if not is_valid or not coefficients[1:].any():
        raise ArgumentError(
            "series must be coefficients c_0, c_1, ... >= 0, of which one beyond c_0 is above 0: negative "
            f"ones make no kernel, and a constant tells no points apart; got {series!r}."
        )
    return PowerSeries(tuple((coefficients / coefficients.sum()).tolist()))


class _BaseSimilarity:
    """k(x, x') of a cosine-normalised kernel."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel

    def __call__(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        values = GramBank([self.kernel], y, "cosine", "on_the_fly").cross(x, np.ones(1))
        return np.asarray(np.minimum(values, 1.0)[:, :, None])


def _base_similarity(base_kernel: KernelLike, points: np.ndarray, counts: np.ndarray) -> _BaseSimilarity:
    similarity = _BaseSimilarity(as_kernels(base_kernel)[0].resolve(points, counts))
    values = similarity(points, points)
    if values.min() < 0.0:
        raise ArgumentError(
            f"Hyperkernels of a base kernel need one without negative values, got {values.min():.3g} "
            "on the training points. Use 'rbf', 'laplacian' or an even-degree 'poly'."
        )
    return similarity


@dataclass(frozen=True)
class _GaussianSimilarity:
    """exp(-width ||x - x'||^2)."""

    width: float

    def __call__(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.exp(-self.width * squared_distances(x, y))[:, :, None]


@dataclass(frozen=True)
class _ArdSimilarity:
    """exp(-width_j (x_j - x'_j)^2) per feature."""

    widths: np.ndarray

    def __call__(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.asarray(np.exp(-self.widths * (x[:, None, :] - y[None, :, :]) ** 2))


def _quantile(values: np.ndarray, counts: np.ndarray) -> float:
    """The 90 % quantile of values (n, n) between points that count so often; interpolated linearly."""
    pairs = np.outer(counts, counts).ravel()
    order = np.argsort(values, axis=None)
    ranks = np.cumsum(pairs[order])
    place = _QUANTILE * max(float(ranks[-1]) - 1.0, 0.0)
    below = int(np.floor(place * (1 + 1e-12)))
    spots = np.searchsorted(ranks, [below, below + 1], side="right").clip(max=len(ranks) - 1)
    low, high = values.ravel()[order[spots]]
    return float(low + max(0.0, place - below) * (high - low))


def _scalar_width(widths: str | ArrayLike, points: np.ndarray, counts: np.ndarray) -> float:
    if not isinstance(widths, str):
        width = np.asarray(widths, dtype=np.float64)
        if width.ndim != 0 or not width > 0:
            raise ArgumentError(f"widths of 'gaussian' must be one number > 0 or 'auto', got {widths!r}.")
        return float(width)
    _check_auto(widths)
    spread = _quantile(np.sqrt(squared_distances(points, points)), counts)
    return 1.0 / (_WIDTH_FACTOR * spread**2) if spread > 0 else 1.0


def _feature_widths(widths: str | ArrayLike, points: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """(d,) widths s_j of the features."""
    # NOTE: the paper's "50 times the 90% quantile of |x_i - x_j|" can be read in several ways; 1 / (50 q_j^2)
    # is the one whose results agree with its tables.
    if not isinstance(widths, str):
        values = np.broadcast_to(np.asarray(widths, dtype=np.float64), (points.shape[1],)).copy()
        if np.any(values < 0):
            raise ArgumentError(f"widths must not be negative, got a minimum of {values.min():.3g}.")
        return values
    _check_auto(widths)
    spreads = np.array([_quantile(np.abs(f[:, None] - f[None, :]), counts) for f in points.T])
    # A feature that hardly varies has quantile 0: its full range says how far its points lie apart.
    spreads = np.where(spreads > 0, spreads, np.ptp(points, axis=0))
    return np.where(spreads > 0, 1.0 / (_WIDTH_FACTOR * np.where(spreads > 0, spreads, 1.0) ** 2), 0.0)


def _check_auto(widths: str) -> None:
    if widths != "auto":
        raise ArgumentError(f"widths must be 'auto' or numbers, got {widths!r}.")


def distinct_pairs(n: int) -> np.ndarray:
    """(p, 2) pairs i < j of n points, after one pair (0, 0) that stands for all pairs of equal points."""
    i, j = np.triu_indices(n, k=1)
    return np.vstack([[[0, 0]], np.column_stack([i, j])])


def pair_similarities(hyperkernel: Hyperkernel, points: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """(p, D) similarities of the two points of each pair."""
    table = hyperkernel.similarity(points, points)
    return np.asarray(table[pairs[:, 0], pairs[:, 1]])


def incomplete_cholesky(
    hyperkernel: Hyperkernel, pairs: np.ndarray, delta: float, max_rank: int
) -> tuple[np.ndarray, float]:
    """Pivots of a pivoted incomplete Cholesky factorisation of the hyper-Gram matrix.

    Args:
        pairs: (p, D) similarities.
        delta: stop when the largest remaining diagonal is at most delta.
        max_rank: at most so many pivots.
    Returns: pivot indices in order of choice, and the largest remaining diagonal.
    Source: Fine and Scheinberg, JMLR 2001; Ong et al., section 6.
    """
    remaining = hyperkernel.diagonal(pairs)
    columns = np.empty((len(pairs), min(max_rank, len(pairs))))
    pivots: list[int] = []
    while len(pivots) < columns.shape[1]:
        pivot = int(np.argmax(remaining))
        if remaining[pivot] <= delta:
            break
        rank = len(pivots)
        column = hyperkernel.values(pairs, pairs[pivot]) - columns[:, :rank] @ columns[pivot, :rank]
        columns[:, rank] = column / np.sqrt(remaining[pivot])
        remaining = np.maximum(remaining - columns[:, rank] ** 2, 0.0)
        remaining[pivot] = 0.0
        pivots.append(pivot)
    return np.array(pivots), float(remaining.max())


class PivotBank:
    """The kernels k_q(x, x') = hyperkernel(q, (x, x')) of the pivot pairs q; predicts as `GramBank` does.

    Args:
        hyperkernel: with fixed widths.
        points: (n, d) training points.
        pivots: (p, D) similarities of the pivot pairs.
    """

    def __init__(self, hyperkernel: Hyperkernel, points: np.ndarray, pivots: np.ndarray) -> None:
        self.hyperkernel = hyperkernel
        self.points = points
        self.pivots = pivots

    def grams(self) -> np.ndarray:
        """(p, n, n) kernels of the pivots on the training points."""
        table = self.hyperkernel.similarity(self.points, self.points)
        return np.stack([self.hyperkernel.values(table, pivot) for pivot in self.pivots])

    def hyper_gram(self) -> np.ndarray:
        """(p, p) hyperkernel values between the pivots."""
        return np.stack([self.hyperkernel.values(self.pivots, pivot) for pivot in self.pivots])

    def cross(self, x_new: np.ndarray, weights: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """(n_new, n_columns) learnt kernel between new points and the training points in `columns`."""
        y = self.points[columns]
        out = np.zeros((len(x_new), len(y)))
        for rows in _blocks(len(x_new), y.size):
            table = self.hyperkernel.similarity(x_new[rows], y)
            for index in np.flatnonzero(weights):
                out[rows] += weights[index] * self.hyperkernel.values(table, self.pivots[index])
        return out

    def release(self) -> None:
        """Nothing is stored."""


def _blocks(n_rows: int, row_size: int) -> Iterator[slice]:
    step = max(1, _ROWS // max(row_size, 1))
    for start in range(0, n_rows, step):
        yield slice(start, start + step)
