"""What a figure was measured on: processor, cores, load, versions, date."""

from __future__ import annotations

import datetime
import os
import platform
from pathlib import Path
from typing import Any

# A machine with more running processes than this measures something else as well.
QUIET_LOAD = 1.0


def describe_machine() -> dict[str, Any]:
    """Facts of the machine that do not change during a benchmark."""
    from kernelearn import __version__
    from kernelearn.engine.cpu.machine.target import current_target
    from kernelearn.engine.cpu.machine.threads import available_cpus

    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": processor_name(),
        "cores": available_cpus(),
        "vectors": current_target().name,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "kernelearn": __version__,
    }


def processor_name() -> str:
    """What the maker calls the processor, with LLVM's name of its kind."""
    import llvmlite.binding as llvm

    from kernelearn.engine.cpu.report.peaks import processor_model

    return f"{processor_model() or platform.machine()} ({llvm.get_host_cpu_name()})"


def largest_cache(folder: str = "/sys/devices/system/cpu/cpu0/cache") -> int:
    """Bytes of the largest cache of the first CPU; 0 where the system does not say."""
    units = {"K": 2**10, "M": 2**20, "G": 2**30}
    sizes = [0]
    for path in Path(folder).glob("index*/size"):
        text = path.read_text().strip()
        if text[:-1].isdigit() and text[-1:] in units:
            sizes.append(int(text[:-1]) * units[text[-1]])
    return max(sizes)


def load_average() -> float | None:
    """Processes that ran or waited to run, mean of the last minute; None where the system does not say."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def load_warning(load: float | None) -> str | None:
    """What to say about a machine that is busy before the benchmark starts."""
    if load is None or load <= QUIET_LOAD:
        return None
    return (
        f"The load average is {load:.1f} before the start: other programs use this machine, and times are "
        "longer and less certain than they could be. Ratios suffer less, because all take turns."
    )


def peak_memory() -> int | None:
    """Bytes of memory that this process has had at most, or None where the system does not say."""
    # NOTE: not ru_maxrss on Linux: a child's starts at what its parent had when it was made.
    status = Path("/proc/self/status")
    if status.exists():
        found = [line for line in status.read_text().splitlines() if line.startswith("VmHWM:")]
        if found:
            return int(found[0].split()[1]) * 1024
    try:
        import resource
    except ImportError:
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if platform.system() == "Darwin" else most * 1024
