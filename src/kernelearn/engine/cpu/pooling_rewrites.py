"""A rewrite that pools in the pass that makes the map, so that the full map is never written.

It comes after `fuse_chains`: a convolution with its chain, or a chain alone, takes along a max pooling of
2 x 2 that is the only reader of its result.
"""

from __future__ import annotations

from dataclasses import replace

from kernelearn.engine.cpu.kernels.entrywise.emitters import is_supported
from kernelearn.engine.operators.fused import Body
from kernelearn.engine.program import Operation, Program


def pool_at_once(program: Program) -> Program:
    """Join each max pooling of 2 x 2 with the fused operation or convolution before it."""
    readers = program.readers()
    shown = set(program.outputs.values())
    joined: dict[int, Operation] = {}
    taken: set[int] = set()
    for op in program.operations:
        following = readers.get(op.outputs[0], ()) if len(op.outputs) == 1 else ()
        if len(following) == 1 and op.outputs[0] not in shown and _can_join(program, op, following[0]):
            pool = following[0]
            used = tuple(n for n in pool.outputs if n in shown or n in readers)
            joined[id(op)] = _join(program, op, pool, used)
            taken.add(id(pool))
    operations = tuple(joined.get(id(op), op) for op in program.operations if id(op) not in taken)
    return replace(program, operations=operations)


def _can_join(program: Program, op: Operation, pool: Operation) -> bool:
    first = op.attrs["body"].operations[0] if op.operator == "fused" else op
    if first.operator != "conv" and not is_supported(first):
        return False
    if pool.operator != "max_pool" or pool.phase != op.phase or pool.attrs["size"] != (2, 2):
        return False
    if pool.attrs["stride"] != (2, 2) or any(any(p) for p in pool.attrs["padding"]):
        return False
    shape = program.buffers[pool.inputs[0]].shape
    return shape[0] is None and all(s is not None and s % 2 == 0 for s in shape[1:3])


def _join(program: Program, op: Operation, pool: Operation, used: tuple[str, ...]) -> Operation:
    parts = op.attrs["body"].operations if op.operator == "fused" else (op,)
    specs = tuple(program.buffers[n].spec for n in used)
    body = Body((*parts, pool), op.inputs, used, specs)
    return replace(op, operator="fused", outputs=used, attrs={"body": body})


REWRITES = (pool_at_once,)
