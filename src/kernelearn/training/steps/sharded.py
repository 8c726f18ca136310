"""A training step whose batch is cut into shards: each is computed alone, and the fixed tree adds them up.

    shard s of S    forward, backward, on rows [s n / S, (s + 1) n / S) of the batch, with a seed of its own
    tree            sum over shards of (rows of s / n) times what it gave; also on the way, where statistics
                    of the whole batch are asked for
    rest            one update of the weights, on every process the same

So the weights do not depend on how many processes share the shards, nor on their threads.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from kernelearn.engine.arrays import Reached, Use
from kernelearn.engine.backends import Executable, prepare
from kernelearn.engine.program import Program
from kernelearn.engine.variable import Variable
from kernelearn.errors import ArgumentError, KernelearnError
from kernelearn.parallel.rounding import BFLOAT16
from kernelearn.training.own.afterwards import Afterwards
from kernelearn.training.steps.adding import added_in, adding_up
from kernelearn.training.steps.building import Built
from kernelearn.training.steps.cutting import CUT, CutStep, cut_step
from kernelearn.training.steps.shard_run import Running, Shards
from kernelearn.training.steps.shard_sums import Layout, Lender, Piece
from kernelearn.training.steps.step import LOSS, Arrays, Batch, Clock, StepResult
from kernelearn.training.steps.step_program import StepProgram
from kernelearn.training.steps.synchronizing import synchronized

# Images of a shard -> the whole step for so many; None: for any number.
Programs = Mapping[int | None, Built]


class NotRun:
    """The whole step as one program, to look at: it is run in shards."""

    def __init__(self, program: Program, variables: Mapping[str, Variable], engine: str) -> None:
        self.program, self.engine = program, engine
        self.variables = {b.name: variables[b.name] for b in program.weights()}

    def run(self, inputs: Mapping[str, np.ndarray], is_checked: bool = False) -> dict[str, np.ndarray]:
        """Refused."""
        raise KernelearnError("This step runs in shards: call its run(batch, clock).")

    def announce(self, groups: Sequence[Collection[str]]) -> None:
        """Nothing to do."""

    def visit(self, inputs: Mapping[str, np.ndarray], use: Use, reached: Reached | None = None) -> None:
        """Refused."""
        self.run(inputs)


@dataclass(frozen=True)
class ShardedStep(StepProgram):
    """A training step in shards; used like any other.

    Attributes:
        shards: how.
        programs: what shards are made from.
        parts: their parts, made ready.
    """

    shards: Shards = field(kw_only=True)
    programs: Programs = field(kw_only=True)
    parts: Parts = field(kw_only=True)

    def run(self, batch: Batch, clock: Clock | None = None) -> StepResult:
        """Run the step once, on this process's shards; a loss that is not finite changes nothing."""
        assert clock is not None
        parts = self.parts
        running = Running(parts, self.shards, batch, clock)
        means = running.means()
        outputs: Arrays = {label: means[label].copy() for label in parts.program.outputs if label in means}
        outputs.update(running.rows())
        if np.isfinite(outputs[LOSS]):
            given = {value.name: means[CUT + value.name] for value in parts.cut.values}
            outputs.update(parts.rest.run({**given, **clock.arrays()}, is_checked=True))
        running.end()
        result = StepResult(outputs)
        for action in self.afterwards:
            action.do(result.outputs)
        return result

    def keeping(self, buffers: Mapping[str, str]) -> ShardedStep:
        """A step that gives these buffers too: those with a row an image from all shards, in order."""
        program = self.program.keeping(**buffers)
        programs = {
            rows: replace(one, program=one.program.keeping(**buffers)) for rows, one in self.programs.items()
        }
        engine = self.executable.engine
        return sharded(program, programs, self.variables, engine, self.afterwards, self.shards)

    def changed(self, program: Program) -> StepProgram:
        """Another program with the same variables, on the whole batch at once."""
        return StepProgram(self.kind, prepare(program, self.variables, self.executable.engine))


def sharded(
    program: Program,
    programs: Programs,
    variables: Mapping[str, Variable],
    engine: str,
    afterwards: Sequence[Afterwards],
    shards: Shards,
) -> ShardedStep:
    """A training step, in shards.

    Args:
        program: for the whole batch, to look at; programs: what shards are made from.
    Raises: ArgumentError for a step that cannot be cut, see `cut_step` and `synchronized`, or whose shards
        cannot be added.
    """
    made = [Parts.of(one, rows, engine, shards) for rows, one in programs.items()]
    parts = made[0]
    for other in made[1:]:
        if not parts.fit(other):
            raise ArgumentError(
                f"This model computes something else for {set(other.stages_of)} images than for "
                f"{set(parts.stages_of)}, which are the sizes of shards of one batch: their gradients cannot "
                "be added. Give a number of shards that divides every batch, or train without shards."
            )
        parts.stages_of.update(other.stages_of)
    whole = NotRun(program, variables, engine)
    return ShardedStep("train", whole, afterwards, shards=shards, programs=programs, parts=parts)


