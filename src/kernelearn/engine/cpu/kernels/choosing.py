"""Choosing entries by their numbers, and adding up entries that share one.

Sums go in the order of the entries, whoever does them: a task has rows of the result for itself, and looks at
all numbers for those that are its own. A number that is no entry gives NaN; where numbers are inputs of the
program, a check then says which.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from kernelearn.engine.cpu.kernels.shaping import divided
from kernelearn.engine.cpu.language.kernel import Index, Kernel
from kernelearn.engine.cpu.language.loops import emit_flat, lanes
from kernelearn.engine.cpu.language.values import Value
from kernelearn.engine.cpu.plan import Plan, Tasks, has_images, image_sizes
from kernelearn.engine.program import Operation
from kernelearn.engine.reference.choosing import checked_indices

# Tasks that the rows of a sum are divided into.
ROW_TASKS = 16
# How kernels read indices of these types.
INTEGERS = {"int32": "i32", "int64": "i64"}


@dataclass(frozen=True)
class Rows:
    """Arrays seen as (outer, entries, inner), entries chosen by numbers.

    Attributes:
        outer, inner: numbers before and behind the axis; size: entries along it.
        count: numbers a task chooses by, for every outer one.
        integer: their type in the kernel.
    """

    outer: int
    size: int
    inner: int
    count: int
    integer: str

    def entry(self, k: Kernel, at: Index) -> tuple[Index, Value]:
        """The entry that index number `at` names, the first where there is none; and whether there is."""
        number = k.load_one("i", at, self.integer)
        number = number if self.integer == "i64" else number.converted("sext", "i64")
        wrapped = (number < 0).choose(number + self.size, number)
        is_there = wrapped.test("ult", self.size)
        return Index(k, is_there.choose(wrapped, 0)), is_there


def _copied(k: Kernel, inner: int, source: Index, target: Index, is_there: Value) -> None:
    """y[target ..] = x[source ..], or NaN."""
    if inner == 1:
        one = k.load_one("x", source)
        k.store_one(is_there.choose(one, math.nan), "y", target)
        return
    nan = k.constant(math.nan)

    def body(at: Index | int, mask: Value | None) -> None:
        k.store(is_there.choose(k.load("x", source + at, mask), nan), "y", target + at, mask)

    lanes(k, inner, body)


def _added(k: Kernel, inner: int, source: Index, target: Index, is_there: Value) -> None:
    """y[target ..] += x[source ..], or NaN."""
    if inner == 1:
        one = is_there.choose(k.load_one("x", source), math.nan)
        k.store_one(k.load_one("y", target) + one, "y", target)
        return
    nan = k.constant(math.nan)

    def body(at: Index | int, mask: Value | None) -> None:
        value = is_there.choose(k.load("x", source + at, mask), nan)
        k.store(k.load("y", target + at, mask) + value, "y", target + at, mask)

    lanes(k, inner, body)


def _zeros(k: Kernel, lo: Index, hi: Index) -> None:
    emit_flat(k, lo, hi, lambda at, mask: k.store(k.zero, "y", at, mask))


def _note_check(plan: Plan, indices: str, size: int) -> None:
    """After a run that gave NaN, say which index is no entry."""
    root = plan.root(indices)
    if plan.buffers[root].role == "input":
        plan.checks.append(functools.partial(_check, root, size))


def _check(name: str, size: int, inputs: Mapping[str, np.ndarray]) -> None:
    """Raises: ArgumentError for an index that is no entry."""
    checked_indices(inputs[name], size)


# --- one number for a whole part: rows of a table, channels of all images


def _rows(plan: Plan, x: tuple[int | None, ...], indices: str, axis: int) -> tuple[Tasks, Rows] | None:
    """How an array of shape x is divided; None where there is no kernel. By rows of a table for axis 0."""
    integer = INTEGERS.get(plan.dtype(indices))
    shape, size = plan.shape(indices), x[axis]
    if integer is None or size is None or None in shape[1:]:
        return None
    if axis == 0:
        tasks, own = divided(shape)
        return tasks, Rows(1, size, math.prod(image_sizes(x[1:])), math.prod(own), integer)
    if has_images(shape):
        return None
    tasks, sizes = divided(x)
    inner = math.prod(sizes[axis:])
    return tasks, Rows(math.prod(sizes[: axis - 1]), size, inner, math.prod(image_sizes(shape)), integer)


def lower_gather(plan: Plan, op: Operation) -> bool:
    """Entries along an axis."""
    x, indices = op.inputs
    found = _rows(plan, plan.shape(x), indices, op.attrs["axis"])
    if found is None or not plan.is_float(x):
        return False
    tasks, rows = found
    code = Gather(rows, op.attrs["axis"] == 0)
    plan.call(op, code, {"x": x, "i": indices}, {"y": op.outputs[0]}, tasks, note="choose")
    _note_check(plan, indices, rows.size)
    return True


@dataclass(frozen=True)
class Gather:
    """is_table: all tasks choose from the same x, each by numbers of its own; else the other way round."""

    rows: Rows
    is_table: bool

    def emit(self, k: Kernel) -> None:
        r = self.rows
        with (
            k.loop(k.lo, k.hi, checked=False) as task,
            k.loop(0, r.outer) as outer,
            k.loop(0, r.count) as number,
        ):
            block = task * r.outer + outer
            entry, is_there = r.entry(k, block * r.count + number if self.is_table else number)
            row = entry if self.is_table else block * r.size + entry
            _copied(k, r.inner, row * r.inner, (block * r.count + number) * r.inner, is_there)


def lower_scatter_add(plan: Plan, op: Operation) -> bool:
    """Entries of the same number added up."""
    values, indices = op.inputs
    (target,) = op.outputs
    found = _rows(plan, plan.shape(target), indices, op.attrs["axis"])
    if found is None or not plan.is_float(values):
        return False
    tasks, rows = found
    reads = {"x": values, "i": indices}
    flops = float(rows.outer * rows.count * rows.inner)
    _note_check(plan, indices, rows.size)
    if op.attrs["axis"]:
        plan.call(op, ScatterAdd(rows), reads, {"y": target}, tasks, flops=(flops, 0.0), note="add up")
        return True
    block = -(-rows.size // ROW_TASKS)
    fixed = rows.count * tasks.fixed
    code = ScatterRows(rows, block, fixed)
    if not fixed:
        reads["n"] = "#n"
    own = Tasks(fixed=-(-rows.size // block))
    plan.call(op, code, reads, {"y": target}, own, flops=(flops, 0.0), note="add up rows in order")
    return True


@dataclass(frozen=True)
class ScatterAdd:
    """Every task has a result of its own."""

    rows: Rows

    def emit(self, k: Kernel) -> None:
        r = self.rows
        with k.loop(k.lo, k.hi, checked=False) as task, k.loop(0, r.outer) as outer:
            block = task * r.outer + outer
            start = block * (r.size * r.inner)
            _zeros(k, start, start + r.size * r.inner)
            with k.loop(0, r.count) as number:
                entry, is_there = r.entry(k, number)
                source = (block * r.count + number) * r.inner
                _added(k, r.inner, source, start + entry * r.inner, is_there)


@dataclass(frozen=True)
class ScatterRows:
    """A task has `block` rows of the result and goes through all numbers: `fixed`, or (0) all images'."""

    rows: Rows
    block: int
    fixed: int

    def emit(self, k: Kernel) -> None:
        r = self.rows
        total = k.const(self.fixed) if self.fixed else k.scalar("n") * r.count
        with k.loop(k.lo, k.hi, checked=False) as task:
            first = task * self.block
            end = k.minimum(first + self.block, k.const(r.size))
            _zeros(k, first * r.inner, end * r.inner)
            with k.loop(0, total) as number:
                entry, is_there = r.entry(k, number)
                # NOTE: what has no row makes the first one NaN, so that it is not lost without a word.
                with k.all_of([k.compare("sge", entry, first), k.compare("slt", entry, end)]):
                    _added(k, r.inner, number * r.inner, entry * r.inner, is_there)


