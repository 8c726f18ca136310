"""Softmax, its logarithm, and their gradients; here the code for the last axis, one row after another."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from kernelearn.engine.cpu.kernels.softmax import columns
from kernelearn.engine.cpu.kernels.softmax.columns import emit_columns
from kernelearn.engine.cpu.language import functions as fn
from kernelearn.engine.cpu.language.kernel import Index, Kernel
from kernelearn.engine.cpu.language.loops import Row
from kernelearn.engine.cpu.language.reduce import accumulate, lane_max, lane_sum, only
from kernelearn.engine.cpu.language.values import Value
from kernelearn.engine.cpu.plan import IMAGES, Plan, Tasks, has_images, per_image
from kernelearn.engine.program import Operation


def row_max(k: Kernel, row: Row, role: str, at: Index) -> tuple[Value, list[Value] | None]:
    """The largest number of a row in every lane, and the row if it is short."""
    top = k.register(start=k.constant(-math.inf))

    def one(c: Index | int, mask: Value | None, held: Value | None) -> Value:
        x = k.load(role, at + c, mask)
        candidate = only(mask, x, -math.inf)
        k.set(top, (candidate > k.get(top)).choose(candidate, k.get(top)))
        return x

    held = row.each(one)
    return lane_max(k.get(top)), held


def lower_along_axis(plan: Plan, op: Operation) -> bool:
    """softmax(x), log_softmax(x), and their gradients of (g, y): one task per image, or per row."""
    shape = plan.shape(op.outputs[0])
    axis = op.attrs["axis"] % max(len(shape), 1)
    if not shape or shape[axis] is None or not plan.is_float(*op.inputs, *op.outputs):
        return False
    outer, size, inner = (
        per_image(part) for part in (shape[:axis], shape[axis : axis + 1], shape[axis + 1 :])
    )
    in_images, flops = has_images(shape), 20.0 * outer * size * inner
    plan.call(
        op,
        AlongAxis(op.operator, outer if in_images else 1, size, inner),
        dict(zip(("x",) if len(op.inputs) == 1 else ("g", "y"), op.inputs)),
        {"out": op.outputs[0]},
        IMAGES if in_images else Tasks(fixed=outer),
        flops=(flops, 0.0) if in_images else (0.0, flops),
    )
    return True


@dataclass(frozen=True)
class AlongAxis:
    """Row by row where the axis is contiguous, else by columns; a task is (outer, size, inner)."""

    operator: str
    outer: int
    size: int
    inner: int

    def emit(self, k: Kernel) -> None:
        emit_row, emit_column = FORMS[self.operator]
        if self.inner > 1:
            emit_columns(k, self.outer, self.size, self.inner, emit_column)
            return
        with k.loop(k.lo * self.outer, k.hi * self.outer) as number:
            emit_row(k, Row(k, self.size), number * self.size)


def _emit_softmax(k: Kernel, row: Row, at: Index) -> None:
    """Largest number; exponentials and their sum; their shares of it.

    NOTE: one division a row: a vector of them takes as long as the exponentials.
    """
    top, held = row_max(k, row, "x", at)
    total = k.register(start=k.zero)

    def exponential(c: Index | int, mask: Value | None, x: Value | None) -> Value:
        e = fn.share((x or k.load("x", at + c, mask)) - top)
        accumulate(total, only(mask, e, k.zero))
        if x is None:
            k.store(e, "out", at + c, mask)
        return e

    held = row.each(exponential, held)
    inverse = 1.0 / lane_sum(k.get(total))

    def share(c: Index | int, mask: Value | None, e: Value | None) -> None:
        k.store((e or k.load("out", at + c, mask)) * inverse, "out", at + c, mask)

    row.each(share, held)


def _emit_log_softmax(k: Kernel, row: Row, at: Index) -> None:
    """Largest number; sum of exponentials; difference."""
    top, held = row_max(k, row, "x", at)
    total = k.register(start=k.zero)

    def exponential(c: Index | int, mask: Value | None, x: Value | None) -> Value:
        shifted = (x or k.load("x", at + c, mask)) - top
        accumulate(total, only(mask, fn.share(shifted), k.zero))
        return shifted

    held = row.each(exponential, held)
    logarithm = fn.log(lane_sum(k.get(total)))

    def difference(c: Index | int, mask: Value | None, shifted: Value | None) -> None:
        shifted = shifted or k.load("x", at + c, mask) - top
        k.store(shifted - logarithm, "out", at + c, mask)

    row.each(difference, held)


def _emit_softmax_grad(k: Kernel, row: Row, at: Index) -> None:
    """y (g - sum(g y))."""
    total = k.register(start=k.zero)

    def product(c: Index | int, mask: Value | None, held: Value | None) -> None:
        k.set(total, fn.fma(k.load("g", at + c, mask), k.load("y", at + c, mask), k.get(total)))

    row.each(product)
    mean = lane_sum(k.get(total))

    def slope(c: Index | int, mask: Value | None, held: Value | None) -> None:
        difference = k.load("g", at + c, mask) - mean
        k.store(k.load("y", at + c, mask) * difference, "out", at + c, mask)

    row.each(slope)


def _emit_log_softmax_grad(k: Kernel, row: Row, at: Index) -> None:
    """g - e^y sum(g)."""
    total = k.register(start=k.zero)

    def add(c: Index | int, mask: Value | None, held: Value | None) -> None:
        accumulate(total, k.load("g", at + c, mask))

    row.each(add)
    sum_g = lane_sum(k.get(total))

    def slope(c: Index | int, mask: Value | None, held: Value | None) -> None:
        share = fn.share(k.load("y", at + c, mask)) * sum_g
        k.store(k.load("g", at + c, mask) - share, "out", at + c, mask)

    row.each(slope)


# Operator -> code for a row, code for columns.
FORMS: dict[str, tuple[Callable[[Kernel, Row, Index], None], Callable[[columns.Column], None]]] = {
    "softmax": (_emit_softmax, columns.emit_softmax),
    "softmax_grad": (_emit_softmax_grad, columns.emit_softmax_grad),
    "log_softmax": (_emit_log_softmax, columns.emit_log_softmax),
    "log_softmax_grad": (_emit_log_softmax_grad, columns.emit_log_softmax_grad),
}
