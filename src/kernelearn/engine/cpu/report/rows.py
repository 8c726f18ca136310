"""What the CPU engine made of a program: the rows of `engine.work` from calls, and their title."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from kernelearn.engine.cpu.machine import threads
from kernelearn.engine.cpu.machine.target import Target
from kernelearn.engine.cpu.plan import Call, Fallback, Plan, is_number
from kernelearn.engine.cpu.report import peaks, roofline
from kernelearn.engine.work import Work, byte_count, layers_of, parts_of, reference_work


def work(plan: Plan, steps: Sequence[Call | Fallback], images: int) -> list[Work]:
    """One row per kernel call or fallback of a plan, in the order given."""
    return [_row(plan, step, images) for step in steps]


def estimated(plan: Plan, steps: Sequence[Call | Fallback], images: int) -> list[Work]:
    """The rows of `work`, each with what it takes at best on this machine, whose peaks are measured once."""
    count = threads.get_num_threads()
    limits = peaks.peaks(count)
    rows = work(plan, steps, images)
    return [replace(row, estimate=roofline.estimate(row, limits, count)) for row in rows]


def _row(plan: Plan, step: Call | Fallback, images: int) -> Work:
    if isinstance(step, Fallback):
        return reference_work(plan.program, step.operation, images, "no kernel for it")
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


def title(target: Target, images: int) -> str:
    """The engine, the target, and what the figures are for."""
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
