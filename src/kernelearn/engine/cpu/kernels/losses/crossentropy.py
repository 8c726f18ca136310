"""Cross-entropies of classes, row by row: value and gradient.

From logits or from probabilities, of class numbers or of target rows; the equations are in
`engine.reference.crossentropy`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
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


@dataclass
class Sample:
    """One row of predictions at `at` (role "p") with its target: a class number or a row of role "t".

    label: the class number of the sample in a register, or None.
    """

    k: Kernel
    row: Row
    at: Index
    attrs: Attrs
    label: str | None

    @property
    def smoothing(self) -> float:
        return float(self.attrs.get("label_smoothing", 0.0))  # hinges and cosines have none

    def load(self, c: Index | int, mask: Value | None) -> Value:
        return self.k.load("p", self.at + c, mask)

    def target(self, c: Index | int, mask: Value | None) -> Value:
        """Targets, smoothed; anything outside of the mask."""
        k, extra = self.k, self.smoothing / self.row.size
        if self.label is None:
            t = k.load("t", self.at + c, mask)
            if not self.smoothing:
                return t
            return k.add(k.mul(t, k.constant(1 - self.smoothing)), k.constant(extra))
        is_label = self._lanes_of_label(c)
        return k.select(is_label, k.constant(1 - self.smoothing + extra), k.constant(extra))

    def _lanes_of_label(self, c: Index | int) -> Value:
        k = self.k
        numbers = ", ".join(f"i64 {lane}" for lane in range(k.width))
        wanted = k.value(f"sub i64 {self.label}, {c}", "i64").splat()
        return k.named(f"<{numbers}>", wanted.type).equals(wanted)

    def sum_of_targets(self) -> Value:
        if self.label is not None:
            return self.k.constant(1.0)
        total = self.k.register(start=self.k.zero)
        self.row.each(lambda c, m, h: accumulate(total, only(m, self.target(c, m), self.k.zero)))
        return lane_sum(self.k.get(total))


def value(sample: Sample) -> Value:
    """The loss of one sample, in every lane; NaN for a label that is no class."""
    log_p = _log_softmax(sample) if sample.attrs["from_logits"] else _log_share(sample)
    k = sample.k
    if sample.label is None:
        return -_expected(sample, log_p)
    is_class = k.op(f"icmp ult i64 {sample.label}, {sample.row.size}")
    if sample.smoothing:
        found = _expected(sample, log_p)
    else:
        place = k.op(f"select i1 {is_class}, i64 {sample.label}, i64 0")
        found = log_p(k.broadcast("p", sample.at + Index(k, place)))
    return k.select(k.splat(is_class, "i1"), -found, k.constant(math.nan))


def _expected(sample: Sample, log_p) -> Value:
    """sum of t log p over the classes."""
    k = sample.k
    total = k.register(start=k.zero)

    def product(c, mask, held):
        term = k.mul(sample.target(c, mask), log_p(sample.load(c, mask)))
        accumulate(total, only(mask, term, k.zero))

    sample.row.each(product)
    return lane_sum(k.get(total))


def _log_softmax(sample: Sample):
    """x -> x - top - log(sum of e^(x - top))."""
    k = sample.k
    top, total, _ = exponentials(sample)
    logarithm = fn.log(total)
    return lambda x: k.sub(k.sub(x, top), logarithm)


def _log_share(sample: Sample):
    """x -> log of x as a share of the row's sum, clipped."""
    k = sample.k
    total = row_sum(sample)
    return lambda x: fn.log(clipped(k, k.div(x, total)))


def row_sum(sample: Sample) -> Value:
    k = sample.k
    total = k.register(start=k.zero)
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

    def exponential(c, mask, x):
        e = fn.exp(k.sub(x or sample.load(c, mask), top))
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

    def slope(c, mask, e):
        p = k.div(e or k.load("out", sample.at + c, mask), total)
        difference = k.sub(k.mul(p, share), sample.target(c, mask))
        k.store(k.mul(difference, factor), "out", sample.at + c, mask)

    sample.row.each(slope, held)


def _gradient_by_probabilities(sample: Sample, factor: Value) -> None:
    """(s - sum(s p)) / total with p = y / total and s = -t / clip(p), 0 where the clip acts."""
    k, row = sample.k, sample.row
    total = row_sum(sample)

    def parts(c, mask):
        p = k.div(sample.load(c, mask), total)
        ratio = k.div(-sample.target(c, mask), clipped(k, p))
        return p, k.mul(ratio, inside(k, p))

    along = k.register(start=k.zero)

    def product(c, mask, held):
        p, slope = parts(c, mask)
        accumulate(along, only(mask, k.mul(slope, p), k.zero))

    row.each(product)
    mean = lane_sum(k.get(along))

    def write(c, mask, held):
        _, slope = parts(c, mask)
        result = k.div(k.sub(slope, mean), total)
        k.store(k.mul(result, factor), "out", sample.at + c, mask)

    row.each(write)


def write_zeros(sample: Sample) -> None:
    """The gradient of a sample that does not count."""
    k = sample.k
    sample.row.each(lambda c, mask, held: k.store(k.zero, "out", sample.at + c, mask))
