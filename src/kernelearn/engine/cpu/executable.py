"""A program compiled for this machine, ready to run on any number of images."""

from __future__ import annotations

import contextlib
import ctypes
import math
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from kernelearn.engine.cpu import schedule
from kernelearn.engine.cpu.lowering import lower
from kernelearn.engine.cpu.machine import threads
from kernelearn.engine.cpu.machine.compiler import Function
from kernelearn.engine.cpu.machine.target import Target, current_target
from kernelearn.engine.cpu.plan import Call, Fallback, Plan, is_number
from kernelearn.engine.cpu.report import rows as report
from kernelearn.engine.cpu.rewrites import optimise
from kernelearn.engine.operators import OPERATORS
from kernelearn.engine.program import Buffer, Program
from kernelearn.engine.reference.executor import check_shapes
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
        self.target: Target = current_target()
        self.plan: Plan = lower(optimise(program), self.target)
        self.parts = schedule.stretches(self.plan.steps, self.plan)
        self.parts_for_few = schedule.stretches(self.plan.steps, self.plan, few_images=True)
        self.prologue = schedule.stretches(list(self.plan.prologue), self.plan)
        # What depends on constant weights only: computed again when one of them was changed.
        self.constants = {
            name: _aligned(schedule.byte_size(self.plan, name, 1))
            for call in self.plan.prologue
            for name in call.writes.values()
        }
        self._sources = _sources(self.plan, self.variables)
        self.made_from: list[int] | None = None
        self._functions: dict[int, Function] = {}
        self._bindings: dict[tuple[int, int], _Binding] = {}
        self._arena = np.empty(0, np.uint8)
        self._run_lock = threads.RunLock()
        changed = {n: None for op in program.operations if op.phase == "update" for n in op.outputs}
        self.changed = [self.variables[name] for name in changed if name in self.variables]

    def run(self, inputs: Mapping[str, np.ndarray], is_checked: bool = False) -> dict[str, np.ndarray]:
        """Run one step; see `ReferenceExecutable.run`."""
        arrays = inputs if is_checked else self.inputs(inputs)
        with self._lock:
            return self.binding(arrays).run(arrays)

    def calls(self) -> list[Call | Fallback]:
        """Everything a run does, in order."""
        return [*self.plan.prologue, *self.plan.steps]

    def work(self, images: int = 32) -> list[Work]:
        """What a run on so many images does: one row per kernel call."""
        return report.work(self, images)

    def estimated_work(self, images: int = 32) -> list[Work]:
        """The rows of `work`, each with an estimate of what it takes at best on this machine.

        The machine's peaks are measured at the first call, which takes a second, and kept on disk.
        """
        return report.estimated(self, images)

    def peaks_text(self) -> str:
        """The peaks that estimates are made from, for people."""
        return report.peaks_text()

    def explain(self, images: int = 32) -> str:
        """The rows of `estimated_work` as text: each layer's kernel and tile, split, FLOPs, bytes, limits."""
        return explain(report.title(self, images), self.estimated_work(images))

    def compile(self) -> None:
        """Compile all kernels now, not at the first run."""
        self._load([*self.prologue, *self.parts])

    def _load(self, parts: list[list[schedule.Group] | Fallback]) -> None:
        groups = [group for part in parts if isinstance(part, list) for group in part]
        calls = [call for group in groups for call in group.calls if id(call) not in self._functions]
        if calls:
            self._functions.update(zip(map(id, calls), self.plan.load(calls)))

    @property
    def functions(self) -> list[Function]:
        """The compiled kernels that it holds."""
        return list(self._functions.values())

    def parts_for(self, images: int, count: int) -> list[list[schedule.Group] | Fallback]:
        """Groups for so many images and threads; split further if threads would lack images."""
        few = count > 1 and images < 2 * count
        return self.parts_for_few if few else self.parts

    @property
    def _lock(self) -> threading.Lock:
        """Held by who runs; not by anybody in a child that was forked meanwhile."""
        return self._run_lock.lock

    def inputs(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
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

    def _fit(self, arrays: Mapping[str, np.ndarray]) -> bool:
        """Whether all shapes are right beyond doubt."""
        images = None if self._counted is None else arrays[self._counted].shape[:1]
        for wanted in self._wanted:
            shape = arrays[wanted.name].shape
            if wanted.has_images and shape[:1] != images:
                return False
            if shape[wanted.has_images :] != wanted.sizes:
                return False
        return images != ()

    def _images(self, arrays: Mapping[str, np.ndarray]) -> int:
        return 1 if self._counted is None else len(arrays[self._counted])

    def binding(self, arrays: Mapping[str, np.ndarray]) -> _Binding:
        """Memory and jobs for the number of images of these inputs."""
        key = (self._images(arrays), threads.get_num_threads())
        found = self._bindings.get(key)
        return self._bind(*key) if found is None else found

    def _bind(self, images: int, count: int) -> _Binding:
        """A new binding; the memory is shared with the others, and grows where it is too small."""
        self._load([*self.prologue, *self.parts_for(images, count)])
        binding = _Binding(self, images, count)
        if binding.bytes > self._arena.size:
            self._bindings.clear()
            self._arena = np.empty(0, np.uint8)
            give_back_memory()
            self._arena = np.empty(binding.bytes + schedule.ALIGNMENT, np.uint8)
        while len(self._bindings) >= MAX_BINDINGS:
            self._bindings.pop(next(iter(self._bindings)))
        binding.attach(self._arena)
        self._bindings[images, count] = binding
        return binding

    def source_versions(self) -> list[int]:
        """Which contents the weights that the prologue reads have now."""
        return [variable.version for variable in self._sources]

    @property
    def arena_bytes(self) -> int:
        """Memory for computed values."""
        return self._arena.size + sum(array.nbytes for array in self.constants.values())


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


def give_back_memory() -> None:
    """Return to the system what was freed while weights and code were made, tens of megabytes."""
    with contextlib.suppress(OSError, AttributeError):  # only the GNU library has it
        ctypes.CDLL(None).malloc_trim(0)


def _aligned(size: int) -> np.ndarray:
    """Bytes that start on a cache line."""
    raw = np.empty(size + schedule.ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % schedule.ALIGNMENT
    return raw[start : start + size]


def address_of(array: np.ndarray) -> int:
    """Where the entries of a contiguous array lie."""
    if array.flags.writeable and array.size:
        # NOTE: six times as fast as `array.ctypes.data`, which would be a tenth of a small prediction.
        return ctypes.addressof(ctypes.c_char.from_buffer(array.data))
    return array.ctypes.data


def _sources(plan: Plan, variables: Mapping[str, Variable]) -> list[Variable]:
    """The weights that the prologue reads."""
    names = {plan.root(n) for call in plan.prologue for n in call.reads.values() if not is_number(n)}
    return [variables[name] for name in sorted(names) if name in variables]


class _Binding:
    """Everything about a run with so many images: addresses and jobs."""

    def __init__(self, owner: CpuExecutable, images: int, threads_: int) -> None:
        self.owner, self.images, self.threads = owner, images, threads_
        plan = owner.plan
        self.groups = owner.parts_for(images, threads_)
        items = schedule.positions(self.groups)
        kept = {plan.root(name) for name in plan.program.outputs.values()}
        spans = schedule.lifetimes(items, plan, kept)
        spans = {name: span for name, span in spans.items() if name not in owner.constants}
        sizes = {name: schedule.byte_size(plan, name, images) for name in spans}
        self.sizes = sizes
        self.offsets, self.bytes = schedule.place(spans, sizes)
        self.loss = plan.program.outputs.get("loss")
        self.fastest: float | None = None

    def attach(self, arena: np.ndarray) -> None:
        """Fix all addresses, now that the memory is there."""
        self.base = -(-arena.ctypes.data // schedule.ALIGNMENT) * schedule.ALIGNMENT
        self.shift = self.base - arena.ctypes.data
        self.arena = arena
        self.views: dict[str, np.ndarray] = {}
        # Input buffer -> where its address has to be written before a run.
        self.slots: dict[str, list[tuple[np.ndarray, int]]] = {}
        self.parts = [p if isinstance(p, Fallback) else self.job(p) for p in self.groups]
        self.prologue = [self.job(p) for p in self.owner.prologue if isinstance(p, list)]
        # Label -> the array to copy, or the name of one that each run finds anew: it is an input.
        self.results = {label: self._fixed(name) for label, name in self.owner.program.outputs.items()}

    def job(self, groups: list[schedule.Group]) -> tuple[schedule.Job, int]:
        """The native description of some groups, and its address."""
        job = schedule.Job(groups, self.owner._functions, self.images, self.threads)
        plan = self.owner.plan
        for table, call in zip(job.tables, job.calls):
            for slot, name in enumerate(call.roles.values()):
                if is_number(name):
                    table[slot] = self.images if name == "#n" else int(name[1:])
                    continue
                root = plan.root(name)
                if plan.buffers[root].role == "input":
                    self.slots.setdefault(root, []).append((table, slot))
                else:
                    table[slot] = self._address(root)
        accesses = []
        for row, group in zip(job.groups, groups):
            reads, writes = schedule.touched(group, plan)
            accesses.append(([self._range(n) for n in reads], [self._range(n) for n in writes]))
            loss = plan.program.outputs.get("loss")
            if group.calls[0].guarded and loss is not None:
                row[1] = self._address(plan.root(loss))
                accesses[-1][0].append(self._range(plan.root(loss)))
        for row, (start, end) in zip(job.groups, schedule.waits(accesses)):
            row[0], row[6] = start, end
        return job, job.seal(threads.yield_address())

    def _address(self, root: str) -> int:
        if root in self.offsets:
            return self.base + self.offsets[root]
        if root in self.owner.constants:
            return self.owner.constants[root].ctypes.data
        return self.owner.variables[root]._value.ctypes.data

    def _range(self, root: str) -> tuple[int, int]:
        if self.owner.plan.buffers[root].role == "input":
            return (0, 0)
        start = self._address(root)
        if root in self.offsets:
            size = self.sizes[root]
        elif root in self.owner.constants:
            size = self.owner.constants[root].nbytes
        else:
            size = self.owner.variables[root]._value.nbytes
        return start, start + max(size, 1)

    def view(self, name: str) -> np.ndarray:
        """A computed buffer as an array, in place."""
        if name not in self.views:
            plan = self.owner.plan
            buffer, root = plan.buffers[name], plan.root(name)
            if root in self.owner.constants:
                shape = tuple(s or 1 for s in buffer.shape)
                dtype = np.dtype(buffer.dtype)
                data = self.owner.constants[root][: int(np.prod(shape)) * dtype.itemsize]
                return data.view(dtype).reshape(shape)
            if root not in self.offsets:
                source = self.owner.variables[root]._value
                return source if root == name else source.reshape([s or 1 for s in buffer.shape])
            shape = tuple(self.images if s is None else s for s in buffer.shape)
            start = self.shift + self.offsets[root]
            dtype = np.dtype(buffer.dtype)
            size = int(np.prod(shape)) * dtype.itemsize
            self.views[name] = self.arena[start : start + size].view(dtype).reshape(shape)
        return self.views[name]

    def use(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Tell the kernels where the inputs are."""
        for name, slots in self.slots.items():
            address = address_of(arrays[name])
            for table, slot in slots:
                table[slot] = address

    def run(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """One step."""
        self.use(arrays)
        if self.prologue:
            self._renew_constants()
        self._work(arrays)
        self._check(arrays)
        for variable in self.owner.changed:
            variable.version += 1
        return {
            label: (self._array(found, arrays) if isinstance(found, str) else found).copy()
            for label, found in self.results.items()
        }

    def _renew_constants(self) -> None:
        """Compute what depends on weights only, if these have changed."""
        versions = self.owner.source_versions()
        if versions == self.owner.made_from:
            return
        for job in self.prologue:
            threads.pool().run(job[1], self.threads)
        self.owner.made_from = versions  # only now: an interrupt above leaves them to be made again

    def _work(self, arrays: Mapping[str, np.ndarray]) -> None:
        """All parts one after the other."""
        pool = threads.pool()
        is_short = self.fastest is not None and self.fastest * self.threads < threads.SHORT
        start = time.perf_counter()
        for part in self.parts:
            if isinstance(part, Fallback):
                self.reference(part, arrays)
            else:
                pool.run(part[1], self.threads, is_short)
        seconds = time.perf_counter() - start
        # NOTE: the first run touches new memory, and says little about those to come.
        self.fastest = math.inf if self.fastest is None else min(self.fastest, seconds)

    def _check(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Where the loss is no number, look for a reason that can be told (labels that are no classes)."""
        checks = self.owner.plan.checks
        if checks and (self.loss is None or not self._loss_is_finite(arrays)):
            for check in checks:
                check(arrays)

    def _loss_is_finite(self, arrays: Mapping[str, np.ndarray]) -> bool:
        return self.loss is None or bool(np.isfinite(self._array(self.loss, arrays)).all())

    def _result(self, name: str, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        return self._array(name, arrays).copy()

    def _fixed(self, name: str) -> np.ndarray | str:
        """The array of a buffer that is where it is for every run; the name of one that is not."""
        plan = self.owner.plan
        is_input = plan.buffers[plan.root(name)].role == "input"
        return name if is_input else self.view(name)

    def _array(self, name: str, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        if name in arrays:
            return arrays[name]
        plan = self.owner.plan
        root = plan.root(name)
        if root in arrays:
            shape = plan.buffers[name].shape
            return arrays[root].reshape([self.images if s is None else s for s in shape])
        return self.view(name)

    def reference(self, step: Fallback, arrays: Mapping[str, np.ndarray]) -> None:
        """Run an operation by the reference engine, on the same memory."""
        op = step.operation
        if op.phase == "update" and not self._loss_is_finite(arrays):
            return
        with np.errstate(all="ignore"):
            results = OPERATORS[op.operator].run(*[self._array(n, arrays) for n in op.inputs], **op.attrs)
        for name, result in zip(op.outputs, results if isinstance(results, tuple) else (results,)):
            np.copyto(self.view(name), result, casting="unsafe")
