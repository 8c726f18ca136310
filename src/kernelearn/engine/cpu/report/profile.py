"""Where the time of a compiled step goes: every call timed on its own, in the order of the program."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from kernelearn.engine.cpu import gathering
from kernelearn.engine.cpu.executable import CpuExecutable
from kernelearn.engine.cpu.machine import threads
from kernelearn.engine.cpu.plan import Call, Fallback


@dataclass(frozen=True)
class Timing:
    """Time of one step of the plan.

    Attributes:
        step: the kernel call, or the operation of the reference engine.
        seconds: median over the repetitions.
        flops: floating point operations for the batch that was timed.
    """

    step: Call | Fallback
    seconds: float
    flops: float


def profile(executable: CpuExecutable, inputs: Mapping[str, np.ndarray], repeats: int = 9) -> list[Timing]:
    """Time every step of a program on these inputs. A training program trains meanwhile.

    Args:
        repeats: rounds; the median over them is reported. The first round is not counted.
    """
    executable.run(inputs)
    arrays = executable.inputs(inputs)
    binding = executable.binding(arrays)
    binding.use(arrays)
    binding.lend(name for s in gathering.only_native(binding.stretches) for g in s.groups for name in g.local)
    steps = [s for part in binding.stretches for s in _steps(part)]
    jobs = [binding.job([gathering.alone(s, binding.plan)]) if isinstance(s, Call) else None for s in steps]
    binding.use(arrays)
    rounds: list[list[float]] = [[] for _ in steps]
    for _ in range(repeats + 1):
        for step, job, times in zip(steps, jobs, rounds):
            start = time.perf_counter()
            if isinstance(step, Fallback):
                binding.reference(step, arrays)
            elif job is not None:
                threads.pool().run(job.address, binding.threads)
            times.append(time.perf_counter() - start)
    return [
        Timing(step, statistics.median(times[1:]), _flops(step, binding.images))
        for step, times in zip(steps, rounds)
    ]


def _steps(part: gathering.Stretch | Fallback) -> list[Call | Fallback]:
    return [part] if isinstance(part, Fallback) else [call for group in part.groups for call in group.calls]


def _flops(step: Call | Fallback, images: int) -> float:
    return step.flops[0] * images + step.flops[1] if isinstance(step, Call) else 0.0
