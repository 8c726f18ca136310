"""Cross-entropies of classes, row by row: value and gradient.

From logits or from probabilities, of class numbers or of target rows; the equations are in
`engine.reference.crossentropy`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from kernelearn.engine.cpu.kernels.losses.terms import clipped, inside
from kernelearn.engine.cpu.kernels.softmax.rows import row_max
from kernelearn.engine.cpu.language import functions as fn
from kernelearn.engine.cpu.language.kernel import Index, Kernel
from kernelearn.engine.cpu.language.loops import Row
from kernelearn.engine.cpu.language.reduce import accumulate, lane_sum, only
from kernelearn.engine.cpu.language.values import Value

Attrs = Mapping[str, Any]
KINDS = ("sparse_categorical_crossentropy", "categorical_crossentropy")


# One vector of a row: (first entry, mask) -> values.
Part = Callable[[Index | int, Value | None], Value]


@dataclass
class Sample:
    """One row of predictions at `at` (role "p") with its target: a class number or a row of role "t".

    label: the class number of the sample, or None.
    """

    k: Kernel
    row: Row
    at: Index
    attrs: Attrs
    label: Value | None

    @property
    def smoothing(self) -> float:
        return float(self.attrs.get("label_smoothing", 0.0))  # hinges and cosines have none

    def load(self, c: Index | int, mask: Value | None) -> Value:
        return self.k.load("p", self.at + c, mask)

    def target(self, c: Index | int, mask: Value | None) -> Value:
        """Targets, smoothed; anything outside of the mask."""
        extra = self.smoothing / self.row.size
        if self.label is None:
            t = self.k.load("t", self.at + c, mask)
            return t * (1 - self.smoothing) + extra if self.smoothing else t
        is_label = self._lanes_of_label(self.label, c)
        return is_label.choose(self.k.constant(1 - self.smoothing + extra), extra)

    def _lanes_of_label(self, label: Value, c: Index | int) -> Value:
        k = self.k
        numbers = ", ".join(f"i64 {lane}" for lane in range(k.width))
        wanted = (label - k.named(str(c), label.type)).splat()
        return k.named(f"<{numbers}>", wanted.type).equals(wanted)

    def sum_over(self, part: Part) -> Value:
        """The sum of part(c, mask) over the row, in every lane."""
        total, zero = self.k.register(start=self.k.zero), self.k.zero
        self.row.each(lambda c, mask, held: accumulate(total, only(mask, part(c, mask), zero)))
        return lane_sum(self.k.get(total))

    def sum_of_targets(self) -> Value:
        return self.k.constant(1.0) if self.label is not None else self.sum_over(self.target)

    def write(self, part: Part) -> None:
        """part(c, mask) to role "out"."""
        self.row.each(lambda c, mask, held: self.k.store(part(c, mask), "out", self.at + c, mask))


def value(sample: Sample) -> Value:
    """The loss of one sample, in every lane; NaN for a label that is no class."""
    log_p = _log_softmax(sample) if sample.attrs["from_logits"] else _log_share(sample)
    k, label = sample.k, sample.label
    if label is None:
        return -_expected(sample, log_p)
    is_class = label.test("ult", sample.row.size)
    if sample.smoothing:
        found = _expected(sample, log_p)
    else:
        found = log_p(k.broadcast("p", sample.at + Index(k, is_class.choose(label, 0))))
    return is_class.splat().choose(-found, math.nan)


def _expected(sample: Sample, log_p: Callable[[Value], Value]) -> Value:
    """sum of t log p over the classes."""
    return sample.sum_over(lambda c, mask: sample.target(c, mask) * log_p(sample.load(c, mask)))


def _log_softmax(sample: Sample) -> Callable[[Value], Value]:
    """x -> x - top - log(sum of e^(x - top))."""
    top, total, _ = exponentials(sample)
    logarithm = fn.log(total)
    return lambda x: x - top - logarithm


def _log_share(sample: Sample) -> Callable[[Value], Value]:
    """x -> log of x as a share of the row's sum, clipped."""
    total = row_sum(sample)
    return lambda x: fn.log(clipped(x / total))


def row_sum(sample: Sample) -> Value:
    k = sample.k
    total = k.register(start=k.zero)
    # Lanes outside of the mask are loaded as zero.
    sample.row.each(lambda c, mask, held: accumulate(total, sample.load(c, mask)))
    return lane_sum(k.get(total))


def exponentials(sample: Sample, role: str | None = None) -> tuple[Value, Value, list[Value] | None]:
    """The largest logit, the sum of e^(x - largest), and these exponentials if the row is short.

    Args:
        role: where the exponentials of a long row are written, if they are needed.
    """
    k = sample.k
    top, held = row_max(k, sample.row, "p", sample.at)
    total = k.register(start=k.zero)

    def exponential(c: Index | int, mask: Value | None, x: Value | None) -> Value:
        e = fn.exp((sample.load(c, mask) if x is None else x) - top)
        accumulate(total, only(mask, e, k.zero))
        if x is None and role is not None:
            k.store(e, role, sample.at + c, mask)
        return e

    held = sample.row.each(exponential, held)
    return top, lane_sum(k.get(total)), held


def write_gradient(sample: Sample, factor: Value) -> None:
    """d value / d p times `factor`, to role "out"."""
    if sample.attrs["from_logits"]:
        _gradient_by_logits(sample, factor)
    else:
        _gradient_by_probabilities(sample, factor)


def _gradient_by_logits(sample: Sample, factor: Value) -> None:
    """softmax * sum(t) - t."""
    k = sample.k
    _, total, held = exponentials(sample, "out")
    share = sample.sum_of_targets()

    def slope(c: Index | int, mask: Value | None, e: Value | None) -> None:
        p = (k.load("out", sample.at + c, mask) if e is None else e) / total
        k.store((p * share - sample.target(c, mask)) * factor, "out", sample.at + c, mask)

    sample.row.each(slope, held)


def _gradient_by_probabilities(sample: Sample, factor: Value) -> None:
    """(s - sum(s p)) / total with p = y / total and s = -t / clip(p), 0 where the clip acts."""
    total = row_sum(sample)

    def parts(c: Index | int, mask: Value | None) -> tuple[Value, Value]:
        p = sample.load(c, mask) / total
        return p, -sample.target(c, mask) / clipped(p) * inside(p)

    def product(c: Index | int, mask: Value | None) -> Value:
        p, slope = parts(c, mask)
        return slope * p

    mean = sample.sum_over(product)
    sample.write(lambda c, mask: (parts(c, mask)[1] - mean) / total * factor)


def write_zeros(sample: Sample) -> None:
    """The gradient of a sample that does not count."""
    sample.write(lambda c, mask: sample.k.zero)
