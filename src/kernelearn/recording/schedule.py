"""What is recorded at which step: the streams of a run, and the rule that says when each is due.

A record may need others beside it. The ledger of step k explains the change from the weights of step k-1 to
those of step k: it needs the gradients of its step and the weights on both sides; gradients need the
optimiser's state on both sides. `Schedule.due` is the one place that knows.

Where all that was wished for does not fit into a size or a time, the stream that takes the most of it is
recorded half as often, again and again, until it does (`thinned`).
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum


class Stream(StrEnum):
    """The files of records of a run; one record is that of one step."""

    KERNELS = "kernels"  # weights of the recorded layers
    GRADIENTS = "gradients"
    STATE = "state"  # the optimiser's arrays
    FULL = "full"  # weights, gradients and optimiser's arrays of the layers whose whole history is kept
    LEDGER = "ledger"  # what went into the layers, and what came back
    MAPS = "maps"  # feature maps of the probe images
    SNAPSHOTS = "snapshots"  # all weights of the model
    PROBES = "probes"  # the probe images
    STEPS = "steps"  # numbers and images of every step: written last, it makes the step count


# Streams that have a stride: steps, but for snapshots, which count epochs.
SCHEDULED = (
    Stream.KERNELS,
    Stream.GRADIENTS,
    Stream.FULL,
    Stream.LEDGER,
    Stream.MAPS,
    Stream.SNAPSHOTS,
)
# The streams that one record of FULL has a part of.
FULL_PARTS = (Stream.KERNELS, Stream.GRADIENTS, Stream.STATE)
# Stream -> what a record of it needs of its own step, and of the step before.
_BESIDE = {Stream.LEDGER: (Stream.GRADIENTS, Stream.KERNELS), Stream.GRADIENTS: (Stream.STATE,)}
_BEFORE = {
    Stream.LEDGER: (Stream.KERNELS,),
    Stream.GRADIENTS: (Stream.STATE,),
    Stream.FULL: (Stream.FULL,),
}


@dataclass(frozen=True)
class Schedule:
    """How often every stream is recorded.

    Attributes:
        every: stream -> stride, 0 for never.

    >>> schedule = Schedule({Stream.KERNELS: 10, Stream.LEDGER: 4})
    >>> [" ".join(sorted(schedule.due(step))) for step in (2, 3, 4, 10)]
    ['', 'kernels state', 'gradients kernels ledger state', 'kernels']
    """

    every: Mapping[str, int]

    def due(self, step: int, then: Schedule | None = None) -> frozenset[Stream]:
        """The streams that have a record of this step, for their own sake or for that of a neighbour.

        Args:
            then: the schedule of the next step, where it is another one.
        """
        now, following = self._wanted(step), (then or self)._wanted(step + 1)
        return now | {stream for later in following for stream in _BEFORE.get(later, ())}

    def is_beside_ledger(self, step: int, then: Schedule | None = None) -> bool:
        """Whether this step or the next has a ledger, explained by all weights before and after it."""
        return Stream.LEDGER in self._wanted(step) | (then or self)._wanted(step + 1)

    def without(self, streams: Container[str]) -> Schedule:
        """The same, where some streams are not recorded for their own sake."""
        return Schedule({n: 0 if n in streams else stride for n, stride in self.every.items()})

    def ends_epoch(self, epoch: int) -> bool:
        """Whether a snapshot is due behind this epoch, counted from 0."""
        stride = self.every.get(Stream.SNAPSHOTS, 0)
        return bool(stride) and (epoch + 1) % stride == 0

    def changed(self, every: Mapping[str, int], step: int) -> Schedule:
        """Other strides behind a step that is recorded.

        A stream keeps its stride where its next record would need one of this step that was not due.
        """
        chosen = Schedule({**self.every, **every})
        missing = chosen.due(step) - self.due(step)
        late = {s for s in chosen._wanted(step + 1) if missing.intersection(_BEFORE.get(s, ()))}
        return Schedule({n: self.every[n] if n in late else stride for n, stride in chosen.every.items()})

    def _wanted(self, step: int) -> frozenset[Stream]:
        """The streams whose stride meets this step, with what they need of it."""
        counted = (stream for stream in SCHEDULED if stream != Stream.SNAPSHOTS)
        return _with_needed(stream for stream in counted if self._is_met(stream, step))

    def _is_met(self, stream: Stream, step: int) -> bool:
        """Multiples of the stride; a ledger at the first step too, where it explains the first change."""
        stride = self.every.get(stream, 0)
        if stream in (Stream.LEDGER, Stream.GRADIENTS, Stream.FULL) and step <= 0:
            return False
        return bool(stride) and (step % stride == 0 or (stream == Stream.LEDGER and step == 1))


def in_full(stream: str, field: str) -> str:
    """The name that a field of one of `FULL_PARTS` has in the records of FULL."""
    return f"{stream}/{field}"


def schedules_of(stream: Stream) -> list[Stream]:
    """The scheduled streams for whose sake a stream is recorded.

    >>> [str(scheduled) for scheduled in schedules_of(Stream.STATE)]
    ['gradients', 'ledger']
    """
    return [scheduled for scheduled in SCHEDULED if stream in _with_needed([scheduled])]


def _with_needed(streams: Iterable[Stream]) -> frozenset[Stream]:
    """Streams and all that their records need of the same step."""
    found = set(streams)
    waiting = list(found)
    while waiting:
        new = set(_BESIDE.get(waiting.pop(), ())) - found
        found |= new
        waiting.extend(new)
    return frozenset(found)


@dataclass(frozen=True)
class Cost:
    """What one time of a schedule takes, in bytes or in seconds, and how many steps one unit of it is.

    `unit` is 1 for schedules that count steps, and the steps of an epoch for those that count epochs. `most`
    is what a step takes at most: neighbours that are recorded for their own sake too are not twice there.
    """

    amount: float
    unit: float = 1.0
    most: float = float("inf")

    def total(self, stride: int, steps: float) -> float:
        """What so many steps take; nothing for a stride of 0, which is never."""
        return min(self.amount * (steps // (stride * self.unit)), self.most * steps) if stride else 0.0


def costs(records: Mapping[str, float], steps_per_epoch: float, is_small: bool = False) -> dict[str, Cost]:
    """What one time of every schedule takes; a ledger brings its gradients and both its neighbours.

    Args:
        records: stream -> bytes, or seconds, of one record; 0 for those that are left out.
        is_small: whether a ledger also brings all weights, before and after its step.
    """
    of = {stream: records.get(stream, 0) for stream in Stream}
    state, whole = of[Stream.STATE], of[Stream.SNAPSHOTS] if is_small else 0
    return {
        Stream.KERNELS: Cost(of[Stream.KERNELS]),
        Stream.GRADIENTS: Cost(of[Stream.GRADIENTS] + state),
        Stream.FULL: Cost(2 * of[Stream.FULL], most=of[Stream.FULL]),
        Stream.LEDGER: Cost(
            of[Stream.LEDGER] + of[Stream.GRADIENTS] + 2 * state + of[Stream.KERNELS] + 2 * whole
        ),
        Stream.MAPS: Cost(of[Stream.MAPS]),
        Stream.SNAPSHOTS: Cost(of[Stream.SNAPSHOTS], steps_per_epoch),
    }


def thinned(
    every: Mapping[str, int], costs: Mapping[str, Cost], steps: float, room: float, fixed: float = 0
) -> dict[str, int]:
    """Strides that fit.

    Args:
        every: stream -> its stride as wished for, 0 for never.
        costs: stream -> its cost.
        steps: to come.
        room: bytes, or seconds, that are left for them.
        fixed: what each step takes that is always recorded.
    Returns: stream -> stride, the wished one times a power of two. One that does not fit even once gets a
        stride beyond the last step.

    >>> thinned({"kernels": 1}, {"kernels": Cost(1000)}, steps=100, room=30_000)
    {'kernels': 4}
    """
    chosen = {name: stride for name, stride in every.items() if stride}
    room -= fixed * steps

    def total(name: str) -> float:
        return costs[name].amount + costs[name].total(chosen[name], steps)

    while chosen and sum(map(total, chosen)) > room:
        longest = [name for name in chosen if chosen[name] * costs[name].unit <= steps]
        if not longest:
            break
        chosen[max(longest, key=total)] *= 2
    return {name: chosen.get(name, 0) for name in every}


def kept_beside(kept: Mapping[Stream, Iterable[int]]) -> dict[Stream, set[int]]:
    """Steps that stay, with those of all records that they need, for every stream named or needed."""
    steps = {stream: set(numbers) for stream, numbers in kept.items()}
    for stream in (Stream.LEDGER, Stream.GRADIENTS, Stream.FULL):  # what needs, before what is needed
        own = set(steps.get(stream, set()))
        for needed in _BESIDE.get(stream, ()):
            steps.setdefault(needed, set()).update(own)
        for needed in _BEFORE[stream]:
            steps.setdefault(needed, set()).update(step - 1 for step in own)
    return steps
