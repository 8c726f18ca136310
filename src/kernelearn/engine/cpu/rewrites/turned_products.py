"""A rewrite that lets products of matrices take axes in another order themselves: no transposed copies.

    before  s = transpose(q);  t = transpose(k);  y = matmul(s, t);  z = transpose(y)
    after   z = turned_matmul(q, k) order_a= order_b= order_y=

The kernel goes through memory by steps that are numbers in its code, so any order of `a` costs nothing; of
`b` and the result the axis that lies together must stay one of those that vectors go along. A copy that
others read is made for them. Products of a single column are left alone: they are taken as rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from kernelearn.engine.graph import Graph
from kernelearn.engine.operators import OPERATORS
from kernelearn.engine.program import Operation, Program, prune

Order = tuple[int, ...]


def take_orders(program: Program) -> Program:
    """Every product of what a transposition gives, or that a transposition alone reads."""
    graph, joined = Graph(program), set[str]()
    changes: list[tuple[Operation, Sequence[Operation]]] = []
    for op in program.operations:
        y = program.buffers[op.outputs[0]] if op.operator == "matmul" else None
        if y is not None and y.dtype == "float32" and y.shape[-1] != 1:
            turned, behind = _turned(graph, op, joined)
            if turned.operator != op.operator:
                changes.append((op, [turned]))
            if behind is not None:
                changes.append((behind, []))
                joined.update(behind.outputs)
    return prune(graph.replaced(changes))


def _turned(graph: Graph, op: Operation, joined: set[str]) -> tuple[Operation, Operation | None]:
    """The product without the transpositions around it, and the one behind it that it stands for too.

    joined: what products made so far write in place of transpositions.
    """
    a, order_a = _source(graph, op.inputs[0], joined)
    b, order_b = _source(graph, op.inputs[1], joined)
    if order_b is not None and len(order_b) - 1 not in order_b[-2:]:
        b, order_b = op.inputs[1], None
    behind = _reader(graph, op)
    order_y = None if behind is None else tuple(behind.attrs["axes"])
    if order_a is order_b is order_y is None:
        return op, None
    attrs = {**op.attrs, "order_a": order_a, "order_b": order_b, "order_y": order_y}
    made = replace(
        op,
        operator="turned_matmul",
        inputs=(a, b),
        outputs=op.outputs if behind is None else behind.outputs,
        attrs=OPERATORS["turned_matmul"].whole(attrs),
    )
    return made, behind


def _source(graph: Graph, name: str, joined: set[str]) -> tuple[str, Order | None]:
    """What a transposition has made of what, and its order; a buffer itself where there is none."""
    made = graph.producer(name)
    if made is None or made.operator != "transpose" or name in joined or not _keeps_images(graph, made):
        return name, None
    return made.inputs[0], tuple(made.attrs["axes"])


def _reader(graph: Graph, op: Operation) -> Operation | None:
    """The transposition that alone reads a product, if it leaves the last axis last."""
    reader = graph.only_reader(op.outputs[0])
    if reader is None or reader.operator != "transpose" or not _keeps_images(graph, reader):
        return None
    axes = reader.attrs["axes"]
    return reader if axes[-1] == len(axes) - 1 else None


def _keeps_images(graph: Graph, op: Operation) -> bool:
    """Whether the images, if there are any, stay the first axis."""
    shape = graph.program.buffers[op.inputs[0]].shape
    return shape[0] is not None or op.attrs["axes"][0] == 0
