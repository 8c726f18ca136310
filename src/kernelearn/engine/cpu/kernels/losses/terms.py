"""Losses entry by entry, as code on vectors: `TERMS`, kind -> (term, slope, mean or sum over the last axis).

term(attrs, p, t) is the loss of one entry, prediction p and target t; slope its derivative by p. They
follow `engine.reference.losses` and `engine.reference.crossentropy`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import log as logarithm
from typing import Any

from kernelearn.engine.cpu.language import functions as fn
from kernelearn.engine.cpu.language.values import Value

Attrs = Mapping[str, Any]
# Keras's backend.epsilon()
EPSILON = 1e-7


# (attributes of the loss, predictions, targets) -> a number for each
Formula = Callable[[Attrs, Value, Value], Value]


@dataclass(frozen=True)
class Term:
    """A loss that is a mean (or a sum) of terms over the last axis.

    has_signs: whether targets are -1 and 1, and labels that are all 0 or 1 are converted.
    """

    value: Formula
    slope: Formula
    is_mean: bool = True
    has_signs: bool = False


def clipped(p: Value) -> Value:
    """Probabilities kept away from 0 and 1."""
    return fn.clip(p, EPSILON, 1 - EPSILON)


def inside(p: Value, low: float = EPSILON, high: float = 1 - EPSILON) -> Value:
    """1 where a clip to [low, high] changes nothing, else 0."""
    return ((p >= low) & (p <= high)).choose(1.0, p.kernel.zero)


# --- regression


def _squared(a: Attrs, p: Value, t: Value) -> Value:
    error = p - t
    return error * error


def _squared_slope(a: Attrs, p: Value, t: Value) -> Value:
    return (p - t) * 2.0


def _absolute(a: Attrs, p: Value, t: Value) -> Value:
    return fn.absolute(p - t)


def _absolute_slope(a: Attrs, p: Value, t: Value) -> Value:
    return fn.sign(p - t)


def _size(t: Value) -> Value:
    return fn.larger(fn.absolute(t), EPSILON)


def _percentage(a: Attrs, p: Value, t: Value) -> Value:
    return 100.0 * (_absolute(a, p, t) / _size(t))


def _percentage_slope(a: Attrs, p: Value, t: Value) -> Value:
    return _absolute_slope(a, p, t) / _size(t) * 100.0


def _log_difference(p: Value, t: Value) -> tuple[Value, Value]:
    """log(1 + p) - log(1 + t), negative values counted as zero; and 1 + p."""
    p, t = (fn.larger(x, EPSILON) + 1.0 for x in (p, t))
    return fn.log(p) - fn.log(t), p


def _squared_logarithmic(a: Attrs, p: Value, t: Value) -> Value:
    difference, _ = _log_difference(p, t)
    return difference * difference


def _squared_logarithmic_slope(a: Attrs, p: Value, t: Value) -> Value:
    difference, moved = _log_difference(p, t)
    counts = (p > EPSILON).choose(2.0, p.kernel.zero)
    return difference * (counts / moved)


def _huber(a: Attrs, p: Value, t: Value) -> Value:
    size = _absolute(a, p, t)
    inner = fn.smaller(size, a.get("delta", 1.0))
    return inner * (size - 0.5 * inner)


def _huber_slope(a: Attrs, p: Value, t: Value) -> Value:
    delta = a.get("delta", 1.0)
    return fn.clip(p - t, -delta, delta)


def _log_cosh(a: Attrs, p: Value, t: Value) -> Value:
    size = _absolute(a, p, t)
    rest = fn.log1p(fn.exp(-2.0 * size))
    return size + rest - logarithm(2)


def _log_cosh_slope(a: Attrs, p: Value, t: Value) -> Value:
    return fn.tanh(p - t)


def _poisson(a: Attrs, p: Value, t: Value) -> Value:
    return p - t * fn.log(p + EPSILON)


def _poisson_slope(a: Attrs, p: Value, t: Value) -> Value:
    return 1.0 - t / (p + EPSILON)


# --- margins; targets are signs


def _missing(p: Value, t: Value) -> Value:
    """What is missing to a margin of one."""
    return fn.larger(1.0 - t * p, p.kernel.zero)


def _hinge(a: Attrs, p: Value, t: Value) -> Value:
    return _missing(p, t)


def _hinge_slope(a: Attrs, p: Value, t: Value) -> Value:
    return -t * (t * p < 1.0).choose(1.0, p.kernel.zero)


def _squared_hinge(a: Attrs, p: Value, t: Value) -> Value:
    missing = _missing(p, t)
    return missing * missing


def _squared_hinge_slope(a: Attrs, p: Value, t: Value) -> Value:
    return -2.0 * t * _missing(p, t)


# --- probabilities


def _kl_target(t: Value) -> Value:
    return fn.clip(t, EPSILON, 1.0)


def _kl(a: Attrs, p: Value, t: Value) -> Value:
    t = _kl_target(t)
    return t * fn.log(t / fn.clip(p, EPSILON, 1.0))


def _kl_slope(a: Attrs, p: Value, t: Value) -> Value:
    ratio = -_kl_target(t) / fn.clip(p, EPSILON, 1.0)
    return ratio * inside(p, EPSILON, 1.0)


def _smoothed(a: Attrs, t: Value) -> Value:
    smoothing = float(a.get("label_smoothing", 0.0))
    if not smoothing:
        return t
    return t * (1 - smoothing) + 0.5 * smoothing


def _binary_term(a: Attrs, p: Value, t: Value) -> Value:
    """-t log p - (1 - t) log(1 - p), the targets smoothed already."""
    if a.get("from_logits"):
        return fn.softplus(p) - t * p
    q = clipped(p)
    return -(t * fn.log(q) + (1.0 - t) * fn.log(1.0 - q))


def _binary_term_slope(a: Attrs, p: Value, t: Value) -> Value:
    if a.get("from_logits"):
        return fn.sigmoid(p) - t
    q = clipped(p)
    return (q - t) / (q * (1.0 - q)) * inside(p)


def _binary(a: Attrs, p: Value, t: Value) -> Value:
    return _binary_term(a, p, _smoothed(a, t))


def _binary_slope(a: Attrs, p: Value, t: Value) -> Value:
    return _binary_term_slope(a, p, _smoothed(a, t))


def power_and_slope(base: Value, gamma: float) -> tuple[Value, Value]:
    """base^gamma and its derivative, which counts as 0 at base 0."""
    zero = base.kernel.zero
    is_positive = base > zero
    slope = gamma * fn.power(is_positive.choose(base, 1.0), gamma - 1)
    return fn.power(base, gamma), is_positive.choose(slope, zero)


def _focal_parts(a: Attrs, p: Value, t: Value) -> tuple[Value, Value, Value | None]:
    """Probabilities, 1 - p_t, and the class weights."""
    p = fn.sigmoid(p) if a.get("from_logits") else p
    right = t * p + (1.0 - t) * (1.0 - p)
    if not a.get("apply_class_balancing"):
        return p, 1.0 - right, None
    alpha = float(a.get("alpha", 0.25))
    weight = t * alpha + (1.0 - t) * (1 - alpha)
    return p, 1.0 - right, weight


def _binary_focal(a: Attrs, p: Value, t: Value) -> Value:
    t = _smoothed(a, t)
    _, miss, weight = _focal_parts(a, p, t)
    focus, _ = power_and_slope(miss, a.get("gamma", 2.0))
    focus = focus if weight is None else weight * focus
    return focus * _binary_term(a, p, t)


def _binary_focal_slope(a: Attrs, p: Value, t: Value) -> Value:
    t = _smoothed(a, t)
    probability, miss, weight = _focal_parts(a, p, t)
    focus, focus_slope = power_and_slope(miss, a.get("gamma", 2.0))
    miss_slope = 1.0 - 2.0 * t
    if a.get("from_logits"):
        miss_slope = miss_slope * (probability * (1.0 - probability))
    by_focus = focus_slope * miss_slope * _binary_term(a, p, t)
    slope = fn.fma(focus, _binary_term_slope(a, p, t), by_focus)
    return slope if weight is None else weight * slope


TERMS: dict[str, Term] = {
    "mean_squared_error": Term(_squared, _squared_slope),
    "mean_absolute_error": Term(_absolute, _absolute_slope),
    "mean_absolute_percentage_error": Term(_percentage, _percentage_slope),
    "mean_squared_logarithmic_error": Term(_squared_logarithmic, _squared_logarithmic_slope),
    "huber": Term(_huber, _huber_slope),
    "log_cosh": Term(_log_cosh, _log_cosh_slope),
    "poisson": Term(_poisson, _poisson_slope),
    "hinge": Term(_hinge, _hinge_slope, has_signs=True),
    "squared_hinge": Term(_squared_hinge, _squared_hinge_slope, has_signs=True),
    "kl_divergence": Term(_kl, _kl_slope, is_mean=False),
    "binary_crossentropy": Term(_binary, _binary_slope),
    "binary_focal_crossentropy": Term(_binary_focal, _binary_focal_slope),
}
