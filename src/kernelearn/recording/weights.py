"""Which value a weight had at a step: the recorded one, or, while it was frozen, the one that it kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kernelearn.recording.files.segment import Segment
from kernelearn.recording.schedule import Stream


class Weights:
    """The weights of a run, through all of its segments.

    A later fit may freeze a layer, which is then recorded no more, or train one that was frozen before. A
    weight that no update of a segment writes has the same value from its first step to its last.

    Args:
        segments: of the run, in order.
        tell: called after damaged records may have been found.
    """

    def __init__(self, segments: Sequence[Segment], tell: Callable[[], None] = lambda: None) -> None:
        self.segments, self.tell = segments, tell

    def steps(self, path: str) -> np.ndarray:
        """(steps,) int64: those with recorded weights at which this one is known."""
        known = [s.steps(Stream.KERNELS) for i, s in enumerate(self.segments) if self._is_known(i, path)]
        return np.unique(np.concatenate(known)) if known else np.zeros(0, np.int64)

    def value(self, path: str, step: int) -> np.ndarray | None:
        """The weight at a step; None if it is not known there.

        Raises: FormatError if its record is damaged.
        """
        kept = None
        for i, segment in enumerate(self.segments):
            number = segment.number(Stream.KERNELS, step)
            if number is None:
                continue
            if segment.has(Stream.KERNELS, path):
                return segment.streams[Stream.KERNELS].read(number, path)
            kept = self._held(i, path) if kept is None else kept
        return kept

    def is_known(self, path: str, step: int) -> bool:
        """Whether the weight is known at a step."""
        places = (i for i, s in enumerate(self.segments) if s.number(Stream.KERNELS, step) is not None)
        return any(self._is_known(i, path) for i in places)

    def columns(self, path: str, index: tuple[Any, ...]) -> list[tuple[np.ndarray, np.ndarray]]:
        """(steps, values) of one number of the weight, or of part of it, for every segment that knows it."""
        found = []
        for i, segment in enumerate(self.segments):
            if segment.has(Stream.KERNELS, path):
                reader = segment.streams[Stream.KERNELS]
                numbers = reader.whole(segment.numbers(Stream.KERNELS))
                self.tell()
                found.append((reader.steps[numbers], reader.column(path, index, numbers)))
                continue
            held = self._held(i, path)
            if held is not None:
                steps, value = segment.steps(Stream.KERNELS), np.asarray(held[index])
                found.append((steps, np.repeat(value[None], len(steps), axis=0)))
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
    number = segment.number(Stream.KERNELS, step)
    return None if number is None else segment.streams[Stream.KERNELS].read(number, path)
