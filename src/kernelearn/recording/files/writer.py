"""Writes a run folder: a manifest, one file of records for each stream, a log of events.

A step is there once its record in the stream "steps" is: that one is written last. `commit` marks it; what
was written since the last commit can be taken back.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from kernelearn.errors import ArgumentError
from kernelearn.locks import LOCK_NAME, FolderLock
from kernelearn.recording.files.events import REWOUND, Event, add_event
from kernelearn.recording.files.layout import Layout
from kernelearn.recording.files.manifest import MANIFEST, read_manifest, write_manifest
from kernelearn.recording.files.streams import StreamReader, StreamWriter
from kernelearn.recording.schedule import Stream
from kernelearn.storage import make_folder

EVENTS = "events.jsonl"
INDEX = "index.sqlite"


class RunWriter:
    """A run folder open for writing; a context manager. Made by `create` or `reopen`.

    Attributes:
        content: of the manifest.
        streams: name -> `StreamWriter` of the segment that is being written.
        last_step: of the last step that is committed, or None.

    >>> import tempfile, numpy as np
    >>> from kernelearn.recording.files.layout import Field, Layout
    >>> folder = Path(tempfile.mkdtemp()) / "run"
    >>> with RunWriter.create(folder, {}) as writer:
    ...     writer.begin_segment(0, [Layout("kernels", (Field("conv/kernel", "<f4", (3, 3, 1, 2)),))])
    ...     writer.write("kernels", 0, {"conv/kernel": np.ones((3, 3, 1, 2))})
    ...     writer.write("steps", 0)
    ...     writer.commit()
    >>> from kernelearn.recording import Run
    >>> Run(folder).kernels("conv", step=0).shape
    (3, 3, 1, 2)
    """

    def __init__(self, folder: Path, lock: FolderLock, content: dict[str, Any]) -> None:
        self.folder, self.content = folder, content
        self.streams: dict[str, StreamWriter] = {}
        self.last_step: int | None = None
        self._lock = lock
        self._committed: dict[str, int] = {}
        self._touched: set[str] = set()  # streams with records that are not committed
        self._pending: int | None = None

    @classmethod
    def create(cls, folder: Any, about: Mapping[str, Any]) -> RunWriter:
        """Begin a run in a folder that has none.

        Args:
            about: of the run, JSON values.
        Raises: ArgumentError if there is a run already, StorageError if the folder cannot be written or
            another process writes there.
        """
        folder = make_folder(folder)
        lock = FolderLock(folder)
        lock.acquire()
        try:
            if (folder / MANIFEST).exists():
                raise ArgumentError(
                    f"There is a recorded run in {str(folder)!r} already; choose another folder."
                )
            for leftover in record_files(folder):
                leftover.unlink()
            content = {"run": secrets.token_hex(8), "generation": 0, "about": dict(about), "segments": []}
            write_manifest(folder, content)
        except BaseException:
            lock.release()
            raise
        return cls(folder, lock, content)

    @classmethod
    def reopen(cls, folder: Any) -> RunWriter:
        """Go on with a run; what a killed process left of its last step is removed.

        Raises: FormatError if it cannot be read, StorageError if another process writes there.
        """
        folder = Path(folder)
        lock = FolderLock(folder)
        lock.acquire()
        try:
            writer = cls(folder, lock, read_manifest(folder))
            writer._remove_leftovers()
            if writer.content["segments"]:
                writer._open_segment()
                writer._cut_to(_last_whole_step(writer._readers()))
                if writer.last_step is None:  # killed at the beginning of a segment: an earlier one has it
                    writer.last_step = writer.segment["start"] or None
        except BaseException:
            lock.release()
            raise
        return writer

    @property
    def run(self) -> int:
        """The number of the run."""
        return int(self.content["run"], 16)

    @property
    def segment(self) -> dict[str, Any]:
        """What the manifest says about the segment that is being written."""
        segments: list[dict[str, Any]] = self.content["segments"]
        return segments[-1]

    def begin_segment(self, start: int, layouts: Iterable[Layout], **about: Any) -> None:
        """Begin a stretch of records with these layouts.

        Args:
            start: step from which on they count: the number of updates done.
            layouts: one a stream; a stream "steps" is added if there is none.
            about: what else readers need, JSON values.
        """
        chosen = {layout.name: layout for layout in layouts}
        chosen.setdefault(Stream.STEPS, Layout(Stream.STEPS, ()))
        self._close_streams()
        number = len(self.content["segments"]) + 1
        streams = {
            name: {"file": f"{name}-{number}.bin", **layout.to_json()} for name, layout in chosen.items()
        }
        self.content["segments"].append({**about, "start": int(start), "streams": streams})
        for stream in streams.values():
            (self.folder / stream["file"]).unlink(missing_ok=True)
        write_manifest(self.folder, self.content)
        self._open_segment()

    def write(self, stream: str, step: int, arrays: Mapping[str, Any] | None = None, rows: int = 0) -> None:
        """Append a record.

        Args:
            arrays: field name -> array; fields that are left out keep what the record before had.
            rows: images in the arrays that have one row an image.
        Raises: ArgumentError for an unknown field, ShapeError if an array does not fit, OSError if it cannot
            be written; call `take_back` then.
        """
        writer = self.streams[stream]
        unknown = set(arrays or {}) - set(writer.arrays)
        if unknown:
            raise ArgumentError(f"The stream {stream!r} has no field {min(unknown)!r}.")
        writer.fill(arrays or {}, rows)
        self.append(stream, step, rows)

    def append(self, stream: str, step: int, rows: int = 0) -> None:
        """Append what was filled into `streams[stream].arrays`."""
        self._touched.add(stream)
        self.streams[stream].append(step, rows)
        if stream == Stream.STEPS:
            self._pending = step

    def commit(self) -> None:
        """Everything written so far belongs together and stays."""
        for name in self._touched:
            self._committed[name] = self.streams[name].count
        self._touched.clear()
        if self._pending is not None:
            self.last_step, self._pending = self._pending, None

    def take_back(self) -> None:
        """Remove what was written since the last commit."""
        self._pending = None
        self._touched.clear()
        for name, stream in self.streams.items():
            stream.cut(self._committed[name])

    def rewind(self, step: int) -> None:
        """Remove the records and events of all steps behind `step`, to write them again."""
        self.content["generation"] += 1
        dropped = [s for s in self.content["segments"][1:] if s["start"] > step]
        self._close_streams()
        self.content["segments"] = [s for s in self.content["segments"] if s not in dropped]
        write_manifest(self.folder, self.content)
        for stream in (stream for segment in dropped for stream in segment["streams"].values()):
            (self.folder / stream["file"]).unlink(missing_ok=True)
        self._open_segment()
        self._cut_to(step)
        add_event(self.folder / EVENTS, REWOUND, step)

    def event(self, kind: str, step: int, **about: Any) -> Event:
        """Append an event; see `events.add_event`."""
        return add_event(self.folder / EVENTS, kind, step, **about)

    def used_bytes(self) -> int:
        """Bytes of all files of the run."""
        return run_bytes(self.folder)

    def close(self) -> None:
        """Remove what is not committed, close the files, give the lock back; twice does no harm."""
        try:
            if self.streams:
                self.take_back()
        finally:
            self._close_streams()
            self._lock.release()

    def __enter__(self) -> RunWriter:
        return self

    def __exit__(self, *exception: Any) -> None:
        self.close()

    def _remove_leftovers(self) -> None:
        """Remove files of records that the manifest does not name any more."""
        segments = self.content["segments"]
        named = {stream["file"] for segment in segments for stream in segment["streams"].values()}
        for path in record_files(self.folder):
            if path.name not in named:
                path.unlink()

    def release_streams(self) -> None:
        """Close the files of the segment, to replace them; the lock stays."""
        self._close_streams()

    def _open_segment(self) -> None:
        for name, values in self.segment["streams"].items():
            layout = Layout.from_json({k: v for k, v in values.items() if k != "file"})
            self.streams[name] = StreamWriter(self.folder / values["file"], layout, self.run)
        self._commit_all()

    def _readers(self) -> dict[str, StreamReader]:
        return {n: StreamReader(s.path, s.layout, self.run) for n, s in self.streams.items()}

    def _cut_to(self, step: int | None) -> None:
        """Leave the records up to a step; None leaves none."""
        for name, reader in self._readers().items():
            self.streams[name].cut(0 if step is None else _records_up_to(reader, step))
        self.last_step = step
        self._commit_all()

    def _commit_all(self) -> None:
        self._touched.update(self.streams)
        self.commit()

    def _close_streams(self) -> None:
        for stream in self.streams.values():
            stream.close()
        self.streams, self._committed = {}, {}
        self._touched.clear()


def record_files(folder: Path) -> list[Path]:
    """The files of records in a run folder."""
    return sorted(path for path in Path(folder).glob("*-*.bin"))


def run_bytes(folder: Path) -> int:
    """Bytes of all files of a recorded run; other files in its folder do not count."""
    names = (MANIFEST, EVENTS, INDEX, LOCK_NAME)
    files = (*(Path(folder) / name for name in names), *record_files(folder))
    return sum(path.stat().st_size for path in files if path.exists())


def remove_run(folder: Path) -> None:
    """Remove the files of a recorded run, and only those; the manifest first, so that no half run stays."""
    names = [MANIFEST, EVENTS, INDEX]
    for path in (*(Path(folder) / name for name in names), *record_files(folder)):
        path.unlink(missing_ok=True)


def _last_whole_step(readers: Mapping[str, StreamReader]) -> int | None:
    """The last step whose record in "steps" is whole."""
    steps = readers[Stream.STEPS]
    return next((int(steps.steps[i]) for i in range(len(steps) - 1, -1, -1) if steps.is_whole(i)), None)


def _records_up_to(reader: StreamReader, step: int) -> int:
    """Number of records up to the last one that belongs to `step` or before."""
    belonging = [i for i in range(len(reader)) if 0 <= reader.steps[i] <= step]
    return belonging[-1] + 1 if belonging else 0
