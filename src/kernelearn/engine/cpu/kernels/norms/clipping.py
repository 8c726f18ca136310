"""Gradient clipping by norms: of one gradient, or of all of them together."""

from __future__ import annotations

import math
from dataclasses import dataclass

from kernelearn.engine.cpu.kernels.norms.sums import add_sums, blocks, emit_blocks, total_of
from kernelearn.engine.cpu.language import functions as fn
from kernelearn.engine.cpu.language.kernel import Kernel
from kernelearn.engine.cpu.language.values import Value, type_of
from kernelearn.engine.cpu.plan import Code, Plan, Tasks, per_image
from kernelearn.engine.program import Operation


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
            squares = squares + total_of(k, f"sums{i}", k.scalar(f"count{i}"))
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
        _emit_scaling(k, shrink_factor(k.load_one("norm", 0, "double"), self.limit))


def _add_scaling(plan: Plan, op: Operation, code: Code, reads: dict[str, str]) -> None:
    size = per_image(plan.shape(op.outputs[0]))
    reads = {"grad": op.inputs[0], **reads, "size": f"#{size}"}
    plan.call(op, code, reads, {"out": op.outputs[0]}, Tasks(fixed=blocks(size)))


def _emit_scaling(k: Kernel, scale: Value) -> None:
    emit_blocks(k, lambda at, mask: k.store(k.load("grad", at, mask) * scale, "out", at, mask))
