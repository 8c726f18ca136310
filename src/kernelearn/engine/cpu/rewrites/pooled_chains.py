"""A rewrite that pools in the pass that makes the map, so that the full map is never written.

    before  s = fused(x, w, b) body=conv + bias_add + activation;  p, where = max_pool(s) size=(2, 2)
    after   p, where = fused(x, w, b) body=conv + bias_add + activation + max_pool

A convolution with its chain, or a chain alone, takes along a max pooling of 2 x 2 that is the only reader of
its result, on maps of even size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from kernelearn.engine.cpu.kernels.entrywise.emitters import has_code
from kernelearn.engine.graph import Graph
from kernelearn.engine.operators.fused import Body
from kernelearn.engine.program import Operation, Program
from kernelearn.engine.work import parts_of


def pool_at_once(program: Program) -> Program:
    """Join each max pooling of 2 x 2 with the fused operation or convolution before it."""
    graph = Graph(program)
    changes: list[tuple[Operation, Sequence[Operation]]] = []
    for op in program.operations:
        pool = graph.only_reader(op.outputs[0]) if len(op.outputs) == 1 else None
        if pool is not None and _can_join(program, op, pool):
            changes += [(op, [_joined(graph, op, pool)]), (pool, [])]
    return graph.replaced(changes)


def _can_join(program: Program, op: Operation, pool: Operation) -> bool:
    first = parts_of(op)[0]
    if first.operator != "conv" and not has_code(first, program.buffers):
        return False
    if pool.operator != "max_pool" or pool.phase != op.phase or pool.attrs["size"] != (2, 2):
        return False
    if pool.attrs["stride"] != (2, 2) or any(any(p) for p in pool.attrs["padding"]):
        return False
    shape = program.buffers[pool.inputs[0]].shape
    return shape[0] is None and all(s is not None and s % 2 == 0 for s in shape[1:3])


def _joined(graph: Graph, op: Operation, pool: Operation) -> Operation:
    used = tuple(n for n in pool.outputs if graph.is_kept(n) or graph.readers(n))
    specs = tuple(graph.program.buffers[n].spec for n in used)
    body = Body((*parts_of(op), pool), op.inputs, used, specs)
    return replace(op, operator="fused", outputs=used, attrs={"body": body})
