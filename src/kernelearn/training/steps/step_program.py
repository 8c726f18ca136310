"""`StepProgram`: one kind of step of a model, ready to run."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from kernelearn import config
from kernelearn.engine.backends import Executable, prepare
from kernelearn.engine.program import Program
from kernelearn.engine.variable import Variable
from kernelearn.training.own.afterwards import Afterwards
from kernelearn.training.steps.step import Arrays, Batch, Clock, StepResult


@dataclass(frozen=True)
class StepProgram:
    """One kind of step, ready to run.

    Attributes:
        kind: "train", "test" or "predict".
        executable: its program on an engine.
        afterwards: what traced code wants done with its values behind every run.
    """

    kind: str
    executable: Executable
    afterwards: Sequence[Afterwards] = ()

    @property
    def program(self) -> Program:
        """What the step computes, to print or inspect."""
        return self.executable.program

    @functools.cached_property
    def digest(self) -> str:
        """Of what the step computes."""
        return self.program.digest()

    @property
    def variables(self) -> Mapping[str, Variable]:
        """Name of a parameter or state of the program -> Variable."""
        return self.executable.variables

    def inputs(self, batch: Batch, clock: Clock | None = None) -> Arrays:
        """All inputs of the program by name; `clock` is needed by a training step alone.

        Where another step is random, because a layer was called with training=True, every run draws anew.
        """
        if clock is not None:
            return {**batch.arrays, **clock.arrays()}
        if "seed" not in self.program.buffers:
            return batch.arrays
        drawn = {"seed": np.asarray(config.next_seed(), np.int64), "step": np.asarray(0, np.int64)}
        return {**batch.arrays, **drawn}

    def run(self, batch: Batch, clock: Clock | None = None) -> StepResult:
        """Run the step once; a training step updates the weights, unless its loss is not finite."""
        result = StepResult(self.executable.run(self.inputs(batch, clock), is_checked=True))
        for action in self.afterwards:
            action.do(result.outputs)
        return result

    def keeping(self, buffers: Mapping[str, str]) -> StepProgram:
        """A step that gives these buffers too.

        Args:
            buffers: label in the result -> name of a buffer of the program.
        """
        return replace(self.changed(self.program.keeping(**buffers)), afterwards=self.afterwards)

    def without_updates(self) -> StepProgram:
        """A step that computes the same and leaves all weights as they are."""
        kept = tuple(op for op in self.program.operations if op.phase != "update")
        return self.changed(replace(self.program, operations=kept))

    def changed(self, program: Program) -> StepProgram:
        """Another program with the same variables, on the same engine."""
        return StepProgram(self.kind, prepare(program, self.variables, self.executable.engine))
