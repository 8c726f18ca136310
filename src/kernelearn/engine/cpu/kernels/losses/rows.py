"""Losses of whole rows of predictions besides the cross-entropies: cosine similarity, the categorical hinge,
the focal categorical cross-entropy. Value and gradient, row by row; the equations are in
`engine.reference.losses` and `engine.reference.crossentropy`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from kernelearn.engine.cpu.kernels.losses import crossentropy
from kernelearn.engine.cpu.kernels.losses.crossentropy import Attrs, Part, Sample
from kernelearn.engine.cpu.kernels.losses.terms import EPSILON, clipped, inside, power_and_slope
from kernelearn.engine.cpu.language import functions as fn
from kernelearn.engine.cpu.language.kernel import Index, Kernel
from kernelearn.engine.cpu.language.reduce import only
from kernelearn.engine.cpu.language.tables import Table
from kernelearn.engine.cpu.language.values import Value


@dataclass(frozen=True)
class RowLoss:
    """value(sample) is the loss in every lane; gradient(sample, factor) writes its slope times a factor."""

    value: Callable[[Sample], Value]
    gradient: Callable[[Sample, Value], None]


# --- cosine similarity


def _norm(sample: Sample, load: Part) -> Value:
    """Length of the row, at least epsilon."""

    def square(c: Index | int, mask: Value | None) -> Value:
        x = load(c, mask)
        return x * x

    return fn.larger(fn.sqrt(sample.sum_over(square)), EPSILON)


def _units(sample: Sample) -> tuple[Part, Part, Value]:
    """Targets and predictions, each divided by its length, and the length of the predictions."""
    norm_t, norm_p = _norm(sample, sample.target), _norm(sample, sample.load)
    return (
        lambda c, mask: sample.target(c, mask) / norm_t,
        lambda c, mask: sample.load(c, mask) / norm_p,
        norm_p,
    )


def _cosine(sample: Sample) -> Value:
    """-sum(t / |t| * p / |p|)"""
    unit_t, unit_p, _ = _units(sample)
    return -sample.sum_over(lambda c, mask: unit_t(c, mask) * unit_p(c, mask))


def _cosine_gradient(sample: Sample, factor: Value) -> None:
    """(u_p sum(u_t u_p) - u_t) / |p|; no sum where |p| was raised to epsilon."""
    unit_t, unit_p, norm = _units(sample)
    along = sample.sum_over(lambda c, mask: unit_t(c, mask) * unit_p(c, mask))
    along = along * (norm > EPSILON).choose(1.0, sample.k.zero)
    sample.write(lambda c, mask: (unit_p(c, mask) * along - unit_t(c, mask)) / norm * factor)


# --- the categorical hinge


def _other(sample: Sample, c: Index | int, mask: Value | None) -> Value:
    """(1 - t) p: the scores of the other classes."""
    return (1.0 - sample.target(c, mask)) * sample.load(c, mask)


def _margin(sample: Sample) -> tuple[Value, Value]:
    """The best other score, NaN if any is; and best other score - own score + 1."""
    k, lowest = sample.k, sample.k.constant(-math.inf)
    best = k.register(start=lowest)

    def compare(c: Index | int, mask: Value | None, held: Value | None) -> None:
        k.set(best, fn.maximum(k.get(best), only(mask, _other(sample, c, mask), lowest)))

    sample.row.each(compare)
    top = k.splat(k.largest(k.get(best)))
    own = sample.sum_over(lambda c, mask: sample.target(c, mask) * sample.load(c, mask))
    return top, top - own + 1.0


def _categorical_hinge(sample: Sample) -> Value:
    """max(best other score - own score + 1, 0)"""
    return fn.larger(_margin(sample)[1], sample.k.zero)


def _numbers(k: Kernel, c: Index | int) -> Value:
    """c, c + 1, ... in the lanes, as float32: exact below 2^24."""
    kind = k.vector.of("i32")
    lanes = k.named("<" + ", ".join(f"i32 {lane}" for lane in range(k.width)) + ">", kind)
    first = (k.const(c) if isinstance(c, int) else c).to_int().splat()
    return (lanes + first).to_float()


def _rival(sample: Sample, top: Value) -> Value:
    """The number of the first class whose other score is the best, in every lane."""
    k = sample.k
    none = k.constant(-math.inf)
    # Numbers below zero, because the largest lane is at hand.
    minus_first = k.register(start=none)

    def compare(c: Index | int, mask: Value | None, held: Value | None) -> None:
        is_best = _other(sample, c, mask).equals(top)
        number = is_best.choose(-_numbers(k, c), none)
        k.set(minus_first, fn.larger(k.get(minus_first), only(mask, number, none)))

    sample.row.each(compare)
    return -k.splat(k.largest(k.get(minus_first)))


def _categorical_hinge_gradient(sample: Sample, factor: Value) -> None:
    """-t, and 1 - t more at the best other class; zero where the margin is kept."""
    k = sample.k
    top, margin = _margin(sample)
    rival = _rival(sample, top)
    counts = (margin > k.zero).choose(1.0, k.zero)

    def slope(c: Index | int, mask: Value | None) -> Value:
        t = sample.target(c, mask)
        minus = -t
        at_rival = minus + 1.0 - t
        return _numbers(k, c).equals(rival).choose(at_rival, minus) * counts * factor

    sample.write(slope)


# --- focal cross-entropy: Lin et al. (2017), https://arxiv.org/abs/1708.02002


def _weights(sample: Sample) -> Part:
    """alpha of every class."""
    k, alpha = sample.k, sample.attrs["alpha"]
    if isinstance(alpha, int | float):
        return lambda c, mask: k.constant(alpha)
    values = [float(v) for v in alpha]
    if len(values) == 1:
        return lambda c, mask: k.constant(values[0])
    return Table(k, "alpha", values).vector


def is_supported(attrs: Attrs, classes: int) -> bool:
    """Whether there are as many weights as classes, or one."""
    if "alpha" not in attrs:
        return True
    alpha = attrs["alpha"]
    return isinstance(alpha, int | float) or (isinstance(alpha, list | tuple) and len(alpha) in (1, classes))


def _probabilities(sample: Sample) -> tuple[Callable[[Value], tuple[Value, Value, Value]], Value]:
    """Function: prediction -> p, log p, p before it was clipped; and the row's sum (of exponentials)."""
    if sample.attrs["from_logits"]:
        top, total, _ = crossentropy.exponentials(sample)
        logarithm = fn.log(total)

        def of_logit(x: Value) -> tuple[Value, Value, Value]:
            log_p = x - top - logarithm
            p = fn.exp(log_p)
            return p, log_p, p

        return of_logit, total
    total = crossentropy.row_sum(sample)

    def of_share(x: Value) -> tuple[Value, Value, Value]:
        raw = x / total
        p = clipped(raw)
        return p, fn.log(p), raw

    return of_share, total


