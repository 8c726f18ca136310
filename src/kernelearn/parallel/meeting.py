"""What processes agree on when they meet: code, processor, and the CPUs of a machine that several share."""

from __future__ import annotations

import os
import socket
import sys
import warnings
from collections.abc import Mapping, Sequence

from kernelearn import __version__
from kernelearn.errors import ArgumentError
from kernelearn.parallel.exchange import Exchange


def check_agreement(together: Exchange) -> None:
    """Make sure that all processes compute with the same code for the same processor.

    Raises: ArgumentError naming what differs, on every process.
    """
    check_same(together.all_say(about_this_process()))


def about_this_process() -> dict[str, str]:
    """What decides the bits of a result besides the program."""
    import numpy as np

    from kernelearn.engine.cpu.machine.target import current_target

    target = current_target()
    return {
        "kernelearn": __version__,
        "numpy": np.__version__,
        "byte order": sys.byteorder,
        "processor target": f"{target.name} on {target.cpu}",
        "processor features": target.features,
    }


def check_same(found: Sequence[Mapping[str, str]]) -> None:
    """Raise ArgumentError naming the first entry that differs between processes."""
    for name in found[0]:
        values = [one.get(name, "none") for one in found]
        if len(set(values)) > 1:
            which = next(rank for rank, value in enumerate(values) if value != values[0])
            raise ArgumentError(
                f"The processes differ in {name}: process 0 has {values[0]}, process {which} has "
                f"{values[which]}. The weights would differ in their bits. Install the same everywhere; for "
                "processors, set KERNELEARN_CPU_TARGET to one that all of them have, such as avx2."
            )


def share_cpus(together: Exchange) -> None:
    """Divide a machine's CPUs among the processes on it, where nobody has set a number of threads.

    Where that was set, the first process warns of more threads than CPUs.
    """
    from kernelearn.engine.cpu.machine import threads

    host, own = socket.gethostname(), set(_cpus())
    here = [set(cpus) for name, cpus in together.all_say((host, sorted(own))) if name == host]
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
