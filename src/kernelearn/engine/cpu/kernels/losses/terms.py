"""Losses entry by entry, as code on vectors: `TERMS`, kind -> (term, slope, mean or sum over the last axis).

term(k, attrs, p, t) is the loss of one entry, prediction p and target t; slope its derivative by p. They
follow `engine.reference.losses` and `engine.reference.crossentropy`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import log as logarithm
from typing import Any

from kernelearn.engine.cpu.language import functions as fn
from kernelearn.engine.cpu.language.kernel import Kernel
from kernelearn.engine.cpu.language.values import Value

Attrs = Mapping[str, Any]
# Keras's backend.epsilon()
EPSILON = 1e-7


@dataclass(frozen=True)
class Term:
    """A loss that is a mean (or a sum) of terms over the last axis.

    has_signs: whether targets are -1 and 1, and labels that are all 0 or 1 are converted.
    """

    value: Callable[..., Value]
    slope: Callable[..., Value]
    is_mean: bool = True
    has_signs: bool = False


def clipped(k: Kernel, p: Value) -> Value:
    """Probabilities kept away from 0 and 1."""
    return fn.clip(p, EPSILON, 1 - EPSILON)


def inside(k: Kernel, p: Value, low: float = EPSILON, high: float = 1 - EPSILON) -> Value:
    """1 where a clip to [low, high] changes nothing, else 0."""
    above, below = k.test("oge", p, k.constant(low)), k.test("ole", p, k.constant(high))
    both = k.op(f"and <{k.width} x i1> {above}, {below}")
    return k.select(both, k.constant(1.0), k.zero)


def _one_minus(k: Kernel, x: Value) -> Value:
    return k.sub(k.constant(1.0), x)


# --- regression


def _squared(k: Kernel, a: Attrs, p: Value, t: Value) -> Value:
    error = k.sub(p, t)
    return k.mul(error, error)


def _squared_slope(k: Kernel, a: Attrs, p: Value, t: Value) -> Value:
    return k.mul(k.sub(p, t), k.constant(2.0))


def _absolute(k: Kernel, a: Attrs, p: Value, t: Value) -> Value:
    return fn.absolute(k.sub(p, t))


def _absolute_slope(k: Kernel, a: Attrs, p: Value, t: Value) -> Value:
    return fn.sign(k.sub(p, t))


def _size(k: Kernel, t: Value) -> Value:
    return k.larger(fn.absolute(t), k.constant(EPSILON))


def _percentage(k: Kernel, a: Attrs, p: Value, t: Value) -> Value:
    return k.mul(k.constant(100.0), k.div(_absolute(k, a, p, t), _size(k, t)))


def _percentage_slope(k: Kernel, a: Attrs, p: Value, t: Value) -> Value:
    return k.mul(k.div(_absolute_slope(k, a, p, t), _size(k, t)), k.constant(100.0))


def _log_difference(k: Kernel, p: Value, t: Value) -> tuple[Value, Value]:
    """log(1 + p) - log(1 + t), negative values counted as zero; and 1 + p."""
    p, t = (k.add(k.larger(x, k.constant(EPSILON)), k.constant(1.0)) for x in (p, t))
    return k.sub(fn.log(p), fn.log(t)), p


def _squared_logarithmic(k: Kernel, a: Attrs, p: Value, t: Value) -> Value:
    difference, _ = _log_difference(k, p, t)
    return k.mul(difference, difference)


def _squared_logarithmic_slope(k: Kernel, a: Attrs, p: Value, t: Value) -> Value:
    difference, moved = _log_difference(k, p, t)
    counts = k.select(k.test("ogt", p, k.constant(EPSILON)), k.constant(2.0), k.zero)
    return k.mul(difference, k.div(counts, moved))


def _huber(k: Kernel, a: Attrs, p: Value, t: Value) -> Value:
    size = _absolute(k, a, p, t)
    inner = k.smaller(size, k.constant(a.get("delta", 1.0)))
    return k.mul(inner, k.sub(size, k.mul(k.constant(0.5), inner)))


def _huber_slope(k: Kernel, a: Attrs, p: Value, t: Value) -> Value:
    delta = a.get("delta", 1.0)
    return fn.clip(k.sub(p, t), -delta, delta)


def _log_cosh(k: Kernel, a: Attrs, p: Value, t: Value) -> Value:
    size = _absolute(k, a, p, t)
    rest = fn.log1p(fn.exp(k.mul(k.constant(-2.0), size)))
    return k.sub(k.add(size, rest), k.constant(logarithm(2)))


def _log_cosh_slope(k: Kernel, a: Attrs, p: Value, t: Value) -> Value:
    return fn.tanh(k.sub(p, t))


def _poisson(k: Kernel, a: Attrs, p: Value, t: Value) -> Value:
    return k.sub(p, k.mul(t, fn.log(k.add(p, k.constant(EPSILON)))))


def _poisson_slope(k: Kernel, a: Attrs, p: Value, t: Value) -> Value:
    return _one_minus(k, k.div(t, k.add(p, k.constant(EPSILON))))


# --- margins; targets are signs


def _missing(k: Kernel, p: Value, t: Value) -> Value:
    """What is missing to a margin of one."""
    return k.larger(_one_minus(k, k.mul(t, p)), k.zero)


def _hinge(k: Kernel, a: Attrs, p: Value, t: Value) -> Value:
    return _missing(k, p, t)


def _hinge_slope(k: Kernel, a: Attrs, p: Value, t: Value) -> Value:
    one = k.constant(1.0)
    return k.mul(-t, k.select(k.test("olt", k.mul(t, p), one), one, k.zero))


def _squared_hinge(k: Kernel, a: Attrs, p: Value, t: Value) -> Value:
    missing = _missing(k, p, t)
    return k.mul(missing, missing)


def _squared_hinge_slope(k: Kernel, a: Attrs, p: Value, t: Value) -> Value:
    return k.mul(k.mul(k.constant(-2.0), t), _missing(k, p, t))


# --- probabilities


def _kl_target(k: Kernel, t: Value) -> Value:
    return fn.clip(t, EPSILON, 1.0)


def _kl(k: Kernel, a: Attrs, p: Value, t: Value) -> Value:
    t = _kl_target(k, t)
    return k.mul(t, fn.log(k.div(t, fn.clip(p, EPSILON, 1.0))))


def _kl_slope(k: Kernel, a: Attrs, p: Value, t: Value) -> Value:
    ratio = k.div(-_kl_target(k, t), fn.clip(p, EPSILON, 1.0))
    return k.mul(ratio, inside(k, p, EPSILON, 1.0))


def _smoothed(k: Kernel, a: Attrs, t: Value) -> Value:
    smoothing = a.get("label_smoothing", 0.0)
    if not smoothing:
        return t
    return k.add(k.mul(t, k.constant(1 - smoothing)), k.constant(0.5 * smoothing))


def _binary_term(k: Kernel, a: Attrs, p: Value, t: Value) -> Value:
    """-t log p - (1 - t) log(1 - p), the targets smoothed already."""
    if a.get("from_logits"):
        return k.sub(fn.softplus(p), k.mul(t, p))
    q = clipped(k, p)
    yes, no = k.mul(t, fn.log(q)), k.mul(_one_minus(k, t), fn.log(_one_minus(k, q)))
    return -k.add(yes, no)


def _binary_term_slope(k: Kernel, a: Attrs, p: Value, t: Value) -> Value:
    if a.get("from_logits"):
        return k.sub(fn.sigmoid(p), t)
    q = clipped(k, p)
    ratio = k.div(k.sub(q, t), k.mul(q, _one_minus(k, q)))
    return k.mul(ratio, inside(k, p))


def _binary(k: Kernel, a: Attrs, p: Value, t: Value) -> Value:
    return _binary_term(k, a, p, _smoothed(k, a, t))


def _binary_slope(k: Kernel, a: Attrs, p: Value, t: Value) -> Value:
    return _binary_term_slope(k, a, p, _smoothed(k, a, t))


def power_and_slope(k: Kernel, base: Value, gamma: float) -> tuple[Value, Value]:
    """base^gamma and its derivative, which counts as 0 at base 0."""
    positive = k.test("ogt", base, k.zero)
    safe = k.select(positive, base, k.constant(1.0))
    slope = k.mul(k.constant(gamma), fn.power(safe, gamma - 1))
    return fn.power(base, gamma), k.select(positive, slope, k.zero)


def _focal_parts(k: Kernel, a: Attrs, p: Value, t: Value) -> tuple[Value, Value, Value | None]:
    """Probabilities, 1 - p_t, and the class weights."""
    p = fn.sigmoid(p) if a.get("from_logits") else p
    right = k.add(k.mul(t, p), k.mul(_one_minus(k, t), _one_minus(k, p)))
    if not a.get("apply_class_balancing"):
        return p, _one_minus(k, right), None
    alpha = a.get("alpha", 0.25)
    weight = k.add(k.mul(t, k.constant(alpha)), k.mul(_one_minus(k, t), k.constant(1 - alpha)))
    return p, _one_minus(k, right), weight


def _binary_focal(k: Kernel, a: Attrs, p: Value, t: Value) -> Value:
    t = _smoothed(k, a, t)
    _, miss, weight = _focal_parts(k, a, p, t)
    focus, _ = power_and_slope(k, miss, a.get("gamma", 2.0))
    focus = focus if weight is None else k.mul(weight, focus)
    return k.mul(focus, _binary_term(k, a, p, t))


def _binary_focal_slope(k: Kernel, a: Attrs, p: Value, t: Value) -> Value:
    t = _smoothed(k, a, t)
    probability, miss, weight = _focal_parts(k, a, p, t)
    focus, focus_slope = power_and_slope(k, miss, a.get("gamma", 2.0))
    miss_slope = _one_minus(k, k.mul(k.constant(2.0), t))
    if a.get("from_logits"):
        miss_slope = k.mul(miss_slope, k.mul(probability, _one_minus(k, probability)))
    by_focus = k.mul(k.mul(focus_slope, miss_slope), _binary_term(k, a, p, t))
    slope = k.fma(focus, _binary_term_slope(k, a, p, t), by_focus)
    return slope if weight is None else k.mul(weight, slope)


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
