"""The helper threads of the CPU engine: started when first needed, asleep between steps, gone at exit."""

from __future__ import annotations

import atexit
import ctypes
import functools
import os
import queue
import sys
import threading
import time
import weakref
from pathlib import Path
from typing import ClassVar

import numpy as np

from kernelearn.engine.cpu.machine import cache, codegen, compiler
from kernelearn.engine.cpu.machine.runtime import POOL, runtime_text
from kernelearn.engine.cpu.machine.target import find_target
from kernelearn.errors import ArgumentError

# Spins of a helper before it falls asleep, about 0.1 ms: a training loop comes back sooner.
PATIENCE = 4000
# Waking a helper that sleeps takes tens of microseconds, and its waker some of them. A job of less than SHORT
# seconds of work is over by then; only where jobs follow each other within SOON, so that helpers stay awake
# for the next ones, is it worth it.
SHORT = 150e-6
SOON = 100e-6
# A run of less than ALONE seconds is done alone: to hand its parts over takes longer than others save.
ALONE = 15e-6
MAX_THREADS = 256

_threads: int | None = None
_sharing = 1  # processes of a training that share this process's CPUs


def get_num_threads() -> int:
    """Threads that compiled programs use: as set, else KERNELEARN_NUM_THREADS, else the available CPUs.

    Where several processes train together on one machine, each has its share of the CPUs.
    """
    if _threads is not None:
        return _threads
    given = os.environ.get("KERNELEARN_NUM_THREADS", "").strip()
    if given:
        if not (given.isascii() and given.isdigit()) or not 1 <= int(given) <= MAX_THREADS:
            raise ArgumentError(
                f"KERNELEARN_NUM_THREADS must be a whole number from 1 to {MAX_THREADS}, got {given!r}."
            )
        return int(given)
    return max(1, available_cpus() // _sharing)


def share_cpus(processes: int) -> None:
    """Take a share of the CPUs as the default: so many processes of a training are on them."""
    global _sharing
    _sharing = processes


def set_num_threads(count: int | None) -> None:
    """Set the number of threads; None goes back to the default. Results do not depend on it.

    >>> set_num_threads(2)
    >>> get_num_threads()
    2
    >>> set_num_threads(None)
    """
    global _threads
    whole = isinstance(count, int | np.integer) and not isinstance(count, bool)
    if count is not None and not (whole and 1 <= count <= MAX_THREADS):
        raise ArgumentError(
            f"The number of threads must be a whole number from 1 to {MAX_THREADS}, got {count!r}."
        )
    _threads = None if count is None else int(count)


def available_cpus() -> int:
    """CPUs that this process may use: those it may run on, or the share of them that a container gets."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(allowed, _cpu_quota() or allowed, MAX_THREADS))


@functools.cache
def _cpu_quota(root: str = "/sys/fs/cgroup") -> int | None:
    """Whole CPUs' worth of time that the process's control group gets, rounded up; None: not limited."""
    for names in (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):
        try:
            words = " ".join(Path(root, name).read_text() for name in names).split()
            quota, period = int(words[0]), int(words[1])
        except (OSError, ValueError, IndexError):  # no such file, or "max"
            continue
        if quota > 0 < period:
            return -(-quota // period)
    return None


class _Runtime:
    """The native functions of `runtime`, compiled for this machine."""

    def __init__(self) -> None:
        target = find_target("native")
        text = runtime_text(_is_x86())
        key = f"runtime {_is_x86()}"
        digest = compiler.entry_digest(key, target)
        blob = cache.read(digest)
        if blob is None:
            blob = codegen.compile_object(text, target)
            cache.write(digest, blob)
        self._library = compiler.link([blob], target)
        integer, pointer = ctypes.c_int64, ctypes.c_void_p
        self.run = ctypes.CFUNCTYPE(None, pointer, pointer)(self._address("kl_run"))
        # NOTE: these two return at once: letting other Python threads run meanwhile would cost more.
        opening = ctypes.PYFUNCTYPE(None, pointer, pointer, integer)
        self.open = opening(self._address("kl_open"))
        asking = ctypes.PYFUNCTYPE(ctypes.c_uint64, pointer, integer, integer)
        self.sleeping = asking(self._address("kl_sleeping"))
        serving = ctypes.CFUNCTYPE(None, pointer, integer, pointer, integer)
        self.serve = serving(self._address("kl_serve"))

    def _address(self, name: str) -> int:
        return self._library.function(name).address


def _is_x86() -> bool:
    import platform

    return platform.machine().lower() in ("x86_64", "amd64", "i686", "x86")


_native: _Runtime | None = None


def runtime() -> _Runtime:
    """The native loop, compiled once even if several threads ask at once."""
    global _native
    if _native is None:
        with codegen.lock:
            if _native is None:
                _native = _Runtime()
    return _native


@functools.cache
def yield_address() -> int:
    """Address of the system's function that lets other threads run."""
    if sys.platform == "win32":
        function = ctypes.windll.kernel32.SwitchToThread  # type: ignore[attr-defined]
    else:
        function = ctypes.CDLL(None).sched_yield
    return ctypes.cast(function, ctypes.c_void_p).value or 0


class Pool:
    """Helper threads. One job at a time: a second caller works alone."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._block = np.zeros(POOL["asleep"] + POOL["line"] * MAX_THREADS, np.int64)
        self._address = self._block.ctypes.data
        # Of those who work alone: nobody reads it, so any number of them may share it.
        self._block_alone = np.zeros(POOL["asleep"], np.int64)
        self._address_alone = self._block_alone.ctypes.data
        self._queues: list[queue.SimpleQueue[bool]] = []
        self._helpers: list[threading.Thread] = []
        self._ticket = 0
        self._left = 0.0  # when the last job ended

    def run(self, job: int, threads: int, is_short: bool = False) -> None:
        """Work through a job on so many threads.

        Args:
            job: address of its description.
            is_short: whether it is less work than SHORT, so that sleeping helpers may be left asleep.
        """
        native = runtime()
        if threads > 1 and self._lock.acquire(blocking=False):
            try:
                self._run_together(native, job, self._grow(threads - 1), is_short)
            finally:
                self._lock.release()
        else:
            native.open(self._address_alone, job, 1)
            native.run(self._address_alone, job)

    def _run_together(self, native: _Runtime, job: int, helpers: int, is_short: bool) -> None:
        self._ticket += 1
        pool = self._address
        wakes = not is_short or time.perf_counter() - self._left < SOON
        try:
            native.open(pool, job, self._ticket)
            if wakes:
                self._wake(native, helpers)
        finally:
            # NOTE: also after Ctrl-C in the lines above: an open job must be closed before its memory goes.
            native.run(pool, job)
            self._left = time.perf_counter()

    def _wake(self, native: _Runtime, helpers: int) -> None:
        """Those of the first so many helpers that sleep."""
        for first in range(0, helpers, 64):
            sleeping = native.sleeping(self._address, first, min(first + 64, helpers))
            for number in range(first, helpers) if sleeping else ():
                if sleeping >> (number - first) & 1:
                    self._queues[number].put(True)

    def close(self) -> None:
        """End all helpers."""
        with self._lock:
            for waiting in self._queues:
                waiting.put(False)
            for helper in self._helpers:
                helper.join(timeout=5)
            self._queues, self._helpers = [], []

    def _grow(self, helpers: int) -> int:
        """Start helpers until there are so many; how many of these there are: fewer if the system refuses."""
        while len(self._helpers) < helpers:
            number = len(self._helpers)
            waiting: queue.SimpleQueue[bool] = queue.SimpleQueue()
            self._block[POOL["asleep"] + POOL["line"] * number] = 1
            helper = threading.Thread(
                target=_serve,
                args=(self._block, number, waiting),
                name=f"kernelearn-{number + 1}",
                daemon=True,
            )
            try:
                helper.start()
            except RuntimeError:  # too many threads, or Python is about to exit
                return number
            self._queues.append(waiting)
            self._helpers.append(helper)
        return helpers


def _serve(block: np.ndarray, number: int, waiting: queue.SimpleQueue[bool]) -> None:
    """What a helper does: sleep, work, until told to end."""
    native = runtime()
    address, rest = block.ctypes.data, yield_address()
    while waiting.get():
        native.serve(address, number, rest, PATIENCE)


class RunLock:
    """A lock that is free in a forked child, where the thread that held it does not exist.

    Attributes:
        lock: the lock to hold: `with run_lock.lock: ...`. A fork inside leaves that one to those who hold it.
    """

    _all: ClassVar[weakref.WeakSet[RunLock]] = weakref.WeakSet()

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._all.add(self)

    @classmethod
    def free_all(cls) -> None:
        """After a fork: what another thread was running here runs no more."""
        for lock in list(cls._all):
            lock.lock = threading.Lock()


_pool = Pool()


def pool() -> Pool:
    """The helpers of this process."""
    return _pool


def _after_fork() -> None:
    """A forked child has no helpers and no other threads: start anew."""
    global _pool
    _pool = Pool()
    RunLock.free_all()


def _at_exit() -> None:
    _pool.close()


atexit.register(_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
