"""What processes agree on when they meet: code, processor, and the CPUs of a machine that several share."""

from __future__ import annotations

import contextlib
import os
import platform
import socket
import sys
import warnings
from collections.abc import Mapping, Sequence

from kernelearn import __version__
from kernelearn.errors import ArgumentError, KernelearnError
from kernelearn.parallel.exchange import Exchange

# What says which processor to compile for: see `engine.cpu.machine.target`.
TARGET = "KERNELEARN_CPU_TARGET"


def check_agreement(together: Exchange) -> None:
    """Make sure that all processes compute with the same code, and compile it for the same processor.

    Where their processors differ, all compile for the best target that every one of them has.

    Raises: ArgumentError naming what differs, on every process.
    """
    check_same(together.all_say(about_this_process()))
    found = together.all_say(targets_here())
    target = common_target(found)
    if target is not None:
        os.environ[TARGET] = target
        if together.rank == 0:
            warnings.warn(_about_target(found, target), UserWarning, stacklevel=3)


def about_this_process() -> dict[str, str]:
    """What decides the bits of a result besides the program and the processor."""
    import numpy as np

    return {
        "kernelearn": __version__,
        "numpy": np.__version__,
        "byte order": sys.byteorder,
        "kind of processor": platform.machine().lower(),
    }


def targets_here() -> list[tuple[str, str]]:
    """Name of a target that this process can compile for, and all that its code depends on: the best first.

    That is the target in force, and those that are less than it, for any processor that has them.
    """
    from kernelearn.engine.cpu.machine.target import SHAPES, current_target, find_target

    own = current_target()
    found, names = [(own.name, own.key)], list(SHAPES)
    for name in names[names.index(f"{own.name}{own.tiles}") :]:
        with contextlib.suppress(KernelearnError):  # not of this kind of processor
            found.append((name, find_target(name).key))
    return found


def common_target(found: Sequence[Sequence[tuple[str, str]]]) -> str | None:
    """The best target of all processes; None where their own is the same.

    Raises: ArgumentError where there is none.

    >>> common_target([[("avx512", "a"), ("avx512", "x"), ("avx2", "y")], [("avx2", "b"), ("avx2", "y")]])
    'avx2'
    """
    if len({of_one[0] for of_one in found}) == 1:
        return None
    for target in found[0][1:]:
        if all(target in of_one[1:] for of_one in found):
            return target[0]
    texts = ", ".join(f"process {rank} has {of_one[0][0]}" for rank, of_one in enumerate(found))
    raise ArgumentError(
        f"The processes have different processors, and nothing that all can compile for: {texts}. The "
        "weights would differ in their bits."
    )


def _about_target(found: Sequence[Sequence[tuple[str, str]]], target: str) -> str:
    which = next(rank for rank, of_one in enumerate(found) if of_one[0] != found[0][0])
    (name, key), (other, other_key) = found[0][0], found[which][0]
    return (
        f"The processors differ: process 0 has {name} ({key.split()[0]}), process {which} has {other} "
        f"({other_key.split()[0]}). All compile for {target}, which every one of them has, so that the "
        "weights have the same bits."
    )


def check_same(found: Sequence[Mapping[str, str]]) -> None:
    """Raise ArgumentError naming the first entry that differs between processes."""
    for name in found[0]:
        values = [one.get(name, "none") for one in found]
        if len(set(values)) > 1:
            which = next(rank for rank, value in enumerate(values) if value != values[0])
            raise ArgumentError(
                f"The processes differ in {name}: process 0 has {values[0]}, process {which} has "
                f"{values[which]}. The weights would differ in their bits. Install the same everywhere, on "
                "processors of one kind."
            )


def share_cpus(together: Exchange) -> None:
    """Divide a machine's CPUs among the processes on it, where nobody has set a number of threads; note
    whether there are other machines.

    Where that was set, the first process warns of more threads than CPUs.
    """
    from kernelearn.engine.cpu.machine import threads

    host, own = socket.gethostname(), set(_cpus())
    said = together.all_say((host, sorted(own)))
    together.spans_machines = any(name != host for name, _ in said)
    here = [set(cpus) for name, cpus in said if name == host]
    sharing = sum(bool(own & cpus) for cpus in here)
    threads.share_cpus(sharing)
    counts = [count for name, count in together.all_say((host, threads.get_num_threads())) if name == host]
    # A container may have less time than CPUs that it may run on.
    there = threads.available_cpus() if sharing == len(here) else len(set().union(*here))
    if together.rank == 0 and sum(counts) > there:
        warnings.warn(
            f"{len(here)} processes with {sum(counts)} threads in all share {there} CPUs of {host}: they "
            "wait for each other, most of all in exchanges. Start fewer processes, or lower "
            "KERNELEARN_NUM_THREADS.",
            UserWarning,
            stacklevel=2,
        )


def _cpus() -> list[int]:
    """Numbers of the CPUs that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))
