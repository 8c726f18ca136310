"""A rewrite that lets the gradient of a plain ReLU read its output: y > 0 where x > 0, so x need not be kept.

before  dx = activation_grad(d, x, y) kind=relu
after   dx = activation_grad(d, y, y) kind=relu
"""

from __future__ import annotations

from dataclasses import replace

from kernelearn.engine.graph import Graph
from kernelearn.engine.program import Operation, Program, prune


def read_output(program: Program) -> Program:
    """Every gradient of a plain ReLU from the output alone."""
    changes = [
        (op, [replace(op, inputs=(op.inputs[0], op.inputs[2], op.inputs[2]))])
        for op in program.operations
        if is_plain_relu_gradient(op) and op.inputs[1] != op.inputs[2]
    ]
    return prune(Graph(program).replaced(changes))


def is_plain_relu_gradient(op: Operation) -> bool:
    """Whether an operation is the gradient of max(x, 0)."""
    if op.operator != "activation_grad" or op.attrs["kind"] != "relu":
        return False
    return not any(op.attrs[name] for name in ("negative_slope", "threshold", "max_value"))
