"""Penalties on weights and their gradients, collected in `REGULARIZERS`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from kernelearn.engine.arrays import Array

EPSILON = 1e-7


@dataclass(frozen=True)
class Penalty:
    """A penalty as two functions of the weights.

    value(w, **attrs) gives a float; gradient(w, **attrs) its derivative, shape and dtype of w.
    attrs: its attributes with their defaults; both functions take all of them.
    """

    function: Callable[..., float]
    slope: Callable[..., Array]
    attrs: Mapping[str, Any]

    def value(self, w: Array, **attrs: Any) -> float:
        return self.function(w, **{**self.attrs, **attrs})

    def gradient(self, w: Array, **attrs: Any) -> Array:
        return self.slope(w, **{**self.attrs, **attrs})


def l1l2(w: Array, l1: float, l2: float) -> float:
    """l1 sum |w| + l2 sum w^2, as in Keras without a factor 1/2; summed in float64."""
    total = l1 * float(np.sum(np.abs(w), dtype=np.float64)) if l1 else 0.0
    return total + (l2 * float(np.sum(np.square(w), dtype=np.float64)) if l2 else 0.0)


def l1l2_gradient(w: Array, l1: float, l2: float) -> Array:
    """l1 sign(w) + 2 l2 w."""
    gradient = (2 * l2) * w
    return gradient + l1 * np.sign(w) if l1 else gradient


def _unit_vectors(w: Array, mode: str) -> tuple[Array, Array]:
    """The rows or columns of w as a matrix of unit vectors (one per row), and their lengths."""
    matrix = w.reshape(-1, w.shape[-1])
    vectors = matrix if mode == "rows" else matrix.T
    lengths = np.maximum(np.sqrt(np.sum(vectors * vectors, axis=1, keepdims=True)), EPSILON)
    return vectors / lengths, lengths


def _cosines(unit: Array) -> Array:
    """Cosines between all pairs of unit vectors, zero on the diagonal."""
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, 0)
    return cosines


def orthogonal(w: Array, factor: float, mode: str) -> float:
    """factor times the mean of |cosine| over all pairs of rows, or of columns; 0 for a single vector.

    A kernel with more than two axes counts as the matrix (rest, filters): its columns are the filters.
    """
    unit, _ = _unit_vectors(w, mode)
    pairs = len(unit) * (len(unit) - 1) / 2
    return factor * 0.5 * float(np.sum(np.abs(_cosines(unit)))) / pairs if pairs else 0.0


def orthogonal_gradient(w: Array, factor: float, mode: str) -> Array:
    """Derivative of `orthogonal`: through the pairs, then through the scaling to unit length."""
    unit, lengths = _unit_vectors(w, mode)
    pairs = len(unit) * (len(unit) - 1) / 2
    if not pairs:
        return np.zeros_like(w)
    by_unit = (factor / pairs) * (np.sign(_cosines(unit)) @ unit)
    gradient = (by_unit - unit * np.sum(by_unit * unit, axis=1, keepdims=True)) / lengths
    return (gradient if mode == "rows" else gradient.T).reshape(w.shape)


REGULARIZERS: dict[str, Penalty] = {
    "l1l2": Penalty(l1l2, l1l2_gradient, {"l1": 0.0, "l2": 0.0}),
    "orthogonal": Penalty(orthogonal, orthogonal_gradient, {"factor": 0.01, "mode": "rows"}),
}
