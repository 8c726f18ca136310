"""Softmax, its logarithm, and their gradients along an axis that is not the last.

An image is (outer, size, inner); lanes lie along `inner`, and every pass goes down the `size` rows:

    for outer: for vectors of inner: largest; sum of exponentials; division
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kernelearn.engine.cpu.language import functions as fn
from kernelearn.engine.cpu.language.kernel import Index, Kernel
from kernelearn.engine.cpu.language.loops import Lanes, blocks
from kernelearn.engine.cpu.language.reduce import fold_rows
from kernelearn.engine.cpu.language.values import Value

# Vectors that go down the rows together: rows of a whole number of pages share few places in the cache, and
# lines that are read together cost less.
TILE = 4


@dataclass(frozen=True)
class Column:
    """Neighbouring columns at offset `at` of every tensor: `size` rows, `step` numbers between them.

    tile: the vectors of columns, as (offset, mask).
    """

    k: Kernel
    size: int
    step: int
    at: Index
    tile: list[Lanes]

    def load(self, role: str, row: Index, vector: int) -> Value:
        c, mask = self.tile[vector]
        return self.k.load(role, self.at + row * self.step + c, mask)

    def store(self, value: Value, row: Index, vector: int) -> None:
        c, mask = self.tile[vector]
        self.k.store(value, "out", self.at + row * self.step + c, mask)

    def fold(
        self, start: Value, join: Callable[[Value, Value], Value], value: Callable[[Index, int], Value]
    ) -> list[Value]:
        """join over all rows of value(row, vector), for each vector."""

        def step(row: Index, vector: int, sums: Sequence[Value]) -> list[Value]:
            return [join(sums[0], value(row, vector))]

        numbers = range(len(self.tile))
        folded = fold_rows(self.k, self.size, [start], numbers, step, join, unroll=1)
        return [total for (total,) in folded]

    def sum(self, value: Callable[[Index, int], Value]) -> list[Value]:
        return self.fold(self.k.zero, lambda a, b: a + b, value)

    def write(self, value: Callable[[Index, int], Value]) -> None:
        with self.k.loop(0, self.size) as row:
            for vector in range(len(self.tile)):
                self.store(value(row, vector), row, vector)


def emit_columns(k: Kernel, outer: int, size: int, inner: int, emit: Callable[[Column], None]) -> None:
    """emit(columns) for all columns of the images of the kernel's tasks."""
    with k.loop(k.lo * outer, k.hi * outer) as number:
        start = number * (size * inner)
        for first, tile in blocks(k, inner, TILE):
            emit(Column(k, size, inner, start + first, tile))


def _largest(column: Column) -> list[Value]:
    """The largest number of every column; a NaN may or may not be seen."""

    def larger(a: Value, b: Value) -> Value:
        return (b > a).choose(b, a)

    return column.fold(column.k.constant(-math.inf), larger, lambda row, v: column.load("x", row, v))


def emit_softmax(column: Column) -> None:
    """Largest number; exponentials and their sum; their shares of it."""
    top = _largest(column)

    def exponential(row: Index, v: int) -> Value:
        e = fn.share(column.load("x", row, v) - top[v])
        column.store(e, row, v)
        return e

    inverse = [1.0 / total for total in column.sum(exponential)]
    column.write(lambda row, v: column.load("out", row, v) * inverse[v])


def emit_log_softmax(column: Column) -> None:
    """Largest number; sum of exponentials; difference."""
    top = _largest(column)

    def shifted(row: Index, v: int) -> Value:
        return column.load("x", row, v) - top[v]

    total = column.sum(lambda row, v: fn.share(shifted(row, v)))
    logarithm = [fn.log(t) for t in total]
    column.write(lambda row, v: shifted(row, v) - logarithm[v])


def emit_softmax_grad(column: Column) -> None:
    """y (g - sum(g y))."""
    mean = column.sum(lambda row, v: column.load("g", row, v) * column.load("y", row, v))
    column.write(lambda row, v: column.load("y", row, v) * (column.load("g", row, v) - mean[v]))


def emit_log_softmax_grad(column: Column) -> None:
    """g - e^y sum(g)."""
    total = column.sum(lambda row, v: column.load("g", row, v))

    def slope(row: Index, v: int) -> Value:
        share = fn.share(column.load("y", row, v)) * total[v]
        return column.load("g", row, v) - share

    column.write(slope)
