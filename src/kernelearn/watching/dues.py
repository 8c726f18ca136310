"""What is due of the next step, asked after every step: most often nothing, and that has to cost nothing."""

from __future__ import annotations

from collections.abc import Container

from kernelearn.recording.schedule import Schedule, Stream
from kernelearn.watching.thrift import Room

_NOTHING: frozenset[Stream] = frozenset()
_FAR = 2**30


class Dues:
    """What is due, where what may wait is left out of steps for which there is no time.

    Args:
        automatic: streams that may wait.
    """

    def __init__(self, automatic: Container[str]) -> None:
        self._left_out = {
            Room.NOTHING: frozenset(stream for stream in Stream if stream in automatic),
            Room.WEIGHTS: frozenset(s for s in Stream if s in automatic and s != Stream.KERNELS),
            Room.ALL: _NOTHING,
        }
        self._now = self._then = Room.ALL
        self._adopt(Schedule({}))

    def of(self, step: int, schedule: Schedule, room: Room) -> frozenset[Stream]:
        """The streams with a record of a step.

        Args:
            schedule: of all that is wished for.
            room: what the step behind this one may have: what that one needs is recorded before it.
        """
        if schedule is not self._schedules[Room.ALL]:
            self._adopt(schedule)
        self._now, self._then = self._then, room
        for stride in self._strides[max(self._now, room)]:
            if not (step % stride and (step + 1) % stride):
                return self._due(step)
        return self._due(step) if step < 2 else _NOTHING

    def _due(self, step: int) -> frozenset[Stream]:
        return self._schedules[self._now].due(step, self._schedules[self._then])

    def free_behind(self, step: int) -> int:
        """Steps behind a step of which nothing is due: with any room, or with none if there was none last."""
        strides = self._strides[Room.ALL if self._then else Room.NOTHING]
        return min((stride - step % stride - 2 for stride in strides), default=_FAR)

    def is_beside_ledger(self, step: int) -> bool:
        """Whether a step or the one behind it has a ledger; of the step that was asked for last."""
        return self._schedules[self._now].is_beside_ledger(step, self._schedules[self._then])

    def _adopt(self, schedule: Schedule) -> None:
        """Other strides, from here on."""
        self._schedules = {
            room: schedule.without(left_out) if left_out else schedule
            for room, left_out in self._left_out.items()
        }
        self._strides = {room: _strides(one) for room, one in self._schedules.items()}


def _strides(schedule: Schedule) -> tuple[int, ...]:
    """Of all that is recorded for its own sake."""
    counted = (stride for stream, stride in schedule.every.items() if stream != Stream.SNAPSHOTS)
    return tuple({stride for stride in counted if stride})
