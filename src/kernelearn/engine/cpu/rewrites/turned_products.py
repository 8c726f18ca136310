"""A rewrite that lets products of matrices take axes in another order themselves: no transposed copies.

    before  s = transpose(q);  t = transpose(k);  y = matmul(s, t);  z = transpose(y)
    after   z = turned_matmul(q, k) order_a= order_b= order_y=

The kernel goes through memory by steps that are numbers in its code, so any order of `a` costs nothing; of
`b` and the result the axis that lies together must stay one of those that vectors go along. A copy that
others read is made for them. Products of a single row or column are left alone.
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
        if y is not None and y.dtype == "float32" and 1 not in y.shape[-2:]:
            turned, behind = _turned(graph, op, joined)
            if turned.operator != op.operator:
                changes.append((op, [turned]))
            for transposition in behind:
                changes.append((transposition, []))
                joined.update(transposition.outputs)
    return prune(graph.replaced(changes))


def _turned(graph: Graph, op: Operation, joined: set[str]) -> tuple[Operation, Sequence[Operation]]:
    """The product without the transpositions around it, and those behind it that it stands for too.

    joined: what products made so far write in place of transpositions.
    """
    behind, order_y = _behind(graph, op)
    names, attrs = list(op.inputs), dict(op.attrs)
    rank = len(graph.program.buffers[op.outputs[0]].shape)
    if order_y is not None and order_y[-1] == rank - 2:
        # Rows are written as columns: the transposed product, y' = b' a'.
        names.reverse()
        attrs["transpose_a"], attrs["transpose_b"] = not attrs["transpose_b"], not attrs["transpose_a"]
        order_y = tuple({rank - 1: rank - 2, rank - 2: rank - 1}.get(axis, axis) for axis in order_y)
    a, order_a = _source(graph, names[0], joined)
    b, order_b = _source(graph, names[1], joined)
    if order_b is not None and len(order_b) - 1 not in order_b[-2:]:
        b, order_b = names[1], None
    if order_a is order_b is order_y is None:
        return op, ()
    attrs |= {"order_a": order_a, "order_b": order_b, "order_y": order_y}
    made = replace(
        op,
        operator="turned_matmul",
        inputs=(a, b),
        outputs=behind[-1].outputs if behind else op.outputs,
        attrs=OPERATORS["turned_matmul"].whole(attrs),
    )
    return made, behind


def _source(graph: Graph, name: str, joined: set[str]) -> tuple[str, Order | None]:
    """What transpositions have made a buffer of, and its order; the buffer itself where there are none."""
    order: Order | None = None
    while True:
        made = graph.producer(name)
        if made is None or made.operator != "transpose" or name in joined or not _keeps_images(graph, made):
            return name, order
        axes = tuple(made.attrs["axes"])
        name, order = made.inputs[0], axes if order is None else tuple(axes[axis] for axis in order)


def _behind(graph: Graph, op: Operation) -> tuple[Sequence[Operation], Order | None]:
    """The transpositions that follow a product, each the only reader, and the order that they make together.

    As many as leave one of the last two axes last, so that vectors can be written along it.
    """
    rank = len(graph.program.buffers[op.outputs[0]].shape)
    found: list[Operation] = []
    taken: tuple[Sequence[Operation], Order | None] = ((), None)
    order, name = tuple(range(rank)), op.outputs[0]
    while True:
        reader = graph.only_reader(name)
        if reader is None or reader.operator != "transpose" or not _keeps_images(graph, reader):
            return taken
        found.append(reader)
        order = tuple(order[axis] for axis in reader.attrs["axes"])
        if order[-1] >= rank - 2:
            taken = (tuple(found), order)
        name = reader.outputs[0]


def _keeps_images(graph: Graph, op: Operation) -> bool:
    """Whether the images, if there are any, stay the first axis."""
    shape = graph.program.buffers[op.inputs[0]].shape
    return shape[0] is not None or op.attrs["axes"][0] == 0
