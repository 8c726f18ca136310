"""Recording that pays for itself: what may come less often waits until the time that passed has room for it.

The rule of the Recorder (`recording.capture.step_timer`) chooses strides from what records cost, once it has
seen some. A short training of tiny steps is over by then; so each time is also asked whether what has been
spent so far is a small part of what has passed.
"""

from __future__ import annotations

import statistics
import time
from collections import deque
from collections.abc import Callable

from kernelearn.recording.capture.step_timer import LONG_STEP, SHARE, SHARE_OF_LONG


class Thrift:
    """An account of the time that a recording takes.

    Args:
        clock: gives seconds.
    Attributes:
        spent: seconds so far.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock, self._began = clock, clock()
        self._gaps: deque[float] = deque(maxlen=64)  # of steps of which nothing is taken while they are done
        self._left: float | None = None
        self._arrived, self._steps = 0.0, 0
        self.spent = 0.0

    def begin(self) -> None:
        """Training begins now: what happened before is none of it."""
        self._began, self._left, self._steps = self._clock(), None, 0

    def pause(self) -> None:
        """What happens until the next step is none."""
        self._left = None

    def arrive(self, is_taken: bool) -> None:
        """A step is done; recording begins.

        Args:
            is_taken: whether inputs and gradients were taken while it was done, which made it slower.
        """
        self._arrived = self._clock()
        if self._left is None:
            return
        gap = self._arrived - self._left
        if not is_taken:
            self._gaps.append(gap)
        elif self._gaps:
            self.spent += max(gap - statistics.median(self._gaps), 0.0)

    def leave(self) -> None:
        """Recording ends, training goes on."""
        self._left = self._clock()
        self._steps += 1
        self.spent += self._left - self._arrived

    @property
    def has_time(self) -> bool:
        """Whether there is time for what may wait."""
        passed = self._clock() - self._began
        is_long = passed - self.spent > LONG_STEP * self._steps
        return self.spent <= (SHARE_OF_LONG if is_long else SHARE) * passed
