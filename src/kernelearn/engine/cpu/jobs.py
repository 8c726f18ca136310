"""Jobs for the native loop: groups of calls, the addresses they work on, and which has to wait for which.

For one number of images and threads; `binding` and `cut` run them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from kernelearn.engine.cpu.gathering import Group
from kernelearn.engine.cpu.machine import threads
from kernelearn.engine.cpu.machine.compiler import Function
from kernelearn.engine.cpu.machine.runtime import GROUP
from kernelearn.engine.cpu.places import InputPlace, Place, aligned
from kernelearn.engine.cpu.plan import BYTES, Plan, is_number
from kernelearn.engine.cpu.schedule import Job, Range, byte_size, touched, waits


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
        self._functions, self._places = functions, dict(places)
        self._inputs: dict[str, InputPlace] = {}
        self._loss = plan.program.outputs.get("loss")

    def job(self, groups: Sequence[Group]) -> Job:
        """The native description of some groups."""
        job = Job(groups, self._functions, self.images, self.threads)
        local = {name for group in groups for name in self._local_of(group)}
        for table, call in zip(job.tables, job.calls):
            for slot, name in enumerate(call.roles.values()):
                if is_number(name):
                    table[slot] = self.images if name == "#n" else int(name[1:])
                    continue
                if self.plan.root(name) in local:
                    continue
                place = self._place(self.plan.root(name))
                if isinstance(place, InputPlace):
                    place.slots.append((table, slot))
                else:
                    table[slot] = place.address
        for number, group in enumerate(groups):
            self._give_memory(job, number, group)
        self._order(job, groups)
        job.seal(threads.yield_address())
        return job

    def lend(self, names: Iterable[str]) -> None:
        """Give buffers that groups have for themselves alone memory for all images."""
        for name in names:
            root = self.plan.root(name)
            if root not in self._places:
                self._places[root] = Place(aligned(byte_size(self.plan, root, self.images)))

    def _local_of(self, group: Group) -> list[str]:
        """What lies in the memory of each worker's own, in a fixed order."""
        return sorted(name for name in group.local if name not in self._places)

    def _give_memory(self, job: Job, number: int, group: Group) -> None:
        names = self._local_of(group)
        if not names:
            return
        sizes = {name: self.plan.numbers(name, 1) * BYTES[self.plan.dtype(name)] for name in names}
        roots = [[self.plan.root(name) for name in call.roles.values()] for call in group.calls]
        places = [(c, slot, n) for c, row in enumerate(roots) for slot, n in enumerate(row) if n in sizes]
        job.has_own_memory(number, sizes, places)

    def _order(self, job: Job, groups: Sequence[Group]) -> None:
        """Say which groups have to be done before which, and whose work depends on the loss."""
        accesses = []
        for row, group in zip(job.groups, groups):
            reads, writes = touched(group, self.plan)
            local = set(self._local_of(group))
            accesses.append((self._ranges(reads - local), self._ranges(writes - local)))
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
