"""A rewrite that joins a convolution, dense layer or entrywise operation with entrywise ones around it.

    before  y = conv(x, w);  z = bias_add(y, b);  r = activation(z);  s = add(r, q)
    after   s = fused(x, w, b, q) body=conv + bias_add + activation + add

A group holds results of one shape and one phase, and nothing outside of it lies between two of its members.
It may end in reductions, all over the same axes, of what it makes or reads. What others read, or a run gives
back, is an output of the group as well, unless those compute it again (`recomputed_values`). Single numbers
that are known (`fill`) are copied into each group that reads them, and so into the code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from kernelearn.engine.cpu.kernels.entrywise.emitters import read_inputs
from kernelearn.engine.cpu.kernels.fused import ANCHORS
from kernelearn.engine.cpu.rewrites.ancestors import Ancestors, in_order_of_need
from kernelearn.engine.cpu.rewrites.groups import Group, is_constant, starts
from kernelearn.engine.cpu.rewrites.recomputed_values import Readers, compute_again
from kernelearn.engine.graph import Graph
from kernelearn.engine.operators.fused import Body
from kernelearn.engine.program import Buffer, Operation, Program


def fuse_chains(program: Program) -> Program:
    """Groups as large as they can be, from the first operation on."""
    graph = Graph(program)
    ancestors, taken = Ancestors(graph), set[int]()
    groups: list[Group] = []
    for place, op in enumerate(program.operations):
        if place not in taken and starts(graph, op):
            group = Group(graph, ancestors, taken, place)
            taken.update(group.members)
            ancestors.join(group.members)
            groups.append(group)
    buffers: dict[str, Buffer] = {}
    compute_again(graph, groups, buffers)
    return _with_groups(replace(program, buffers={**program.buffers, **buffers}), graph, groups)


def _with_groups(program: Program, graph: Graph, groups: Sequence[Group]) -> Program:
    """The program with one operation for each group; those that nobody needs any more are gone."""
    readers = Readers(graph, groups)
    fused: dict[int, Operation] = {}
    dropped: set[int] = set()
    for group in groups:
        first, *others = sorted(group.members)
        dropped.update(others)
        outputs = [
            name
            for op in group.operations
            for name in op.outputs
            if graph.is_kept(name) or readers.outside(name, group)
        ]
        if not outputs:
            dropped.add(first)
        elif len(group.operations) > 1 or _constants(graph, group.operations):
            fused[first] = _fused(graph, program.buffers, group.operations, tuple(outputs))
        else:
            fused[first] = group.operations[0]
    return _without_unread_constants(in_order_of_need(program, fused, dropped))


def _without_unread_constants(program: Program) -> Program:
    read = {name for op in program.operations for name in op.inputs} | set(program.outputs.values())
    kept = [op for op in program.operations if op.operator != "fill" or read.intersection(op.outputs)]
    return replace(program, operations=tuple(kept))


def _constants(graph: Graph, operations: Sequence[Operation]) -> list[Operation]:
    """The fills of the numbers that operations read, each once."""
    names = dict.fromkeys(n for op in operations for n in read_inputs(op) if is_constant(graph, n))
    return [made for n in names if (made := graph.producer(n)) is not None]


def _fused(
    graph: Graph, buffers: Mapping[str, Buffer], operations: Sequence[Operation], outputs: tuple[str, ...]
) -> Operation:
    """Operations of a group as one."""
    constants = _constants(graph, operations)
    first = operations[:1] if operations[0].operator in ANCHORS else []
    body = (*first, *constants, *operations[len(first) :])
    known = {name for op in body for name in op.outputs}
    # NOTE: an input that is not read says how many images there are, to the reference engine.
    inputs = tuple(dict.fromkeys(n for op in operations for n in op.inputs if n not in known))
    attrs = {"body": Body(tuple(body), inputs, outputs, tuple(buffers[n].spec for n in outputs))}
    return replace(operations[0], operator="fused", inputs=inputs, outputs=outputs, attrs=attrs, made_by=())
