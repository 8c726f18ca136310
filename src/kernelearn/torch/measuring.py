"""Whether the engine is worth it: a program is timed beside PyTorch's own operators before its first call.

What was found decides for all calls with about as many images. It is kept beside the compiled kernels, so
that a training that is begun again, or resumed, on the same machine computes with the same engine.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch

from kernelearn.engine.cpu.machine import cache, compiler, threads
from kernelearn.engine.cpu.machine.target import current_target
from kernelearn.errors import ArgumentError, unknown_name

VARIABLE = "KERNELEARN_TORCH_MEASURE"
_MEANINGS = {"": True, "1": True, "on": True, "0": False, "off": False}
# What the backend takes in `torch.compile(model, backend="kernelearn", options=...)`.
OPTIONS = ("every", "measure")

# Seconds of one trial, and of one burst in it: long beside the time in which threads of the other one may
# still be spinning. Rounds that are made even if they take longer (but not LONGEST), and at most; calls of a
# burst at most.
BUDGET, BURST, LONGEST = 0.25, 20e-3, 2.0
LEAST, MOST = 3, 30
# PyTorch is taken where it needs less than this share of our time: clocks are no better than that.
CLEARLY = 0.95

Work = Callable[[], object]

# NOTE: PyTorch's parallel operators hang in a child that was forked after they had run (its OpenMP has lost
# its threads there), so a child with several threads times nothing: what nobody decided runs on the engine.
_is_forked = False


def _after_fork() -> None:
    global _is_forked
    _is_forked = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


@dataclass(frozen=True)
class Measured:
    """Seconds of a call, forward and backward pass: the least of several.

    Attributes:
        ours: on the engine.
        theirs: in PyTorch.
    """

    ours: float
    theirs: float

    @property
    def is_slower(self) -> bool:
        """Whether PyTorch is clearly faster."""
        return self.theirs < CLEARLY * self.ours

    def __str__(self) -> str:
        return f"{_milliseconds(self.ours)} ms on the engine, {_milliseconds(self.theirs)} ms in PyTorch"


def _milliseconds(seconds: float) -> str:
    return f"{1e3 * seconds:.3g}"


def check_options(options: Mapping[str, Any] | None) -> None:
    """Raises UnknownNameError for an option that the backend does not have."""
    for name in options or ():
        if name not in OPTIONS:
            raise unknown_name("option", name, OPTIONS)


def check_mode(mode: str | None) -> None:
    """Raises ArgumentError for a mode of `torch.compile`: those are settings of inductor."""
    if mode not in (None, "default"):
        raise ArgumentError(
            f"mode={mode!r} is a setting of the backend inductor, which kernelearn does not have: leave it "
            "out. What is faster is found by the clock without it (unless options={'measure': False})."
        )


def is_wanted(options: Mapping[str, Any] | None = None) -> bool:
    """Whether to measure: as the option says, or the environment, or unless results have to be repeatable.

    Raises: ArgumentError for another value of the variable than on and off.
    """
    given = (options or {}).get("measure")
    if given is not None:
        return bool(given)
    text = os.environ.get(VARIABLE, "").strip().lower()
    if text not in _MEANINGS:
        raise ArgumentError(f"{VARIABLE} has to be 1 (measure) or 0 (do not), got {text!r}.")
    if text:
        return _MEANINGS[text]
    return not (options or {}).get("every") and not torch.are_deterministic_algorithms_enabled()


class Choice:
    """Who runs a program, for each number of images.

    Args:
        description: of the program and of the memory that it works on; equal ones are decided alike.
        is_measured: False: the engine, always.

    Attributes:
        left: (images, threads) -> whether PyTorch runs it.
        found: sizes of batches up to the next power of two -> the last that was measured for them.
    """

    def __init__(self, description: str, is_measured: bool) -> None:
        self.is_measured = is_measured
        self.left: dict[tuple[int, int], bool] = {}
        self.found: dict[tuple[int, int], Measured] = {}
        self._description = description
        self._lock = threads.RunLock()

    @property
    def last(self) -> Measured | None:
        """What was measured last."""
        return next(reversed(self.found.values()), None)

    def is_left(self, images: int, trial: Callable[[], tuple[Work, Work]]) -> bool:
        """Whether PyTorch runs the program; measured if nobody has.

        Args:
            trial: gives the work of one call, on the engine and in PyTorch, without any effect.
        """
        key = images, torch.get_num_threads()
        found = self.left.get(key)
        if found is None:
            # NOTE: who comes second waits, so that two threads do not disturb each other's clocks.
            with self._lock.lock:
                found = self.left[key] = self._decided(key, trial)
        return found

    def _decided(self, key: tuple[int, int], trial: Callable[[], tuple[Work, Work]]) -> bool:
        images, count = key
        about = images.bit_length(), count
        if about not in self.found:
            digest = self._digest(*about)
            measured = _read(digest)
            if measured is None:
                if _is_forked and count > 1:
                    return False
                measured = _measured(trial)
                if measured is None:
                    return False
                cache.write(digest, json.dumps(asdict(measured)).encode())
            self.found[about] = measured
        return self.found[about].is_slower

    def _digest(self, size: int, count: int) -> str:
        key = f"torch {torch.__version__} {self._description} images {size} threads {count}"
        return compiler.entry_digest(key, current_target())


def _read(digest: str) -> Measured | None:
    blob = cache.read(digest)
    try:
        return None if blob is None else Measured(**{k: float(v) for k, v in json.loads(blob).items()})
    except (ValueError, TypeError, AttributeError):
        return None


def _measured(trial: Callable[[], tuple[Work, Work]]) -> Measured | None:
    """The trial's result; None where one of the two cannot be run: the call itself will say why."""
    # NOTE: a user's hooks on what is saved for a backward pass are not told of passes that nobody asked for.
    hooks = torch.autograd.graph.saved_tensors_hooks(lambda x: x, lambda x: x)
    with hooks, torch.random.fork_rng(devices=[]):
        try:
            return Measured(*timed(*trial()))
        except (RuntimeError, MemoryError):
            return None


def timed(*works: Work, clock: Callable[[], float] = time.perf_counter) -> list[float]:
    """The least seconds of each work, by bursts in turn."""
    for work in works:
        work()
    best = [float("inf")] * len(works)
    start = clock()
    for number in range(MOST):
        for place, work in enumerate(works):
            begin = clock()
            for count in range(MOST):
                before = clock()
                if count and before - begin > BURST:
                    break
                work()
                best[place] = min(best[place], clock() - before)
        taken = clock() - start
        if (taken > BUDGET and number + 1 >= LEAST) or taken > LONGEST:
            break
    return best
