"""What goes along one axis entry by entry: running sums and products, and places of extremes.

A tensor is seen as (task, outer, along, inner). Lanes lie along the inner axes; where there are none, running
values are single numbers, and places are looked for by all lanes at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from kernelearn.engine.cpu.kernels.entrywise.elements import ELEMENTS, lanes_of, load
from kernelearn.engine.cpu.kernels.reductions.kinds import Reduction
from kernelearn.engine.cpu.language.kernel import Index, Kernel
from kernelearn.engine.cpu.language.loops import lanes
from kernelearn.engine.cpu.language.reduce import only
from kernelearn.engine.cpu.language.values import Value
from kernelearn.engine.cpu.plan import IMAGES, Plan, Tasks, has_images, image_sizes
from kernelearn.engine.program import Operation

NUMBERS = ("float32", "int32", "int64")


@dataclass(frozen=True)
class Along:
    """Sizes of a task's part of a tensor before, along and behind an axis."""

    outer: int
    size: int
    inner: int

    @property
    def count(self) -> int:
        return self.outer * self.size * self.inner

    def rows(self, k: Kernel) -> Iterator[tuple[Index, Index]]:
        """Where each outer index of the kernel's tasks starts, in the tensor and in one without the axis."""
        with k.loop(k.lo, k.hi) as task, k.loop(0, self.outer) as outer:
            row = task * self.outer + outer
            yield row * (self.size * self.inner), row * self.inner


def _find(plan: Plan, op: Operation) -> tuple[Along, Tasks] | None:
    """How the first input is seen; None where images are gone along, or there is no code for its type."""
    shape = plan.shape(op.inputs[0])
    if not shape or plan.dtype(op.inputs[0]) not in NUMBERS or None in shape[1:]:
        return None
    axis = op.attrs["axis"] % len(shape)
    sizes = image_sizes(shape[1:])
    if axis == 0:
        if has_images(shape):
            return None
        return Along(1, int(shape[0] or 0), math.prod(sizes)), Tasks(fixed=1)
    along = Along(math.prod(sizes[: axis - 1]), sizes[axis - 1], math.prod(sizes[axis:]))
    return along, IMAGES if has_images(shape) else Tasks(fixed=int(shape[0] or 0))


def lower_place(plan: Plan, op: Operation) -> bool:
    """argmax and argmin."""
    found = _find(plan, op)
    if found is None:
        return False
    code = Place(found[0], op.operator == "argmax", plan.dtype(op.inputs[0]))
    plan.call(op, code, {"x": op.inputs[0]}, {"y": op.outputs[0]}, found[1], note=op.operator)
    return True


@dataclass(frozen=True)
class Place:
    """The first place of the extreme along an axis; a NaN is the extreme."""

    along: Along
    is_largest: bool
    dtype: str

    def emit(self, k: Kernel) -> None:
        emit = self._emit_lanes if self.along.inner > 1 else self._emit_run
        for x, y in self.along.rows(k):
            emit(k, x, y)

    def _beats(self, x: Value, best: Value) -> Value:
        won = x > best if self.is_largest else x < best
        return won | (x.is_nan() & best.is_number()) if x.type.is_float else won

    def _emit_lanes(self, k: Kernel, x: Index, y: Index) -> None:
        whole = k.vector.of("i32")

        def body(c: Index | int, mask: Value | None) -> None:
            best = k.register(start=load(k, "x", x + c, mask, self.dtype))
            where = k.register(start=k.zero_of(whole))
            with k.loop(1, self.along.size) as row:
                value = load(k, "x", x + row * self.along.inner + c, mask, self.dtype)
                won = self._beats(value, k.get(best))
                k.set(where, won.choose(k.splat(row.to_int()), k.get(where)))
                k.set(best, won.choose(value, k.get(best)))
            k.store(k.get(where), "y", y + c, mask)

        lanes(k, self.along.inner, body)

    def _emit_run(self, k: Kernel, x: Index, y: Index) -> None:
        whole, size = k.vector.of("i32"), self.along.size
        numbers = k.named("<" + ", ".join(f"i32 {i}" for i in range(k.width)) + ">", whole)
        start = Reduction("max" if self.is_largest else "min", self.dtype).start(k, lanes_of(k, self.dtype))
        best, where = k.register(start=start), k.register(start=numbers)

        def look(at: Index, mask: Value | None) -> None:
            value = only(mask, load(k, "x", x + at, mask, self.dtype), start)
            won = self._beats(value, k.get(best))
            k.set(where, won.choose(numbers + k.splat(at.to_int()), k.get(where)))
            k.set(best, won.choose(value, k.get(best)))

        vectors = size // k.width * k.width
        with k.loop(0, vectors, k.width) as at:
            look(at, None)
        if vectors < size:
            look(k.const(vectors), k.mask(size - vectors))
        k.store_one(self._joined(k.get(best), k.get(where)).lane(), "y", y, "i32")

    def _joined(self, best: Value, where: Value) -> Value:
        """The place of the extreme of all lanes, in every lane: of equal ones the first."""
        k, step = best.kernel, best.type.lanes // 2
        while step:
            order = ", ".join(f"i32 {lane ^ step}" for lane in range(best.type.lanes))
            others = [
                k.value(
                    f"shufflevector {v.type} {v}, {v.type} poison, {where.type.of('i32')} <{order}>", v.type
                )
                for v in (best, where)
            ]
            won = self._beats(others[0], best)
            won = won | (~self._beats(best, others[0]) & (others[1] < where))
            best, where = won.choose(others[0], best), won.choose(others[1], where)
            step //= 2
        return where


