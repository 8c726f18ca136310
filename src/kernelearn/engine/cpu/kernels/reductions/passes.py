"""One pass over a tensor that reduces values of a chain over some axes, several of them at once.

Neighbouring axes are one loop where all that is read goes on alike. Lanes lie along the last axis: if that is
kept, each lane has a result of its own ("columns"); if it is reduced, lanes are joined at the end ("runs").
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from kernelearn.engine.cpu.kernels.entrywise.chain import Chain, External
from kernelearn.engine.cpu.kernels.entrywise.elements import load, load_everywhere, store
from kernelearn.engine.cpu.kernels.reductions.kinds import Reduction
from kernelearn.engine.cpu.language.kernel import Index, Kernel, Register
from kernelearn.engine.cpu.language.loops import Lanes, blocks
from kernelearn.engine.cpu.language.reduce import fold_rows
from kernelearn.engine.cpu.language.strides import nest
from kernelearn.engine.cpu.language.values import Value

# Vectors of a row that are reduced together.
TILE = 4
# Role -> offset in memory.
Places = dict[str, Index]
# The whole tensor, and results: how they are passed through is told under these roles.
WHOLE, RESULT = "whole", "result"


@dataclass(frozen=True)
class Axis:
    """A loop.

    Attributes:
        size: how many turns; steps: role -> numbers from turn to turn.
    """

    size: int
    steps: tuple[tuple[str, int], ...]

    @property
    def is_reduced(self) -> bool:
        return not dict(self.steps)[RESULT]

    def moved(self, places: Mapping[str, Index], turns: Index | int) -> Places:
        """Offsets so many turns on."""
        steps = dict(self.steps)
        return {role: place + turns * steps[role] for role, place in places.items()}


@dataclass(frozen=True)
class Walk:
    """How a tensor is passed through.

    Attributes:
        lead: what belongs to a task: an image, an index of the first axis; None: all is one task.
        axes: within a task.
        shards: into so many parts the first axis is divided, each of which is a task; 0: it is not.
    """

    lead: Axis | None
    axes: tuple[Axis, ...]
    shards: int = 0


@dataclass(frozen=True)
class Target:
    """A result: a value of the chain, how it is reduced, the role that it is written to, and a divisor."""

    name: str
    reduction: Reduction
    role: str
    divisor: int


@dataclass(frozen=True)
class ReducedPass:
    """A chain over memory, of which some values are reduced and others perhaps written."""

    chain: Chain
    walk: Walk
    targets: tuple[Target, ...]

    @property
    def identity(self) -> str:
        """What it does, whatever the buffers are called."""
        names = self.chain.names
        targets = [f"{names[t.name]}:{t.reduction}:{t.role}:{t.divisor}" for t in self.targets]
        return f"{self.chain.identity} {self.walk} {targets}"

    def emit(self, k: Kernel) -> None:
        roles = [WHOLE, RESULT, *(e.role for e in self.chain.externals)]
        axes, walk = list(self.walk.axes), self.walk
        with k.loop(k.lo, k.hi) as task:
            places = {role: k.const(0) for role in roles}
            bounds: dict[int, tuple[Index, Index]] = {}
            if walk.lead is not None:
                places = walk.lead.moved(places, task)
            if walk.shards:
                places[RESULT] = task * self._results(axes)
                bounds[0] = ((task * axes[0].size) // walk.shards, ((task + 1) * axes[0].size) // walk.shards)
            inner = len(axes) - 1
            outside = [i for i in range(inner) if not axes[i].is_reduced]
            within = [i for i in range(inner) if axes[i].is_reduced]
            with nest(k, [axes[i].size for i in outside]) as turns:
                for i, turn in zip(outside, turns):
                    places = axes[i].moved(places, turn)
                loops = [(axes[i], bounds.get(i)) for i in within]
                if axes[-1].is_reduced:
                    self._emit_run(k, loops, (axes[-1], bounds.get(inner)), places)
                else:
                    self._emit_columns(k, loops, axes[-1], places)

    def _results(self, axes: Sequence[Axis]) -> int:
        return math.prod(axis.size for axis in axes if not axis.is_reduced)

    # --- lanes are results

    def _emit_columns(self, k: Kernel, loops: Loops, last: Axis, places: Places) -> None:
        starts = [t.reduction.start(k) for t in self.targets]
        joins = [t.reduction.join for t in self.targets]
        for first, tile in blocks(k, last.size, max(TILE // len(self.targets), 1)):

            def step(at: Places, vector: Lanes, parts: Sequence[Value], first: Index = first) -> list[Value]:
                channel, mask = vector
                values = self._values(k, last, at, first + channel, mask)
                return [
                    t.reduction.join(part, t.reduction.taken(values[t.name]))
                    for t, part in zip(self.targets, parts)
                ]

            totals = _folded(k, loops, places, starts, tile, step, joins)
            for (channel, mask), parts in zip(tile, totals):
                for target, part in zip(self.targets, parts):
                    value = target.reduction.given(_divided(part, target.divisor))
                    store(k, value, target.role, places[RESULT] + first + channel, mask)

    # --- lanes are joined

    def _emit_run(self, k: Kernel, loops: Loops, last: Loop, places: Places) -> None:
        axis, bounds = last
        starts = [t.reduction.start(k) for t in self.targets]
        joins = [t.reduction.join for t in self.targets]
        low, count = (
            (k.const(0), k.const(axis.size)) if bounds is None else (bounds[0], bounds[1] - bounds[0])
        )
        vectors = count // k.width

        def part(at: Places, number: Index, mask: Value | None, parts: Sequence[Value]) -> list[Value]:
            values = self._values(k, axis, at, low + number, mask)
            return [
                t.reduction.join(whole, t.reduction.taken(values[t.name], mask))
                for t, whole in zip(self.targets, parts)
            ]

        def row(at: Places, _: object, parts: Sequence[Value]) -> list[Value]:
            def step(number: Index, _: object, sums: Sequence[Value]) -> list[Value]:
                return part(at, number * k.width, None, sums)

            rows = vectors.constant if vectors.register is None else vectors
            unroll = max(TILE // len(self.targets), 1)
            found = fold_rows(k, rows, starts, [0], step, joins, unroll)[0] if rows != 0 else starts
            tail = vectors * k.width
            if bounds is not None:
                found = part(at, tail, k.mask_below(count - tail), found)
            elif axis.size % k.width:
                found = part(at, tail, k.mask(axis.size % k.width), found)
            return [join(whole, one) for join, whole, one in zip(joins, parts, found)]

        (totals,) = _folded(k, loops, places, starts, [0], row, joins, unroll=1)
        for target, whole in zip(self.targets, totals):
            one = _divided(target.reduction.everywhere(whole), target.divisor).lane()
            given = target.reduction.given(one)
            if target.reduction.dtype == "bool":
                given = given.converted("zext", "i8")
            k.store_one(given, target.role, places[RESULT], given.type)

    # --- the chain

    def _values(
        self, k: Kernel, last: Axis, places: Places, lane: Index | int, mask: Value | None
    ) -> dict[str, Value]:
        """All values at a vector of the last axis; what is wanted of them is written."""
        steps = dict(last.steps)

        def read(e: External) -> Value:
            if not steps[e.role]:
                return load_everywhere(k, e.role, places[e.role], e.dtype)
            return load(k, e.role, places[e.role] + lane, mask, e.dtype)

        values = self.chain.computed(k, (), read)
        self.chain.write(k, values, places[WHOLE] + lane, mask)
        return values


# An axis, and where its turns begin and end if not at its own ends.
Loop = tuple[Axis, tuple[Index, Index] | None]
Loops = Sequence[Loop]
Step = Callable[[Places, object, Sequence[Value]], Sequence[Value]]


def _folded(
    k: Kernel,
    loops: Loops,
    places: Places,
    starts: Sequence[Value],
    tile: Sequence[object],
    step: Callable[..., Sequence[Value]],
    joins: Sequence[Callable[[Value, Value], Value]],
    unroll: int | None = None,
) -> list[list[Value]]:
    """Parts joined over loops within each other, the last of which has several chains."""
    if not loops:
        return [list(step(places, vector, starts)) for vector in tile]
    *outer, (axis, bounds) = loops
    low = bounds[0] if bounds else k.const(0)
    rows = bounds[1] - bounds[0] if bounds else axis.size
    totals = [[k.register(start=start) for start in starts] for _ in tile] if outer else None

    def inner(at: Places) -> list[list[Value]]:
        def one(row: Index, vector: object, parts: Sequence[Value]) -> Sequence[Value]:
            return step(axis.moved(at, low + row), vector, parts)

        return fold_rows(k, rows, starts, tile, one, joins, unroll)

    if totals is None:
        return inner(places)
    _in_loops(k, outer, places, lambda at: _add(k, totals, inner(at), joins))
    return [[k.get(register) for register in row] for row in totals]


def _in_loops(k: Kernel, loops: Loops, places: Places, body: Callable[[Places], None]) -> None:
    if not loops:
        body(places)
        return
    (axis, bounds), *rest = loops
    low, high = bounds or (k.const(0), k.const(axis.size))
    with k.loop(low, high) as turn:
        _in_loops(k, rest, axis.moved(places, turn), body)


def _add(
    k: Kernel,
    totals: Sequence[Sequence[Register]],
    parts: Sequence[Sequence[Value]],
    joins: Sequence[Callable[[Value, Value], Value]],
) -> None:
    for registers, row in zip(totals, parts):
        for register, part, join in zip(registers, row, joins):
            k.set(register, join(k.get(register), part))


def _divided(part: Value, divisor: int) -> Value:
    return part / divisor if divisor > 1 else part
