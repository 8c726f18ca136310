"""A rewrite that updates weights while their gradient is made, if nothing else reads that.

    before  dw = dense_grad_kernel(x, g);  ...;  w, v = sgd_update(w, dw, rate, step, v)
    after   w, v = fused(x, g, w, rate, step, v) body=dense_grad_kernel + sgd_update

The gradient need not be written to memory and read again. It is made where the update stands, so behind all
that reads the old weights, and only if the loss is finite.
"""

from __future__ import annotations

from dataclasses import replace

from kernelearn.engine.graph import Graph
from kernelearn.engine.operators.fused import Body
from kernelearn.engine.program import Operation, Program
from kernelearn.engine.updates import UPDATES

GRADIENTS = ("dense_grad_kernel",)


def update_at_once(program: Program) -> Program:
    """Every update of weights whose gradient it alone reads, joined with what makes the gradient."""
    graph = Graph(program)
    changes: list[tuple[Operation, tuple[Operation, ...]]] = []
    for op in program.operations:
        gradient = _gradient(graph, op)
        if gradient is not None:
            changes += [(gradient, ()), (op, (_joined(program, gradient, op),))]
    return graph.replaced(changes)


def _gradient(graph: Graph, op: Operation) -> Operation | None:
    """What makes the gradient of an update, if it can be joined with it."""
    if op.operator not in UPDATES or op.attrs["every"] > 1:
        return None
    gradient = graph.producer(op.inputs[1])
    if gradient is None or gradient.operator not in GRADIENTS or graph.only_reader(op.inputs[1]) is not op:
        return None
    # Nothing that the gradient is made from may be written before the update.
    return None if _are_written(graph.program, gradient.inputs) else gradient


def _are_written(program: Program, names: tuple[str, ...]) -> bool:
    return any(set(names) & set(op.outputs) for op in program.operations if op.phase == "update")


def _joined(program: Program, gradient: Operation, update: Operation) -> Operation:
    param, _, *others = update.inputs
    inputs = tuple(dict.fromkeys((*gradient.inputs, param, *others)))
    specs = tuple(program.buffers[name].spec for name in update.outputs)
    body = Body((gradient, update), inputs, update.outputs, specs)
    return replace(update, operator="fused", inputs=inputs, attrs={"body": body}, made_by=())
