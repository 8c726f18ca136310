"""A `fit` of several processes: what they agree on before the first step, and what the first one tells all.

Every process runs the same loop on the same batches and computes its own shards (`steps.sharded`). Callbacks
that only write run on the first process; all others run everywhere, on the same logs. What the first process
restores or decides is told to the others, so that no clock and no file of theirs can part them.
"""

from __future__ import annotations

import contextlib
import itertools
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from kernelearn import config
from kernelearn.data import Dataset, StreamDataset
from kernelearn.data.part import Choice
from kernelearn.errors import ArgumentError
from kernelearn.parallel import ending, world
from kernelearn.parallel.streams import shared_stream
from kernelearn.parallel.tree import rows_of, share_of
from kernelearn.training.fingerprint import differences
from kernelearn.training.steps.step import Batch, StepResult

if TYPE_CHECKING:
    from kernelearn.training.callbacks import Callback, CallbackList
    from kernelearn.training.trainer import Trainer

ResultsOf = Callable[["Trainer", Iterable[Batch]], Iterable[tuple[Batch, StepResult]]]


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


def check_shared(model: Trainer) -> None:
    """Make sure that the work can be shared, and that all processes train the same in the same way.

    Raises: ArgumentError naming the part that differs, on every process.
    """
    shards = world.shards_of(model.programs.shards)
    if shards > 1 and model.programs.own_steps.has("train"):
        raise ArgumentError(
            f"{type(model).__name__} has a train_step of its own, which cannot be cut into {shards} shards. "
            "Override compute_loss instead, or train in one process without shards."
        )
    if not are_several():
        return
    found = world.exchange().all_say(model.training_fingerprint())
    for rank, other in enumerate(found):
        parts = differences(found[0], other, None)
        if parts:
            raise ArgumentError(
                f"Process {rank} trains something else than process 0; what differs: {'; '.join(parts)}. "
                "Run the same script with the same data everywhere."
            )


def share_state(model: Trainer, watchers: Iterable[Callback]) -> None:
    """Give weights, optimiser and callbacks of the first process to all: it may have restored them."""
    if not are_several():
        return
    told = world.exchange().told
    about = (*model.training_state(), model.stop_training, model.input_range)
    values, arrays, is_stopped, input_range = told(about)
    shared = [callback for callback in watchers if not callback.on_first_only]
    states = told([callback.get_state() for callback in shared])
    if not world.is_first():
        model.restore_training_state(values, arrays)
        # What it has met and said so far, too: all have to look at the same batches for it.
        model.stop_training, model.input_range = is_stopped, input_range
        for callback, state in zip(shared, states):
            callback.set_state(state)


def begun_outside_of_fit(model: Trainer) -> int:
    """Before a first step on a single batch: weights and optimiser of the first process for all; the seed."""
    share_state(model, ())
    return seed_of(config.next_seed())


def share_stop(model: Trainer) -> None:
    """Stop where the first process stops."""
    if are_several():
        model.stop_training = bool(world.exchange().told(bool(model.stop_training)))


def follow_first(model: Trainer) -> None:
    """Before a step: take over what callbacks of the first process want to see, and did to the model."""
    done, model.done_to_first = model.done_to_first, []
    if not are_several():
        return
    model.watched, model.watched_at, done = world.exchange().told((model.watched, model.watched_at, done))
    if not world.is_first():
        for change in done:
            change(model)


def shared_data(data: Any, what: str) -> Any:
    """Data for a `fit` of all processes: a stream is read once, and not by each of them."""
    if not are_several() or not isinstance(data, StreamDataset):
        return data
    return shared_stream(data, world.exchange(), what)


def rows_read(model: Trainer, data: Any) -> Choice | None:
    """Which rows of each batch this process reads to train on; None for all of them."""
    if not are_several() or not isinstance(data, Dataset):
        return None
    together = world.exchange()
    shards = world.shards_of(model.programs.shards)
    first, behind = share_of(together.rank, together.size, shards)

    def rows(number: int, count: int) -> slice:
        return slice(rows_of(first, shards, count).start, rows_of(behind - 1, shards, count).stop)

    return rows


def batches_read(data: Any) -> Choice | None:
    """The same for batches of which each process tests a whole one in turn, see `shared_results`."""
    if not are_several() or not isinstance(data, Dataset):
        return None
    together = world.exchange()

    def rows(number: int, count: int) -> slice:
        return slice(0, count if number % together.size == together.rank else 0)

    return rows


def whole(batch: Batch) -> Batch:
    """A batch with the inputs of all its rows, from the processes that have read them."""
    if batch.held is None:
        return batch
    inputs = {name: world.exchange().in_order(array) for name, array in batch.inputs().items()}
    return replace(batch, arrays={**batch.arrays, **inputs}, held=None)


def own_results(model: Trainer, batches: Iterable[Batch]) -> Iterator[tuple[Batch, StepResult]]:
    """What a test gives for each batch, computed here."""
    for batch in batches:
        yield batch, model.programs.step_for("test", batch).run(batch)


def shared_results(model: Trainer, batches: Iterable[Batch]) -> Iterator[tuple[Batch, StepResult]]:
    """What a test gives for each batch, on every process: of n batches in a row each computes one, whole.

    So the results have the bits of a process that computes them alone. Callbacks hear of n batches that begin
    before they hear of n that end.
    """
    together = world.exchange()
    coming = iter(batches)
    while group := list(itertools.islice(coming, together.size)):
        for batch, outputs in zip(group, together.all_say(_own_part(model, group, together.rank))):
            yield batch, StepResult(outputs)


def _own_part(model: Trainer, group: Sequence[Batch], rank: int) -> Any:
    """Outputs of the test of this process's batch; None where there are fewer batches than processes."""
    if rank >= len(group):
        return None
    return model.programs.step_for("test", group[rank]).run(group[rank]).outputs


@contextlib.contextmanager
def one_stops_all() -> Iterator[None]:
    """Let the first process answer Ctrl-C and SIGTERM: it saves what there is, and ends all."""
    with ending.noting_stop(), _deaf_unless_first():
        yield


@contextlib.contextmanager
def _deaf_unless_first() -> Iterator[None]:
    is_main = threading.current_thread() is threading.main_thread()
    if world.is_first() or not is_main:
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
