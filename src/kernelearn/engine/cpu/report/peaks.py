"""What the machine can do at most, measured once and kept beside the compiled kernels: for `roofline`.

The figures are keyed by processor, target and number of threads. Other programs can only lower what is
measured, so `renew` keeps the higher of the old and the new figures.
"""

from __future__ import annotations

import hashlib
import json
import math
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kernelearn.engine.cpu.machine import cache
from kernelearn.engine.cpu.machine.target import current_target
from kernelearn.engine.cpu.machine.threads import RunLock
from kernelearn.engine.cpu.report import ceilings
from kernelearn.storage import atomic_write

# To be raised when figures come to mean something else.
VERSION = 1
# Seconds for each figure, and the least number of runs.
SECONDS, RUNS = 0.03, 5
# Tasks of multiply-adds a thread has in a run: about half a millisecond.
FMA_TASKS = 128
# A run copies at least so many bytes, a small memory again and again: to start a run takes time too.
COPIED = 2**24
# Sizes of memory go up to this many bytes, which is more than most caches hold.
BEYOND_CACHES = 2**27

_lock = RunLock()
_known: dict[str, Peaks] = {}


@dataclass(frozen=True)
class Peaks:
    """The most that so many threads together do.

    Attributes:
        flops: float32 operations a second, where a multiply-add on registers counts as two.
        bandwidths: pairs of a size of memory in bytes, rising, and the bytes a second that a copy within it
            reads and writes.
    """

    flops: float
    bandwidths: tuple[tuple[int, float], ...]

    def bandwidth(self, size: float) -> float:
        """Bytes a second for a kernel that touches so many bytes. A larger memory is never the faster one."""
        found = [rate for limit, rate in self.bandwidths if size <= limit]
        return max(found, default=self.bandwidths[-1][1])

    def higher(self, other: Peaks) -> Peaks:
        """The higher one of every figure; of two measurements of the same sizes."""
        pairs = zip(self.bandwidths, other.bandwidths, strict=True)
        bandwidths = tuple((size, max(rate, more)) for (size, rate), (_, more) in pairs)
        return Peaks(max(self.flops, other.flops), bandwidths)

    def __str__(self) -> str:
        fastest = self.bandwidth(0)
        size, slowest = self.bandwidths[-1]
        return (
            f"{self.flops / 1e9:.0f} GFLOP/s, {fastest / 1e9:.0f} GB/s within caches, "
            f"{slowest / 1e9:.0f} GB/s within {size / 2**20:.0f} MiB"
        )


def peaks(threads: int) -> Peaks:
    """The figures for so many threads; measured, in about a second, where no cache has them."""
    with _lock.lock:
        key = _key(threads)
        found = _known.get(key) or _read(key, threads)
        if found is None:
            found = measure(threads)
            _write(key, found)
        _known[key] = found
        return found


def renew(threads: int) -> Peaks:
    """Measure again; every figure is the higher one of now and before."""
    with _lock.lock:
        key = _key(threads)
        before, found = _known.get(key) or _read(key, threads), measure(threads)
        _known[key] = found = found if before is None else found.higher(before)
        _write(key, found)
        return found


def measure(threads: int) -> Peaks:
    """Time the ceilings now."""
    tasks = FMA_TASKS * threads
    flops = _rate("fma", {"tasks": tasks}, threads, 1)
    bandwidths = []
    for pieces in sizes(threads):
        task = {"pieces": pieces}
        size = int(ceilings.work_of("copy", task))
        bandwidths.append((size, _rate("copy", task, threads, max(1, COPIED // size))))
    return Peaks(flops, tuple(bandwidths))


def sizes(threads: int) -> list[int]:
    """Pieces to copy: from one a thread, four times as many each, until no cache holds them."""
    pieces = [threads]
    while ceilings.work_of("copy", {"pieces": pieces[-1]}) < BEYOND_CACHES:
        pieces.append(4 * pieces[-1])
    return pieces


def _rate(name: str, task: dict[str, int], threads: int, turns: int) -> float:
    """Operations or bytes a second of a ceiling."""
    loaded = ceilings.Loaded(ceilings.KERNELS[name](task), threads, turns)
    return turns * ceilings.work_of(name, task) / _fastest(loaded.run)


def _fastest(run: Callable[[], None]) -> float:
    """Seconds of the fastest of some runs; the first one wakes threads and touches memory."""
    run()
    times: list[float] = []
    while len(times) < RUNS or sum(times) < SECONDS:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return max(min(times), 1e-9)


# --- kept on disk


def processor_model(path: str = "/proc/cpuinfo") -> str:
    """What the maker calls the processor; "" where the system does not say."""
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _key(threads: int) -> str:
    return f"peaks {VERSION}|{processor_model()}|{current_target().key}|{threads} threads"


def _path(key: str) -> Path | None:
    root = cache.folder()
    return None if root is None else root / f"peaks-{hashlib.sha256(key.encode()).hexdigest()[:24]}.json"


def _read(key: str, threads: int) -> Peaks | None:
    """What was kept; None if that is nothing, or nothing that makes sense."""
    path = _path(key)
    if path is None:
        return None
    try:
        stored = json.loads(path.read_text("utf-8"))
        bandwidths = tuple((int(size), float(rate)) for size, rate in stored["bandwidths"])
        found, own = Peaks(float(stored["flops"]), bandwidths), stored["key"] == key
    except (OSError, ValueError, TypeError, KeyError):
        return None
    rates = [found.flops, *(rate for _, rate in bandwidths)]
    wanted = [int(ceilings.work_of("copy", {"pieces": pieces})) for pieces in sizes(threads)]
    makes_sense = all(math.isfinite(rate) and rate > 0 for rate in rates)
    return found if own and makes_sense and [size for size, _ in bandwidths] == wanted else None


def _write(key: str, found: Peaks) -> None:
    """Keep the figures; where that is impossible, the next process measures again."""
    path = _path(key)
    if path is None:
        return
    content = {"key": key, "flops": found.flops, "bandwidths": found.bandwidths}
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with atomic_write(path) as file:
            file.write(json.dumps(content).encode())
    except OSError:
        return
