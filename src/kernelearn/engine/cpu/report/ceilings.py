"""What the machine can do at most: multiply-adds on registers, and bytes from and to memory.

Three kernels in the engine's own vector language, run by its own threads: what no kernel here can exceed.
`peaks` and `kernelearn bench` time them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from kernelearn.engine.cpu import gathering, schedule
from kernelearn.engine.cpu.language.kernel import Index, Kernel
from kernelearn.engine.cpu.machine import compiler, threads
from kernelearn.engine.cpu.machine.target import current_target
from kernelearn.engine.cpu.plan import Call, Code, Tasks, kernel_text
from kernelearn.engine.program import Operation

# Independent chains: more than the latency of a multiply-add times the units that do them, on all processors
# of the last years, and few enough to stay in 16 registers.
CHAINS = 12
TURNS = 2000
# Turns of the loop that are written out.
UNROLL = 4
# Pieces of memory that threads take, in float32 numbers: 256 KiB.
PIECE = 65536


@dataclass(frozen=True)
class Ceiling:
    """A kernel that does nothing but use one resource.

    Attributes:
        name: for people.
        code: writes the kernel.
        tasks: how many the threads share.
        arrays: role -> memory that the kernel uses.
    """

    name: str
    code: Code
    tasks: int
    arrays: Mapping[str, np.ndarray]


def fma(task: Mapping[str, Any]) -> Ceiling:
    """Multiply-adds on registers; memory is touched once a task."""
    target, tasks = current_target(), int(task["tasks"])
    return Ceiling("fma", Fma(), tasks, {"out": np.zeros((tasks, CHAINS, target.width), np.float32)})


def _fma_work(tasks: int) -> float:
    return 2.0 * current_target().width * CHAINS * TURNS * tasks


@dataclass(frozen=True)
class Fma:
    """CHAINS x (acc = acc * 0.5 + 1), again and again: stays near 2, so that no number is denormal."""

    def emit(self, k: Kernel) -> None:
        half, one = k.constant(0.5), k.constant(1.0)
        with k.loop(k.lo, k.hi) as task:
            chains = [k.register(start=k.constant(float(i))) for i in range(CHAINS)]
            with k.loop(0, TURNS // UNROLL, checked=False):
                for _ in range(UNROLL):
                    for chain in chains:
                        k.set(chain, k.fma(k.get(chain), half, one))
            for i, chain in enumerate(chains):
                k.store(k.get(chain), "out", task * (CHAINS * k.width) + i * k.width)


def read(task: Mapping[str, Any]) -> Ceiling:
    """The sum of an array: memory is read once."""
    source = _memory(task)
    pieces = source.size // PIECE
    out = np.zeros((pieces, current_target().width), np.float32)
    return Ceiling("read", Read(), pieces, {"source": source, "out": out})


@dataclass(frozen=True)
class Read:
    """Eight sums of a piece."""

    def emit(self, k: Kernel) -> None:
        with k.loop(k.lo, k.hi) as piece:
            sums = [k.register(start=k.zero) for _ in range(8)]
            with k.loop(0, PIECE, 8 * k.width, checked=False) as at:
                for i, total in enumerate(sums):
                    value = k.load("source", piece * PIECE + at + i * k.width)
                    k.set(total, k.get(total) + value)
            for total in sums[1:]:
                k.set(sums[0], k.get(sums[0]) + k.get(total))
            k.store(k.get(sums[0]), "out", piece * k.width)


def copy(task: Mapping[str, Any]) -> Ceiling:
    """A copy: memory is read once and written once, which is what an operation entry by entry does."""
    source = _memory(task)
    arrays = {"source": source, "out": np.zeros_like(source)}
    return Ceiling("copy", Copy(), source.size // PIECE, arrays)


@dataclass(frozen=True)
class Copy:
    """Four vectors a turn."""

    def emit(self, k: Kernel) -> None:
        def move(at: Index) -> None:
            k.store(k.load("source", at), "out", at)

        with k.loop(k.lo, k.hi) as piece, k.loop(0, PIECE, 4 * k.width, checked=False) as at:
            for i in range(4):
                move(piece * PIECE + at + i * k.width)


def _memory(task: Mapping[str, Any]) -> np.ndarray:
    """An array of `pieces`, or of `megabytes` rounded up to whole pieces, that has real pages behind it."""
    return np.ones(_pieces(task) * PIECE, np.float32)


def _pieces(task: Mapping[str, Any]) -> int:
    if "pieces" in task:
        return int(task["pieces"])
    return -(-int(task["megabytes"]) * 2**20 // (4 * PIECE))


KERNELS: dict[str, Callable[[Mapping[str, Any]], Ceiling]] = {"fma": fma, "read": read, "copy": copy}


def work_of(name: str, task: Mapping[str, Any]) -> float:
    """Floating point operations or bytes of one run of a ceiling, without making its arrays."""
    if name == "fma":
        return _fma_work(int(task["tasks"]))
    return float(_pieces(task) * PIECE * 4 * (2 if name == "copy" else 1))


class Loaded:
    """A ceiling compiled and ready to run on so many threads.

    Args:
        turns: how often a run does all tasks, for those that take no longer than to start a run.
    """

    def __init__(self, ceiling: Ceiling, count: int, turns: int = 1) -> None:
        self.ceiling, self._count = ceiling, count
        operation = Operation(f"ceiling {ceiling.name}", (), ())
        roles = {role: role for role in ceiling.arrays}
        call = Call(
            ceiling.code,
            roles,
            {},
            Tasks(fixed=ceiling.tasks),
            by_image=False,
            operation=operation,
        )
        groups = [gathering.Group([call]) for _ in range(turns)]
        self._function = _function(call)
        self._job = schedule.Job(groups, {id(call): self._function}, 1, count)
        for table in self._job.tables:
            table[:] = [array.ctypes.data for array in ceiling.arrays.values()]
        self._job.seal(threads.yield_address())

    def run(self) -> None:
        """All tasks, so many turns."""
        threads.pool().run(self._job.address, self._count)


def _function(call: Call) -> compiler.Function:
    """The compiled kernel."""
    target = current_target()
    return compiler.load(call.key, target, lambda name: kernel_text(call, name, target))
