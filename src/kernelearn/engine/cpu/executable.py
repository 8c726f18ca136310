"""A program compiled for this machine, ready to run on any number of images."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from kernelearn.engine.arrays import Array, Reached, Use
from kernelearn.engine.cpu import gathering, schedule
from kernelearn.engine.cpu.announcing import cut_behind
from kernelearn.engine.cpu.binding import Binding
from kernelearn.engine.cpu.lowering import lower
from kernelearn.engine.cpu.machine import threads
from kernelearn.engine.cpu.machine.compiler import Function
from kernelearn.engine.cpu.machine.target import Target, current_target
from kernelearn.engine.cpu.places import Arena, Constants, Place
from kernelearn.engine.cpu.plan import Call, Fallback, Plan, is_number
from kernelearn.engine.cpu.recomputing import compute_again
from kernelearn.engine.cpu.report import rows as report
from kernelearn.engine.cpu.report.traffic import least_bytes, moved_bytes
from kernelearn.engine.cpu.rewrites import optimise
from kernelearn.engine.executor import check_shapes
from kernelearn.engine.program import Buffer, Program
from kernelearn.engine.variable import Variable
from kernelearn.engine.work import Work, explain
from kernelearn.errors import KernelearnError

# Memory layouts kept, one per number of images; a training run needs two (the last batch is smaller).
MAX_BINDINGS = 6


class CpuExecutable:
    """A program and its variables on the CPU engine.

    Weights are read and written where their `Variable` keeps them; nothing is copied.
    """

    engine = "cpu"

    def __init__(self, program: Program, variables: Mapping[str, Variable]) -> None:
        self.program = program
        self.variables = {b.name: variables[b.name] for b in program.weights()}
        self._inputs = program.inputs()
        self._wanted = [_Wanted.of(buffer) for buffer in self._inputs]
        # The input that tells the number of images.
        self._counted = next((wanted.name for wanted in self._wanted if wanted.has_images), None)
        # Where none does: how many images there are that come from values of fixed shape; 1 if none do.
        opened = (op.attrs["images"] for op in program.operations if op.operator == "open_images")
        self._opened = next(opened, 1)
        self.target: Target = current_target()
        self.plan: Plan = lower(optimise(program), self.target)
        self.stretches = gathering.stretches(self.plan.steps, self.plan)
        self.stretches_for_few = gathering.stretches(self.plan.for_few_images(), self.plan)
        self.prologue = gathering.only_native(gathering.stretches(self.plan.prologue, self.plan))
        for parts in (self.stretches, self.stretches_for_few):
            compute_again(parts, self.plan)
            gathering.keep_local(parts, self.plan)
        # Numbers of parts behind which announced outputs are there: in `stretches`, in those for few.
        self._announced: tuple[list[int], list[int]] = ([], [])
        self.constants = _constants(self.plan, self.variables)
        self.arena = Arena()
        self._functions: dict[int, Function] = {}
        self._bindings: dict[tuple[int, int], Binding] = {}
        self._run_lock = threads.RunLock()
        changed = {n: None for op in program.operations if op.phase == "update" for n in op.outputs}
        self._changed = [self.variables[name] for name in changed if name in self.variables]

    def run(self, inputs: Mapping[str, Array], is_checked: bool = False) -> dict[str, Array]:
        """Run one step; see `ReferenceExecutable.run`."""
        arrays = inputs if is_checked else self.inputs(inputs)
        with self._lock:
            binding = self.binding(arrays)
            try:
                return binding.run(arrays)
            finally:
                self._note_changes()

    def announce(self, groups: Sequence[Collection[str]]) -> None:
        """Groups of outputs for `visit`; see `Executable`. What runs were bound to is bound again."""
        names = [[self.program.outputs[label] for label in group] for group in groups]
        self.stretches, usual = cut_behind(self.stretches, self.plan, names)
        self.stretches_for_few, few = cut_behind(self.stretches_for_few, self.plan, names)
        self._announced = usual, few
        self._bindings.clear()

    def visit(self, inputs: Mapping[str, Array], use: Use, reached: Reached | None = None) -> None:
        """Run, and let `use` have the outputs; see `Executable`."""
        with self._lock:
            binding = self.binding(inputs)
            stops = self._announced[binding.stretches is self.stretches_for_few]
            behind = None if reached is None else _Stops(stops, reached, binding.results(inputs))
            try:
                binding.compute(inputs, behind)
            finally:
                self._note_changes()
            use(binding.results(inputs))

    def _note_changes(self) -> None:
        """Weights are others now: also where a run was interrupted, which may have moved some."""
        for variable in self._changed:
            variable.version += 1

    def calls(self) -> list[Call | Fallback]:
        """Everything a run does, in order."""
        return [*self.plan.prologue, *self.plan.steps]

    def work(self, images: int = 32) -> list[Work]:
        """What a run on so many images does: one row per kernel call."""
        return report.work(self.plan, self.calls(), images)

    def estimated_work(self, images: int = 32) -> list[Work]:
        """The rows of `work`, each with an estimate of what it takes at best on this machine.

        With few images for the threads in force, tasks and kernels are those that such a run really takes.
        The machine's peaks are measured at the first call, which takes a second, and kept on disk.
        """
        is_few = schedule.are_few(images, threads.get_num_threads())
        steps = self.plan.for_few_images() if is_few else self.plan.steps
        return report.estimated(self.plan, [*self.plan.prologue, *steps], images)

    def peaks_text(self) -> str:
        """The peaks that estimates are made from, for people."""
        return report.peaks_text()

    def explain(self, images: int = 32) -> str:
        """The rows of `estimated_work` as text: each layer's kernel and tile, split, FLOPs, bytes, limits."""
        rows = self.estimated_work(images)
        bytes_moved, least = self.moved_bytes(images), self.least_bytes(images)
        return explain(report.title(self.target, images), rows, bytes_moved, least)

    def moved_bytes(self, images: int = 32) -> int:
        """Bytes that such a run moves from and to memory: see `report.traffic`."""
        stretches = self._stretches_for(images, threads.get_num_threads())
        return moved_bytes([*self.prologue, *stretches], self.plan, images)

    def least_bytes(self, images: int = 32) -> int:
        """Bytes that such a run moves at least: see `report.traffic`."""
        return least_bytes(self.program, images)

    def compile(self) -> None:
        """Compile all kernels now, not at the first run."""
        self._load([*self.prologue, *self.stretches])

    def _load(self, stretches: list[gathering.Stretch | Fallback]) -> None:
        groups = [group for stretch in gathering.only_native(stretches) for group in stretch.groups]
        calls = [call for group in groups for call in group.calls if id(call) not in self._functions]
        if calls:
            self._functions.update(zip(map(id, calls), self.plan.load(calls)))

    @property
    def functions(self) -> list[Function]:
        """The compiled kernels that it holds."""
        return list(self._functions.values())

    @property
    def _lock(self) -> threading.Lock:
        """Held by who runs; not by anybody in a child that was forked meanwhile."""
        return self._run_lock.lock

    def inputs(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """The inputs as kernels need them: of the declared type and shape, contiguous."""
        try:
            arrays = {w.name: np.asarray(inputs[w.name], w.dtype, order="C") for w in self._wanted}
        except KeyError:
            missing = [b.name for b in self._inputs if b.name not in inputs]
            if not missing:
                raise
            raise KernelearnError(f"The program needs inputs {missing}; got {sorted(inputs)}.") from None
        if not self._fit(arrays):
            check_shapes(self._inputs, arrays)
        return arrays

    def _fit(self, arrays: Mapping[str, Array]) -> bool:
        """Whether all shapes are right beyond doubt."""
        images = None if self._counted is None else arrays[self._counted].shape[:1]
        for wanted in self._wanted:
            shape = arrays[wanted.name].shape
            if wanted.has_images and shape[:1] != images:
                return False
            if shape[wanted.has_images :] != wanted.sizes:
                return False
        return images != ()

    def images(self, arrays: Mapping[str, Array]) -> int:
        """Number of images of these inputs; where none has images, of the values that become images."""
        return self._opened if self._counted is None else len(arrays[self._counted])

    def binding(self, arrays: Mapping[str, Array]) -> Binding:
        """Memory and jobs for the number of images of these inputs."""
        key = (self.images(arrays), threads.get_num_threads())
        found = self._bindings.get(key)
        return self._bind(*key) if found is None else found

    def _bind(self, images: int, count: int) -> Binding:
        """A new binding; the memory is shared with the others, and grows where it is too small."""
        # NOTE: before the memory: what compiling took is given back when that grows.
        self._load([*self.prologue, *self._stretches_for(images, count)])
        layout = self.layout(images, count)
        if not self.arena.fits(layout.nbytes):
            self._bindings.clear()
            self.arena.grow(layout.nbytes)
        while len(self._bindings) >= MAX_BINDINGS:
            self._bindings.pop(next(iter(self._bindings)))
        places = {**self.weight_places(), **self.arena.places(layout.offsets, layout.sizes)}
        binding = self._bindings[images, count] = self.bound(places, self.constants, images, count)
        return binding

    def layout(self, images: int, count: int) -> schedule.Layout:
        """Where computed values lie in the arena."""
        stretches = self._stretches_for(images, count)
        return schedule.layout(stretches, self.plan, images, apart=self.constants.places.keys())

    def weight_places(self) -> dict[str, Place]:
        """Where the variables keep the weights."""
        return {name: Place(variable.memory) for name, variable in self.variables.items()}

    def bound(self, places: Mapping[str, Place], constants: Constants, images: int, count: int) -> Binding:
        """The program on this memory, its kernels compiled."""
        stretches = self._stretches_for(images, count)
        self._load([*self.prologue, *stretches])
        everywhere = {**places, **constants.places}
        return Binding(
            self.plan, stretches, self.prologue, self._functions, everywhere, constants, images, count
        )

    def _stretches_for(self, images: int, count: int) -> list[gathering.Stretch | Fallback]:
        """Groups for so many images and threads; split further if threads would lack images."""
        return self.stretches_for_few if schedule.are_few(images, count) else self.stretches

    @property
    def arena_bytes(self) -> int:
        """Memory for computed values."""
        return self.arena.memory.size + self.constants.nbytes


@dataclass(frozen=True)
class _Stops:
    """Whom to tell that a part of a run is done.

    Attributes:
        parts: for each group of outputs the number of the part behind which it is there.
        reached: who is told, with the number of the group and the outputs.
    """

    parts: list[int]
    reached: Reached
    outputs: dict[str, Array]

    def __call__(self, part: int) -> None:
        for number, found in enumerate(self.parts):
            if found == part:
                self.reached(number, self.outputs)


@dataclass(frozen=True)
class _Wanted:
    """What an input has to be, looked up at every run.

    Attributes:
        has_images: whether its first axis counts images.
        sizes: of the other axes.
    """

    name: str
    dtype: np.dtype
    has_images: bool
    sizes: tuple[int | None, ...]

    @classmethod
    def of(cls, buffer: Buffer) -> _Wanted:
        has_images = buffer.shape[:1] == (None,)
        return cls(buffer.name, np.dtype(buffer.dtype), has_images, buffer.shape[has_images:])


def _constants(plan: Plan, variables: Mapping[str, Variable]) -> Constants:
    """Memory for what the prologue writes; it is made from the weights that the prologue reads."""
    written = {name for call in plan.prologue for name in call.writes.values()}
    read = {plan.root(n) for call in plan.prologue for n in call.reads.values() if not is_number(n)}
    sizes = {name: schedule.byte_size(plan, name, 1) for name in written}
    return Constants(sizes, [variables[name] for name in sorted(read) if name in variables])
