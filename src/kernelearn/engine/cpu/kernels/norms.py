"""Sums over whole tensors and what is scaled by them: gradient clipping, penalties, constraints on norms.

A sum over a tensor is taken block by block in float64, and the blocks are added in order: so it does not
depend on who did which block. Kernels take the size of the tensor as a number; one serves all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from kernelearn.engine.cpu.language import functions as fn
from kernelearn.engine.cpu.language import scalars
from kernelearn.engine.cpu.language.kernel import Index, Kernel
from kernelearn.engine.cpu.language.loops import emit_flat
from kernelearn.engine.cpu.language.reduce import WideSum
from kernelearn.engine.cpu.language.values import Value, type_of
from kernelearn.engine.cpu.plan import Code, Plan, Tasks, has_images, per_image
from kernelearn.engine.program import Operation

Attrs = Mapping[str, Any]
# Numbers per task.
BLOCK = 16384
# Sums that go on at the same time, so that an addition need not wait for the one before.
CHAINS = 4
EPSILON = 1e-7  # Keras's backend.epsilon(), as in `engine.reference.constraints`


def blocks(size: int) -> int:
    return max(-(-size // BLOCK), 1)


# --- sums


def wide_terms(x: Value, l1: float, l2: float) -> Value:
    """l1 |x| + l2 x^2 as a vector of float64."""
    wide = x.widened()
    result = wide * wide if l2 else x.kernel.zero_of(wide.type)
    if l2 not in (0.0, 1.0):
        result = result * l2
    if l1:
        size = fn.absolute(x).widened()
        result = result + size * l1
    return result


def emit_sum(k: Kernel, role: str, lo: Index, hi: Index, l1: float, l2: float) -> Value:
    """The sum of l1 |x| + l2 x^2 over a range, a float64."""
    totals = [WideSum(k, vectors=True) for _ in range(CHAINS)]
    for total in totals:
        total.reset()
    turn = iter(range(10**9))

    def one(at: Index, mask: Value | None) -> None:
        # NOTE: masked lanes hold 0, whose term is 0.
        total = totals[next(turn) % CHAINS]
        total.add_lanes(wide_terms(k.load(role, at, mask), l1, l2))

    emit_flat(k, lo, hi, one)
    first, *rest = [total.total() for total in totals]
    for other in rest:
        first = scalars.add(k, first, other)
    return first


def add_sums(plan: Plan, op: Operation, name: str, l1: float = 0.0, l2: float = 1.0) -> tuple[str, int]:
    """A call that sums l1 |x| + l2 x^2 over every block: the buffer of these sums, and their number."""
    size = per_image(plan.shape(name))
    count = blocks(size)
    sums = plan.scratch("sums", (count,), "float64")

    plan.call(
        op,
        BlockSums(l1, l2),
        {"x": name, "size": f"#{size}"},
        {"sums": sums},
        Tasks(fixed=count),
    )
    return sums, count


@dataclass(frozen=True)
class BlockSums:
    """The sum of l1 |x| + l2 x^2 of every block."""

    l1: float
    l2: float

    def emit(self, k: Kernel) -> None:
        with k.loop(k.lo, k.hi) as block:
            end = k.minimum((block + 1) * BLOCK, k.scalar("size"))
            total = emit_sum(k, "x", block * BLOCK, end, self.l1, self.l2)
            k.store_one(total, "sums", block, "double")


def total_of(k: Kernel, role: str, count: Index) -> Value:
    """Float64 numbers added in order."""
    total = WideSum(k)
    total.reset()
    with k.loop(0, count) as number:
        total.add(k.load_one(role, number, "double"))
    return total.total()


# --- gradient clipping


def lower_global_norm(plan: Plan, op: Operation) -> bool:
    """The Euclidean norm of all gradients together, a float64."""
    if not plan.is_float(*op.inputs):
        return False
    parts = [add_sums(plan, op, name) for name in op.inputs]
    reads = {f"sums{i}": sums for i, (sums, _) in enumerate(parts)}
    reads.update({f"count{i}": f"#{count}" for i, (_, count) in enumerate(parts)})

    plan.call(op, GlobalNorm(len(parts)), reads, {"norm": op.outputs[0]}, Tasks(fixed=1))
    return True


@dataclass(frozen=True)
class GlobalNorm:
    """The root of the sums of so many tensors."""

    parts: int

    def emit(self, k: Kernel) -> None:
        squares = k.constant(0.0, type_of("double"))
        for i in range(self.parts):
            squares = scalars.add(k, squares, total_of(k, f"sums{i}", k.scalar(f"count{i}")))
        k.store_one(_norm(squares), "norm", 0, "double")


def _norm(squares: Value) -> Value:
    """The root; infinity for anything that is no finite number."""
    return _is_finite(squares).choose(fn.sqrt(squares), math.inf)


def _is_finite(number: Value) -> Value:
    return (number - number).equals(0.0)


def shrink_factor(norm: Value, limit: float) -> Value:
    """limit / max(norm, limit) in every lane; NaN if the norm is not finite."""
    size = (norm > limit).choose(norm, limit)
    factor = limit / size
    return _is_finite(norm).choose(factor, math.nan).narrowed().splat()


def lower_clip_by_norm(plan: Plan, op: Operation) -> bool:
    """A gradient scaled to at most a norm."""
    if not plan.is_float(*op.inputs):
        return False
    sums, count = add_sums(plan, op, op.inputs[0])
    _add_scaling(plan, op, ClipByNorm(float(op.attrs["limit"])), {"sums": sums, "count": f"#{count}"})
    return True


@dataclass(frozen=True)
class ClipByNorm:
    """The gradient times what brings its norm down to the limit."""

    limit: float

    def emit(self, k: Kernel) -> None:
        norm = _norm(total_of(k, "sums", k.scalar("count")))
        _emit_scaling(k, shrink_factor(norm, self.limit))


def lower_clip_by_global_norm(plan: Plan, op: Operation) -> bool:
    """A gradient scaled by what brings a given norm down to the limit."""
    grad, norm = op.inputs
    if not plan.is_float(grad) or plan.dtype(norm) != "float64":
        return False
    _add_scaling(plan, op, ClipByGlobalNorm(float(op.attrs["limit"])), {"norm": norm})
    return True


@dataclass(frozen=True)
class ClipByGlobalNorm:
    """The gradient times what brings a given norm down to the limit."""

    limit: float

    def emit(self, k: Kernel) -> None:
        _emit_scaling(k, shrink_factor(scalars.read(k, "norm"), self.limit))


def _add_scaling(plan: Plan, op: Operation, code: Code, reads: dict[str, str]) -> None:
    size = per_image(plan.shape(op.outputs[0]))
    reads = {"grad": op.inputs[0], **reads, "size": f"#{size}"}
    plan.call(op, code, reads, {"out": op.outputs[0]}, Tasks(fixed=blocks(size)))


def _emit_scaling(k: Kernel, scale: Value) -> None:
    end = k.minimum(k.hi * BLOCK, k.scalar("size"))
    emit_flat(k, k.lo * BLOCK, end, lambda at, m: k.store(k.mul(k.load("grad", at, m), scale), "out", at, m))


# --- penalties


def _factors(op: Operation) -> tuple[float, float] | None:
    """l1 and l2 of a penalty; None for another kind."""
    if op.attrs["kind"] != "l1l2":
        return None
    return float(op.attrs["l1"]), float(op.attrs["l2"])


def lower_penalty(plan: Plan, op: Operation) -> bool:
    """l1 sum |w| + l2 sum w^2 of a weight."""
    factors = _factors(op)
    if factors is None or not plan.is_float(*op.inputs):
        return False
    sums, count = add_sums(plan, op, op.inputs[0], *factors)

    reads = {"sums": sums, "count": f"#{count}"}
    plan.call(op, PenaltyTotal(), reads, {"out": op.outputs[0]}, Tasks(fixed=1))
    return True


@dataclass(frozen=True)
class PenaltyTotal:
    """The blocks' sums in order."""

    def emit(self, k: Kernel) -> None:
        k.store_one(scalars.narrow(k, total_of(k, "sums", k.scalar("count"))), "out")


