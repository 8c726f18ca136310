"""What is due of the next step, asked after every step: most often nothing, and that has to cost nothing."""

from __future__ import annotations

from collections.abc import Container

from kernelearn.recording.schedule import Schedule, Stream

_NOTHING: frozenset[Stream] = frozenset()


class Dues:
    """What is due, where what may wait is left out of steps for which there is no time.

    Args:
        automatic: streams that may wait.
    """

    def __init__(self, automatic: Container[str]) -> None:
        self._automatic = automatic
        self._whole = Schedule({})
        self._rest = self._now = self._then = self._whole
        self._strides: tuple[int, ...] = ()  # of all that is recorded for its own sake
        self._of_rest: tuple[int, ...] = ()

    def of(self, step: int, schedule: Schedule, has_time: bool) -> frozenset[Stream]:
        """The streams with a record of a step.

        Args:
            schedule: of all that is wished for.
            has_time: whether the step behind this one may have all of it: what that one needs is recorded
                before it.
        """
        if schedule is not self._whole:
            self._adopt(schedule, step)
        self._now, self._then = self._then, self._whole if has_time else self._rest
        strides = self._strides if self._now is self._whole or has_time else self._of_rest
        for stride in strides:
            if not (step % stride and (step + 1) % stride):
                return self._now.due(step, self._then)
        return self._now.due(step, self._then) if step < 2 else _NOTHING

    def is_beside_ledger(self, step: int) -> bool:
        """Whether a step or the one behind it has a ledger; of the step that was asked for last."""
        return self._now.is_beside_ledger(step, self._then)

    def _adopt(self, schedule: Schedule, step: int) -> None:
        """Other strides, from here on."""
        has_all = self._then is self._whole
        self._whole, self._rest = schedule, schedule.without(self._automatic)
        self._then = self._whole if has_all else self._rest
        self._strides, self._of_rest = _strides(self._whole), _strides(self._rest)


def _strides(schedule: Schedule) -> tuple[int, ...]:
    counted = (stride for stream, stride in schedule.every.items() if stream != Stream.SNAPSHOTS)
    return tuple({stride for stride in counted if stride})
