"""Penalties l1 sum |x| + l2 sum x^2: of weights, of a layer's outputs, and the gradient of the latter."""

from __future__ import annotations

from dataclasses import dataclass

from kernelearn.engine.cpu.kernels.norms.sums import add_sums, emit_sum, total_of
from kernelearn.engine.cpu.language import functions as fn
from kernelearn.engine.cpu.language.kernel import Index, Kernel
from kernelearn.engine.cpu.language.loops import emit_flat
from kernelearn.engine.cpu.language.values import Value
from kernelearn.engine.cpu.plan import Plan, Tasks, has_images, per_image
from kernelearn.engine.program import Operation


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
        k.store_one(total_of(k, "sums", k.scalar("count")).narrowed(), "out")


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
        k.store_one((total / _images(k)).narrowed(), "out")


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
        share = k.load_one("g").widened() / _images(k)
        first, second = ((share * f).narrowed().splat() for f in (self.l1, 2 * self.l2))

        def one(at: Index, mask: Value | None) -> None:
            value = k.load("x", at, mask)
            if self.l1:
                slope = fn.fma(first, fn.sign(value), second * value)
            else:
                slope = second * value
            k.store(slope, "out", at, mask)

        emit_flat(k, k.lo * self.size, k.hi * self.size, one)