def lower_activity_penalty(plan: Plan, op: Operation) -> bool:
    """The penalty of a layer's output by the number of images: every image's sum, then all in order."""
    factors = _factors(op)
    shape = plan.shape(op.inputs[0])
    if factors is None or not plan.is_float(*op.inputs) or not has_images(shape):
        return False
    size, sums = per_image(shape), plan.scratch("sums", (None,), "float64")

    plan.call(op, ImageSums(*factors, size), {"x": op.inputs[0]}, {"sums": sums})
    plan.call(op, ActivityTotal(), {"sums": sums, "n": "#n"}, {"out": op.outputs[0]}, Tasks(fixed=1))
    return True


@dataclass(frozen=True)
class ImageSums:
    """The sum of l1 |x| + l2 x^2 of every image."""

    l1: float
    l2: float
    size: int

    def emit(self, k: Kernel) -> None:
        with k.loop(k.lo, k.hi) as image:
            total = emit_sum(k, "x", image * self.size, (image + 1) * self.size, self.l1, self.l2)
            k.store_one(total, "sums", image, "double")


@dataclass(frozen=True)
class ActivityTotal:
    """The images' sums in order, by their number."""

    def emit(self, k: Kernel) -> None:
        total = total_of(k, "sums", k.scalar("n"))
        k.store_one(scalars.narrow(k, scalars.divide(k, total, _images(k))), "out")


