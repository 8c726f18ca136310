"""Formulas that all normalisations share."""

from __future__ import annotations

from kernelearn.engine.cpu.language.functions import sqrt
from kernelearn.engine.cpu.language.values import Value


def inverse_deviation(variance: Value, epsilon: float) -> Value:
    """1 / sqrt(variance + epsilon)."""
    return 1.0 / sqrt(variance + epsilon)


def centred_gradient(g: Value, y: Value, mean: Value, along: Value, inverse: Value) -> Value:
    """inverse * (g - mean - y * along)."""
    return inverse * (g - mean - y * along)
