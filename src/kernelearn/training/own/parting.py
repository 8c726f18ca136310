"""A step of one's own in parts, for shards: its programs, each cut before all that reads whole gradients."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from kernelearn.engine.backends import Executable, prepare
from kernelearn.engine.program import Operation, Program, prune
from kernelearn.training.own.builder import StepBuilder
from kernelearn.training.own.segments import LOSS, Segment
from kernelearn.training.own.step import OwnStep
from kernelearn.training.steps.cutting import CUT, cut_step
from kernelearn.training.steps.shard_run import Shards
from kernelearn.training.steps.shard_sums import Layout
from kernelearn.training.steps.synchronizing import synchronized


@dataclass(frozen=True)
class Part:
    """A program that shards run, and what is made of all that they give.

    Attributes:
        executable: of a shard.
        means: label -> buffer, of what is averaged over the shards behind it.
        names: label -> name under which later programs find the mean.
    """

    executable: Executable
    means: Layout
    names: Mapping[str, str]


@dataclass(frozen=True)
class CutSegment:
    """A program of the step, cut.

    Attributes:
        parts: that shards run, in order.
        rest: done once, with the means; unless the loss is not finite: then `still`, without updates.
    """

    segment: Segment
    parts: Sequence[Part]
    rest: Executable
    still: Executable

    @functools.cached_property
    def digest(self) -> str:
        """Of what it computes."""
        return self.segment.program.digest()


def cut_segments(step: OwnStep, shards: Shards) -> list[CutSegment]:
    """The programs of a step for shards of one size, each cut before what reads whole gradients.

    Raises: ArgumentError for an update that reads single images, or numbers that have no mean.
    """
    return [_cut(step, segment, shards) for segment in step.segments]


def _cut(step: OwnStep, segment: Segment, shards: Shards) -> CutSegment:
    program, known = segment.program, step.builder.variables
    found = synchronized(program, shards.moving_means, known)
    cut = cut_step(found.program, found.exchanged, _totals(step.builder, program))
    parts = []
    for stage in cut.stages:
        means = {name: found.program.buffers[name] for name in stage.exchanged}
        names = dict(stage.exchanged)
        if stage is cut.stages[-1]:
            names = {CUT + value.name: value.name for value in cut.values}
            means = {CUT + value.name: value for value in cut.values}
            means |= {LOSS: program.buffers[program.outputs[LOSS]]} if LOSS in program.outputs else {}
        parts.append(Part(prepare(stage.program, known, step.engine), Layout.of(means), names))
    late = _late_outputs(program, [part.executable.program for part in parts])
    asked = {name: program.buffers[name] for name in late.values()}
    rest = replace(cut.rest, outputs=late, buffers={**asked, **cut.rest.buffers})
    still = prune(replace(rest, operations=tuple(op for op in rest.operations if op.phase != "update")))
    return CutSegment(segment, parts, prepare(rest, known, step.engine), prepare(still, known, step.engine))


def _late_outputs(program: Program, early: Sequence[Program]) -> dict[str, str]:
    """Label -> buffer of the outputs that are made from whole gradients."""
    made = {label for one in early for label in one.outputs}
    outputs = {label: name for label, name in program.outputs.items() if label not in made}
    return {label: name for label, name in outputs.items() if program.buffers[name].role == "value"}


def _totals(builder: StepBuilder, program: Program) -> set[str]:
    """Names of the gradients that have to be whole before the code reads them.

    A gradient by weights from which something for each image is computed, as a step inside of a loss, is that
    of the shard. What an optimiser is given is whole in itself, unless it is made from gradients that are.
    """
    asked = {name for name in builder.weight_gradients if not _reaches_images(program, {name})}
    return asked | (builder.applied - _readers(program, asked)[1])


def _reaches_images(program: Program, names: set[str]) -> bool:
    """Whether something with a row an image is computed from these buffers."""
    operations, _ = _readers(program, names)
    read = {name for op in operations for name in (*op.inputs, *op.outputs)}
    return any(program.buffers[name].shape[:1] == (None,) for name in read)


def _readers(program: Program, names: set[str]) -> tuple[list[Operation], set[str]]:
    """The operations that depend on these buffers, and the names of what they make."""
    operations: list[Operation] = []
    made: set[str] = set()
    for op in program.operations:
        if not (names | made).isdisjoint(op.inputs):
            operations.append(op)
            made.update(op.outputs)
    return operations, made
