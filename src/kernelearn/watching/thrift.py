"""Recording that pays for itself: what may come less often waits until there is time for it.

The rule of the Recorder (`recording.capture.step_timer`) chooses strides from what records cost, once it has
seen some. A short training of tiny steps is over by then; so before each step it is also asked what there is
time for. Spent is all that a training would not do by itself:

    hooks while a step is done       told by `aside`, and so is what is computed only to be looked at
    a step whose inputs are taken    what it takes longer than others
    a record                         from `arrive` to `leave`
    the step behind a record         it finds other numbers in the caches, and takes longer than others
    the end                          owed from the beginning on, with what each record adds to it

Earned is a share of what the training itself takes, but never less than what the first record took, which
could not wait, and a time that nobody misses: else trainings of a second or two would have no other records.
A record has to fit into what is earned: what it is going to take is known from its bytes. Weights leave a
part of it for what is rare and large, which would never come otherwise.
"""

from __future__ import annotations

import statistics
import time
from collections import deque
from collections.abc import Callable
from enum import IntEnum

from kernelearn.recording.capture.step_timer import LONG_STEP, SHARE, SHARE_OF_LONG, UNNOTICED

# Steps of a kind before their median says anything, and the part of a record's own time that the step behind
# it is taken to lose until then (measured: 0.4 to 0.6, for LeNet).
_FEW, _LOST_BEHIND = 8, 0.5
# Seconds that the end of a run takes besides the last weights: its index, and a line of that for each record.
_END, _END_OF_RECORD = 0.02, 2e-5
# The part of what is earned that weights may take, where anything else waits for its time, too.
_OF_WEIGHTS = 0.6
# Seconds of a step that calling the hooks takes, outside of what they tell.
_AROUND = 3e-5
# A step that takes so many times as long as others is no training: a validation, a pause at the keyboard.
_LONGEST = 32


class Room(IntEnum):
    """What there is time for."""

    NOTHING = 0  # of what may wait
    WEIGHTS = 1
    ALL = 2


