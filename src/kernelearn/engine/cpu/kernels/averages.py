"""Around the step of an optimiser: gradients accumulated over several steps, moving averages of weights."""

from __future__ import annotations

from dataclasses import dataclass

from kernelearn.engine.cpu.kernels.norms.sums import blocks, emit_blocks
from kernelearn.engine.cpu.kernels.shards import adder
from kernelearn.engine.cpu.kernels.updates import step_number
from kernelearn.engine.cpu.language.kernel import Index, Kernel
from kernelearn.engine.cpu.language.values import Value, type_of
from kernelearn.engine.cpu.plan import Code, Plan, Tasks, per_image
from kernelearn.engine.program import Operation


def lower_accumulate(plan: Plan, op: Operation) -> bool:
    """total <- the sum, or in the step that updates the mean, of the gradients since the last update."""
    return _lower(plan, op, Accumulate(int(op.attrs["every"])))


def lower_add_share(plan: Plan, op: Operation) -> bool:
    """total <- [total +] share * value; the total is an input that is written where it lies."""
    total, value, share, keeps = op.inputs
    if not plan.is_float(total, value, share) or plan.dtype(keeps) != "int64" or op.outputs != (total,):
        return False
    size = per_image(plan.shape(total))
    reads = {"value": value, "share": share, "keeps": keeps, "size": f"#{size}"}
    plan.call(op, AddShare(), reads, {"total": total}, Tasks(fixed=blocks(size)))
    return True


def lower_average_weight(plan: Plan, op: Operation) -> bool:
    """average <- momentum * average + (1 - momentum) * param."""
    return _lower(plan, op, AverageWeight(float(op.attrs["momentum"]), int(op.attrs["every"])))


def lower_overwrite_weight(plan: Plan, op: Operation) -> bool:
    """param <- its average, in the steps of each `frequency`th update."""
    return _lower(plan, op, OverwriteWeight(int(op.attrs["frequency"]), int(op.attrs["every"])))


def _lower(plan: Plan, op: Operation, code: Code) -> bool:
    """The first operand, in place, from itself, the second and the step."""
    own, other, step = op.inputs
    if not plan.is_float(own, other) or plan.dtype(step) != "int64" or op.outputs != (own,):
        return False
    size = per_image(plan.shape(own))
    reads = {"own": own, "other": other, "step": step, "size": f"#{size}"}
    plan.call(op, code, reads, {"own": own}, Tasks(fixed=blocks(size)))
    return True


def _number(k: Kernel, holds: str, yes: float, no: float) -> Value:
    """One of two numbers in every lane, by a condition."""
    double = type_of("double")
    condition = k.value(holds, type_of("i1"))
    return condition.choose(k.constant(yes, double), no).narrowed().splat()


@dataclass(frozen=True)
class Accumulate:
    """The sum starts anew behind each update; the step that updates divides it."""

    every: int

    def emit(self, k: Kernel) -> None:
        place = step_number(k) % self.every
        kept = _number(k, f"icmp eq i64 {place}, 1", 0.0, 1.0)
        count = _number(k, f"icmp eq i64 {place}, 0", float(self.every), 1.0)

        def one(at: Index, mask: Value | None) -> None:
            total = k.load("own", at, mask) * kept + k.load("other", at, mask)
            k.store(total / count, "own", at, mask)

        emit_blocks(k, one)


@dataclass(frozen=True)
class AddShare:
    """A shard's part of a sum over shards."""

    def emit(self, k: Kernel) -> None:
        add = adder(k, "total")
        emit_blocks(k, lambda at, mask: add(k.load("value", at, mask), at, mask))


@dataclass(frozen=True)
class AverageWeight:
    """The parameter itself up to the first update."""

    momentum: float
    every: int

    def emit(self, k: Kernel) -> None:
        is_later = f"icmp sgt i64 {step_number(k)}, {self.every}"
        share = _number(k, is_later, self.momentum, 0.0)
        rest = _number(k, is_later, 1 - self.momentum, 1.0)

        def one(at: Index, mask: Value | None) -> None:
            average = k.load("own", at, mask) * share + k.load("other", at, mask) * rest
            k.store(average, "own", at, mask)

        emit_blocks(k, one)


@dataclass(frozen=True)
class OverwriteWeight:
    """A copy, in some of the steps."""

    frequency: int
    every: int

    def emit(self, k: Kernel) -> None:
        update = (step_number(k) - 1) // self.every + 1
        with k.when(k.compare("eq", update % self.frequency, 0)):
            emit_blocks(k, lambda at, mask: k.store(k.load("other", at, mask), "own", at, mask))
