"""Constraints: a weight projected onto what is allowed, after every update."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kernelearn.engine.cpu.kernels.norms.sums import blocks, emit_blocks
from kernelearn.engine.cpu.language import functions as fn
from kernelearn.engine.cpu.language.kernel import Kernel
from kernelearn.engine.cpu.language.values import Value
from kernelearn.engine.cpu.plan import Plan, Tasks, image_sizes, per_image
from kernelearn.engine.program import Operation

Attrs = Mapping[str, Any]
EPSILON = 1e-7  # Keras's backend.epsilon(), as in `engine.reference.constraints`


def _max_norm(a: Attrs, norm: Value) -> Value:
    return fn.clip(norm, 0.0, a.get("max_value", 2.0)) / (EPSILON + norm)


def _unit_norm(a: Attrs, norm: Value) -> Value:
    return 1.0 / (EPSILON + norm)


def _min_max_norm(a: Attrs, norm: Value) -> Value:
    rate = a.get("rate", 1.0)
    wanted = fn.clip(norm, a.get("min_value", 0.0), a.get("max_value", 1.0))
    wanted = fn.fma(norm.kernel.constant(rate), wanted, (1 - rate) * norm)
    return wanted / (EPSILON + norm)


# kind -> factor of vectors of a norm
NORMS: dict[str, Callable[[Attrs, Value], Value]] = {
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
    view = _rows_and_columns(image_sizes(plan.shape(weight)), op.attrs["axis"]) if kind in NORMS else None
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


def _rows_and_columns(shape: tuple[int, ...], axis: int | Sequence[int]) -> tuple[int, int] | None:
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
        emit_blocks(k, lambda at, mask: k.store(fn.larger(k.load("w", at, mask), k.zero), "w", at, mask))


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
                k.set(squares, fn.fma(x, x, k.get(squares)))
            factor = NORMS[self.kind](self.attrs, fn.sqrt(k.get(squares)))
            with k.loop(0, self.rows) as row:
                at = row * self.columns + first
                k.store(k.load("w", at, mask) * factor, "w", at, mask)
