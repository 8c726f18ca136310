"""A `fit` of several processes: what they agree on before the first step, and what the first one says to all.

Every process runs the same loop on the same batches and computes its own shards (`steps.sharded`). Callbacks that
only write run on the first process; all others run everywhere, on the same logs. What the first process restores
or decides is told to the others, so that no clock and no file of theirs can part them.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from kernelearn.errors import ArgumentError
from kernelearn.parallel import world
from kernelearn.training.fingerprint import differences

if TYPE_CHECKING:
    from kernelearn.training.callbacks import CallbackList
    from kernelearn.training.trainer import Trainer


def are_several() -> bool:
    """Whether other processes train with this one."""
    return world.exchange().size > 1


def seed_of(seed: int) -> int:
    """The seed of the first process, for all."""
    return int(world.exchange().told(seed)) if are_several() else seed


def verbose_here(verbose: str | int) -> str | int:
    """Only the first process prints."""
    return verbose if world.is_first() else 0


def drop_writers(watchers: CallbackList) -> None:
    """Leave the callbacks that only write to the first process."""
    if not world.is_first():
        watchers.drop(lambda callback: callback.on_first_only)


def check_agreement(model: Trainer) -> None:
    """Make sure that all processes train the same network on the same data in the same way.

    Raises: ArgumentError naming the part that differs, on every process.
    """
    if not are_several():
        return
    found = world.exchange().all_say(model.training_fingerprint())
    for rank, other in enumerate(found):
        parts = differences(found[0], other, None)
        if parts:
            raise ArgumentError(
                f"Process {rank} trains something else than process 0: {'; '.join(parts)}. Run the same script "
                "with the same data everywhere."
            )


def share_state(model: Trainer, watchers: CallbackList) -> None:
    """Give weights, optimiser and callbacks of the first process to all: it may have restored them."""
    if not are_several():
        return
    told = world.exchange().told
    values, arrays, is_stopped = told((*model.training_state(), model.stop_training))
    shared = [callback for callback in watchers if not callback.on_first_only]
    states = told([callback.get_state() for callback in shared])
    if not world.is_first():
        model.restore_training_state(values, arrays)
        model.stop_training = is_stopped
        for callback, state in zip(shared, states):
            callback.set_state(state)


def share_stop(model: Trainer) -> None:
    """Stop where the first process stops."""
    if are_several():
        model.stop_training = bool(world.exchange().told(bool(model.stop_training)))


def watched_by_first(asked: dict[str, str] | None) -> dict[str, str] | None:
    """The buffers that callbacks of the first process want of a step, which all have to give."""
    if not are_several():
        return asked
    found: dict[str, str] | None = world.exchange().told(asked)
    return found


@contextlib.contextmanager
def interrupts_of_first() -> Iterator[None]:
    """Let the first process answer Ctrl-C: it saves what there is, and ends all."""
    is_main = threading.current_thread() is threading.main_thread()
    if world.is_first() or not is_main:
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
