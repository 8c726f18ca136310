"""A rewrite that takes the gradient of a ReLU before a max pooling, and the bias gradient, before unpooling.

The gradient of a window goes to its largest pixel y, which equals the pooled p; so y > 0 where p > 0. And the
sum over all pixels is the sum over all windows. Both are done on the smaller tensor.

    before  p, where = max_pool(y)
            e = max_pool_grad(d, where);  dx = activation_grad(e, y, y);  db = bias_grad(dx)
    after   p, where = max_pool(y)
            s = activation_grad(d, p, p);  dx = max_pool_grad(s, where);  db = bias_grad(s)

It works on ReLU gradients that read the output; `e` must have no other reader, nor be given back by a run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from kernelearn.engine.graph import Graph
from kernelearn.engine.program import Buffer, Operation, Program, prune


def take_before_pooling(program: Program) -> Program:
    """Gradients of ReLUs and biases on pooled tensors where that is the same."""
    graph = Graph(program)
    buffers: dict[str, Buffer] = {}
    changes: list[tuple[Operation, Sequence[Operation]]] = []
    # Gradient of unpooled pixels -> the one of pooled pixels with the same sums.
    pooled: dict[str, str] = {}
    for op in program.operations:
        if op.operator == "max_pool_grad" and _pool(graph, op) is not None:
            mask = _relu_mask(graph, op)
            if mask is None:
                pooled[op.outputs[0]] = op.inputs[0]
            else:
                small, moved = _swapped(graph, op, mask)
                buffers[small.outputs[0]] = replace(program.buffers[op.inputs[0]], name=small.outputs[0])
                pooled[mask.outputs[0]] = small.outputs[0]
                changes += [(op, []), (mask, [small, moved])]
        elif op.operator == "bias_grad" and op.inputs[0] in pooled:
            changes.append((op, [replace(op, inputs=(pooled[op.inputs[0]],))]))
    return prune(graph.replaced(changes, buffers))


def _pool(graph: Graph, gradient: Operation) -> Operation | None:
    """The max pooling that a gradient belongs to."""
    pool = graph.producer(gradient.inputs[1])
    return pool if pool is not None and pool.operator == "max_pool" else None


def _relu_mask(graph: Graph, gradient: Operation) -> Operation | None:
    """The gradient of a ReLU that is all that reads the unpooled gradient, if the pooling reads that ReLU."""
    op, pool = graph.only_reader(gradient.outputs[0]), _pool(graph, gradient)
    if op is None or pool is None or op.operator != "activation_grad" or op.attrs["kind"] != "relu":
        return None
    reads_output = op.inputs == (gradient.outputs[0], pool.inputs[0], pool.inputs[0])
    return op if reads_output else None


def _swapped(graph: Graph, gradient: Operation, mask: Operation) -> tuple[Operation, Operation]:
    """The mask on the pooled gradient, and the unpooling behind it."""
    pool = _pool(graph, gradient)
    assert pool is not None
    incoming, where = gradient.inputs
    small = f"{mask.outputs[0]}/pooled"
    first = replace(mask, inputs=(incoming, pool.outputs[0], pool.outputs[0]), outputs=(small,))
    return first, replace(gradient, inputs=(small, where), outputs=mask.outputs)