# --- running sums and products

# What is done at an offset: load(role, offset) and store(value, role, offset) of numbers or vectors.
Load = Callable[[str, Index], Value]
Store = Callable[[Value, str, Index], None]


def lower_running(plan: Plan, op: Operation) -> bool:
    """cumsum and cumprod."""
    found = _find(plan, op)
    if found is None:
        return False
    code = Running(found[0], op.operator == "cumsum", bool(op.attrs.get("reverse")), plan.dtype(op.inputs[0]))
    plan.call(op, code, {"x": op.inputs[0]}, {"y": op.outputs[0]}, found[1], note=op.operator)
    return True


def _each_line(k: Kernel, along: Along, dtype: str, body: Callable[[Index, Load, Store], None]) -> None:
    """body(offset, load, store) for every line of a tensor along the axis: a vector of lines, or one."""
    for x, _ in along.rows(k):
        if along.inner == 1:
            body(
                x,
                lambda role, at: k.load_one(role, at, ELEMENTS[dtype]),
                lambda value, role, at: k.store_one(value, role, at, ELEMENTS[dtype]),
            )
            continue

        def lines(c: Index | int, mask: Value | None, x: Index = x) -> None:
            body(
                x + c,
                lambda role, at: load(k, role, at, mask, dtype),
                lambda value, role, at: k.store(value, role, at, mask),
            )

        lanes(k, along.inner, lines)


@dataclass(frozen=True)
class Running:
    """y[i] = y[i - 1] + x[i], or times x[i]; reverse: from the end on."""

    along: Along
    is_sum: bool
    is_reverse: bool
    dtype: str

    def emit(self, k: Kernel) -> None:
        size, inner = self.along.size, self.along.inner

        def line(start: Index, load: Load, store: Store) -> None:
            first = start + (size - 1) * inner if self.is_reverse else start
            total = k.register(start=load("x", first))
            store(k.get(total), "y", first)
            with k.loop(1, size) as i:
                at = first + i * (-inner if self.is_reverse else inner)
                value = load("x", at)
                k.set(total, k.get(total) + value if self.is_sum else k.get(total) * value)
                store(k.get(total), "y", at)

        _each_line(k, self.along, self.dtype, line)


def lower_product_gradient(plan: Plan, op: Operation) -> bool:
    """The gradient of cumprod."""
    found = _find(plan, op)
    if found is None or not plan.is_float(*op.inputs):
        return False
    roles = {"g": op.inputs[0], "x": op.inputs[1]}
    plan.call(op, ProductGradient(found[0]), roles, {"dx": op.outputs[0]}, found[1], note=op.operator)
    return True


@dataclass(frozen=True)
class ProductGradient:
    """dx[i] = (x[0] ... x[i - 1]) s[i] with s[i] = g[i] + x[i + 1] s[i + 1]: forwards, then backwards."""

    along: Along

    def emit(self, k: Kernel) -> None:
        size, inner = self.along.size, self.along.inner

        def line(start: Index, load: Load, store: Store) -> None:
            kind = load("x", start).type
            before = k.register(start=k.constant(1.0, kind))
            with k.loop(0, size) as i:
                store(k.get(before), "dx", start + i * inner)
                k.set(before, k.get(before) * load("x", start + i * inner))
            last = start + (size - 1) * inner
            later = k.register(start=load("g", last))
            store(load("dx", last) * k.get(later), "dx", last)
            with k.loop(1, size) as i:
                at = last + i * -inner
                k.set(later, load("g", at) + load("x", at + inner) * k.get(later))
                store(load("dx", at) * k.get(later), "dx", at)

        _each_line(k, self.along, "float32", line)


# --- how many images there are


def lower_count(plan: Plan, op: Operation) -> bool:
    """The number of images as a float."""
    if op.attrs["dtype"] != "float32" or not has_images(plan.shape(op.inputs[0])):
        return False
    plan.call(op, Count(), {"n": "#n"}, {"y": op.outputs[0]}, Tasks(fixed=1))
    return True


@dataclass(frozen=True)
class Count:
    """The number that the run tells."""

    def emit(self, k: Kernel) -> None:
        k.store_one(k.scalar("n").to_float(), "y")
