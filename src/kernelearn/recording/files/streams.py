"""The files of records: `StreamWriter` appends to one, `StreamReader` reads one that may still grow.

A reader believes a record only if its checksums say that it is whole, of this run, of this layout and in its
place. What it finds otherwise at the end is a record being written; anywhere else it is damage.
"""

from __future__ import annotations

import os
import time
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from kernelearn.errors import FormatError, ShapeError
from kernelearn.formats.foreign import open_plain
from kernelearn.recording.files.layout import (
    CHECKSUM_FORMAT,
    HEADER,
    HEADER_BYTES,
    HEADER_FORMAT,
    MAGIC,
    Layout,
)


class StreamWriter:
    """Appends records to one file, each with a single write.

    Args:
        path: the file; made if it is missing.
        layout: of its records.
        run: number of the run, in every header.
    Attributes:
        arrays: field name -> array to fill before `append`; they are the record's own memory.
        count: records in the file.
    """

    def __init__(self, path: Path, layout: Layout, run: int) -> None:
        self.path, self.layout = path, layout
        self._record = np.zeros(layout.record_bytes, np.uint8)
        self._bytes = self._record.data
        self._payload, self._checked_header = self._bytes[HEADER_BYTES:], self._bytes[: HEADER_BYTES - 4]
        self._origin = MAGIC, layout.checksum, run
        self.arrays = layout.views(self._record)
        self._is_by_row = {f.name for f in layout.fields if None in f.shape}
        self._rows = 0
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
        self.count = os.fstat(self._file).st_size // layout.record_bytes
        os.lseek(self._file, self.count * layout.record_bytes, os.SEEK_SET)

    def fill(self, arrays: Mapping[str, Any], rows: int = 0) -> None:
        """Copy arrays into the next record.

        Raises: ShapeError if one does not fit its field.
        """
        for name, array in arrays.items():
            self.put(name, array, rows)

    def put(self, name: str, array: Any, rows: int = 0) -> None:
        """Copy one array into the next record; with rows, its first `rows` rows."""
        place = self.arrays[name]
        try:
            if name in self._is_by_row:
                place[:rows] = array
            else:
                place[...] = array
        except ValueError as error:
            raise ShapeError(
                f"{self.path.name}: the field {name!r} has room for {place.shape}, got {np.shape(array)}."
            ) from error

    def put_scalars(self, values: Iterable[Any]) -> None:
        """Set the fields without a shape that the layout begins with, all of them, in order."""
        self.layout.scalars.pack_into(self._bytes, HEADER_BYTES, *values)

    def append(self, step: int, rows: int = 0) -> None:
        """Write what was filled in as the next record.

        Raises: OSError if it could not be written; the file is then as it was.
        """
        if rows != self._rows:
            self._clear_behind(rows)
        checksum = zlib.crc32(self._payload)
        HEADER_FORMAT.pack_into(
            self._bytes, 0, *self._origin, step, self.count, time.time(), rows, checksum, 0
        )
        CHECKSUM_FORMAT.pack_into(self._bytes, HEADER_BYTES - 4, zlib.crc32(self._checked_header))
        try:
            self._write()
        except OSError:
            self.cut(self.count)
            raise
        self.count += 1

    def cut(self, count: int) -> None:
        """Leave only the first `count` records, and nothing half-written behind them."""
        self.count = count
        end = count * self.layout.record_bytes
        os.ftruncate(self._file, end)
        os.lseek(self._file, end, os.SEEK_SET)

    def close(self) -> None:
        """Close the file; twice does no harm."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _write(self) -> None:
        written = os.write(self._file, self._bytes)
        while written < len(self._bytes):
            written += os.write(self._file, self._bytes[written:])

    def _clear_behind(self, rows: int) -> None:
        """Zeros behind the last row, where an earlier record had more rows."""
        if rows < self._rows:
            for name in self._is_by_row:
                self.arrays[name][rows : self._rows] = 0
        self._rows = rows


class StreamReader:
    """Reads the records of one file; `refresh` finds those that were added since.

    Args:
        path: the file; one that is missing has no records.
        layout, run: as it was written.
    Attributes:
        steps: (count,) int64 step of every record, -1 for a damaged one.
        rows, times: (count,) of every record.
        damaged: numbers of records that are not what was written.
    """

    def __init__(self, path: Path, layout: Layout, run: int) -> None:
        self.path, self.layout, self._run = path, layout, run
        self.steps = np.zeros(0, np.int64)
        self.rows = np.zeros(0, np.int64)
        self.times = np.zeros(0)
        self.damaged: set[int] = set()
        self._checked = np.zeros(0, bool)
        self._bytes = np.zeros(0, np.uint8)
        self._ordered: tuple[np.ndarray, np.ndarray] | None = None
        self.refresh()

    def __len__(self) -> int:
        return len(self.steps)

    def refresh(self) -> None:
        """Take in records that were added, and forget those that were removed."""
        size = self.path.stat().st_size if self.path.exists() else 0
        count = size // self.layout.record_bytes
        if count < len(self):
            self._forget()
        first = len(self)
        if count == first:
            return
        with open_plain(self.path, FormatError) as file:
            self._bytes = np.memmap(file, np.uint8, "r", shape=(count * self.layout.record_bytes,))
        headers = self._headers(first, count)
        good = self._are_good(headers, first)
        if not good[-1]:
            # The last record may be in the middle of being written: look again next time.
            headers, good = headers[:-1], good[:-1]
        self.damaged.update((first + np.flatnonzero(~good)).tolist())
        self.steps = np.concatenate([self.steps, np.where(good, headers["step"], -1)])
        self.rows = np.concatenate([self.rows, headers["rows"].astype(np.int64)])
        self.times = np.concatenate([self.times, headers["time"]])
        self._checked = np.concatenate([self._checked, np.zeros(len(good), bool)])
        self._ordered = None

    def number_of(self, step: int) -> int | None:
        """The number of the last record of a step; None if there is none."""
        if self._ordered is None:
            order = np.argsort(self.steps, kind="stable")
            self._ordered = self.steps[order], order
        steps, numbers = self._ordered
        place = int(np.searchsorted(steps, step, "right")) - 1
        return int(numbers[place]) if place >= 0 and steps[place] == step else None

    def is_whole(self, number: int) -> bool:
        """Whether a record is exactly what was written."""
        if number in self.damaged or not self._is_there(number):
            return False
        if not self._checked[number]:
            stored = int(self._headers(number, number + 1)[0]["payload_checksum"])
            if zlib.crc32(self._record(number).data[HEADER_BYTES:]) != stored:
                self.damaged.add(number)
                return False
            self._checked[number] = True
        return True

    def whole(self, numbers: np.ndarray) -> np.ndarray:
        """Those of the numbers whose records are exactly what was written."""
        is_known = self._checked[numbers] if self._is_there(len(self) - 1) else np.zeros(len(numbers), bool)
        is_good = [known or self.is_whole(n) for known, n in zip(is_known.tolist(), numbers.tolist())]
        return np.asarray(numbers[np.array(is_good, bool)])

    def check(self, number: int) -> None:
        """Raise FormatError unless a record is exactly what was written."""
        if not self.is_whole(number):
            raise FormatError(
                f"{str(self.path)!r} is damaged: record {number} (step {self.steps[number]}) is not what was "
                "written. The other records can still be read."
            )

    def read(self, number: int, name: str) -> np.ndarray:
        """A copy of one field of a record, with as many rows as it has images.

        Raises: FormatError if the record is damaged.
        """
        self.check(number)
        array = self.layout.view(self._record(number), name)
        field = self.layout.field(name)
        array = array[: self.rows[number]] if None in field.shape else array
        return array.astype(array.dtype.newbyteorder("="), copy=True)

    def column(self, name: str, index: tuple[int, ...] = (), numbers: Any = None) -> np.ndarray:
        """The numbers at `index` of one field in many records: (records, ...), all of them checked.

        Raises: FormatError if one of the records is damaged.
        """
        numbers = np.arange(len(self)) if numbers is None else np.asarray(numbers)
        for number in numbers[~self._checked[numbers]].tolist():
            self.check(number)
        field, size = self.layout.field(name), self.layout.record_bytes
        shape = field.sizes(self.layout.capacity)
        item = np.dtype(field.dtype)
        strides = np.zeros(shape, item).strides if shape else ()
        place: Any = (slice(None), *index)
        if not len(self):
            return np.asarray(np.zeros((0, *shape), item.newbyteorder("="))[place])
        whole = np.ndarray(
            (len(self), *shape), item, self._bytes, self.layout.offsets[name], (size, *strides)
        )
        chosen = whole[place][numbers]
        return np.asarray(chosen.astype(item.newbyteorder("="), copy=True))

    def record(self, number: int) -> np.ndarray:
        """A copy of the bytes of a whole record, header and all."""
        self.check(number)
        return self._record(number).copy()

    def _forget(self) -> None:
        self.steps, self.rows, self.times = self.steps[:0], self.rows[:0], self.times[:0]
        self._checked, self.damaged = self._checked[:0], set()
        self._ordered = None

    def _record(self, number: int) -> np.ndarray:
        size = self.layout.record_bytes
        return self._bytes[number * size : (number + 1) * size]

    def _headers(self, first: int, last: int) -> np.ndarray:
        size = self.layout.record_bytes
        return np.ndarray((last - first,), HEADER, self._bytes, first * size, (size,)).copy()

    def _are_good(self, headers: np.ndarray, first: int) -> np.ndarray:
        """Whether each header is as written, of this run and layout, and in its place."""
        size, content = HEADER.itemsize, headers.tobytes()
        checksums = [zlib.crc32(content[i : i + size - 4]) for i in range(0, len(content), size)]
        return np.asarray(
            (headers["magic"] == MAGIC)
            & (headers["layout"] == self.layout.checksum)
            & (headers["run"] == self._run)
            & (headers["number"] == np.arange(first, first + len(headers)))
            & (headers["rows"] <= self.layout.capacity)
            & (headers["header_checksum"] == np.array(checksums, np.uint32))
        )

    def _is_there(self, number: int) -> bool:
        # NOTE: reading a memory map behind the end of a file that was cut kills the process.
        return self.path.stat().st_size >= (number + 1) * self.layout.record_bytes