def _images(k: Kernel) -> Value:
    return k.scalar("n").to_float("double")


def lower_activity_penalty_grad(plan: Plan, op: Operation) -> bool:
    """grad / n (2 l2 x + l1 sign(x))"""
    factors = _factors(op)
    grad, x = op.inputs
    if factors is None or not plan.is_float(grad, x) or not has_images(plan.shape(x)):
        return False
    reads = {"g": grad, "x": x, "n": "#n"}
    plan.call(op, ActivityGradient(*factors, per_image(plan.shape(x))), reads, {"out": op.outputs[0]})
    return True


@dataclass(frozen=True)
class ActivityGradient:
    """Number by number of images of this size."""

    l1: float
    l2: float
    size: int

    def emit(self, k: Kernel) -> None:
        share = scalars.divide(k, scalars.widen(k, k.load_one("g")), _images(k))
        first, second = (
            scalars.in_every_lane(k, scalars.multiply(k, share, scalars.number(f)))
            for f in (self.l1, 2 * self.l2)
        )

        def one(at: Index, mask: Value | None) -> None:
            value = k.load("x", at, mask)
            if self.l1:
                slope = k.fma(first, fn.sign(value), k.mul(second, value))
            else:
                slope = k.mul(second, value)
            k.store(slope, "out", at, mask)

        emit_flat(k, k.lo * self.size, k.hi * self.size, one)


# --- constants


def lower_fill(plan: Plan, op: Operation) -> bool:
    """A constant array; written once."""
    shape = plan.shape(op.outputs[0])
    if has_images(shape) or not plan.is_float(*op.outputs):
        return False
    code = Fill(float(op.attrs["value"]), per_image(shape))
    plan.call(op, code, {}, {"out": op.outputs[0]}, Tasks(fixed=1))
    return True


@dataclass(frozen=True)
class Fill:
    """The same value so many times."""

    value: float
    size: int

    def emit(self, k: Kernel) -> None:
        emit_flat(
            k,
            k.const(0),
            k.const(self.size),
            lambda at, m: k.store(k.constant(self.value), "out", at, m),
        )


