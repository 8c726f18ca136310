"""Optimisers: one pass over a parameter, its gradient and its slots, whatever their size.

The formulas are those of `engine.updates`, here on vectors of float32. The coefficients that depend on the
step and on the learning rate are computed in float64 at the start of every task.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from kernelearn.engine.cpu.kernels.norms.sums import add_sums, total_of
from kernelearn.engine.cpu.language import functions as fn
from kernelearn.engine.cpu.language.kernel import Index, Kernel
from kernelearn.engine.cpu.language.loops import emit_flat
from kernelearn.engine.cpu.language.values import Value
from kernelearn.engine.cpu.plan import Plan, Tasks, per_image
from kernelearn.engine.program import Operation
from kernelearn.engine.updates import UPDATES
from kernelearn.engine.updates.arithmetic import kept

Attrs = Mapping[str, Any]
# Numbers per task. The code does not depend on the size of the parameter: one kernel serves all of them.
BLOCK = 8192


@dataclass(frozen=True)
class StepNumbers:
    """`updates.arithmetic.Numbers` in emitted code, float64; the update's number is read on first use."""

    kernel: Kernel
    every: int = 1

    @cached_property
    def step(self) -> Index:
        number = step_number(self.kernel)
        return number if self.every == 1 else number // self.every

    def sqrt(self, x: Value, /) -> Value:
        return fn.sqrt(x)

    def powers(self, bases: Sequence[float], later: int = 0, /) -> list[Value]:
        return fn.powers(bases, self.step + later if later else self.step)

    def number(self, slot: str, /) -> Value:
        return self.kernel.load_one(slot).widened()

    def count(self) -> Value:
        return self.step.to_float("double")

    def smaller(self, a: Value, b: float, /) -> Value:
        return fn.smaller(a, b)

    def ratio(self, a: Value, b: Value, /) -> Value:
        return ((a > 0.0) & (b > 0.0)).choose(a / b, 1.0)


def lower_update(plan: Plan, op: Operation) -> bool:
    """param, *slots <- one step; operands (param, grad, learning rate, step, *slots)."""
    if UPDATES[op.operator].whole is not None or not _fits(plan, op):
        return False
    _add_update(plan, op, *_operands(plan, op))
    return True


def _operands(plan: Plan, op: Operation) -> tuple[list[str], dict[str, str]]:
    """The slots that are arrays, and what the numbers of a step are read from; that is added to the plan."""
    rate, step, *slots = op.inputs[2:]
    numbers = UPDATES[op.operator].numbers
    arrays = slots[: len(slots) - len(numbers)]
    given = {"rate": rate, "step": step}
    if not numbers:
        return arrays, given
    counted = {"step": step} if op.attrs["every"] > 1 else {}
    found = _add_coefficients(plan, op, given, dict(zip(numbers, slots[len(arrays) :])))
    return arrays, counted | found


def _add_coefficients(
    plan: Plan, op: Operation, given: dict[str, str], numbers: dict[str, str]
) -> dict[str, str]:
    """A call of its own for the coefficients of an optimiser with slots that are single numbers.

    All tasks of the update read those numbers, so that none of them may write them.
    """
    coefficients = {"coefficients": plan.scratch("coefficients", (len(_names(op.operator)),))}
    code = Coefficients(op.operator, op.attrs)
    plan.call(op, code, {**given, **numbers}, {**numbers, **coefficients}, Tasks(fixed=1))
    return coefficients


def _names(operator: str) -> tuple[str, ...]:
    """What a call of its own computes, in order."""
    return (*UPDATES[operator].coefficient_names, "decay")


def _fits(plan: Plan, op: Operation) -> bool:
    param, grad, rate, step, *slots = op.inputs
    kinds = (plan.dtype(rate), plan.dtype(step)) == ("float64", "int64")
    return kinds and plan.is_float(param, grad, *slots) and tuple(op.outputs) == (param, *slots)


