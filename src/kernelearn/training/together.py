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
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from kernelearn import config
from kernelearn.data import Dataset, StreamDataset
from kernelearn.data.part import Choice
from kernelearn.errors import ArgumentError, unknown_name
from kernelearn.parallel import ending, world
from kernelearn.parallel.meeting_point import EVALUATE
from kernelearn.parallel.rounding import TRANSPORTS
from kernelearn.parallel.streams import shared_stream
from kernelearn.parallel.tree import rows_of, share_of
from kernelearn.training.fingerprint import network_fingerprint
from kernelearn.training.methods import alike
from kernelearn.training.steps.step import Batch, StepResult

if TYPE_CHECKING:
    from kernelearn.training.callbacks import Callback, CallbackList
    from kernelearn.training.methods.base import TrainerBase
    from kernelearn.training.plan import Pass

Results = Iterator[tuple[Batch, StepResult]]

# Of models that are trained on single batches: two may be alike in all else.
_numbers = itertools.count(1)


def are_several() -> bool:
    """Whether other processes train with this one."""
    return world.exchange().size > 1


def breaks() -> int:
    """How often work of all was given up by some."""
    return world.exchange().breaks


def check_shards(shards: int | None, transport: str) -> None:
    """Make sure that a transport is known, and that something is there to travel; warn of shards that do not
    divide among the processes.

    Raises: UnknownNameError, ArgumentError.
    """
    if are_several():
        world.warn_of_waiting(world.shards_of(shards))
    if transport not in TRANSPORTS:
        raise unknown_name("transport", transport, TRANSPORTS)
    if transport != TRANSPORTS[0] and world.shards_of(shards) == 1:
        raise ArgumentError(
            f"transport={transport!r} rounds the gradients of shards, and here the batch is one: it would "
            "have no effect. Give shards=12, or leave it out."
        )


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


def check_shared(model: TrainerBase, watchers: Iterable[Callback], check: Callable[[], None]) -> None:
    """Make sure that the work can be shared, and that all processes train the same in the same way.

    Args:
        watchers: the callbacks.
        check: what each process looks at by itself; where it raises, no process begins.
    Raises: what `check` raised; ArgumentError naming the part that differs, on every process.
    """
    shards = world.shards_of(model.programs.shards)
    transport, usual = model.programs.transport, TRANSPORTS[0]
    if shards > 1 and transport != usual and model.programs.own_steps.has("train"):
        raise ArgumentError(
            f"{type(model).__name__} has a train_step of its own, whose gradients transport={transport!r} "
            "does not know from other numbers that are exchanged. Leave transport out."
        )
    if not are_several():
        check()
        return
    failure: Exception | None = None
    try:
        check()
        said = {**model.training_fingerprint(), **alike.about_fit(model, watchers)}
    except Exception as error:  # told to the others, who would wait for this process
        failure, said = error, {"failure": f"{type(error).__name__}: {error}"}
    found = world.exchange().all_say(said)
    if failure is not None:
        raise failure
    _check_alike(found)


def _check_alike(found: Sequence[dict[str, str]]) -> None:
    for rank, other in enumerate(found):
        if "failure" in other:
            raise ArgumentError(f"Process {rank} cannot begin, so that no other does: {other['failure']}")
    alike.check(found)


def share_state(model: TrainerBase, watchers: Iterable[Callback]) -> None:
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
    model.versions = alike.versions(model)


def check_same_weights(model: TrainerBase) -> None:
    """Make sure, at the end of an epoch, that nothing but the training has moved weights.

    Raises: ArgumentError on every process: they would go on with gradients of different networks.
    """
    if not are_several():
        return
    # NOTE: what callbacks of the first process did to the model, the others do before the next step.
    found = world.exchange().all_say(None if model.done_to_first else alike.digest_of_weights(model))
    other = next((rank for rank, digest in enumerate(found) if digest != found[0]), None)
    if found[0] is not None and other is not None:
        raise ArgumentError(
            f"Process {other} has other weights than process 0 at the end of an epoch: something has set "
            "weights on one process alone, such as a callback that asks for the rank. Set them on all alike."
        )


def begun_outside_of_fit(model: TrainerBase) -> int:
    """Before a first step on a single batch: weights and optimiser of the first process for all; the seed.

    Raises: ArgumentError where other processes train another model.
    """
    if are_several() and not model.programs.own_steps.has("train"):
        alike.agree(world.exchange(), alike.about_single(model))
    share_state(model, ())
    seed, number = config.next_seed(), next(_numbers)
    if are_several():
        seed, model.number = world.exchange().told((seed, number))
    return int(seed)


def share_stop(model: TrainerBase) -> None:
    """Stop where the first process stops."""
    if are_several():
        model.stop_training = bool(world.exchange().told(bool(model.stop_training)))


