"""A rewrite that joins a convolution, dense layer or entrywise operation with the entrywise ones after it.

    before  y = conv(x, w);  z = bias_add(y, b);  r = activation(z);  s = add(r, q)
    after   s = fused(x, w, b, q) body=conv + bias_add + activation + add

An operation joins if all that it reads besides results of the group exists before the group runs. What others
read, or a run gives back, is an output of the group as well.
"""

from __future__ import annotations

from collections.abc import Sequence

from kernelearn.engine.cpu.kernels.entrywise.chain import operand_kind
from kernelearn.engine.cpu.kernels.entrywise.emitters import is_supported
from kernelearn.engine.cpu.kernels.fused import ANCHORS
from kernelearn.engine.graph import Graph
from kernelearn.engine.operators.fused import Body
from kernelearn.engine.program import Operation, Program

# Tensors and rows of weights that one kernel reads at most.
MAX_EXTERNALS = 8


def fuse_chains(program: Program) -> Program:
    """Groups as large as they can be, from the first operation on."""
    graph, taken = Graph(program), set[int]()
    changes: list[tuple[Operation, Sequence[Operation]]] = []
    for place, op in enumerate(program.operations):
        if place in taken or not _starts(op, program):
            continue
        members = _members(graph, place, taken)
        taken.update(members)
        if len(members) > 1:
            first, *others = (program.operations[i] for i in members)
            changes += [(first, [_fused(graph, members)]), *((other, ()) for other in others)]
    return graph.replaced(changes)


def _starts(op: Operation, program: Program) -> bool:
    if op.phase == "update" or any(program.buffers[n].dtype != "float32" for n in op.outputs):
        return False
    return op.operator in ANCHORS or is_supported(op)


def _members(graph: Graph, start: int, taken: set[int]) -> list[int]:
    """Places of the operations that form a group with the one at `start`."""
    operations = graph.program.operations
    shape = graph.program.buffers[operations[start].outputs[0]].shape
    members, values = [start], set(operations[start].outputs)
    externals: set[str] = set()
    frontier = _places_of_readers(graph, operations[start])
    while frontier:
        j = min(frontier)
        frontier.remove(j)
        op = operations[j]
        if j in taken or j in members or op.phase == "update" or not is_supported(op):
            continue
        outside = {n for n in op.inputs if n not in values}
        if _fits(graph, op, outside, start, shape) and len(externals | outside) <= MAX_EXTERNALS:
            members.append(j)
            values.update(op.outputs)
            externals |= outside
            frontier |= _places_of_readers(graph, op)
    return sorted(members)


def _places_of_readers(graph: Graph, op: Operation) -> set[int]:
    return {graph.place(reader) for name in op.outputs for reader in graph.readers(name)}


def _fits(graph: Graph, op: Operation, outside: set[str], start: int, shape: tuple[int | None, ...]) -> bool:
    """Whether an operation can be done number by number on tensors of this shape, with what exists before."""
    buffers = graph.program.buffers
    made = [buffers[n] for n in op.outputs]
    return (
        all(buffer.shape == shape and buffer.dtype == "float32" for buffer in made)
        and all(graph.place_of(n) < start for n in outside)
        and all(operand_kind(buffers[n], shape) for n in outside)
    )


def _fused(graph: Graph, members: Sequence[int]) -> Operation:
    """The group as one operation."""
    program, inside = graph.program, set(members)
    body = tuple(program.operations[i] for i in members)
    made = [name for op in body for name in op.outputs]
    outputs = tuple(
        n for n in made if graph.is_kept(n) or any(graph.place(op) not in inside for op in graph.readers(n))
    )
    inputs = tuple(dict.fromkeys(n for op in body for n in op.inputs if n not in made))
    attrs = {"body": Body(body, inputs, outputs, tuple(program.buffers[n].spec for n in outputs))}
    return Operation("fused", inputs, outputs, attrs, body[0].layer, body[0].phase)
