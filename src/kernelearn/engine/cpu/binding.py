"""A program bound to memory, for one number of images and threads: a run.

It knows a plan, compiled functions and places, and nothing of who owns them: the seam for another engine.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from kernelearn.engine.arrays import Array
from kernelearn.engine.cpu.gathering import Stretch
from kernelearn.engine.cpu.jobs import Jobs
from kernelearn.engine.cpu.machine import threads
from kernelearn.engine.cpu.machine.compiler import Function
from kernelearn.engine.cpu.places import Constants, Place, address_of
from kernelearn.engine.cpu.plan import Fallback, Plan
from kernelearn.engine.operators import OPERATORS

Arrays = Mapping[str, Array]


class Binding(Jobs):
    """Everything about a run with so many images: addresses and jobs.

    Args:
        stretches: what a run does, in order; prologue: what `constants` are computed by.
        functions: id of a call -> its kernel.
        places: root buffer -> where it lies, but for the inputs.
        images, count: of a run, and of the threads that work on it.
    """

    def __init__(
        self,
        plan: Plan,
        stretches: Sequence[Stretch | Fallback],
        prologue: Sequence[Stretch],
        functions: Mapping[int, Function],
        places: Mapping[str, Place],
        constants: Constants,
        images: int,
        count: int,
    ) -> None:
        super().__init__(plan, functions, places, images, count)
        self.stretches, self._constants, self._memory = stretches, constants, places
        self._views: dict[str, Array] = {}
        self._fastest: float | None = None
        self.parts = [s if isinstance(s, Fallback) else self.job(s.groups) for s in stretches]
        self.prologue = [self.job(stretch.groups) for stretch in prologue]
        # Label -> the array to copy, or the name of one that each run finds anew: it is an input.
        self._results = {label: self._fixed(name) for label, name in plan.program.outputs.items()}

    def use(self, arrays: Arrays) -> None:
        """Tell the kernels where the inputs are."""
        for name, place in self._inputs.items():
            address = address_of(arrays[name])
            for table, slot in place.slots:
                table[slot] = address

    def run(self, arrays: Arrays) -> dict[str, Array]:
        """One step; label -> array of every output."""
        self.compute(arrays)
        return {label: found.copy() for label, found in self.results(arrays).items()}

    def compute(self, arrays: Arrays, behind: Callable[[int], None] | None = None) -> None:
        """One step, whose results stay where they are.

        Args:
            behind: is told the number of each of `parts` that is done.
        """
        self.use(arrays)
        if self.prologue:
            self._constants.renew(self._compute_constants)
        self._work(arrays, behind)
        self._check(arrays)

    def results(self, arrays: Arrays) -> dict[str, Array]:
        """Label -> array of every output of the last step, in place."""
        return {
            label: self.array(found, arrays) if isinstance(found, str) else found
            for label, found in self._results.items()
        }

    def _compute_constants(self) -> None:
        for job in self.prologue:
            threads.pool().run(job.address, self.threads)

    def _work(self, arrays: Arrays, behind: Callable[[int], None] | None) -> None:
        """All parts one after the other."""
        pool = threads.pool()
        is_short = self._fastest is not None and self._fastest * self.threads < threads.SHORT
        is_tiny = self._fastest is not None and self._fastest < threads.ALONE
        count = 1 if is_tiny else self.threads
        start = time.perf_counter()
        for number, part in enumerate(self.parts):
            if isinstance(part, Fallback):
                self.reference(part, arrays)
            else:
                pool.run(part.address, count, is_short)
            if behind is not None:
                behind(number)
        seconds = time.perf_counter() - start
        # NOTE: the first run touches new memory, and says little about those to come.
        self._fastest = math.inf if self._fastest is None else min(self._fastest, seconds)

    def _check(self, arrays: Arrays) -> None:
        """Where the loss is no number, look for a reason that can be told (labels that are no classes)."""
        checks = self.plan.checks
        if checks and (self._loss is None or not self._loss_is_finite(arrays)):
            for check in checks:
                check(arrays)

    def _loss_is_finite(self, arrays: Arrays) -> bool:
        return self._loss is None or bool(np.isfinite(self.array(self._loss, arrays)).all())

    def _fixed(self, name: str) -> Array | str:
        """The array of a buffer that is where it is for every run; the name of one that is not."""
        is_input = self.plan.buffers[self.plan.root(name)].role == "input"
        return name if is_input else self.view(name)

    def view(self, name: str) -> Array:
        """A buffer that is no input as an array, in place."""
        if name not in self._views:
            buffer, root = self.plan.buffers[name], self.plan.root(name)
            self._views[name] = self._memory[root].array(self._shape(name), buffer.dtype)
        return self._views[name]

    def _shape(self, name: str) -> tuple[int, ...]:
        return tuple(self.images if s is None else s for s in self.plan.buffers[name].shape)

    def array(self, name: str, arrays: Arrays) -> Array:
        """Any buffer as an array, in place."""
        root = self.plan.root(name)
        if root in arrays:
            return arrays[root] if root == name else arrays[root].reshape(self._shape(name))
        return self.view(name)

    def reference(self, step: Fallback, arrays: Arrays) -> None:
        """Run an operation by the reference engine, on the same memory."""
        op = step.operation
        if op.phase == "update" and not self._loss_is_finite(arrays):
            return
        with np.errstate(all="ignore"):
            results = OPERATORS[op.operator].run(*[self.array(n, arrays) for n in op.inputs], **op.attrs)
        for name, result in zip(op.outputs, results if isinstance(results, tuple) else (results,)):
            np.copyto(self.view(name), result, casting="unsafe")
