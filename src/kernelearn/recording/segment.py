"""A stretch of a run in which what is recorded stayed the same: description and streams, for reading."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from kernelearn.errors import FormatError
from kernelearn.recording.layout import Layout
from kernelearn.recording.streams import StreamReader
from kernelearn.recording.writer import STEPS


class Segment:
    """The streams of one segment of a manifest.

    A record counts once the record of its step in the stream "steps" is there.

    Attributes:
        about: what the manifest says.
        streams: name -> `StreamReader`.
    """

    def __init__(self, folder: Path, about: Mapping[str, Any], run: int) -> None:
        self.about = about
        if STEPS not in about["streams"]:
            raise FormatError(f"The manifest of {str(folder)!r} has a segment without the stream {STEPS!r}.")
        self.streams = {name: _reader(folder, values, run) for name, values in about["streams"].items()}
        self.last_step = -1
        self.refresh()

    def refresh(self) -> None:
        """Take in what was added."""
        # NOTE: "steps" first: whatever it has, the others had before.
        self.streams[STEPS].refresh()
        steps = self.streams[STEPS].steps
        self.last_step = int(steps.max(initial=-1))
        for name, stream in self.streams.items():
            if name != STEPS:
                stream.refresh()

    def has(self, stream: str, field: str) -> bool:
        """Whether this field is recorded here."""
        return stream in self.streams and field in self.streams[stream].layout.offsets

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
        found = np.flatnonzero(self.streams[stream].steps == step)
        return int(found[-1]) if len(found) else None

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
