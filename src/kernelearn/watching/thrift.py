"""Recording that pays for itself: what may come less often waits until the time that passed has room for it.

The rule of the Recorder (`recording.capture.step_timer`) chooses strides from what records cost, once it has
seen some. A short training of tiny steps is over by then; so each time is also asked whether what has been
spent so far is a small part of what has passed. Counted is all that a training would not do by itself:

    hooks while a step is done       told by `aside`
    a step whose inputs are taken    what it takes longer than others
    a record                         from `arrive` to `leave`
    the step behind a record         it finds other numbers in the caches, and takes longer than others
    the end                          owed from the beginning on, with what each record adds to it
"""

from __future__ import annotations

import statistics
import time
from collections import deque
from collections.abc import Callable

from kernelearn.recording.capture.step_timer import LONG_STEP, SHARE, SHARE_OF_LONG

# Steps of a kind before their median says anything, and the part of a record's own time that the step behind
# it is taken to lose until then (measured: 0.4 to 0.6, for LeNet).
_FEW, _LOST_BEHIND = 8, 0.5
# Seconds that the end of a run takes at least, and for each record: the last weights and the index.
_END, _END_OF_RECORD = 0.01, 2e-5


class Thrift:
    """An account of the time that a recording takes.

    Args:
        clock: gives seconds.
    Attributes:
        spent: seconds so far, without the end.
        owed: seconds that the end is going to take.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock, self._began = clock, clock()
        # Seconds of steps of which nothing is taken while they are done: behind one of which nothing was
        # written, and behind a record.
        self._gaps: deque[float] = deque(maxlen=64)
        self._behind: deque[float] = deque(maxlen=64)
        self._left: float | None = None
        self._arrived, self._steps = 0.0, 0
        self._aside, self._record = 0.0, 0.0  # of hooks since the last step; of the record of the last step
        self.spent, self.owed = 0.0, 0.0

    def begin(self) -> None:
        """Training begins now: what happened before is none of it."""
        self._began, self._left, self._steps = self._clock(), None, 0
        self.owed = _END

    def pause(self) -> None:
        """What happens until the next step is none."""
        self._left = None

    def now(self) -> float:
        """Seconds of the clock."""
        return self._clock()

    def aside(self, since: float) -> None:
        """Something was done for the recording while a step is computed, which began at `since`."""
        self._aside += self._clock() - max(since, self._began)

    def arrive(self, is_taken: bool) -> None:
        """A step is done; recording begins.

        Args:
            is_taken: whether inputs and gradients were taken while it was done, which made it slower.
        """
        self._arrived = self._clock()
        aside, record = self._aside, self._record
        self._aside = self._record = 0.0
        self.spent += aside
        if self._left is None:
            return
        gap = self._arrived - self._left - aside
        if is_taken:
            usual = self._gaps or self._behind
            self.spent += max(gap - statistics.median(usual), 0.0) if usual else 0.0
        elif record:
            self._behind.append(gap)
            self.spent += self._lost_behind(record)
        else:
            self._gaps.append(gap)

    def leave(self, is_written: bool = False) -> None:
        """Recording ends, training goes on.

        Args:
            is_written: whether arrays of the model were.
        """
        self._left = self._clock()
        self._steps += 1
        took = self._left - self._arrived
        self.spent += took
        if is_written:
            self._record, self.owed = took, self.owed + _END_OF_RECORD

    def _lost_behind(self, record: float) -> float:
        """What a step behind a record loses."""
        if min(len(self._gaps), len(self._behind)) < _FEW:
            return _LOST_BEHIND * record
        return max(statistics.median(self._behind) - statistics.median(self._gaps), 0.0)

    @property
    def has_time(self) -> bool:
        """Whether there is time for what may wait."""
        passed = self._clock() - self._began
        is_long = passed - self.spent > LONG_STEP * self._steps
        return self.spent + self.owed <= (SHARE_OF_LONG if is_long else SHARE) * passed
