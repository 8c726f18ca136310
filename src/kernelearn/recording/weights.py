"""Which value a weight had at a step: the recorded one, or, while it was frozen, the one that it kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kernelearn.recording.files.segment import Segment
from kernelearn.recording.interventions import Intervention
from kernelearn.recording.schedule import Stream


class Weights:
    """The weights of a run, through all of its segments.

    A later fit may freeze a layer, which is then recorded no more, or train one that was frozen before. A
    weight that no update of a segment writes has the same value from its first step to its last.

    Args:
        segments: of the run, in order.
        tell: called after damaged records may have been found.
        edits: path -> what was done to a weight by hand, in order: also one that is frozen may be edited.
    """

    def __init__(
        self,
        segments: Sequence[Segment],
        tell: Callable[[], None] = lambda: None,
        edits: Callable[[str], Sequence[Intervention]] = lambda path: (),
    ) -> None:
        self.segments, self.tell, self.edits = segments, tell, edits

    def steps(self, path: str) -> np.ndarray:
        """(steps,) int64: those at which the weight is known."""
        known = [self._steps_in(i, path) for i in range(len(self.segments)) if self._is_known(i, path)]
        return np.unique(np.concatenate(known)) if known else np.zeros(0, np.int64)

    def _steps_in(self, place: int, path: str) -> np.ndarray:
        segment = self.segments[place]
        is_recorded = segment.has(Stream.KERNELS, path)
        return segment.steps_of(Stream.KERNELS, path) if is_recorded else segment.steps(Stream.KERNELS)

    def value(self, path: str, step: int) -> np.ndarray | None:
        """The weight at a step; None if it is not known there.

        Raises: FormatError if its record is damaged.
        """
        kept = None
        for i, segment in enumerate(self.segments):
            found = segment.find(Stream.KERNELS, path, step)
            if found is not None:
                reader, number, field = found
                return reader.read(number, field)
            if kept is None and self._is_held_at(i, path, step):
                kept = self._edited(i, path, self._held(i, path), step)
        return kept

    def _edited(self, place: int, path: str, value: np.ndarray | None, step: int) -> np.ndarray | None:
        """A value that was kept in a segment, with what was done to it by hand before a step."""
        if value is not None:
            for done in self.edits(path):
                if self.segments[place].start <= done.step < step:
                    value = done.changed(value)
        return value

    def is_known(self, path: str, step: int) -> bool:
        """Whether the weight is known at a step."""
        return any(
            segment.find(Stream.KERNELS, path, step) is not None
            or (self._is_held_at(i, path, step) and self._held(i, path) is not None)
            for i, segment in enumerate(self.segments)
        )

    def _is_held_at(self, place: int, path: str, step: int) -> bool:
        """Whether weights are recorded at a step of a segment, and not this one."""
        segment = self.segments[place]
        return segment.number(Stream.KERNELS, step) is not None and not segment.has(Stream.KERNELS, path)

    def columns(self, path: str, index: tuple[Any, ...]) -> list[tuple[np.ndarray, np.ndarray]]:
        """(steps, values) of one number of the weight, or of part of it, for every segment that knows it."""
        found = []
        for i, segment in enumerate(self.segments):
            if segment.has(Stream.KERNELS, path):
                found.append(segment.column(Stream.KERNELS, path, index))
                self.tell()
                continue
            held = self._held(i, path)
            if held is not None:
                steps = segment.steps(Stream.KERNELS)
                values = np.repeat(np.asarray(held[index])[None], len(steps), axis=0)
                for done in self.edits(path):
                    if segment.start <= done.step <= segment.last_step:
                        held = done.changed(held)
                        values[steps > done.step] = held[index]
                found.append((steps, values))
        return found

    def _is_known(self, place: int, path: str) -> bool:
        return self.segments[place].has(Stream.KERNELS, path) or self._held(place, path) is not None

    def _held(self, place: int, path: str) -> np.ndarray | None:
        """The value that a weight kept in a segment without records of it; None if it is not known."""
        segment = self.segments[place]
        if not segment.is_held(path):
            return None
        found = segment.held_value(path)
        if found is None:
            found = self._at_end(place - 1, path)
        return self._at_start(place + 1, path) if found is None else found

    def _at_end(self, place: int, path: str) -> np.ndarray | None:
        """The weight behind the last step of a segment."""
        if place < 0:
            return None
        segment = self.segments[place]
        if not segment.has(Stream.KERNELS, path):
            return self._at_end(place - 1, path) if segment.is_held(path) else None
        return _read(segment, path, segment.last_step)

    def _at_start(self, place: int, path: str) -> np.ndarray | None:
        """The weight before the first step of a segment."""
        if place >= len(self.segments):
            return None
        segment = self.segments[place]
        if not segment.has(Stream.KERNELS, path):
            return self._at_start(place + 1, path) if segment.is_held(path) else None
        return _read(segment, path, segment.start)


def _read(segment: Segment, path: str, step: int) -> np.ndarray | None:
    found = segment.find(Stream.KERNELS, path, step)
    return None if found is None else found[0].read(found[1], found[2])
