"""Makes a recorded run smaller by keeping fewer of its records; what is kept stays as it was, bit for bit."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from kernelearn.errors import ArgumentError
from kernelearn.recording.files.layout import HEADER, HEADER_BYTES
from kernelearn.recording.files.manifest import run_folder, write_manifest
from kernelearn.recording.files.segment import Segment
from kernelearn.recording.files.streams import StreamReader
from kernelearn.recording.files.writer import RunWriter
from kernelearn.recording.run import Run
from kernelearn.recording.schedule import SCHEDULED, Stream, kept_beside
from kernelearn.storage import atomic_write


class Pruned(NamedTuple):
    """Bytes of the records of a run before and after."""

    before: int
    after: int


def prune(path: Any, **every: int | None) -> Pruned:
    """Keep fewer records of a run that nobody is writing.

    The first and the last weights, the numbers and images of all steps and all events stay. A ledger that
    stays keeps its gradients, and the weights and optimiser state on both sides of it.

    Args:
        path: folder of the run.
        every: kernels, gradients, ledger, maps, snapshots = stride: keep what is at its multiples, 0 to keep
            none; what is left out stays as it is.
    Raises: ArgumentError for other names or strides; StorageError if a process records there, or the disk
        has no room for what stays, beside what there is. However it ends, the run can be read.
    """
    _check(every)
    folder = run_folder(path)
    with RunWriter.reopen(folder) as writer:
        run, before = Run(folder), writer.used_bytes()
        kept = _kept_steps(run, {name: stride for name, stride in every.items() if stride is not None})
        old = _rewrite(run, writer, kept)
        for file in old:
            file.unlink(missing_ok=True)
        writer.event("pruned", run.last_step, every={n: s for n, s in every.items() if s is not None})
        return Pruned(before, writer.used_bytes())


def _check(every: Mapping[str, int | None]) -> None:
    for name, stride in every.items():
        if name not in SCHEDULED:
            raise ArgumentError(f"What can be pruned is {', '.join(SCHEDULED)}; got {name!r}.")
        if stride is not None and stride < 0:
            raise ArgumentError(f"{name} must be 0 or a number of steps, got {stride}.")


def _kept_steps(run: Run, every: Mapping[str, int]) -> dict[Stream, set[int]]:
    """Stream -> steps that stay, for the streams that lose some."""
    kept = {name: _multiples(run.stream_steps(name), every.get(name)) for name in SCHEDULED}
    if every.get(Stream.LEDGER):
        kept[Stream.LEDGER] |= {1} & set(run.ledger_steps.tolist())
    kept[Stream.KERNELS] |= _ends(run.steps)
    kept[Stream.SNAPSHOTS] |= _ends(run.model_steps)
    return kept_beside(kept)


def _multiples(steps: np.ndarray, stride: int | None) -> set[int]:
    if stride is None:
        return set(steps.tolist())
    return set(steps[steps % stride == 0].tolist()) if stride else set()


def _ends(steps: np.ndarray) -> set[int]:
    return set(steps[[0, -1]].tolist()) if len(steps) else set()


def _rewrite(run: Run, writer: RunWriter, kept: Mapping[Stream, set[int]]) -> list[Path]:
    """Write the records that stay into new files and let the manifest name them; gives the old files."""
    content = writer.content
    generation, old = content["generation"] + 1, []
    for number, about in enumerate(content["segments"], 1):
        segment = Segment(run.folder, about, writer.run)
        for name, steps in kept.items():
            if name in segment.streams:
                file = f"{name}-{number}-{generation}.bin"
                _copy(segment.streams[name], segment.numbers(name), steps, run.folder / file)
                old.append(run.folder / about["streams"][name]["file"])
                about["streams"][name]["file"] = file
    content["generation"] = generation
    writer.release_streams()
    write_manifest(run.folder, content)
    return old


def _copy(reader: StreamReader, numbers: np.ndarray, steps: set[int], path: Path) -> None:
    """The whole records of these steps, numbered anew."""
    with atomic_write(path) as file:
        count = 0
        for number in numbers.tolist():
            if int(reader.steps[number]) in steps and reader.is_whole(number):
                record = reader.record(number)
                header = record[:HEADER_BYTES].view(HEADER)
                header["number"] = count
                header["header_checksum"] = zlib.crc32(record.data[: HEADER_BYTES - 4])
                file.write(record.data)
                count += 1
