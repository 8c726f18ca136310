"""Jobs for the native loop: groups of calls, the addresses they work on, and which has to wait for which.

For one number of images and threads; `binding` and `cut` run them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kernelearn.engine.cpu.gathering import Group
from kernelearn.engine.cpu.machine import threads
from kernelearn.engine.cpu.machine.compiler import Function
from kernelearn.engine.cpu.machine.runtime import GROUP
from kernelearn.engine.cpu.places import InputPlace, Place
from kernelearn.engine.cpu.plan import Plan, is_number
from kernelearn.engine.cpu.schedule import Job, Range, touched, waits


class Jobs:
    """Makes the jobs of a plan.

    Args:
        functions: id of a call -> its kernel.
        places: root buffer -> where it lies; what is not there is an input.
        images, count: of a run, and of the threads that work on it.
    """

    def __init__(
        self,
        plan: Plan,
        functions: Mapping[int, Function],
        places: Mapping[str, Place | InputPlace],
        images: int,
        count: int,
    ) -> None:
        self.plan, self.images, self.threads = plan, images, count
        self._functions, self._places = functions, places
        self._inputs: dict[str, InputPlace] = {}
        self._loss = plan.program.outputs.get("loss")

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

    def _ranges(self, roots: set[str]) -> list[Range]:
        """Where buffers lie (start, end); inputs, which nobody writes, are left out."""
        found = [self._place(root).range for root in sorted(roots)]
        return [each for each in found if each is not None]
