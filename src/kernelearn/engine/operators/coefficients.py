"""Operators that turn the weights of a normalisation into one factor and one offset per channel.

Rewrites use them: (x - mean) / sqrt(variance + epsilon) * gamma + beta = x * factor + offset, and two rows
of coefficients cost nothing next to x.
"""

from typing import Any

import numpy as np

from kernelearn.engine.arrays import Array
from kernelearn.engine.operators.table import Spec, operator, required


def affine_coefficients(
    mean: Array, variance: Array, *scale_and_shift: Array, epsilon: float, has_gamma: bool, has_beta: bool
) -> tuple[Array, Array]:
    """Factor gamma / sqrt(variance + epsilon) and offset beta - mean * factor, each of shape (channels,).

    Args:
        mean, variance: (channels,).
        scale_and_shift: gamma and beta, those that there are.
    """
    rest = list(scale_and_shift)
    gamma = rest.pop(0) if has_gamma else None
    beta = rest.pop(0) if has_beta else None
    factor = 1 / np.sqrt(variance + variance.dtype.type(epsilon))
    factor = factor if gamma is None else gamma * factor
    offset = -mean * factor
    return factor, offset if beta is None else offset + beta


def _rows(mean: Spec, *others: Spec, **attrs: Any) -> tuple[Spec, Spec]:
    return mean, mean


operator(
    "affine_coefficients", _rows, affine_coefficients, attrs=required("epsilon", "has_gamma", "has_beta")
)
