"""A stretch of a run in which what is recorded stayed the same: description and streams, for reading."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from kernelearn.errors import FormatError
from kernelearn.recording.files.layout import Layout
from kernelearn.recording.files.streams import StreamReader
from kernelearn.recording.schedule import FULL_PARTS, Stream, in_full


class Segment:
    """The streams of one segment of a manifest.

    A record counts once the record of its step in the stream "steps" is there.

    Attributes:
        about: what the manifest says.
        streams: name -> `StreamReader`.
    """

    def __init__(self, folder: Path, about: Mapping[str, Any], run: int) -> None:
        self.about = about
        if Stream.STEPS not in about["streams"]:
            raise FormatError(
                f"The manifest of {str(folder)!r} has a segment without the stream {str(Stream.STEPS)!r}."
            )
        self.streams = {name: _reader(folder, values, run) for name, values in about["streams"].items()}
        self.last_step = -1
        self.refresh()

    def refresh(self) -> None:
        """Take in what was added."""
        # NOTE: "steps" first: whatever it has, the others had before.
        self.streams[Stream.STEPS].refresh()
        steps = self.streams[Stream.STEPS].steps
        self.last_step = int(steps.max(initial=-1))
        for name, stream in self.streams.items():
            if name != Stream.STEPS:
                stream.refresh()

    def has(self, stream: str, field: str) -> bool:
        """Whether this field is recorded here: in the stream itself, or among the layers recorded in full."""
        return any(True for _ in self._places(stream, field))

    def _places(self, stream: str, field: str) -> Iterator[tuple[str, str, int]]:
        """(stream, field, first step) of what holds a field."""
        if self._holds(stream, field):
            yield stream, field, 0
        if stream in FULL_PARTS and self._holds(Stream.FULL, in_full(stream, field)):
            # The record of the state before the first update has no gradient.
            first = self.start + 1 if stream == Stream.GRADIENTS else 0
            yield Stream.FULL, in_full(stream, field), first

    def _holds(self, stream: str, field: str) -> bool:
        return stream in self.streams and field in self.streams[stream].layout.offsets

    def shape_of(self, stream: str, field: str) -> tuple[int | None, ...]:
        """Shape of a field that is recorded here; None in front stands for the images."""
        name, place, _ = next(self._places(stream, field))
        return self.streams[name].layout.field(place).shape

    def steps_of(self, stream: str, field: str) -> np.ndarray:
        """(steps,) int64: those at which a field is recorded, in order."""
        found = [s[s >= first] for name, _, first in self._places(stream, field) for s in [self.steps(name)]]
        return found[0] if len(found) == 1 else np.unique(np.concatenate([np.zeros(0, np.int64), *found]))

    def find(self, stream: str, field: str, step: int) -> tuple[StreamReader, int, str] | None:
        """The file, the number of the record and the name there of a field at a step, or None."""
        for name, place, first in self._places(stream, field):
            number = self.number(name, step)
            if number is not None and step >= first:
                return self.streams[name], number, place
        return None

    def column(self, stream: str, field: str, index: tuple[Any, ...]) -> tuple[np.ndarray, np.ndarray]:
        """(steps, values) of a field, or of part of it, in all whole records; in order."""
        parts = []
        for name, place, first in self._places(stream, field):
            reader = self.streams[name]
            numbers = reader.whole(self.numbers(name))
            numbers = numbers[reader.steps[numbers] >= first]
            parts.append((reader.steps[numbers], reader.column(place, index, numbers)))
        if len(parts) == 1:
            return parts[0]
        steps, at = np.unique(np.concatenate([steps for steps, _ in parts]), return_index=True)
        return steps, np.concatenate([values for _, values in parts])[at]

    def numbers(self, stream: str) -> np.ndarray:
        """Numbers of the records that count, in order; those with damaged headers left out."""
        reader = self.streams.get(stream)
        if reader is None:
            return np.zeros(0, np.int64)
        return np.flatnonzero((reader.steps >= 0) & (reader.steps <= self.last_step))

    def steps(self, stream: str) -> np.ndarray:
        """Steps of those records."""
        reader = self.streams.get(stream)
        return np.zeros(0, np.int64) if reader is None else reader.steps[self.numbers(stream)]

    def number(self, stream: str, step: int) -> int | None:
        """The number of the record of a step, or None."""
        if stream not in self.streams or step > self.last_step:
            return None
        return self.streams[stream].number_of(int(step))

    @property
    def start(self) -> int:
        """Number of updates done when it began."""
        return int(self.about.get("start", 0))

    def is_held(self, path: str) -> bool:
        """Whether training left a weight of the model as it was: a frozen one, say.

        What the segment says of its training decides; where it does not say, all snapshots of the weight.
        """
        if "changing" in self.about:
            return path not in self.about["changing"]
        if not self.has(Stream.SNAPSHOTS, path):
            return False
        _, values = self.column(Stream.SNAPSHOTS, path, ())
        return len(values) > 1 and bool((values == values[:1]).all())

    def held_value(self, path: str) -> np.ndarray | None:
        """The weight in the first snapshot of the segment; None without one."""
        if not self.has(Stream.SNAPSHOTS, path):
            return None
        snapshots = self.streams[Stream.SNAPSHOTS]
        numbers = snapshots.whole(self.numbers(Stream.SNAPSHOTS))
        return snapshots.read(int(numbers[0]), path) if len(numbers) else None

    def problems(self) -> list[str]:
        """What is damaged, one line a file."""
        return [_damage(stream) for stream in self.streams.values() if stream.damaged]


def _damage(stream: StreamReader) -> str:
    which = ", ".join(map(str, sorted(stream.damaged)[:5])) + (", ..." if len(stream.damaged) > 5 else "")
    return f"{stream.path.name}: {len(stream.damaged)} of {len(stream)} records are damaged ({which})"


def _reader(folder: Path, values: Mapping[str, Any], run: int) -> StreamReader:
    file = str(values.get("file", ""))
    if not file.endswith(".bin") or Path(file).name != file:
        raise FormatError(f"The manifest names a file of records outside of the run: {file!r}.")
    layout = Layout.from_json({key: value for key, value in values.items() if key != "file"})
    return StreamReader(folder / file, layout, run)