# --- a number for every entry


def _along(plan: Plan, whole: str, part: str, indices: str, axis: int) -> tuple[Tasks, Rows] | None:
    """How arrays are divided of which `whole` has all entries and `part` the chosen ones."""
    integer = INTEGERS.get(plan.dtype(indices))
    shape, chosen = plan.shape(whole), plan.shape(part)
    size, count = shape[axis], chosen[axis]
    if integer is None or size is None or count is None or not plan.is_float(whole, part):
        return None
    tasks, sizes = (Tasks(fixed=1), image_sizes(shape)) if axis == 0 else divided(shape)
    at = len(sizes) - (len(shape) - axis)
    return tasks, Rows(math.prod(sizes[:at]), size, math.prod(sizes[at + 1 :]), count, integer)


def lower_gather_along(plan: Plan, op: Operation) -> bool:
    """One entry for every number."""
    x, indices = op.inputs
    found = _along(plan, x, op.outputs[0], indices, op.attrs["axis"])
    if found is None:
        return False
    tasks, rows = found
    plan.call(op, GatherAlong(rows), {"x": x, "i": indices}, {"y": op.outputs[0]}, tasks, note="choose")
    _note_check(plan, indices, rows.size)
    return True


@contextmanager
def _each_number(k: Kernel, r: Rows, before: bool) -> Iterator[tuple[Index, Index, Value]]:
    """(place among the chosen, place among all, whether there is one), number by number.

    Args:
        before: whether all entries are zeros before.
    """
    with k.loop(k.lo, k.hi, checked=False) as task, k.loop(0, r.outer) as outer:
        block = task * r.outer + outer
        start = block * (r.size * r.inner)
        if before:
            _zeros(k, start, start + r.size * r.inner)
        with k.loop(0, r.count) as number, k.loop(0, r.inner) as inner:
            at = (block * r.count + number) * r.inner + inner
            entry, is_there = r.entry(k, at)
            yield at, start + entry * r.inner + inner, is_there


