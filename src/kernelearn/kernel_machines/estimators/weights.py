"""Weights of points and classes: how often a point counts, and how much its loss does."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from kernelearn.errors import ArgumentError, DataError, ShapeError

# class_weight of a classifier: nothing, equal shares, or label -> factor.
ClassWeight = Mapping[object, float] | str | None


def check_sample_weight(sample_weight: ArrayLike | None, n: int) -> np.ndarray:
    """(n,) nonnegative finite float64 weights; ones for None, a number stands for itself everywhere.

    Raises: ShapeError, DataError for NaN, negative weights, or none above zero.
    """
    if sample_weight is None:
        return np.ones(n)
    weights = np.array(sample_weight, dtype=np.float64)
    if weights.ndim == 0:
        weights = np.full(n, float(weights))
    if weights.shape != (n,):
        raise ShapeError(
            f"sample_weight must have one number for each of the {n} points, shape ({n},); "
            f"got shape {weights.shape}."
        )
    if not np.all(np.isfinite(weights)) or weights.min() < 0.0:
        raise DataError(
            f"sample_weight must be finite and not negative: a point with weight 2 counts as two, one with 0 "
            f"is left out. Its minimum here is {weights.min()!r}."
        )
    if not weights.any():
        raise DataError("sample_weight is zero for every point, which leaves nothing to learn from.")
    return weights


def class_factors(class_weight: ClassWeight, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(n,) factors of the losses by class.

    Args:
        class_weight: None, "balanced" (every class gets the same total), or a dict from label to a number >
            0; labels that it leaves out have 1.
        labels: (n,). weights: (n,) sample weights.
    Raises: ArgumentError for another value, a label that does not occur, or a number that is not above zero.
    """
    classes, codes = np.unique(labels, return_inverse=True)
    if class_weight is None:
        return np.ones(len(labels))
    if isinstance(class_weight, str) and class_weight == "balanced":
        totals = np.bincount(codes, weights)
        return np.asarray((weights.sum() / (len(classes) * totals))[codes])
    if not isinstance(class_weight, Mapping):
        raise ArgumentError(
            f"class_weight must be None, 'balanced' or a dict from label to weight, got {class_weight!r}."
        )
    known = classes.tolist()
    unknown = [label for label in class_weight if label not in known]
    if unknown:
        raise ArgumentError(
            f"class_weight names {', '.join(map(repr, unknown))}, which is not among the labels "
            f"{', '.join(map(repr, known))}."
        )
    factors = np.array([float(class_weight.get(label, 1.0)) for label in known])
    if not (np.all(np.isfinite(factors)) and factors.min() > 0.0):
        raise ArgumentError(
            f"class_weight must be above 0 for every class, got {dict(class_weight)!r}. To leave a class "
            "out, leave its points out."
        )
    return factors[codes]
