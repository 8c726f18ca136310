"""A table of all epochs as a file: one line an epoch, on the disk before the next epoch begins."""

import csv
import io
import os
from typing import Any, BinaryIO, ClassVar

from kernelearn.errors import ArgumentError, StorageError
from kernelearn.storage import PathLike, check_writable, storage_error
from kernelearn.training.callbacks.base import Callback, Logs

_MISSING = "NA"


class CSVLogger(Callback):
    """Writes the logs of every epoch to a CSV file: "epoch" (from 0), then the names in the logs, sorted.

    A line is flushed to the disk when its epoch ends; a run that is killed leaves all of them. A run resumed
    with `BackupAndRestore` goes on behind the last line that belongs to it.

    Args:
        filename: the file.
        separator: one character between the values.
        append: keep the lines of an older file, with its columns; otherwise it is replaced.
    Raises: ArgumentError; StorageError before the first step if the file cannot be written.
    """

    on_first_only: ClassVar[bool] = True

    # Where the next line belongs, in bytes; what stands behind it was written by a run that was killed.
    state_names: ClassVar[tuple[str, ...]] = ("position",)

    def __init__(self, filename: PathLike, separator: str = ",", append: bool = False) -> None:
        super().__init__()
        if not isinstance(separator, str) or len(separator) != 1:
            raise ArgumentError(f"CSVLogger: separator must be one character, got {separator!r}.")
        self.filename = os.fspath(filename)
        self.separator = separator
        self.append = append
        self.position = 0
        self._columns: list[str] = []
        self._file: BinaryIO | None = None

    def on_train_begin(self, logs: Logs | None = None) -> None:
        # The file is opened at its first line, not now: a run that is about to be resumed still needs it.
        self.close()
        if os.path.isdir(self.filename):
            raise StorageError(f"CSVLogger cannot write {self.filename!r}: it is a folder.")
        check_writable(os.path.dirname(self.filename) or ".")
        self.position = os.path.getsize(self.filename) if self.append and os.path.exists(self.filename) else 0

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        logs = logs or {}
        file = self._file or self._open()
        if file.tell() == 0:
            self._columns = _columns_for(logs)
            self._write(file, ["epoch", *self._columns])
        self._write(file, [epoch, *(_as_cell(logs.get(name, _MISSING)) for name in self._columns)])

    def on_train_end(self, logs: Logs | None = None) -> None:
        self.close()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self) -> BinaryIO:
        try:
            file = self._file = open(self.filename, "r+b" if os.path.exists(self.filename) else "w+b")  # noqa: SIM115
            file.truncate(min(self.position, os.path.getsize(self.filename)))
            self._columns = self._columns_in(file)
            file.seek(0, os.SEEK_END)
        except OSError as error:
            self.close()
            raise storage_error(error, self.filename) from error
        except ArgumentError:
            self.close()
            raise
        return file

    def _columns_in(self, file: BinaryIO) -> list[str]:
        """The columns that the file has, none if it is empty; ends its last line if that is open."""
        first = file.readline().decode("utf-8", "replace")
        header = next(csv.reader([first], delimiter=self.separator), [])
        if first and header[:1] != ["epoch"]:
            raise ArgumentError(
                f"CSVLogger cannot append to {self.filename!r}: its first line should name columns, starting "
                f"with 'epoch', and is {first.strip()!r}. Choose another file or append=False."
            )
        if first:
            file.seek(-1, os.SEEK_END)
            if file.read() != b"\n":
                file.write(b"\n")
        return header[1:]

    def _write(self, file: BinaryIO, row: list[Any]) -> None:
        try:
            file.write(_line(row, self.separator))
            file.flush()
            os.fsync(file.fileno())
        except OSError as error:
            raise storage_error(error, self.filename) from error
        self.position = file.tell()


def _columns_for(logs: Logs) -> list[str]:
    names = sorted(logs)
    # As in Keras: without validation in the first epoch, columns for a later one are kept.
    if not any(name.startswith("val_") for name in names):
        names += [f"val_{name}" for name in names]
    return names


def _as_cell(value: Any) -> Any:
    if isinstance(value, str) or not hasattr(value, "__iter__"):
        return value
    return f"[{', '.join(map(str, value))}]"


def _line(row: list[Any], separator: str) -> bytes:
    buffer = io.StringIO()
    csv.writer(buffer, delimiter=separator, lineterminator="\n").writerow(row)
    return buffer.getvalue().encode()
