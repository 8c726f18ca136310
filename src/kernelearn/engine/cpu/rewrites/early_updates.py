"""A rewrite that updates every weight as soon as nothing reads its old value: its gradient need not be kept.

    before  dw = conv_grad_kernel(x, dy);  dx = conv_grad_input(dy, w);  ...;  w, v = sgd_update(w, dw, ...)
    after   dw = conv_grad_kernel(x, dy);  dx = conv_grad_input(dy, w);  w, v = sgd_update(w, dw, ...);  ...

An update still runs only if the loss is finite, so none comes before the loss. Updates of one weight, and
what follows them, keep their order; those that a run gives back come last, but for sums over shards, which
nothing else writes.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

from kernelearn.engine.graph import Graph
from kernelearn.engine.program import Operation, Program


def update_early(program: Program) -> Program:
    """Each update behind the last operation that touches what it reads or writes."""
    graph, operations = Graph(program), program.operations
    loss = program.outputs.get("loss")
    earliest = next((i for i, op in enumerate(operations) if loss in op.outputs), len(operations) - 1)
    after: dict[int, list[Operation]] = defaultdict(list)
    last_touch: dict[str, int] = {}
    written = {name for op in operations if op.phase == "update" for name in op.outputs}
    for i, op in enumerate(operations):
        if op.phase != "update":
            last_touch.update((name, i) for name in (*op.inputs, *op.outputs))
    for op in operations:
        if op.phase == "update":
            place = max([earliest, *(last_touch.get(n, -1) for n in (*op.inputs, *op.outputs))])
            if any(graph.is_kept(name) for name in op.outputs if program.buffers[name].role != "input"):
                place = len(operations) - 1
            after[place].append(op)
            touched = (*op.outputs, *(name for name in op.inputs if name in written))
            last_touch.update((name, place) for name in touched)
    result = [
        new for i, op in enumerate(operations) for new in (*([op] if op.phase != "update" else []), *after[i])
    ]
    return replace(program, operations=tuple(result))
