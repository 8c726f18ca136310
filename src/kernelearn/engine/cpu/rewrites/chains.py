"""A rewrite that joins a convolution, dense layer or entrywise operation with entrywise ones around it.

    before  y = conv(x, w);  z = bias_add(y, b);  r = activation(z);  s = add(r, q)
    after   s = fused(x, w, b, q) body=conv + bias_add + activation + add

A group holds results of one shape and one phase, and nothing outside of it lies between two of its members.
It may end in reductions, all over the same axes, of what it makes or reads. What others read, or a run gives
back, is an output of the group as well. Single numbers that are known
(`fill`) are copied into each group that reads them, and so into the code.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from kernelearn.engine.cpu.kernels.entrywise.chain import operand_kind
from kernelearn.engine.cpu.kernels.entrywise.emitters import has_code, read_inputs
from kernelearn.engine.cpu.kernels.fused import ANCHORS
from kernelearn.engine.cpu.kernels.reductions.reduced import (
    FEW_ROWS,
    axes_of,
    is_reduction,
    rows_of_images,
)
from kernelearn.engine.cpu.rewrites.ancestors import Ancestors, in_order_of_need
from kernelearn.engine.graph import Graph
from kernelearn.engine.operators.fused import Body
from kernelearn.engine.program import Operation, Program

# Tensors and rows of weights that one kernel reads at most; reductions that it does.
MAX_EXTERNALS = 8
MAX_REDUCTIONS = 4


def fuse_chains(program: Program) -> Program:
    """Groups as large as they can be, from the first operation on."""
    graph = Graph(program)
    ancestors, taken = Ancestors(graph), set[int]()
    groups: list[list[int]] = []
    for place, op in enumerate(program.operations):
        if place in taken or op.phase == "update" or not _starts(graph, op):
            continue
        members = _Group(graph, ancestors, taken, place).members
        taken.update(members)
        if len(members) > 1 or _constants(graph, [op]):
            ancestors.join(members)
            groups.append(members)
    fused = {members[0]: _fused(graph, members) for members in groups}
    dropped = {place for members in groups for place in members[1:]}
    return _without_unread_constants(in_order_of_need(program, fused, dropped))


def _without_unread_constants(program: Program) -> Program:
    read = {name for op in program.operations for name in op.inputs} | set(program.outputs.values())
    kept = [op for op in program.operations if op.operator != "fill" or read.intersection(op.outputs)]
    return replace(program, operations=tuple(kept))


def _starts(graph: Graph, op: Operation) -> bool:
    return op.operator in ANCHORS or _is_entrywise(graph, op) or is_reduction(op, graph.program.buffers)


def _is_entrywise(graph: Graph, op: Operation) -> bool:
    return op.operator != "fill" and has_code(op, graph.program.buffers)


def _is_constant(graph: Graph, name: str) -> bool:
    """Whether a buffer is one known number."""
    made = graph.producer(name)
    if made is None or made.operator != "fill":
        return False
    buffer = graph.program.buffers[name]
    return all(size == 1 for size in buffer.shape) and has_code(made, graph.program.buffers)


def _constants(graph: Graph, members: Sequence[Operation]) -> list[Operation]:
    """The fills of the numbers that operations read, each once."""
    names = dict.fromkeys(n for op in members for n in read_inputs(op) if _is_constant(graph, n))
    return [made for n in names if (made := graph.producer(n)) is not None]


class _Group:
    """Operations that form a group with the one at `start`.

    Attributes:
        members: their places, in order; reductions: those that reduce.
    """

    def __init__(self, graph: Graph, ancestors: Ancestors, taken: set[int], start: int) -> None:
        self.graph, self.ancestors, self.taken = graph, ancestors, taken
        first = graph.program.operations[start]
        self.is_anchored = first.operator in ANCHORS
        self.is_reduction = is_reduction(first, graph.program.buffers)
        shaped = first.inputs[0] if self.is_reduction else first.outputs[0]
        self.phase, self.shape = first.phase, graph.program.buffers[shaped].shape
        self.reductions: list[int] = []
        self.values: set[str] = set()
        self.externals: set[str] = set()
        self.members: list[int] = []
        if self.is_reduction:
            self._reduce(start)
        else:
            self._take(start, [] if self.is_anchored else self._outside(first))
            self._grow(start)
        if not self.is_anchored:
            self._add_reductions()
        self.members.sort()

    def _add_reductions(self) -> None:
        """Take reductions of what the group makes or reads whole."""
        for name in (*self.values, *sorted(self.externals)):
            for reader in self.graph.readers(name):
                place = self.graph.place(reader)
                is_free = place not in self.taken and place not in self.members
                if is_free and not self.ancestors.needs(self.members, place) and self._can_reduce(reader):
                    self._reduce(place)

    def _can_reduce(self, op: Operation) -> bool:
        buffers = self.graph.program.buffers
        if op.phase != self.phase or not is_reduction(op, buffers) or len(self.reductions) >= MAX_REDUCTIONS:
            return False
        if buffers[op.inputs[0]].shape != self.shape or buffers[op.outputs[0]].shape == self.shape:
            return False
        axes = axes_of(op, self.shape)
        others = [axes_of(self.graph.program.operations[place], self.shape) for place in self.reductions]
        # NOTE: where an image has few rows, its parts would be as large as what is reduced.
        return all(axes == other for other in others) and rows_of_images(self.shape, axes) > FEW_ROWS

    def _reduce(self, place: int) -> None:
        op = self.graph.program.operations[place]
        self.members.append(place)
        self.reductions.append(place)
        self.externals.update(n for n in op.inputs if n not in self.values)

    def _grow(self, start: int) -> None:
        frontier = self._readers(start)
        while frontier:
            place = min(frontier)
            frontier.remove(place)
            for joined in self._with_sources(place):
                frontier |= self._readers(joined)

    def _readers(self, place: int) -> set[int]:
        op = self.graph.program.operations[place]
        return {self.graph.place(reader) for name in op.outputs for reader in self.graph.readers(name)}

    def _with_sources(self, place: int) -> Iterator[int]:
        """Take an operation if it fits, and those that only it needs; the places taken."""
        op = self.graph.program.operations[place]
        if place in self.taken or place in self.members or not self._has_code(op):
            return
        outside = self._outside(op)
        if all(map(self._is_readable, outside)) and len(self.externals | set(outside)) <= MAX_EXTERNALS:
            self._take(place, outside)
            yield place
            for name in outside:
                yield from self._pulled_in(name)

    def _pulled_in(self, name: str) -> Iterator[int]:
        """Make an input of the group a value of it, if nothing but the group reads it."""
        made = self.graph.producer(name)
        if made is None or self.graph.is_kept(name) or not self._has_code(made):
            return
        place = self.graph.place(made)
        readers = {self.graph.place(reader) for reader in self.graph.readers(name)}
        outside = self._outside(made)
        count = len((self.externals - {name}) | set(outside))
        if place in self.taken or not readers <= set(self.members) or count > MAX_EXTERNALS:
            return
        if all(map(self._is_readable, outside)):
            self.externals.discard(name)
            self._take(place, outside)
            yield place
            for source in outside:
                yield from self._pulled_in(source)

    def _has_code(self, op: Operation) -> bool:
        """Whether it can be done number by number on tensors of the group's shape."""
        buffers = self.graph.program.buffers
        if op.phase != self.phase or not _is_entrywise(self.graph, op):
            return False
        made = [buffers[name] for name in op.outputs]
        return all(b.shape == self.shape and (b.dtype == "float32" or not self.is_anchored) for b in made)

    def _outside(self, op: Operation) -> list[str]:
        """What an operation reads of others than the group, single known numbers left out."""
        names = dict.fromkeys(read_inputs(op))
        return [n for n in names if n not in self.values and not _is_constant(self.graph, n)]

    def _is_readable(self, name: str) -> bool:
        """Whether the group can read a buffer, and no member is needed to make it."""
        buffer = self.graph.program.buffers[name]
        kind = operand_kind(buffer, self.shape, spreads=not self.is_anchored)
        return kind is not None and not self.ancestors.reaches(name, self.members)

    def _take(self, place: int, outside: Sequence[str]) -> None:
        self.members.append(place)
        self.values.update(self.graph.program.operations[place].outputs)
        self.externals.update(outside)
        self.externals -= self.values


def _fused(graph: Graph, members: Sequence[int]) -> Operation:
    """The group as one operation."""
    program, inside = graph.program, set(members)
    operations = [program.operations[i] for i in members]
    constants = _constants(graph, operations)
    first = operations[:1] if operations[0].operator in ANCHORS else []
    others = sorted(operations[len(first) :], key=lambda op: is_reduction(op, program.buffers))
    body = (*first, *constants, *others)
    made = [name for op in operations for name in op.outputs]
    outputs = tuple(
        n for n in made if graph.is_kept(n) or any(graph.place(op) not in inside for op in graph.readers(n))
    )
    known = {name for op in body for name in op.outputs}
    # NOTE: an input that is not read says how many images there are, to the reference engine.
    inputs = tuple(dict.fromkeys(n for op in operations for n in op.inputs if n not in known))
    attrs = {"body": Body(tuple(body), inputs, outputs, tuple(program.buffers[n].spec for n in outputs))}
    return replace(operations[0], operator="fused", inputs=inputs, outputs=outputs, attrs=attrs, made_by=())
