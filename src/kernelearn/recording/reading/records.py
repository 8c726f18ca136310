"""The files of a run: which records there are, and the one of a stream, a field and a step.

`Run` is made of classes that read through this one.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from kernelearn.errors import ArgumentError, FormatError, unknown_name
from kernelearn.formats.foreign import refused
from kernelearn.locks import is_locked
from kernelearn.recording.about import RunAbout
from kernelearn.recording.files.events import Event, read_events
from kernelearn.recording.files.manifest import MANIFEST, read_manifest, run_folder
from kernelearn.recording.files.segment import Segment
from kernelearn.recording.files.streams import StreamReader
from kernelearn.recording.files.writer import EVENTS
from kernelearn.recording.interventions import Intervention, of_events
from kernelearn.recording.schedule import Stream

_TICK_NS = 100_000_000

Trace = tuple[np.ndarray, np.ndarray]


class RunRecords:
    """The records of a run folder, by stream, field and step; see `Run`."""

    def __init__(self, path: Any) -> None:
        self.folder = run_folder(path)
        self._stamp: Any = None
        self.manifest: dict[str, Any] = {}
        self.about = RunAbout()
        self._segments: list[Segment] = []
        self._events: list[Event] = []
        self._damaged_events = 0
        self._events_stamp: Any = None
        self._interventions: list[Intervention] | None = None  # of the events, once somebody asked
        self._warned: set[str] = set()
        self.refresh()

    def refresh(self) -> None:
        """Take in what was recorded since."""
        stat = (self.folder / MANIFEST).stat()
        stamp = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        if stamp != self._stamp:
            self.manifest = read_manifest(self.folder)
            with refused(repr(str(self.folder / MANIFEST)), FormatError):
                run = int(self.manifest["run"], 16)
                self._segments = [Segment(self.folder, about, run) for about in self.manifest["segments"]]
                self.about = RunAbout.from_manifest(self.manifest["about"], self._recorded_shapes())
            self._stamp = stamp
        for segment in self._segments:
            segment.refresh()
        self._refresh_events()
        self._tell_problems()

    def _refresh_events(self) -> None:
        """Read the events again where their file has changed."""
        try:
            stat = (self.folder / EVENTS).stat()
            stamp = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        except OSError:
            stamp = None
        # NOTE: a file that was written just now may be written again within the same tick of its clock.
        is_settled = stamp is not None and time.time_ns() - stamp[0] > _TICK_NS
        if stamp is None or stamp != self._events_stamp:
            self._events, self._damaged_events = read_events(self.folder / EVENTS)
            self._interventions = None
            self._events_stamp = stamp if is_settled else None

    # --- names

    @property
    def layers(self) -> list[str]:
        """Names of the layers whose weights are recorded, in the order of the model."""
        found = {name: None for segment in self._segments for name in segment.about.get("layers", {})}
        found.update((name.rpartition("/")[0], None) for name in self.fields(Stream.KERNELS))
        of_model = dict.fromkeys(path.rpartition("/")[0] for path in self.about.weights)
        return [*(name for name in of_model if name in found), *(n for n in found if n not in of_model)]

    def weights(self, layer: str) -> list[str]:
        """Names of the recorded weights of a layer, such as ["kernel", "bias"]."""
        names = [n.rpartition("/")[2] for n in self.fields(Stream.KERNELS) if n.rpartition("/")[0] == layer]
        if not names:
            raise unknown_name("recorded layer", layer, self.layers)
        return names

    def weight_name(self, layer: str, weight: str = "kernel") -> str:
        """The name of a recorded weight; "kernel" stands for the only kernel of a layer, too.

        Raises: UnknownNameError.
        """
        names = self.weights(layer)
        kernels = [name for name in names if name.endswith("kernel")]
        if weight == "kernel" and weight not in names and len(kernels) == 1:
            return kernels[0]
        if weight not in names:
            raise unknown_name(f"weight of layer {layer!r}", weight, names)
        return weight

    def _name(self, layer: str, weight: str) -> str:
        return f"{layer}/{self.weight_name(layer, weight)}"

    def shape_of(self, layer: str, weight: str = "kernel") -> tuple[int, ...]:
        """Shape of a recorded weight."""
        return self._recorded_shapes()[self._name(layer, weight)]

    def _recorded_shapes(self) -> dict[str, tuple[int, ...]]:
        streams = [s.streams[Stream.KERNELS] for s in self._segments if Stream.KERNELS in s.streams]
        return {f.name: f.sizes(1) for stream in streams for f in stream.layout.fields}

    def fields(self, stream: str) -> list[str]:
        """Names of the fields of a stream's records."""
        found: dict[str, None] = {}
        for segment in self._segments:
            if stream in segment.streams:
                found.update((field.name, None) for field in segment.streams[stream].layout.fields)
        return list(found)

    # --- what happened, and what is damaged

    @property
    def last_step(self) -> int:
        """Number of updates recorded; 0 before the first."""
        return max((segment.last_step for segment in self._segments), default=0)

    @property
    def status(self) -> str:
        """ "recording" (a process writes now), "finished", "interrupted" or "stopped" (killed)."""
        return "recording" if is_locked(self.folder) else self.ending

    @property
    def ending(self) -> str:
        """ "finished", "interrupted" or "stopped" (without an end), also while a process writes."""
        ends = [e["kind"] for e in self._events if e["kind"] in ("begun", "finished", "interrupted")]
        return "stopped" if not ends or ends[-1] == "begun" else ends[-1]

    @property
    def events(self) -> list[Event]:
        """What happened besides steps, in order: dicts with "kind", "step", "time" and more."""
        return list(self._events)

    @property
    def interventions(self) -> list[Intervention]:
        """What was done to the training by hand, in order; `recording.Interventions` does it again."""
        if self._interventions is None:
            self._interventions = of_events(self._events)
        return list(self._interventions)

    @property
    def problems(self) -> list[str]:
        """What is damaged, in words; empty for a sound run. `check` looks at every byte first."""
        lines = [line for segment in self._segments for line in segment.problems()]
        if self._damaged_events:
            lines.append(f"{EVENTS}: {self._damaged_events} lines are damaged")
        return lines

    def check(self) -> list[str]:
        """Read everything and compare it with its checksums; gives `problems`."""
        for segment in self._segments:
            for stream in segment.streams.values():
                for number in range(len(stream)):
                    stream.is_whole(number)
        return self.problems

    def _tell_problems(self) -> None:
        new = [line for line in self.problems if line not in self._warned]
        self._warned.update(new)
        if new:
            warnings.warn(
                f"The run {str(self.folder)!r} is damaged; what is not whole is left out: {'; '.join(new)}.",
                UserWarning,
                stacklevel=3,
            )

    # --- finding records

    def _last(self) -> dict[str, Any]:
        return dict(self._segments[-1].about) if self._segments else {}

    def _about(self, step: int | None) -> dict[str, Any]:
        """The description of the segment that a step was trained in."""
        segment = None if step is None else self._segment_of(step)
        return self._last() if segment is None else dict(segment.about)

    def stretch_of(self, step: int) -> int:
        """Number of the stretch of the run that a step was trained in: all its steps have one description."""
        return next((i for i, s in enumerate(self._segments) if s.last_step >= step), len(self._segments))

    def _segment_of(self, step: int) -> Segment | None:
        """The segment that a step was trained in."""
        return next((segment for segment in self._segments if segment.last_step >= step), None)

    def _having(self, stream: str, field: str) -> Iterator[Segment]:
        return (segment for segment in self._segments if segment.has(stream, field))

    def stream_steps(self, stream: str) -> np.ndarray:
        """(steps,) int64: those with a record in a stream."""
        parts = [segment.steps(stream) for segment in self._segments]
        return np.unique(np.concatenate(parts)) if parts else np.zeros(0, np.int64)

    def _field_steps(self, stream: str, field: str) -> np.ndarray:
        parts = [segment.steps_of(stream, field) for segment in self._having(stream, field)]
        return np.unique(np.concatenate(parts)) if parts else np.zeros(0, np.int64)

    def has(self, stream: str, field: str, step: int) -> bool:
        """Whether a field is recorded at a step."""
        return self._record(stream, field, step) is not None

    def _record(self, stream: str, field: str, step: int) -> tuple[StreamReader, int, str] | None:
        """File, number of the record and name there; the first segment that has it counts."""
        for segment in self._segments:
            found = segment.find(stream, field, step)
            if found is not None:
                return found
        return None

    def read(self, stream: str, field: str, step: int) -> np.ndarray:
        """One field of the record of a step, by the names in the manifest.

        Raises: ArgumentError if it is not recorded, FormatError if its record is damaged.
        """
        found = self._record(stream, field, step)
        if found is not None:
            return found[0].read(found[1], found[2])
        recorded = self._field_steps(stream, field)
        if not len(recorded) and field not in self.fields(stream):
            raise unknown_name(f"field of the stream {str(stream)!r}", field, self.fields(stream))
        what = self._said(stream, field)
        raise ArgumentError(
            f"Step {step} has no record of {what}. Recorded are the steps "
            f"{steps_in_words(recorded)}{self._nearest(recorded, step)}."
        )

    @staticmethod
    def _said(stream: str, field: str) -> str:
        """What a field is, in words: names of buffers are the engine's own."""
        return "a ledger" if stream == Stream.LEDGER else f"{field!r} among the {stream}"

    def _nearest(self, steps: np.ndarray, step: int) -> str:
        return f"; the nearest is {steps[np.abs(steps - step).argmin()]}" if len(steps) else ""

    def column(self, stream: str, field: str, index: Any = ()) -> Trace:
        """(steps, values) of one field of all whole records of a stream, or of part of it."""
        place = index if isinstance(index, tuple) else (index,)
        return joined([self._column(s, stream, field, place) for s in self._having(stream, field)])

    def _column(self, segment: Segment, stream: str, field: str, index: tuple[Any, ...]) -> Trace:
        found = segment.column(stream, field, index)
        self._tell_problems()
        return found

    def _whole(self, segment: Segment, stream: str) -> np.ndarray:
        """Numbers of the whole records of a stream; tells of damaged ones."""
        numbers = segment.streams[stream].whole(segment.numbers(stream))
        self._tell_problems()
        return numbers


def joined(parts: list[Trace], is_first: bool = False) -> Trace:
    """Traces one after another; where segments meet in one step, the later one counts, or the first."""
    if not parts:
        return np.zeros(0, np.int64), np.zeros(0)
    steps = np.concatenate([steps for steps, _ in parts])
    values = np.concatenate([values for _, values in parts])
    differ = steps[1:] != steps[:-1]
    kept = np.append(differ, True) if not is_first else np.insert(differ, 0, True)
    kept = kept[: len(steps)]
    return steps[kept], values[kept]


def steps_in_words(steps: Iterable[int]) -> str:
    """Steps in words, shortened."""
    shown = [str(int(step)) for step in steps]
    return ", ".join(shown) if len(shown) <= 8 else f"{', '.join(shown[:4])}, ..., {shown[-1]}"
