"""How much of a training's time recording takes, and how often it may record so that it stays little.

Nothing is known of a computer before it has trained: the first steps are recorded as often as wished, and
timed. From then on schedules that were left to the Recorder come less often where their time would be missed,
and more often again, up to what was wished, when the times allow it.
"""

from __future__ import annotations

import statistics
import time
from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence

from kernelearn.recording.schedule import Cost, Stream, costs, thinned

# Shares of the training's time that are aimed at, for steps below and above `LONG_STEP` seconds. Promised are
# 5 % and 3 %: times vary, and a fit begins and ends.
SHARE, SHARE_OF_LONG, LONG_STEP = 0.04, 0.025, 0.01
# Seconds that nobody misses: what is still to be recorded in less stays as often as wished.
UNNOTICED = 0.1
# Steps before the first decision; the next ones come after twice as many each, so that strides rarely change.
FIRST_DECISION = 32
# Nothing becomes rarer than so many times what was wished.
_LEAST = 16
_KEPT = 64


class StepTimer:
    """The times of the last steps of a fit, and of what was recorded of them.

    Args:
        automatic: schedule -> its stride at first, for those that may come less often.
        clock: gives seconds.
    Attributes:
        is_small: whether a ledger brings all weights, before and after its step.
    """

    def __init__(self, automatic: Mapping[str, int], clock: Callable[[], float] = time.perf_counter) -> None:
        self.automatic, self._clock = dict(automatic), clock
        self._steps, self._ledger_steps, self._numbers = _times(), _times(), _times()
        self._records: defaultdict[str, deque[float]] = defaultdict(_times)
        self._left: float | None = None  # when the step before was recorded
        self._arrived = self._in_streams = 0.0
        self._count, self._next = 0, FIRST_DECISION
        self.is_small = False

    def pause(self) -> None:
        """What happens until the next step is none: an epoch begins."""
        self._left = None

    def arrive(self, has_ledger: bool) -> None:
        """A step has been trained; its recording begins."""
        self._arrived = self._clock()
        self._in_streams = 0.0
        if self._left is not None:
            (self._ledger_steps if has_ledger else self._steps).append(self._arrived - self._left)

    def wrote(self, stream: str, since: float) -> None:
        """A record is written that was begun at `since`, in seconds of the clock."""
        seconds = self._clock() - since
        self._in_streams += seconds
        self._records[stream].append(seconds)

    def now(self) -> float:
        """Seconds of the clock."""
        return self._clock()

    def leave(self) -> bool:
        """The step is recorded. Gives whether it is time to decide anew."""
        self._left = self._clock()
        self._numbers.append(self._left - self._arrived - self._in_streams)
        self._count += 1
        if self._count < self._next or not self.automatic:
            return False
        self._next = 2 * self._count
        return bool(self._steps)

    def slept(self, steps: int) -> None:
        """So many steps were done of which nobody told."""
        now = self._clock()
        if self._left is not None:
            self._steps.append((now - self._left) / steps)
        self._left, self._count = now, self._count + steps

    @property
    def step_seconds(self) -> float:
        """Time of a training step without its recording."""
        return statistics.median(self._steps)

    @property
    def share(self) -> float:
        """Part of the training's time that recording may take."""
        return SHARE if self.step_seconds < LONG_STEP else SHARE_OF_LONG

    def strides(self, every: Mapping[str, int], steps: float, steps_per_epoch: float) -> dict[str, int]:
        """The strides from now on: those wished for, or times a power of two where they take too long.

        Args:
            every: schedule -> stride as wished for, all of which has room.
            steps: still to come.
        """
        taken = self._costs(steps_per_epoch)
        free = {name: every[name] for name in self.automatic if every[name]}
        given = sum(taken[name].total(every[name], steps) for name in every if name not in free)
        numbers = statistics.median(self._numbers) * steps
        room = max(self.share * self.step_seconds * steps, UNNOTICED) - numbers - given
        chosen = thinned(free, taken, steps, room)
        rarest = {name: max(every[name], _LEAST * self.automatic[name]) for name in free}
        return {**every, **{name: min(stride, rarest[name]) for name, stride in chosen.items()}}

    def _costs(self, steps_per_epoch: float) -> dict[str, Cost]:
        """Schedule -> seconds of one time of it."""
        seconds = {name: _typical(name, times) for name, times in self._records.items()}
        taken = costs(seconds, steps_per_epoch, self.is_small)
        # Buffers that a step gives back cost it time, too.
        slower = max(_typical(Stream.LEDGER, self._ledger_steps) - self.step_seconds, 0.0)
        return {**taken, Stream.LEDGER: Cost(taken[Stream.LEDGER].amount + slower)}


def _times() -> deque[float]:
    return deque(maxlen=_KEPT)


def _typical(stream: str, times: Sequence[float]) -> float:
    """Seconds of a record without the first one, which also has to get memory; 0 if there is no other.

    The median of what comes often, so that strides do not follow every disturbance. The mean of what is rare
    and large: the disk is mostly fast and sometimes very slow, and it is the sum that counts.
    """
    later = list(times)[1:]
    mean = statistics.median if stream in (Stream.KERNELS, Stream.FULL) else statistics.fmean
    return mean(later) if later else 0.0