@dataclass(frozen=True)
class Parts:
    """The programs of a sharded step, and where their outputs go.

    Attributes:
        stages_of: images of a shard, or None for any number -> the programs of its stages, in order.
        rest: what is done once, with the sums of all.
        on_the_way: for every stage but the last, what is exchanged behind it.
        means: what is combined at the end.
        by_row: labels of outputs with a row an image; True for gradients, which count by their shard's share.
        inputs: label -> name of the outputs that are inputs.
        pieces: of the means that are sent while others are computed.
        lender: memory for sums.
    """

    program: Program
    cut: CutStep
    stages_of: dict[int | None, Sequence[Executable]]
    rest: Executable
    on_the_way: Sequence[Layout]
    means: Layout
    by_row: Mapping[str, bool]
    inputs: Mapping[str, str]
    pieces: Sequence[Piece]
    lender: Lender = field(default_factory=Lender)

    @classmethod
    def of(
        cls,
        built: Built,
        rows: int | None,
        engine: str,
        shards: Shards,
    ) -> Parts:
        """Cut a step and make its parts ready.

        Args:
            rows: images that it is for; None for any number.
        """
        program, variables = built.program, built.variables
        found = synchronized(program, shards.moving_means, variables)
        cut = cut_step(found.program, found.exchanged)
        given = {
            label: found.program.buffers[name]
            for stage in cut.stages
            for label, name in stage.program.outputs.items()
            if label in program.outputs or label.startswith(CUT)
        }
        inputs = {n: b for n, b in program.outputs.items() if program.buffers[b].role == "input"}
        late = {n: b for n, b in program.outputs.items() if n not in given and n not in inputs}
        asked = {name: program.buffers[name] for name in late.values()}
        rest = replace(cut.rest, outputs=late, buffers={**asked, **cut.rest.buffers})
        gradients = set(program.gradients.values())
        made = {name: number for number, op in enumerate(found.program.operations) for name in op.outputs}
        by_time = sorted(given.items(), key=lambda item: made[item[1].name])
        rounded = _rounded(program, shards.transport)
        last = cut.stages[-1].program
        added = added_in(last, [CUT + v.name for v in cut.values if v.name not in rounded], engine)
        means = Layout.of({n: b for n, b in by_time if b.shape[:1] != (None,)}, rounded, added)
        several = [*(stage.program for stage in cut.stages[:-1]), adding_up(last, added)]
        stages = [prepare(one, variables, engine) for one in several]
        # NOTE: on one machine the cores that compute copy the messages, too: sending early gains nothing.
        pieces = means.to_send() if shards.exchange.spans_machines else []
        stages[-1].announce([[n for n in p.labels if n in cut.stages[-1].program.outputs] for p in pieces])
        by_row = {n: b.name in gradients for n, b in given.items() if b.shape[:1] == (None,)}
        return cls(
            program,
            cut,
            {rows: stages},
            prepare(rest, variables, engine),
            [Layout.of({n: found.program.buffers[n] for n in stage.exchanged}) for stage in cut.stages[:-1]],
            means,
            by_row,
            inputs,
            pieces,
        )

    def fit(self, other: Parts) -> bool:
        """Whether these can be added to those of another program of the same step."""
        return (
            self.on_the_way == other.on_the_way
            and self.means == other.means
            and self.by_row == other.by_row
            and self.inputs == other.inputs
            and [stage.exchanged for stage in self.cut.stages] == [s.exchanged for s in other.cut.stages]
        )

    def stages(self, images: int) -> Sequence[Executable]:
        """The programs of a shard of so many images."""
        return self.stages_of[images if images in self.stages_of else None]

    def no_rows(self, label: str) -> np.ndarray:
        """What a process without images gives of an output with a row an image."""
        buffer = self.program.buffers[self.program.outputs[label]]
        return np.zeros((0, *(int(size or 0) for size in buffer.shape[1:])), buffer.dtype)


def _rounded(program: Program, transport: str) -> set[str]:
    """Names of the gradients that are rounded.

    Raises: ArgumentError where they are no float32.
    """
    if transport != BFLOAT16:
        return set()
    found = {program.buffers[name] for name in program.gradients.values()}
    if kinds := {buffer.dtype for buffer in found} - {"float32"}:
        raise ArgumentError(
            f"transport='bfloat16' rounds gradients of float32, and this model has gradients of "
            f"{kinds.pop()}. Leave it out, or build the model after kernelearn.config.set_floatx('float32')."
        )
    return {buffer.name for buffer in found}
