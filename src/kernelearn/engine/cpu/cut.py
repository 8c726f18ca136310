"""A step that is cut in two: a forward part that runs now, and a backward part that runs later, if at all.

Both are parts of one program, so rewrites see them together; what lies between them stays in a *frame*, an
arena of its own, until the backward part has run. Inputs, weights and results are memory of the caller, whose
addresses are given at each call:

    step = CutStep(program)
    frame = step.frame(images, threads)
    frame.addresses[step.number("x")] = address of x; ... of every name in step.names
    frame.forward()
    ...
    frame.addresses[step.number("tangent")] = ...
    frame.backward()
    step.release(frame)

A frame serves one pass at a time; any number of them may wait for their backward part.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from kernelearn.engine.cpu import gathering, schedule
from kernelearn.engine.cpu.jobs import Jobs
from kernelearn.engine.cpu.lowering import lower
from kernelearn.engine.cpu.machine import threads
from kernelearn.engine.cpu.machine.compiler import Function
from kernelearn.engine.cpu.machine.target import current_target
from kernelearn.engine.cpu.places import BorrowedPlace, Constants, Place, aligned
from kernelearn.engine.cpu.plan import Call, Fallback, Plan
from kernelearn.engine.cpu.recomputing import compute_again
from kernelearn.engine.cpu.rewrites import optimise
from kernelearn.engine.gradients import add_gradients_of_many
from kernelearn.engine.program import Buffer, Program, ProgramBuilder
from kernelearn.errors import KernelearnError

# Frames that wait for their next use, of one number of images and threads; and so many such numbers.
MOST_FRAMES, MOST_SIZES = 2, 6

Halves = tuple[list[gathering.Stretch], list[gathering.Stretch]]


def add_backward(
    builder: ProgramBuilder, values: Sequence[Buffer], tangents: Sequence[str], wanted: Iterable[str]
) -> dict[str, Buffer]:
    """Append the backward part of a cut step.

    Args:
        values: what the forward part gives; tangents: names of the inputs that bring their gradients.
        wanted: names of buffers.
    Returns: name of a wanted buffer -> its gradient; without those that no value depends on.
    Raises: KernelearnError if a gradient is needed through an operator that has none.
    """
    builder.phase = "backward"
    seeds = []
    for value, name in zip(values, tangents):
        tangent = builder.input(name, value.shape, value.dtype)
        # NOTE: costs nothing, and keeps rewrites from joining what reads a tangent with the forward part.
        seeds.append((value, builder.add("reshape", tangent, shape=value.shape)))
    return add_gradients_of_many(builder, seeds, set(wanted))


class CutStep:
    """A program whose forward and backward parts are run apart.

    Operations of the phases "backward" and "update" are the backward part.

    Args:
        program: its outputs are results of the parts; each needs memory of its own (no input, no weight, and
            no two results that share memory).
        keeps_constants: whether what depends on weights alone is computed only when `Frame.constants` is
            called, and kept; else each forward and backward part computes what it needs.
        is_whole: everything is the forward part: a step that is not cut, on borrowed memory.

    Attributes:
        names: buffers whose addresses have to be given at each call.
        read_later: numbers of those that the backward part touches.

    Raises: KernelearnError for a program that has no such parts, or an operation without a native kernel.
    """

    def __init__(self, program: Program, keeps_constants: bool = False, is_whole: bool = False) -> None:
        self.program = program
        self.plan = lower(optimise(program), current_target(), keeps_constants)
        if not keeps_constants:
            self.plan.steps = [*self.plan.prologue, *self.plan.steps]
            self.plan.prologue, self.plan.constant = [], set()
        self._refuse_fallbacks()
        self._halves = _halves(self.plan, self.plan.steps, is_whole)
        self._halves_for_few = _halves(self.plan, self.plan.for_few_images(), is_whole)
        self.prologue = gathering.only_native(gathering.stretches(self.plan.prologue, self.plan))
        for halves in (self._halves, self._halves_for_few):
            compute_again([*halves[0], *halves[1]], self.plan)
            gathering.keep_local([*halves[0], *halves[1]], self.plan)
        borrowed = [b.name for b in program.buffers.values() if b.role != "value"]
        self.names = tuple(dict.fromkeys([*borrowed, *map(self.plan.root, program.outputs.values())]))
        self._numbers = {name: number for number, name in enumerate(self.names)}
        self._check_parts(borrowed, is_whole)
        self.read_later = frozenset(
            self._numbers[name] for name in _touched(self._halves[1]) if name in self._numbers
        )
        written = {name for call in self.plan.prologue for name in call.writes.values()}
        self._constants = Constants({n: schedule.byte_size(self.plan, n, 1) for n in written}, ())
        self._functions: dict[int, Function] = {}
        self._free: OrderedDict[tuple[int, int], list[Frame]] = OrderedDict()
        self._lock = threads.RunLock()

    def number(self, name: str) -> int | None:
        """Number of the address of a buffer; None if no part touches it."""
        return self._numbers.get(self.plan.root(name)) if name in self.plan.buffers else None

    def frame(self, images: int, count: int) -> Frame:
        """A frame that no pass uses, for so many images and threads. It has to be released."""
        key = (images, count)
        with self._lock.lock:
            free = self._free.setdefault(key, [])
            self._free.move_to_end(key)
            while len(self._free) > MOST_SIZES:
                self._free.popitem(last=False)
            if free:
                return free.pop()
        halves = self._halves_for_few if schedule.are_few(images, count) else self._halves
        self._load([*self.prologue, *halves[0], *halves[1]])
        return Frame(self, halves, self._functions, self._constants, images, count)

    def release(self, frame: Frame) -> None:
        """The frame may be used for another pass."""
        free = self._free.get((frame.images, frame.threads))
        if free is not None and len(free) < MOST_FRAMES:
            free.append(frame)

    def _load(self, stretches: Iterable[gathering.Stretch]) -> None:
        groups = [group for stretch in stretches for group in stretch.groups]
        calls = [call for group in groups for call in group.calls if id(call) not in self._functions]
        if calls:
            self._functions.update(zip(map(id, calls), self.plan.load(calls)))

    def _refuse_fallbacks(self) -> None:
        missing = {s.operation.operator for s in self.plan.steps if isinstance(s, Fallback)}
        if missing:
            raise KernelearnError(f"A cut step needs native kernels; there are none for {sorted(missing)}.")

    def _check_parts(self, borrowed: Sequence[str], is_whole: bool) -> None:
        """Results have memory of their own, and the forward part reads nothing that comes later."""
        roots = [self.plan.root(name) for name in self.program.outputs.values()]
        if len({*roots, *borrowed}) < len(roots) + len(borrowed):
            raise KernelearnError("Results of a cut step share memory with each other or with inputs.")
        if is_whole:
            return
        late = {name for op in self.program.operations if op.phase != "forward" for name in op.inputs}
        late -= {name for op in self.program.operations if op.phase == "forward" for name in op.inputs}
        early = _touched(self._halves[0]) & late & set(borrowed)
        if early:
            raise KernelearnError(
                f"The forward part would read {sorted(early)}, which come with the backward part."
            )


class Frame(Jobs):
    """What one pass needs from its forward part to the end of its backward part.

    Attributes:
        addresses: of every buffer of `CutStep.names`, to be filled in before each part.
        standing: for whoever fills in the same ones each time: what they were.
    """

    def __init__(
        self,
        step: CutStep,
        halves: Halves,
        functions: dict[int, Function],
        constants: Constants,
        images: int,
        count: int,
    ) -> None:
        parts = [*halves[0], *halves[1]]
        found = schedule.layout(parts, step.plan, images, apart={*step.names, *constants.places})
        memory = aligned(found.nbytes)
        arena = {n: Place(memory[start : start + found.sizes[n]]) for n, start in found.offsets.items()}
        borrowed = {name: BorrowedPlace(number) for number, name in enumerate(step.names)}
        super().__init__(step.plan, functions, {**arena, **constants.places, **borrowed}, images, count)
        self.nbytes = found.nbytes
        jobs = [[self.job(stretch.groups) for stretch in part] for part in (step.prologue, *halves)]
        self._keep = memory, constants, jobs
        every = [job for part in jobs for job in part]
        self._table, self._slots, self._from = _one_table(every, borrowed.values())
        self.addresses = np.zeros(len(step.names), np.int64)
        self.standing: dict[Any, Any] = {}
        self._parts = [[job.address for job in part] for part in jobs]
        self._fastest = [float("inf")] * len(jobs)
        self._fresh = [True] * len(jobs)

    def constants(self) -> None:
        """Compute what depends on weights alone."""
        self._run(0)

    def forward(self) -> None:
        """Run the forward part."""
        self._run(1)

    def backward(self) -> None:
        """Run the backward part."""
        self._run(2)

    def _run(self, number: int) -> None:
        self._table[self._slots] = self.addresses[self._from]
        pool, count = threads.pool(), self.threads
        is_short = self._fastest[number] * count < threads.SHORT
        start = time.perf_counter()
        for address in self._parts[number]:
            pool.run(address, count, is_short)
        # NOTE: the first run touches new memory, and says little about those to come.
        if self._fresh[number]:
            self._fresh[number] = False
        else:
            self._fastest[number] = min(self._fastest[number], time.perf_counter() - start)


def _halves(plan: Plan, steps: Sequence[Call | Fallback], is_whole: bool) -> Halves:
    """Stretches of the forward and of the backward part."""
    early = [is_whole or step.operation.phase == "forward" for step in steps]
    parts = [[step for step, is_early in zip(steps, early) if is_early is now] for now in (True, False)]
    first, second = (gathering.only_native(gathering.stretches(part, plan)) for part in parts)
    return first, second


def _touched(stretches: Sequence[gathering.Stretch]) -> set[str]:
    """Root buffers that stretches read or write."""
    return {name for s in stretches for group in s.groups for name in group.reads | group.writes}


def _one_table(
    jobs: Sequence[schedule.Job], places: Iterable[BorrowedPlace]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The tables of addresses of all calls in one array, so that one assignment fills in what is borrowed.

    Returns: the array, its positions that hold borrowed addresses, and the number of the place of each.
    """
    tables = [table for job in jobs for table in job.tables]
    whole = np.concatenate([np.zeros(0, np.int64), *tables])
    starts, start = {}, 0
    for table in tables:
        starts[id(table)], start = start, start + len(table)
    for job in jobs:
        for number, table in enumerate(job.tables):
            job.commands[number, 1] = whole.ctypes.data + whole.itemsize * starts[id(table)]
    slots = [(starts[id(table)] + slot, p.number) for p in places for table, slot in p.slots]
    positions, numbers = np.array(slots, np.int64).reshape(-1, 2).T
    return whole, positions, numbers