# --- constraints


def _max_norm(k: Kernel, a: Attrs, norm: Value) -> Value:
    return k.div(fn.clip(norm, 0.0, a.get("max_value", 2.0)), k.add(k.constant(EPSILON), norm))


def _unit_norm(k: Kernel, a: Attrs, norm: Value) -> Value:
    return k.div(k.constant(1.0), k.add(k.constant(EPSILON), norm))


def _min_max_norm(k: Kernel, a: Attrs, norm: Value) -> Value:
    rate = a.get("rate", 1.0)
    wanted = fn.clip(norm, a.get("min_value", 0.0), a.get("max_value", 1.0))
    wanted = k.fma(k.constant(rate), wanted, k.mul(k.constant(1 - rate), norm))
    return k.div(wanted, k.add(k.constant(EPSILON), norm))


# kind -> factor of vectors of a norm
NORMS: dict[str, Callable[[Kernel, Attrs, Value], Value]] = {
    "max_norm": _max_norm,
    "unit_norm": _unit_norm,
    "min_max_norm": _min_max_norm,
}


def lower_constrain(plan: Plan, op: Operation) -> bool:
    """A weight projected onto what its constraint allows."""
    weight, kind = op.inputs[0], op.attrs["kind"]
    if not plan.is_float(weight):
        return False
    if kind == "non_neg":
        _lower_non_negative(plan, op)
        return True
    view = _rows_and_columns(plan.shape(weight), op.attrs["axis"]) if kind in NORMS else None
    if view is None:
        return False
    rows, columns = view
    attrs = {name: value for name, value in op.attrs.items() if name not in ("kind", "axis")}
    plan.call(
        op,
        LimitedNorms(kind, attrs, rows, columns),
        {"w": weight},
        {"w": op.outputs[0]},
        Tasks(fixed=-(-columns // plan.target.width)),
    )
    return True


def _rows_and_columns(shape: tuple, axis: Any) -> tuple[int, int] | None:
    """A weight as a matrix with the vectors along `axis` as columns; None if these are not the first axes."""
    axes = {a % len(shape) for a in ((axis,) if isinstance(axis, int) else axis)} if shape else set()
    if axes != set(range(len(axes))) or not axes:
        return None
    return math.prod(shape[: len(axes)]), math.prod(shape[len(axes) :])


def _lower_non_negative(plan: Plan, op: Operation) -> None:
    size = per_image(plan.shape(op.outputs[0]))

    reads = {"w": op.inputs[0], "size": f"#{size}"}
    plan.call(op, NonNegative(), reads, {"w": op.outputs[0]}, Tasks(fixed=blocks(size)))


@dataclass(frozen=True)
class NonNegative:
    """max(w, 0)."""

    def emit(self, k: Kernel) -> None:
        end = k.minimum(k.hi * BLOCK, k.scalar("size"))
        emit_flat(
            k, k.lo * BLOCK, end, lambda at, m: k.store(k.larger(k.load("w", at, m), k.zero), "w", at, m)
        )


@dataclass(frozen=True)
class LimitedNorms:
    """A vector of columns at a time: their squares summed, then all entries times a factor."""

    kind: str
    attrs: Attrs
    rows: int
    columns: int

    def emit(self, k: Kernel) -> None:
        with k.loop(k.lo, k.hi) as block:
            first = block * k.width
            mask = k.mask_below(k.const(self.columns) - first) if self.columns % k.width else None
            squares = k.register(start=k.zero)
            with k.loop(0, self.rows) as row:
                x = k.load("w", row * self.columns + first, mask)
                k.set(squares, k.fma(x, x, k.get(squares)))
            factor = NORMS[self.kind](k, self.attrs, fn.sqrt(k.get(squares)))
            with k.loop(0, self.rows) as row:
                at = row * self.columns + first
                k.store(k.mul(k.load("w", at, mask), factor), "w", at, mask)
