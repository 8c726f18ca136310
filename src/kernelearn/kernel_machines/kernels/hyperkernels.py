"""Hyperkernels: kernels between pairs of points, from which a kernel between points is learnt.

Ong, Smola and Williamson, Learning the kernel with hyperkernels, JMLR 2005. All three families here are
prod_j (1 - l) / (1 - l s_j(pair) s_j(pair')) for similarities s_j in [0, 1] of the two points of a pair.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from kernelearn.errors import ArgumentError
from kernelearn.kernel_machines.kernels.functions import Kernel, as_kernels, squared_distances
from kernelearn.kernel_machines.kernels.grams import GramBank

HYPERKERNELS = ("harmonic", "gaussian", "ard")
_QUANTILE = 0.9
_WIDTH_FACTOR = 50.0
_ROWS = 2**18


@dataclass(frozen=True)
class Hyperkernel:
    """A hyperkernel with its widths fixed.

    similarity: x (n, d), x' (m, d) -> (n, m, D), values in [0, 1], 1 for equal points.
    lambda_h: l in (0, 1); near 1 it favours wide sums of powers of the similarities, near 0 constant kernels.
    """

    similarity: Callable[[np.ndarray, np.ndarray], np.ndarray]
    lambda_h: float

    def values(self, pairs: np.ndarray, pivot: np.ndarray) -> np.ndarray:
        """Hyperkernel between similarities `pairs` (..., D) and one pair's similarities (D,)."""
        depth = pairs.shape[-1]
        logs = np.log1p(-self.lambda_h * pairs * pivot)
        return np.exp(depth * np.log1p(-self.lambda_h) - logs.sum(axis=-1))

    def diagonal(self, pairs: np.ndarray) -> np.ndarray:
        """Hyperkernel of every pair with itself, (...)."""
        return self.values(pairs, pairs)


def make_hyperkernel(
    name: str, lambda_h: float, widths: Any, base_kernel: Any, points: np.ndarray
) -> Hyperkernel:
    """The hyperkernel `name`, with widths from the training points (n, d) when `widths` is "auto".

    Source: Ong et al., (12) harmonic, (13) Gaussian harmonic, (14) ARD.
    Raises: ArgumentError for a base kernel with values outside [0, 1] (then the products need not be
        kernels).
    """
    if name == "harmonic":
        return Hyperkernel(_base_similarity(base_kernel, points), lambda_h)
    if name == "gaussian":
        width = _scalar_width(widths, points)
        return Hyperkernel(_GaussianSimilarity(width), lambda_h)
    return Hyperkernel(_ArdSimilarity(_feature_widths(widths, points)), lambda_h)


class _BaseSimilarity:
    """k(x, x') of a cosine-normalised kernel."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel

    def __call__(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        values = GramBank([self.kernel], y, "cosine", "on_the_fly").cross(x, np.ones(1))
        return np.minimum(values, 1.0)[:, :, None]


def _base_similarity(base_kernel: Any, points: np.ndarray) -> _BaseSimilarity:
    similarity = _BaseSimilarity(as_kernels(base_kernel)[0].resolve(points))
    values = similarity(points, points)
    if values.min() < 0.0:
        raise ArgumentError(
            f"The harmonic hyperkernel needs a base kernel without negative values, got {values.min():.3g} "
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
        return np.exp(-self.widths * (x[:, None, :] - y[None, :, :]) ** 2)


def _scalar_width(widths: Any, points: np.ndarray) -> float:
    if not isinstance(widths, str):
        if np.ndim(widths) != 0 or not float(widths) > 0:
            raise ArgumentError(f"widths of 'gaussian' must be one number > 0 or 'auto', got {widths!r}.")
        return float(widths)
    _check_auto(widths)
    spread = float(np.quantile(np.sqrt(squared_distances(points, points)), _QUANTILE))
    return 1.0 / (_WIDTH_FACTOR * spread**2) if spread > 0 else 1.0


def _feature_widths(widths: Any, points: np.ndarray) -> np.ndarray:
    """(d,) widths s_j of the features."""
    # NOTE: the paper's "50 times the 90% quantile of |x_i - x_j|" can be read in several ways; 1 / (50 q_j^2)
    # is the one whose results agree with its tables.
    if not isinstance(widths, str):
        values = np.broadcast_to(np.asarray(widths, dtype=np.float64), (points.shape[1],)).copy()
        if np.any(values < 0):
            raise ArgumentError(f"widths must not be negative, got a minimum of {values.min():.3g}.")
        return values
    _check_auto(widths)
    spreads = np.array([np.quantile(np.abs(f[:, None] - f[None, :]), _QUANTILE) for f in points.T])
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
    return table[pairs[:, 0], pairs[:, 1]]


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