class Thrift:
    """An account of the time that a recording takes.

    Args:
        clock: gives seconds.
    Attributes:
        spent: seconds so far, without the end.
        apart: seconds of what is done once before the training.
        trained: seconds of the steps themselves.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock, self.apart = clock, 0.0
        # Seconds of steps of which nothing is taken while they are done: behind one of which nothing was
        # written, and behind a record.
        self._gaps: deque[float] = deque(maxlen=64)
        self._behind: deque[float] = deque(maxlen=64)
        self._left: float | None = None
        self._arrived, self._steps, self._records = 0.0, 0, 0
        self._aside, self._record = 0.0, 0.0  # of hooks since the last step; of the record of the last step
        self._is_light = False  # whether that was one of weights alone
        self._of_weights = 0.0  # spent on such records
        self._slower = 0.0  # what the last step whose inputs were taken lost; not the first, which compiles
        self._written, self._in_writing = 0, 0.0
        self._bytes = 0.0, 0.0, 0.0
        self._first = 0.0  # spent up to the first record, with what the step behind it loses
        self.spent = self.trained = 0.0

    def expect(self, weights: float, everything: float, last: float) -> None:
        """Say how many bytes what may wait has: weights, all of it, and the last record; 0 for none."""
        self._bytes = weights, everything, last

    def pause(self) -> None:
        """What happens until the next step is none."""
        self._left = None

    def now(self) -> float:
        """Seconds of the clock, without what was set apart."""
        return self._clock() - self.apart

    def set_apart(self, since: float) -> None:
        """What began at `since` is done once, and is neither recording nor training."""
        self.apart += self.now() - since

    def aside(self, since: float) -> None:
        """Something was done for the recording while a step is computed, which began at `since`."""
        self._aside += self.now() - since

    def arrive(self, is_taken: bool) -> None:
        """A step is done; recording begins.

        Args:
            is_taken: whether inputs and gradients were taken while it was done, which made it slower.
        """
        self._arrived = self.now()
        aside, record = self._aside, self._record
        self._aside = self._record = 0.0
        self.spent += aside + _AROUND
        if self._left is None:
            return
        gap = max(self._arrived - self._left - aside, 0.0)
        usual = self._gaps or self._behind
        lost = 0.0
        if is_taken:
            lost = max(gap - statistics.median(usual), 0.0) if usual else 0.0
            self._slower = aside + lost
        elif record:
            self._behind.append(gap)
            lost = self._lost_behind(record)
            self._of_weights += lost if self._is_light else 0.0
        else:
            self._gaps.append(gap)
        self.spent += lost
        self.trained += self._without_pause(gap - lost)

    def leave(self, size: int = 0, is_light: bool = False) -> None:
        """Recording ends, training goes on.

        Args:
            size: bytes of what was written of the model, 0 for nothing.
            is_light: whether that was weights alone.
        """
        self._left = self.now()
        self._steps += 1
        took = self._left - self._arrived
        self.spent += took
        if size:
            self._record, self._is_light = took, is_light
            self._of_weights += took if is_light else 0.0
            self._first = self._first if self._records else self.spent + self._lost_behind(took)
            self._records += 1
            self._written, self._in_writing = self._written + size, self._in_writing + took

    def slept(self, steps: int) -> None:
        """So many steps were done of which nobody told."""
        now, record = self.now(), self._record
        around = steps * _AROUND + self._aside
        self._steps += steps
        self._record, self._aside = 0.0, 0.0
        lost = self._lost_behind(record) if record else 0.0
        self.spent += around + lost
        if self._left is not None:
            seconds = max(now - self._left - around - lost, 0.0)
            if self._gaps:
                seconds = min(seconds, (2 * steps + _LONGEST) * statistics.median(self._gaps))
            self.trained += seconds
            self._gaps.append(seconds / steps)
        self._left = now

    @property
    def step_seconds(self) -> float:
        """Of a step without what was done for the recording, the mean so far."""
        return self.trained / self._steps if self._steps else 0.0

    def _lost_behind(self, record: float) -> float:
        """What a step behind a record loses."""
        if min(len(self._gaps), len(self._behind)) < _FEW:
            return _LOST_BEHIND * record
        return max(statistics.median(self._behind) - statistics.median(self._gaps), 0.0)

    def _without_pause(self, seconds: float) -> float:
        """Seconds of a step, or of a usual one."""
        if not self._steps or seconds <= _LONGEST * self.trained / self._steps:
            return max(seconds, 0.0)
        known = self._gaps or self._behind
        return min(seconds, _LONGEST * statistics.median(known)) if len(known) >= _FEW else seconds

    def _cost(self, size: float) -> float:
        """Seconds that a record of so many bytes is going to take."""
        return (1 + _LOST_BEHIND) * size * self._in_writing / self._written if self._written else 0.0

    @property
    def owed(self) -> float:
        """Seconds that the end is going to take."""
        return _END + _END_OF_RECORD * self._records + self._cost(self._bytes[2])

    @property
    def room(self) -> Room:
        """What there is time for in the next step."""
        earned = self._earned
        if self.spent + self.owed >= earned:
            return Room.NOTHING
        weights, everything, _ = self._bytes
        others = self._left_by_others
        if self._of_weights + self._cost(everything) + self._slower <= others:
            return Room.ALL
        has_weights = self._of_weights + self._cost(weights) <= self._part_of_weights * others
        return Room.WEIGHTS if has_weights else Room.NOTHING

    @property
    def steps_without_room(self) -> int:
        """Steps that are sure to come before there is room, as long as steps have been so far."""
        earned = self._of_training
        if not earned:
            return 0
        wanted = (self._of_weights + self._cost(self._bytes[0])) / self._part_of_weights
        missing = max(self._of_weights, wanted) - self._left_by_others
        return int((self._earned - earned + missing) / earned * self._steps) if missing > 0 else 0

    def has_room_for(self, size: float) -> bool:
        """Whether there is time for a record of so many bytes."""
        return self.spent + self.owed + self._cost(size) <= self._earned

    @property
    def _left_by_others(self) -> float:
        """Seconds that all but records of weights have left of what is earned."""
        return self._earned - self.owed - (self.spent - self._of_weights)

    @property
    def _part_of_weights(self) -> float:
        """The part of that which weights may take."""
        weights, everything, _ = self._bytes
        return _OF_WEIGHTS if everything > weights else 1.0

    @property
    def _earned(self) -> float:
        return max(self._of_training, self._first + UNNOTICED)

    @property
    def _of_training(self) -> float:
        """The share of what the training takes."""
        is_long = self.trained > LONG_STEP * self._steps
        return (SHARE_OF_LONG if is_long else SHARE) * self.trained