def begin_step(model: TrainerBase, batch: Batch, seed: int, is_single: bool) -> None:
    """Make sure that all processes begin the same step; take over what callbacks of the first one want to
    see, and did to the model.

    Args:
        is_single: nobody has compared the data that the batch is from.
    Raises: ArgumentError naming what differs, on every process.
    """
    done, model.done_to_first = model.done_to_first, []
    if not are_several():
        return
    all_say = world.exchange().all_say
    parts = alike.about_step(model, batch, model.programs.clock(seed), is_single)
    of_first = (model.watched, model.watched_at, done) if world.is_first() else None
    found = all_say((alike.short(parts), alike.versions(model) != model.versions, of_first))
    model.watched, model.watched_at, done = found[0][2]
    if done:  # else what was done on the first process differs
        for change in [] if world.is_first() else done:
            change(model)
        return
    if any(has_moved for _, has_moved, _ in found):
        parts["weights"] = alike.digest_of_weights(model)
        found = [(one,) for one in all_say(alike.short(parts))]
    if len({one[0] for one in found}) > 1:
        alike.check(all_say(alike.details(model, parts)))


def end_step(model: TrainerBase) -> None:
    """From now on nothing but a step moves weights, on one process alone."""
    if are_several():
        model.versions = alike.versions(model)


def end_fit(model: TrainerBase) -> None:
    """Make sure that callbacks have set weights behind the last step on all processes alike.

    Raises: ArgumentError on every process.
    """
    if are_several() and any(world.exchange().all_say(alike.versions(model) != model.versions)):
        check_same_weights(model)


def shared_data(data: Any, what: str) -> Any:
    """Data for a `fit` of all processes: a stream is read once, and not by each of them."""
    if not are_several() or not isinstance(data, StreamDataset):
        return data
    return shared_stream(data, world.exchange(), what)


def rows_read(model: TrainerBase, data: Any) -> Choice | None:
    """Which rows of each batch this process reads to train on; None for all of them."""
    if not are_several() or not isinstance(data, Dataset) or model.programs.own_steps.has("train"):
        return None
    together = world.exchange()
    shards = world.shards_of(model.programs.shards)
    first, behind = share_of(together.rank, together.size, shards)

    def rows(number: int, count: int) -> slice:
        return slice(rows_of(first, shards, count).start, rows_of(behind - 1, shards, count).stop)

    return rows


def _batches_read(data: Any) -> Choice | None:
    """The same for batches of which each process tests a whole one in turn, see `_shared_results`."""
    if not isinstance(data, Dataset):
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


@contextlib.contextmanager
def working(purpose: str) -> Iterator[None]:
    """Meet the others, and do the same as they inside."""
    together = world.exchange()
    together.meet(purpose)
    with together.busy():
        yield


@dataclass(frozen=True)
class Sharing:
    """How a pass over data is shared.

    Attributes:
        are_several: whether other processes compute some of its batches.
        read: which rows of each batch this process reads; None for all.
    """

    are_several: bool = False
    read: Choice | None = None

    def results(self, model: TrainerBase, batches: Iterable[Batch], kind: str = "test") -> Results:
        """Each batch with what its step gives."""
        return (
            _shared_results(model, batches, kind) if self.are_several else _own_results(model, batches, kind)
        )


def sharing_in_fit(plan: Pass) -> Sharing:
    """How the validation of a `fit` is shared: all processes are there for it."""
    return Sharing(True, _batches_read(plan.data)) if are_several() else Sharing()


@contextlib.contextmanager
def shared_pass(model: TrainerBase, plan: Pass, purpose: str) -> Iterator[Sharing]:
    """How a pass of `evaluate` or `predict` is shared: where all processes ask for the same.

    Where one asks alone, or with other data or weights, it computes everything itself. A single batch is
    not worth asking.
    """
    together = world.exchange()
    is_own = purpose == EVALUATE and model.programs.own_steps.has("test")
    is_long = isinstance(plan.data, Dataset) and (plan.steps or 0) > 1
    if are_several() and is_long and not is_own and together.meet(purpose, _question(model, plan)):
        # NOTE: without a row a padded batch would not say its size.
        read = None if plan.data.is_padded else _batches_read(plan.data)
        with together.busy():
            yield Sharing(True, read)
    else:
        yield Sharing()


def _question(model: TrainerBase, plan: Pass) -> bytes:
    """Everything that decides what a pass gives, and what it says."""
    settings = (plan.batch_size, plan.steps, model.policy, model.engine, model.input_range.state())
    about = (plan.data.fingerprint, network_fingerprint(model), settings, alike.digest_of_weights(model))
    return repr(about).encode()


def _own_results(model: TrainerBase, batches: Iterable[Batch], kind: str) -> Results:
    for batch in batches:
        yield batch, model.programs.step_for(kind, batch).run(batch)


def _shared_results(model: TrainerBase, batches: Iterable[Batch], kind: str) -> Results:
    """What a step gives for each batch, on every process: of n batches in a row each computes one, whole.

    So the results have the bits of a process that computes them alone. Callbacks hear of n batches that begin
    before they hear of n that end.
    """
    together = world.exchange()
    coming = iter(batches)
    while group := list(itertools.islice(coming, together.size)):
        for batch, outputs in zip(group, together.all_say(_own_part(model, group, together.rank, kind))):
            yield batch, StepResult(outputs)


def _own_part(model: TrainerBase, group: Sequence[Batch], rank: int, kind: str) -> Any:
    """Outputs of the step on this process's batch; None where there are fewer batches than processes."""
    if rank >= len(group):
        return None
    return model.programs.step_for(kind, group[rank]).run(group[rank]).outputs


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
