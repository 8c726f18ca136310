"""Reductions: over the lanes of a vector, over rows in several chains, over runs of an image, in float64."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from kernelearn.engine.cpu.language.functions import maximum
from kernelearn.engine.cpu.language.kernel import Index, Kernel, Register
from kernelearn.engine.cpu.language.loops import emit_flat
from kernelearn.engine.cpu.language.values import Value
from kernelearn.engine.cpu.language.views import View

# Vectors of sums that are held in registers at once.
ACCUMULATORS = 8

Accumulate = Callable[[Index, Any, Sequence[Value]], Sequence[Value]]


def only(mask: Value | None, value: Value, other: Value | float) -> Value:
    """The value in the lanes of the mask, `other` in the rest."""
    return value if mask is None else mask.choose(value, other)


def butterfly(vector: Value, join: Callable[[Value, Value], Value]) -> Value:
    """Join all lanes pairwise; the result is in every lane."""
    k, kind = vector.kernel, vector.type
    step = kind.lanes // 2
    while step:
        order = ", ".join(f"i32 {lane ^ step}" for lane in range(kind.lanes))
        whole = kind.of("i32")
        other = k.value(f"shufflevector {kind} {vector}, {kind} poison, {whole} <{order}>", kind)
        vector = join(vector, other)
        step //= 2
    return vector


def lane_sum(vector: Value) -> Value:
    """The sum of the lanes, in every lane."""
    return butterfly(vector, lambda a, b: a + b)


def lane_max(vector: Value) -> Value:
    """The largest lane, in every lane; a NaN may or may not be seen."""
    return butterfly(vector, lambda a, b: (a > b).choose(a, b))


def accumulate(register: Register, value: Value) -> None:
    """register += value"""
    k = value.kernel
    k.set(register, k.get(register) + value)


class WideSum:
    """A sum in float64, of vectors and of single numbers."""

    def __init__(self, k: Kernel, vectors: bool = False) -> None:
        self.k = k
        self.single = k.register("double", "0.0")
        self.lanes = k.register(k.vector.of("double"), "zeroinitializer") if vectors else None

    def reset(self) -> None:
        self.k.set(self.single, "0.0")
        if self.lanes is not None:
            self.k.set(self.lanes, "zeroinitializer")

    def add(self, number: Value) -> None:
        """Add a float64."""
        self.k.set(self.single, self.k.get(self.single) + number)

    def add_lanes(self, wide: Value) -> None:
        """Add a vector of float64, lane by lane."""
        assert self.lanes is not None
        self.k.set(self.lanes, self.k.get(self.lanes) + wide)

    def total(self) -> Value:
        """The sum, a float64."""
        value = self.k.get(self.single)
        if self.lanes is None:
            return value
        return value + self.k.total(self.k.get(self.lanes), "double")


def fold_rows(
    k: Kernel,
    rows: Index | int,
    starts: Sequence[Value],
    tile: Sequence[Any],
    step: Accumulate,
    merge: Callable[[Value, Value], Value] | Sequence[Callable[[Value, Value], Value]] | None = None,
    unroll: int | None = None,
) -> list[list[Value]]:
    """Sums over rows in registers, several chains of additions at a time.

        for row in rows: for vector in tile: sums[vector] = step(row, vector, sums[vector])

    Args:
        rows: how many, known here or only when the kernel runs.
        starts: first values of the sums of one vector.
        tile: what distinguishes the vectors of a row; passed on to `step`.
        merge: joins two chains, addition by default; one for all sums of a vector, or one for each.
        unroll: chains per sum; as many as fit into the registers by default.
    Returns: the sums of each vector.
    """
    merges = merge if isinstance(merge, Sequence) else [merge or (lambda a, b: a + b)] * len(starts)
    turns = unroll or max(ACCUMULATORS // (len(tile) * len(starts)), 1)
    if isinstance(rows, int):
        turns = min(turns, max(rows, 1))
    chains = [[[k.register(start=s) for s in starts] for _ in tile] for _ in range(turns)]
    whole = rows if turns == 1 else (rows // turns) * turns
    with k.loop(0, whole, turns) as row:
        for turn, chain in enumerate(chains):
            _step(k, row + turn, tile, chain, step)
    if isinstance(rows, int):
        for left in range(whole if isinstance(whole, int) else 0, rows):
            _step(k, k.const(left), tile, chains[left % turns], step)
    elif turns > 1:
        with k.loop(whole, rows) as row:
            _step(k, row, tile, chains[0], step)
    return [
        [_joined(merges[s], [k.get(c[v][s]) for c in chains]) for s in range(len(starts))]
        for v in range(len(tile))
    ]


def _step(k: Kernel, row: Index, tile: Sequence[Any], chain: list[list[Register]], step: Accumulate) -> None:
    for vector, registers in zip(tile, chain):
        results = step(row, vector, [k.get(r) for r in registers])
        for register, result in zip(registers, results):
            k.set(register, result)


def _joined(merge: Callable[[Value, Value], Value], values: list[Value]) -> Value:
    """Pairwise."""
    while len(values) > 1:
        pairs = [merge(a, b) for a, b in zip(values[::2], values[1::2])]
        values = pairs + values[len(pairs) * 2 :]
    return values[0]


@dataclass(frozen=True)
class Reduction:
    """ "sum", "mean" or "max"."""

    kind: str

    def start(self, k: Kernel) -> Value:
        return k.constant(-math.inf) if self.kind == "max" else k.zero

    def join(self, a: Value, b: Value) -> Value:
        return maximum(a, b) if self.kind == "max" else a + b

    def masked(self, k: Kernel, x: Value, mask: Value | None) -> Value:
        """Lanes that do not exist must not count."""
        if mask is None or self.kind != "max":
            return x
        return mask.choose(x, self.start(k))


def fold_runs(
    k: Kernel, view: View, start: Index, reduction: Reduction, value: Callable[[Index, Value | None], Value]
) -> Value:
    """One vector whose lanes together are the sum of value(offset, mask) over the rows and the run."""
    total = k.register(start=reduction.start(k))
    vectors, rest = divmod(view.run, k.width)
    with k.loop(0, view.rows) as row:
        at = start + row * (view.channels * view.run)
        parts = []
        if vectors:

            def step(number: Index, _: Any, sums: Sequence[Value], at: Index = at) -> list[Value]:
                return [reduction.join(sums[0], value(at + number * k.width, None))]

            parts.append(
                fold_rows(k, vectors, [reduction.start(k)], [0], step, reduction.join, unroll=4)[0][0]
            )
        if rest:
            parts.append(value(at + vectors * k.width, k.mask(rest)))
        for part in parts:
            k.set(total, reduction.join(k.get(total), part))
    return k.get(total)


def each_run(
    k: Kernel, view: View, x: Index, channel: Index, body: Callable[[Index, Value | None], None]
) -> None:
    """body(offset, mask) on all numbers of a channel, lanes along its runs."""
    with k.loop(0, view.rows) as row:
        start = x + row * (view.channels * view.run) + channel * view.run
        emit_flat(k, k.const(0), k.const(view.run), lambda at, mask: body(start + at, mask))
