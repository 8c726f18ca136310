"""A shard's gradients, added up by the program that computes them: they are not given, read and added apart.

    before   dw = conv_grad_kernel(x, dy);  outputs: cut/dw = dw
    after    dw = conv_grad_kernel(x, dy);  sum = add_share(sum, dw, share, keeps);  outputs: cut/dw = sum

Where the sum lies is said at each run: it is an input that the program writes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np

from kernelearn.engine.backends import writes_inputs
from kernelearn.engine.program import Buffer, Operation, Program
from kernelearn.training.steps.shard_sums import Place
from kernelearn.training.steps.step import Arrays

SHARE, KEEPS, _SUM = "share", "keeps", "sum/"
# Numbers of an array that is added up like that; fewer are as quick in Python.
LEAST = 1024


def added_in(program: Program, labels: Collection[str], engine: str) -> set[str]:
    """Which of these outputs a program can add up itself."""
    if not writes_inputs(engine):
        return set()
    made = {name for op in program.operations for name in op.outputs}
    found = {label: program.buffers[name] for label, name in program.outputs.items() if label in labels}
    return {
        label
        for label, buffer in found.items()
        if buffer.dtype == "float32"
        and buffer.name in made
        and None not in buffer.shape
        and np.prod([size or 0 for size in buffer.shape], dtype=int) >= LEAST
    }


def adding_up(program: Program, labels: Collection[str]) -> Program:
    """A program that adds these outputs to sums."""
    sums = {program.outputs[label]: _SUM + label for label in sorted(labels)}
    if not sums:
        return program
    buffers = {
        SHARE: Buffer(SHARE, (), "float32", "input"),
        KEEPS: Buffer(KEEPS, (), "int64", "input"),
        **{total: replace(program.buffers[name], name=total, role="input") for name, total in sums.items()},
    }
    operations = [
        one
        for op in program.operations
        for one in (op, *(_added(op, name, sums[name]) for name in op.outputs if name in sums))
    ]
    outputs = {label: _SUM + label if label in labels else name for label, name in program.outputs.items()}
    return replace(
        program, buffers={**program.buffers, **buffers}, operations=tuple(operations), outputs=outputs
    )


def _added(op: Operation, name: str, total: str) -> Operation:
    return Operation("add_share", (total, name, SHARE, KEEPS), (total,), {}, op.layer, "update")


def sums_in(places: Sequence[Place], vectors: Mapping[str, np.ndarray], share: float, keeps: bool) -> Arrays:
    """The inputs of such a program: where sums lie, and what is added to them.

    Args:
        places: of the arrays that it adds up.
        keeps: whether there is something that it adds to.
    """
    found: Arrays = {SHARE: np.asarray(share, np.float32), KEEPS: np.asarray(int(keeps), np.int64)}
    vector = vectors["float32"]
    for label, shape, start, end, _ in places:
        found[_SUM + label] = vector[start:end].reshape(shape)
    return found
