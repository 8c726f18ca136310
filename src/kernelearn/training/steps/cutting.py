"""A training step cut into parts: what a shard of the batch gives, and what is made of the sum over all.

    shard    forward and backward pass of some images: loss, gradients, statistics of the batch
    rest     clipping, the optimiser, averages, constraints, moving statistics: from the means of those

What the rest reads of the shard are the *cut values*. They are gradients of a mean over images, and means
of statistics: those of the whole batch are the means over shards, each weighted by its number of images.

A shard is one program, or several *stages* where shards exchange on the way (see `synchronizing`): a stage
ends where the next one reads what is known only when all shards have come so far.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

from kernelearn.engine.program import Buffer, Operation, Program, prune
from kernelearn.errors import ArgumentError
from kernelearn.training.steps.synchronizing import Synchronized

CUT = "cut/"


@dataclass(frozen=True)
class Stage:
    """What a shard computes between two exchanges.

    Attributes:
        program: its outputs are those of the step that it makes and cut values, labelled "cut/...".
        exchanged: name of a buffer that it makes -> name of its mean over all shards, an input of later ones.
        kept: names of the buffers that later stages of the same shard read.
    """

    program: Program
    exchanged: Mapping[str, str]
    kept: tuple[str, ...]


@dataclass(frozen=True)
class CutStep:
    """The programs of a step.

    Attributes:
        stages: of a shard, in order.
        rest: for the combined values; its inputs are the cut values under their own names.
        values: the cut values.
    """

    stages: tuple[Stage, ...]
    rest: Program
    values: tuple[Buffer, ...]


def cut_step(
    program: Program, exchanged: Mapping[str, str] | None = None, totals: AbstractSet[str] | None = None
) -> CutStep:
    """Cut a training step before everything that depends on whole gradients.

    Args:
        exchanged: see `Synchronized`.
        totals: names of what has to be whole before anything reads it; the gradients of weights by default.
    Raises: ArgumentError for a step whose update reads single images, or numbers that have no mean.
    """
    totals = _whole_gradients(program) if totals is None else totals
    late = _late(program, totals)
    early = tuple(op for op in program.operations if op not in late)
    made = {name for op in early for name in op.outputs}
    cut = tuple(dict.fromkeys(name for op in late for name in op.inputs if name in made))
    values = tuple(program.buffers[name] for name in cut)
    for value in values:
        _check(value)
    outputs = {label: name for label, name in program.outputs.items() if name in made}
    outputs |= {CUT + name: name for name in cut}
    shard = replace(program, operations=early, outputs=outputs)
    buffers = {**program.buffers, **{v.name: replace(v, role="input") for v in values}}
    rest = Program(buffers, late, {}, {})
    return CutStep(_stages(Synchronized(shard, exchanged or {})), _used(rest), values)


def _whole_gradients(program: Program) -> set[str]:
    """Names of the gradients of trained weights."""
    weights = {b.name for b in program.weights()}
    return {gradient for name, gradient in program.gradients.items() if name in weights}


def _late(program: Program, totals: AbstractSet[str]) -> tuple[Operation, ...]:
    """The update phase, and what clips gradients before it."""
    dependent, found = set(totals), []
    for op in program.operations:
        if op.phase == "update" or (dependent.intersection(op.inputs) and totals.isdisjoint(op.outputs)):
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


def _stages(shard: Synchronized) -> tuple[Stage, ...]:
    """A shard's program, cut where it reads what all shards have given."""
    program, exchanged = shard.program, shard.exchanged
    if not exchanged:
        return (Stage(prune(program), {}, ()),)
    depths = _depths(shard)
    numbers = range(max(depths.values()) + 1)
    made = {name: depths[name] for op in program.operations for name in op.outputs}
    # Read by no operation of its own stage, it has to be there for those behind.
    reads = {(name, depths[op.outputs[0]]) for op in program.operations for name in op.inputs}
    kept = {number: {n for n, d in reads if n in made and made[n] == number < d} for number in numbers}
    return tuple(_stage(shard, made, tuple(sorted(kept[number])), number) for number in numbers)


def _depths(shard: Synchronized) -> dict[str, int]:
    """Name of a buffer -> number of the stage that makes it, or that first reads what was exchanged."""
    sources = {whole: name for name, whole in shard.exchanged.items()}
    depths: dict[str, int] = {}
    for op in shard.program.operations:
        for name in op.inputs:
            if name in sources:
                depths[name] = depths[sources[name]] + 1
        depth = max((depths.get(name, 0) for name in op.inputs), default=0)
        depths.update(dict.fromkeys(op.outputs, depth))
    return depths


def _stage(shard: Synchronized, made: Mapping[str, int], kept: tuple[str, ...], number: int) -> Stage:
    program = shard.program
    operations = tuple(op for op in program.operations if made[op.outputs[0]] == number)
    own = {name for name, depth in made.items() if depth == number}
    exchanged = {name: whole for name, whole in shard.exchanged.items() if name in own}
    outputs = {label: name for label, name in program.outputs.items() if name in own}
    outputs |= {name: name for name in (*exchanged, *kept)}
    read = {name for op in operations for name in op.inputs} - own
    inputs = {
        name: replace(program.buffers[name], role="input")
        for name in read
        if program.buffers[name].role == "value"
    }
    gradients = {name: grad for name, grad in program.gradients.items() if grad in own}
    part = Program({**program.buffers, **inputs}, operations, outputs, gradients)
    return Stage(_used(prune(part)), exchanged, kept)


def _used(program: Program) -> Program:
    """A program without the buffers that its operations do not name."""
    named = {name for op in program.operations for name in (*op.inputs, *op.outputs)}
    return replace(program, buffers={n: b for n, b in program.buffers.items() if n in named})