@dataclass(frozen=True)
class GatherAlong:
    """Number by number."""

    rows: Rows

    def emit(self, k: Kernel) -> None:
        with _each_number(k, self.rows, before=False) as (at, place, is_there):
            _copied(k, 1, place, at, is_there)


def lower_scatter_add_along(plan: Plan, op: Operation) -> bool:
    """Every entry added where its number says."""
    values, indices = op.inputs
    (target,) = op.outputs
    found = _along(plan, target, values, indices, op.attrs["axis"])
    if found is None:
        return False
    tasks, rows = found
    reads = {"x": values, "i": indices}
    _note_check(plan, indices, rows.size)
    plan.call(op, ScatterAddAlong(rows), reads, {"y": target}, tasks, note="add up")
    return True


@dataclass(frozen=True)
class ScatterAddAlong:
    """Number by number, in order."""

    rows: Rows

    def emit(self, k: Kernel) -> None:
        with _each_number(k, self.rows, before=True) as (at, place, is_there):
            _added(k, 1, at, place, is_there)


# --- numbers as rows, and one number everywhere


def lower_one_hot(plan: Plan, op: Operation) -> bool:
    """Zeros with a one."""
    (indices,), (target,) = op.inputs, op.outputs
    integer = INTEGERS.get(plan.dtype(indices))
    if integer is None or not plan.is_float(target) or None in plan.shape(indices)[1:]:
        return False
    tasks, own = divided(plan.shape(indices))
    code = OneHot(math.prod(own), int(op.attrs["depth"]), integer)
    plan.call(op, code, {"i": indices}, {"y": target}, tasks)
    return True


@dataclass(frozen=True)
class OneHot:
    """`count` numbers a task."""

    count: int
    depth: int
    integer: str

    def emit(self, k: Kernel) -> None:
        with k.loop(k.lo * self.count, k.hi * self.count) as number:
            _zeros(k, number * self.depth, (number + 1) * self.depth)
            index = k.load_one("i", number, self.integer)
            index = index if self.integer == "i64" else index.converted("sext", "i64")
            with k.when(index.test("ult", self.depth)):
                k.store_one(k.constant(1.0).lane(), "y", number * self.depth + Index(k, index))


def lower_fill_like(plan: Plan, op: Operation) -> bool:
    """The same number everywhere."""
    (target,) = op.outputs
    shape = plan.shape(target)
    if not plan.is_float(target) or None in shape[1:]:
        return False
    tasks, sizes = divided(shape)
    plan.call(op, FillLike(float(op.attrs["value"]), math.prod(sizes)), {}, {"y": target}, tasks)
    return True


@dataclass(frozen=True)
class FillLike:
    """`size` numbers a task."""

    value: float
    size: int

    def emit(self, k: Kernel) -> None:
        value = k.constant(self.value)
        emit_flat(k, k.lo * self.size, k.hi * self.size, lambda at, mask: k.store(value, "y", at, mask))