def _add_update(plan: Plan, op: Operation, slots: Sequence[str], numbers: dict[str, str]) -> None:
    param, grad = op.inputs[:2]
    size = per_image(plan.shape(param))
    if UPDATES[op.operator].factor is not None:
        _add_in_two_passes(plan, op, slots, numbers)
        return
    arrays = _arrays(param, slots)
    plan.call(
        op,
        Update(Step(op.operator, op.attrs, tuple(arrays))),
        {**arrays, "grad": grad, **numbers, "size": f"#{size}"},
        arrays,
        Tasks(fixed=max(-(-size // BLOCK), 1)),
        flops=(0.0, 10.0 * size),
        note="in one pass over the weights",
    )


def _add_in_two_passes(plan: Plan, op: Operation, slots: Sequence[str], numbers: dict[str, str]) -> None:
    """A pass that takes the slots on and leaves the direction; sums of squares; a pass along it."""
    param, grad = op.inputs[:2]
    shape = plan.shape(param)
    size = per_image(shape)
    counts = {"size": f"#{size}", **numbers}
    direction = plan.scratch("direction", tuple(int(n or 0) for n in shape))
    carried = {f"slot{i}": name for i, name in enumerate(slots)}
    tasks = Tasks(fixed=max(-(-size // BLOCK), 1))
    written = {"param": param, "direction": direction, **carried}
    reads = {"param": param, "grad": grad, **carried, **counts}
    plan.call(op, Direction(op.operator, op.attrs, tuple(carried)), reads, written, tasks)
    sums = {
        name: add_sums(plan, op, array) for name, array in (("weights", param), ("directions", direction))
    }
    measured = {name: array for name, (array, _) in sums.items()}
    measured |= {f"{name}_count": f"#{count}" for name, (_, count) in sums.items()}
    reads = {"param": param, "direction": direction, **counts, **measured}
    plan.call(op, Along(op.operator, op.attrs), reads, {"param": param}, tasks)


@dataclass(frozen=True)
class Direction:
    """The slots after a step, the weight after weight decay, and the direction that it is to go."""

    operator: str
    attrs: Attrs
    slots: tuple[str, ...]

    def emit(self, k: Kernel) -> None:
        with when_due(k, self.attrs["every"]):
            self._emit_step(k)

    def _emit_step(self, k: Kernel) -> None:
        update, attrs = UPDATES[self.operator], self.attrs
        c = coefficients_of(k, self.operator, attrs)

        def one(at: Index, mask: Value | None) -> None:
            param = k.load("param", at, mask)
            if attrs["weight_decay"]:
                param = param * c["decay"]
                k.store(param, "param", at, mask)
            slots = [k.load(name, at, mask) for name in self.slots]
            results = update.step(fn, attrs, c, param, k.load("grad", at, mask), *slots)
            for name, result in zip(("direction", *self.slots), results):
                k.store(result, name, at, mask)

        emit_flat(k, k.lo * BLOCK, k.minimum(k.hi * BLOCK, k.scalar("size")), one)


@dataclass(frozen=True)
class Along:
    """The weight, moved along a direction by a factor of the norms of both."""

    operator: str
    attrs: Attrs

    def emit(self, k: Kernel) -> None:
        with when_due(k, self.attrs["every"]):
            self._emit_move(k)

    def _emit_move(self, k: Kernel) -> None:
        make = UPDATES[self.operator].factor
        assert make is not None
        squares = [total_of(k, name, k.scalar(f"{name}_count")) for name in ("weights", "directions")]
        numbers = StepNumbers(k, self.attrs["every"])
        factor = _everywhere(make(numbers, self.attrs, _rate(k, self.attrs), *squares))

        def one(at: Index, mask: Value | None) -> None:
            moved = k.load("param", at, mask) - factor * k.load("direction", at, mask)
            k.store(moved, "param", at, mask)

        emit_flat(k, k.lo * BLOCK, k.minimum(k.hi * BLOCK, k.scalar("size")), one)


@dataclass(frozen=True)
class Step:
    """The step of an optimiser on one vector after another, in whichever kernel has the gradient.

    Attributes:
        arrays: roles of the parameter and its slots.
    """

    operator: str
    attrs: Attrs
    arrays: tuple[str, ...]

    def mover(self, k: Kernel) -> Callable[[Value, Index, Value | None], None]:
        """move(gradient, offset, mask): load what there is, step, store; numbers of the step come first."""
        update, attrs = UPDATES[self.operator], self.attrs
        c = coefficients_of(k, self.operator, attrs)

        def move(gradient: Value, at: Index, mask: Value | None) -> None:
            param, *slots = [k.load(name, at, mask) for name in self.arrays]
            if attrs["weight_decay"]:
                param = param * c["decay"]
            results = update.step(fn, attrs, c, param, gradient, *slots)
            for name, result in zip(self.arrays, results):
                k.store(result, name, at, mask)

        return move


def find_step(plan: Plan, op: Operation) -> tuple[Step, dict[str, str], dict[str, str]] | None:
    """The step of an update for a kernel that makes the gradient, and what that has to read and to write.

    None for one that does not go entry by entry in a single pass. What it needs besides is added to the plan.
    """
    update = UPDATES[op.operator]
    if update.whole is not None or update.factor is not None or op.attrs["every"] > 1 or not _fits(plan, op):
        return None
    slots, given = _operands(plan, op)
    arrays = _arrays(op.inputs[0], slots)
    return Step(op.operator, op.attrs, tuple(arrays)), {**arrays, **given}, arrays


def _arrays(param: str, slots: Sequence[str]) -> dict[str, str]:
    """Role -> buffer of what a step moves."""
    return {"param": param, **{f"slot{i}": name for i, name in enumerate(slots)}}


@dataclass(frozen=True)
class Update:
    """For every vector of this task's block: load, step, store."""

    step: Step

    def emit(self, k: Kernel) -> None:
        with when_due(k, self.step.attrs["every"]):
            self._emit_step(k)

    def _emit_step(self, k: Kernel) -> None:
        move = self.step.mover(k)

        def one(at: Index, mask: Value | None) -> None:
            move(k.load("grad", at, mask), at, mask)

        emit_flat(k, k.lo * BLOCK, k.minimum(k.hi * BLOCK, k.scalar("size")), one)


def coefficients_of(k: Kernel, operator: str, attrs: Attrs) -> dict[str, Value]:
    """The coefficients of this step by name, as vectors of float32."""
    update = UPDATES[operator]
    if update.numbers:
        return {name: k.broadcast("coefficients", i) for i, name in enumerate(_names(operator))}
    rate, numbers = _rate(k, attrs), StepNumbers(k, attrs["every"])
    found = {n: _everywhere(c) for n, c in update.coefficients(numbers, attrs, rate).items()}
    return {**found, "decay": _everywhere(kept(attrs, rate))} if attrs["weight_decay"] else found


def step_number(k: Kernel) -> Index:
    """The number of this step, from 1."""
    return Index(k, k.load_one("step", 0, "i64"))


def when_due(k: Kernel, every: int) -> AbstractContextManager[None]:
    """What is emitted inside happens in each `every`th step."""
    return nullcontext() if every == 1 else k.when(k.compare("eq", step_number(k) % every, 0))


def _rate(k: Kernel, attrs: Attrs) -> Value:
    """The learning rate of this parameter."""
    rate = k.load_one("rate", 0, "double")
    return rate if attrs["multiplier"] == 1.0 else rate * attrs["multiplier"]


def _everywhere(number: Value) -> Value:
    """A float64 as a vector of float32."""
    return number.narrowed().splat()


@dataclass(frozen=True)
class Coefficients:
    """The coefficients of one step, and the slots that are single numbers after it."""

    operator: str
    attrs: Attrs

    def emit(self, k: Kernel) -> None:
        with when_due(k, self.attrs["every"]):
            self._emit_numbers(k)

    def _emit_numbers(self, k: Kernel) -> None:
        update, rate = UPDATES[self.operator], _rate(k, self.attrs)
        found = update.coefficients(StepNumbers(k, self.attrs["every"]), self.attrs, rate)
        found["decay"] = kept(self.attrs, rate)
        for place, name in enumerate(_names(self.operator)):
            k.store_one(found[name].narrowed(), "coefficients", place)
        for name in update.numbers:
            k.store_one(found[name].narrowed(), name)
