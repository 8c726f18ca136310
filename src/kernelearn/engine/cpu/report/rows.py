"""What the CPU engine made of a program: the rows of `engine.work` from calls, and their title."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kernelearn.engine.cpu.machine import threads
from kernelearn.engine.cpu.plan import Call, Fallback, Plan, is_number
from kernelearn.engine.cpu.report import peaks, roofline
from kernelearn.engine.work import Work, byte_count, layers_of, parts_of, reference_work

if TYPE_CHECKING:
    from kernelearn.engine.cpu.executable import CpuExecutable


def work(executable: CpuExecutable, images: int) -> list[Work]:
    """One row per kernel call or fallback, in the order of a run."""
    return [_row(executable.plan, step, images) for step in executable.calls()]


def estimated(executable: CpuExecutable, images: int) -> list[Work]:
    """The rows of `work`, each with what it takes at best on this machine, whose peaks are measured once.

    With few images for the threads in force, tasks and kernels are those that such a run really takes.
    """
    count = threads.get_num_threads()
    limits, plan = peaks.peaks(count), executable.plan
    few_images = executable.parts_for(images, count) is executable.parts_for_few
    steps = [*plan.prologue, *(_taken(step, few_images) for step in plan.steps)]
    rows = [_row(plan, step, images) for step in steps]
    return [replace(row, estimate=roofline.estimate(row, limits, count)) for row in rows]


def _taken(step: Call | Fallback, few_images: bool) -> Call | Fallback:
    """The call itself, or its alternative for few images."""
    if few_images and isinstance(step, Call) and step.alternative is not None:
        return step.alternative
    return step


def _row(plan: Plan, step: Call | Fallback, images: int) -> Work:
    if isinstance(step, Fallback):
        return reference_work(plan.program, step.operation, images, step.why)
    names = dict.fromkeys(name for name in step.roles.values() if not is_number(name))
    per_image, once = step.flops
    return Work(
        phase=step.operation.phase,
        layers=layers_of(step.operation),
        operators=tuple(part.operator for part in parts_of(step.operation)),
        kernel=step.note,
        tasks=step.tasks.count(images),
        flops=per_image * images + once,
        bytes=byte_count((plan.buffers[name] for name in names), images),
        is_native=True,
        saving=step.saving,
    )


def title(executable: CpuExecutable, images: int) -> str:
    """The engine, the target, and what the figures are for."""
    target = executable.target
    return (
        f"cpu engine: {target.cpu} as {target.name}, {target.width} float32 numbers a vector, "
        f"{threads_text()}; figures for {images} images\n{peaks_text()}"
    )


def threads_text() -> str:
    """Such as "2 threads"."""
    count = threads.get_num_threads()
    return f"{count} thread{'' if count == 1 else 's'}"


def peaks_text() -> str:
    """The measured peaks that estimates are made from."""
    return f"measured peaks of {threads_text()}: {peaks.peaks(threads.get_num_threads())}"
