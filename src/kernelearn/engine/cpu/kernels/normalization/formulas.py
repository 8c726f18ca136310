"""Formulas that all normalisations share."""

from __future__ import annotations

from kernelearn.engine.cpu.language.kernel import Kernel


def inverse_deviation(k: Kernel, variance: str, epsilon: float) -> str:
    """1 / sqrt(variance + epsilon)."""
    return k.div(k.constant(1.0), k.intrinsic("sqrt", k.add(variance, k.constant(epsilon))))


def centred_gradient(k: Kernel, g: str, y: str, mean: str, along: str, inverse: str) -> str:
    """inverse * (g - mean - y * along)."""
    return k.mul(inverse, k.sub(k.sub(g, mean), k.mul(y, along)))
