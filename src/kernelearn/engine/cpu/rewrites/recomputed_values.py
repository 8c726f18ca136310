"""Values that several groups need, computed again by each instead of being written and read.

    before  a, s = fused(x) body=activation + multiply;  ...;  dx = fused(g, s) body=multiply
    after   a = fused(x) body=activation + multiply;     ...;  dx = fused(g, x) body=activation + multiply

Only what follows entry by entry from tensors that are in memory anyway is computed again: a chain does that
in registers, where writing and reading a tensor would take longer than the arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from kernelearn.engine.cpu.kernels.entrywise.chain import operand_kind
from kernelearn.engine.cpu.kernels.entrywise.emitters import read_inputs
from kernelearn.engine.cpu.kernels.fused import ANCHORS
from kernelearn.engine.cpu.kernels.reductions.kinds import KINDS
from kernelearn.engine.cpu.rewrites.groups import Group, is_constant
from kernelearn.engine.graph import Graph
from kernelearn.engine.operators.functions import CONDITIONS
from kernelearn.engine.program import Buffer, Operation

# Operations that are done again for one value, and large tensors that a group has to read for it, at most.
MAX_OPERATIONS, MAX_TENSORS = 12, 2
# Operations that take less than reading a number from the cache, where what the same phase needs again is.
LIGHT = {
    "add", "subtract", "multiply", "maximum", "minimum", "scale", "affine", "bias_add", "where", "cast",
    "abs", "square", "sign", "floor", "ceil", "round", "broadcast_to", "stop_gradient", "fill_like",
    *CONDITIONS,
}  # fmt: skip
# Tensors without images of fewer numbers are kept.
LARGE = 4096


class Readers:
    """Which groups read a buffer, and whether an operation outside of all groups does."""

    def __init__(self, graph: Graph, groups: Sequence[Group]) -> None:
        self._groups: dict[str, dict[int, Group]] = {}
        self._names: dict[int, set[str]] = {}
        for group in groups:
            self.look(group)
        inside = {place for group in groups for place in group.members}
        self._loose = {
            name
            for place, op in enumerate(graph.program.operations)
            if place not in inside
            for name in op.inputs
        }

    def look(self, group: Group) -> None:
        """Look again at what a group reads."""
        for name in self._names.get(id(group), ()):
            del self._groups[name][id(group)]
        names = self._names[id(group)] = {name for op in group.operations for name in read_inputs(op)}
        for name in names:
            self._groups.setdefault(name, {})[id(group)] = group

    def is_loose(self, name: str) -> bool:
        """Whether an operation outside of all groups reads a buffer."""
        return name in self._loose

    def others(self, name: str, group: Group) -> list[Group]:
        """Other groups that read it."""
        return [other for other in self._groups.get(name, {}).values() if other is not group]

    def outside(self, name: str, group: Group) -> bool:
        """Whether anybody but the group reads it."""
        return self.is_loose(name) or bool(self.others(name, group))


def compute_again(graph: Graph, groups: Sequence[Group], buffers: dict[str, Buffer]) -> None:
    """Give groups operations of others, where that saves a tensor; buffers of the copies are entered."""
    readers = Readers(graph, groups)
    for group in groups:
        numbers = math.prod(size for size in group.shape if size is not None)
        if numbers >= (2 if None in group.shape else LARGE):
            _Values(graph, readers, group, buffers).share()


class _Values:
    """The values of a group that others read.

    Attributes:
        written: those that are in memory, whatever the others do.
    """

    def __init__(self, graph: Graph, readers: Readers, group: Group, buffers: dict[str, Buffer]) -> None:
        self.graph, self.readers, self.group, self.buffers = graph, readers, group, buffers
        self.makers = {name: op for op in group.operations for name in op.outputs}
        self.written: set[str] = set()

    def share(self) -> None:
        for op in self.group.operations:
            for name in op.outputs:
                others = self.readers.others(name, self.group)
                if not others and not self.readers.is_loose(name) and not self.graph.is_kept(name):
                    continue
                steps = None if self._has_to_be_written(name, op) else self._steps(name)
                if steps is None or not all(self._can_take(other, name, steps) for other in others):
                    self.written.add(name)
                    continue
                for other in others:
                    self._copy(steps, other)

    def _has_to_be_written(self, name: str, op: Operation) -> bool:
        if self.graph.is_kept(name) or self.readers.is_loose(name):
            return True
        return op.operator in ANCHORS or op.operator in KINDS

    def _steps(self, name: str) -> list[Operation] | None:
        """The operations from what is in memory to a value; None if they are too many."""
        needed: set[str] = set()
        pending = [name]
        while pending:
            op = self.makers[pending.pop()]
            if op.operator in ANCHORS or len(needed) > MAX_OPERATIONS:
                return None
            needed.update(op.outputs)
            pending += [
                n for n in read_inputs(op) if n in self.makers and n not in self.written and n not in needed
            ]
        return [op for op in self.group.operations if needed.intersection(op.outputs)]

    def _leaves(self, steps: Sequence[Operation]) -> set[str]:
        made = {name for op in steps for name in op.outputs}
        return {
            n for op in steps for n in read_inputs(op) if n not in made and not is_constant(self.graph, n)
        }

    def _can_take(self, other: Group, name: str, steps: Sequence[Operation]) -> bool:
        """Whether a group can read what the value is made from, and make it."""
        if other.shape != self.group.shape or name in _read_by_product(other):
            return False
        known = {n for op in other.operations for n in op.outputs}
        read = {n for op in other.operations for n in read_inputs(op)} - known - {name}
        leaves = self._leaves(steps)
        tensors = [n for n in leaves - read if self._buffer(n).shape == self.group.shape]
        kinds = [operand_kind(self._buffer(n), other.shape, spreads=not other.is_anchored) for n in leaves]
        is_near = other.phase == self.group.phase
        return (
            all(kind is not None for kind in kinds)
            and (not is_near or all(op.operator in LIGHT for op in steps))
            and len(read | leaves) <= other.most
            and len(tensors) <= MAX_TENSORS
        )

    def _buffer(self, name: str) -> Buffer:
        return self.buffers[name] if name in self.buffers else self.graph.program.buffers[name]

    def _copy(self, steps: Sequence[Operation], other: Group) -> None:
        """Put copies of operations into a group, which reads their results instead."""
        first = other.operations[0]
        stem = first.outputs[0]
        names = {name: f"{name} for {stem}" for op in steps for name in op.outputs}
        self.buffers.update((new, replace(self._buffer(old), name=new)) for old, new in names.items())
        have = {name for op in other.operations for name in op.outputs}
        copies = [
            replace(
                op,
                inputs=tuple(names.get(n, n) for n in op.inputs),
                outputs=tuple(names[n] for n in op.outputs),
                phase=first.phase,
            )
            for op in steps
            if names[op.outputs[0]] not in have
        ]
        moved = [replace(op, inputs=tuple(names.get(n, n) for n in op.inputs)) for op in other.operations]
        anchor = 1 if other.is_anchored else 0
        other.operations = in_order([*moved[:anchor], *copies, *moved[anchor:]])
        self.readers.look(other)


def in_order(operations: Sequence[Operation]) -> list[Operation]:
    """Operations each behind those that it reads; else their order stays.

    Copies may read copies that another value has brought before.
    """
    makers = {name: op for op in operations for name in op.outputs}
    placed: set[int] = set()
    result: list[Operation] = []

    def place(op: Operation) -> None:
        if id(op) in placed:
            return
        placed.add(id(op))
        for name in op.inputs:
            if name in makers:
                place(makers[name])
        result.append(op)

    for op in operations:
        place(op)
    return result


def _read_by_product(group: Group) -> tuple[str, ...]:
    """What the product at the start of a group reads, which has to be in memory."""
    return group.operations[0].inputs if group.is_anchored else ()
