"""A training step cut in two: what a shard of the batch gives, and what is made of the sum over all shards.

    shard    forward and backward pass of some images: loss, gradients, statistics of the batch
    rest     clipping, the optimiser, averages, constraints, moving statistics: from the means of those

What the rest reads of the shard are the *cut values*. They are gradients of a mean over images, and means
of statistics: those of the whole batch are the means over shards, each weighted by its number of images.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from kernelearn.engine.program import Buffer, Operation, Program, prune
from kernelearn.errors import ArgumentError

CUT = "cut/"


@dataclass(frozen=True)
class CutStep:
    """The two programs of a step.

    Attributes:
        shard: for some images; its outputs are those of the step and the cut values, labelled "cut/...".
        rest: for the combined values; its inputs are the cut values under their own names.
        values: the cut values.
    """

    shard: Program
    rest: Program
    values: tuple[Buffer, ...]


def cut_step(program: Program) -> CutStep:
    """Cut a training step before everything that depends on whole gradients.

    Raises: ArgumentError for a step whose update reads single images, or numbers that have no mean.
    """
    totals = _whole_gradients(program)
    late = _late(program, totals)
    early = tuple(op for op in program.operations if op not in late)
    made = {name for op in early for name in op.outputs}
    cut = tuple(dict.fromkeys(name for op in late for name in op.inputs if name in made))
    values = tuple(program.buffers[name] for name in cut)
    for value in values:
        _check(value)
    shard = replace(program, operations=early, outputs={**program.outputs, **{CUT + n: n for n in cut}})
    buffers = {**program.buffers, **{v.name: replace(v, role="input") for v in values}}
    rest = Program(buffers, late, {}, {})
    return CutStep(prune(shard), _used(rest), values)


def _whole_gradients(program: Program) -> set[str]:
    """Names of the gradients of trained weights."""
    weights = {b.name for b in program.weights()}
    return {gradient for name, gradient in program.gradients.items() if name in weights}


def _late(program: Program, totals: set[str]) -> tuple[Operation, ...]:
    """The update phase, and what clips gradients before it."""
    dependent, found = set(totals), []
    for op in program.operations:
        if op.phase == "update" or (
            dependent.intersection(op.inputs) and not totals.intersection(op.outputs)
        ):
            dependent.update(op.outputs)
            found.append(op)
    return tuple(found)


def _check(value: Buffer) -> None:
    if None in value.shape:
        raise ArgumentError(
            f"The update of this model reads {value}, which has a row an image: with shards= the images "
            "are not in one place. Train without shards, or compute a mean of it in the forward pass."
        )
    if not value.dtype.startswith("float"):
        raise ArgumentError(
            f"The update of this model reads {value}: whole numbers of several shards have no mean. Train "
            "without shards."
        )


def _used(program: Program) -> Program:
    """A program without the buffers that its operations do not name."""
    named = {name for op in program.operations for name in (*op.inputs, *op.outputs)}
    return replace(program, buffers={n: b for n, b in program.buffers.items() if n in named})
