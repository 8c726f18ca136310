"""A rewrite that splits a batch normalisation into what needs a pass of its own and what any pass can do.

Only the statistics need one: normalising is entry by entry, and fuses with what follows.

    before  y, mean, variance = normalize(x)
    after   mean, variance = batch_statistics(x);  y = standardize(x, mean, variance)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from kernelearn.engine.graph import Graph
from kernelearn.engine.program import Operation, Program


def split_statistics(program: Program) -> Program:
    """Statistics in one operation, normalising in another."""
    found = [op for op in program.operations if _is_batch_normalize(op, program)]
    return Graph(program).replaced((op, _split(op)) for op in found)


def _is_batch_normalize(op: Operation, program: Program) -> bool:
    """Whether an operation normalises channels over images and positions."""
    if op.operator != "normalize":
        return False
    shape = program.buffers[op.inputs[0]].shape
    return shape[0] is None and is_over_all_but_last(op, shape)


def is_over_all_but_last(op: Operation, shape: Sequence[int | None]) -> bool:
    """Whether an operation's `axes` are all axes of its input but the channels."""
    axes = sorted(a % len(shape) for a in op.attrs["axes"])
    return axes == list(range(len(shape) - 1))


def _split(op: Operation) -> tuple[Operation, Operation]:
    (x,), (y, mean, variance) = op.inputs, op.outputs
    axes, epsilon = op.attrs["axes"], op.attrs["epsilon"]
    return (
        replace(op, operator="batch_statistics", outputs=(mean, variance), attrs={"axes": axes}),
        replace(
            op,
            operator="standardize",
            inputs=(x, mean, variance),
            outputs=(y,),
            attrs={"epsilon": epsilon},
        ),
    )