def _focal(sample: Sample) -> Value:
    """-sum(alpha (1 - p)^gamma t log p)"""
    gamma = float(sample.attrs["gamma"])
    alpha = _weights(sample)
    of, _ = _probabilities(sample)

    def term(c: Index | int, mask: Value | None) -> Value:
        p, log_p, _ = of(sample.load(c, mask))
        focus, _ = power_and_slope(1.0 - p, gamma)
        return alpha(c, mask) * focus * sample.target(c, mask) * log_p

    return -sample.sum_over(term)


def _focal_gradient(sample: Sample, factor: Value) -> None:
    """With u = p d value / d p: u - p sum(u) by logits; by scores u / p through the normalisation."""
    gamma = float(sample.attrs["gamma"])
    alpha = _weights(sample)
    of, total = _probabilities(sample)

    def parts(c: Index | int, mask: Value | None) -> tuple[Value, Value, Value]:
        """u, p and p before it was clipped."""
        p, log_p, raw = of(sample.load(c, mask))
        focus, slope = power_and_slope(1.0 - p, gamma)
        inner = focus - slope * p * log_p
        weight = -(alpha(c, mask) * sample.target(c, mask))
        return weight * inner, p, raw

    def by_logit(c: Index | int, mask: Value | None) -> Value:
        u, p, _ = parts(c, mask)
        return (u - p * along) * factor

    def by_share(c: Index | int, mask: Value | None) -> tuple[Value, Value]:
        u, p, raw = parts(c, mask)
        return u / p * inside(raw), raw

    def product(c: Index | int, mask: Value | None) -> Value:
        slope, raw = by_share(c, mask)
        return slope * raw

    if sample.attrs["from_logits"]:
        along = sample.sum_over(lambda c, mask: parts(c, mask)[0])
        sample.write(by_logit)
    else:
        along = sample.sum_over(product)
        sample.write(lambda c, mask: (by_share(c, mask)[0] - along) / total * factor)


ROW_LOSSES: dict[str, RowLoss] = {
    **{kind: RowLoss(crossentropy.value, crossentropy.write_gradient) for kind in crossentropy.KINDS},
    "cosine_similarity": RowLoss(_cosine, _cosine_gradient),
    "categorical_hinge": RowLoss(_categorical_hinge, _categorical_hinge_gradient),
    "categorical_focal_crossentropy": RowLoss(_focal, _focal_gradient),
}
