"""A program bound to memory, for one number of images and threads: jobs for the native loop, and a run.

It knows a plan, compiled functions and places, and nothing of who owns them: the seam for another engine.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence

import numpy as np

from kernelearn.engine.arrays import Array
from kernelearn.engine.cpu.machine import threads
from kernelearn.engine.cpu.machine.compiler import Function
from kernelearn.engine.cpu.machine.runtime import GROUP
from kernelearn.engine.cpu.places import Constants, InputPlace, Place, address_of
from kernelearn.engine.cpu.plan import Fallback, Plan, is_number
from kernelearn.engine.cpu.schedule import Group, Job, Stretch, touched, waits
from kernelearn.engine.operators import OPERATORS

Arrays = Mapping[str, Array]


class Binding:
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
        self.plan, self.stretches, self.images, self.threads = plan, stretches, images, count
        self._functions, self._places, self._constants = functions, places, constants
        self._inputs: dict[str, InputPlace] = {}
        self._views: dict[str, Array] = {}
        self._loss = plan.program.outputs.get("loss")
        self._fastest: float | None = None
        self.parts = [s if isinstance(s, Fallback) else self.job(s.groups) for s in stretches]
        self.prologue = [self.job(stretch.groups) for stretch in prologue]
        # Label -> the array to copy, or the name of one that each run finds anew: it is an input.
        self._results = {label: self._fixed(name) for label, name in plan.program.outputs.items()}

    def job(self, groups: Sequence[Group]) -> Job:
        """The native description of some groups."""
        job = Job(groups, self._functions, self.images, self.threads)
        for table, call in zip(job.tables, job.calls):
            for slot, name in enumerate(call.roles.values()):
                if is_number(name):
                    table[slot] = self.images if name == "#n" else int(name[1:])
                    continue
                place = self._place(self.plan.root(name))
                if isinstance(place, InputPlace):
                    place.slots.append((table, slot))
                else:
                    table[slot] = place.address
        self._order(job, groups)
        job.seal(threads.yield_address())
        return job

    def _order(self, job: Job, groups: Sequence[Group]) -> None:
        """Say which groups have to be done before which, and whose work depends on the loss."""
        accesses = []
        for row, group in zip(job.groups, groups):
            reads, writes = touched(group, self.plan)
            accesses.append((self._ranges(reads), self._ranges(writes)))
            if group.calls[0].guarded and self._loss is not None:
                loss = self.plan.root(self._loss)
                place = self._place(loss)
                row[GROUP["guard"]] = 0 if isinstance(place, InputPlace) else self._guard(place)
                accesses[-1][0].extend(self._ranges({loss}))
        for row, (start, end) in zip(job.groups, waits(accesses)):
            row[GROUP["wait_from"]], row[GROUP["wait_to"]] = start, end

    def _guard(self, loss: Place) -> int:
        """Address of a float32 that is no number if the loss is none.

        Of a float64 that is the upper half: infinity and NaN have all bits of the exponent set in both.
        """
        assert self._loss is not None
        return loss.address + (4 if self.plan.dtype(self._loss) == "float64" else 0)

    def _place(self, root: str) -> Place | InputPlace:
        found = self._places.get(root)
        return self._inputs.setdefault(root, InputPlace()) if found is None else found

    def _ranges(self, roots: set[str]) -> list[tuple[int, int]]:
        """Addresses (start, end) of buffers; inputs, which nobody writes, are left out."""
        places = [place for root in sorted(roots) if isinstance(place := self._place(root), Place)]
        return [(place.address, place.address + max(place.nbytes, 1)) for place in places]

    def use(self, arrays: Arrays) -> None:
        """Tell the kernels where the inputs are."""
        for name, place in self._inputs.items():
            address = address_of(arrays[name])
            for table, slot in place.slots:
                table[slot] = address

    def run(self, arrays: Arrays) -> dict[str, Array]:
        """One step; label -> array of every output."""
        self.use(arrays)
        if self.prologue:
            self._constants.renew(self._compute_constants)
        self._work(arrays)
        self._check(arrays)
        return {
            label: (self.array(found, arrays) if isinstance(found, str) else found).copy()
            for label, found in self._results.items()
        }

    def _compute_constants(self) -> None:
        for job in self.prologue:
            threads.pool().run(job.address, self.threads)

    def _work(self, arrays: Arrays) -> None:
        """All parts one after the other."""
        pool = threads.pool()
        is_short = self._fastest is not None and self._fastest * self.threads < threads.SHORT
        start = time.perf_counter()
        for part in self.parts:
            if isinstance(part, Fallback):
                self.reference(part, arrays)
            else:
                pool.run(part.address, self.threads, is_short)
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
            self._views[name] = self._places[root].array(self._shape(name), buffer.dtype)
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
