"""index.sqlite: the steps, events and numbers of a run for whoever would rather ask SQL.

It holds nothing that the records do not, and is made from them: it can be deleted and made again.

    steps    step, epoch, batch, loss, learning_rate, images (blob of little-endian int64)
    scalars  step, name, value: metrics and validation values
    events   number, step, kind, content (JSON)
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from kernelearn.errors import StorageError
from kernelearn.recording.files.writer import INDEX
from kernelearn.recording.run import Run

_COLUMNS = ("epoch", "batch", "loss", "learning_rate")
_TABLES = {
    "about": "run TEXT, generation INTEGER",
    "steps": "step INTEGER PRIMARY KEY, epoch INTEGER, batch INTEGER, loss REAL, learning_rate REAL, "
    "images BLOB",
    "scalars": "step INTEGER, name TEXT, value REAL, PRIMARY KEY (step, name)",
    "events": "number INTEGER PRIMARY KEY, step INTEGER, kind TEXT, content TEXT",
}


# SQLite's page, and what it takes for tables without rows.
_PAGE = 4096
EMPTY_INDEX_BYTES = 8 * _PAGE


def index_bytes(images: int, metrics: Iterable[str]) -> int:
    """What the index takes for a step, at most: rows that do not share a page have one of their own."""
    row = 8 * images + 64
    alone = -(-row // (_PAGE - 64)) * _PAGE
    shared = _PAGE // max((_PAGE - 64) // row, 1)
    return max(alone if row > _PAGE else 0, shared) + sum(2 * len(name) + 64 for name in metrics)


def update_index(folder: Any) -> Path:
    """Make the index of a run, or add what it lacks; gives its path.

    Raises: StorageError if it cannot be written; FormatError if the run cannot be read.
    """
    run = Run(folder)
    path = run.folder / INDEX
    try:
        with closing(sqlite3.connect(path)) as connection:
            _fill(connection, run)
    except sqlite3.DatabaseError:
        path.unlink(missing_ok=True)  # damaged, or of something else
        try:
            with closing(sqlite3.connect(path)) as connection:
                _fill(connection, run)
        except sqlite3.DatabaseError as error:
            raise StorageError(f"The index {str(path)!r} could not be written: {error}.") from error
    return path


def _fill(connection: sqlite3.Connection, run: Run) -> None:
    key = (run.manifest["run"], run.manifest["generation"])
    # NOTE: it can be made again, so nothing waits for the disk (0.1 s, as long as a short training may take).
    connection.execute("PRAGMA synchronous = OFF")
    with connection:
        for table, columns in _TABLES.items():
            connection.execute(f"CREATE TABLE IF NOT EXISTS {table} ({columns})")
        if connection.execute("SELECT run, generation FROM about").fetchone() != key:
            for table in ("about", "steps", "scalars", "events"):
                connection.execute(f"DELETE FROM {table}")
            connection.execute("INSERT INTO about VALUES (?, ?)", key)
        known = connection.execute("SELECT COALESCE(MAX(step), 0) FROM steps").fetchone()[0]
        connection.executemany("INSERT OR REPLACE INTO steps VALUES (?,?,?,?,?,?)", _step_rows(run, known))
        connection.executemany("INSERT OR REPLACE INTO scalars VALUES (?,?,?)", _scalar_rows(run, known))
        connection.execute("DELETE FROM events")
        connection.executemany("INSERT INTO events VALUES (?,?,?,?)", _event_rows(run))


def _step_rows(run: Run, known: int) -> Iterator[tuple[Any, ...]]:
    columns = [dict(zip(*map(np.ndarray.tolist, run.scalars(name)))) for name in _COLUMNS]
    for step, images in run.batches(known):
        yield (step, *[column[step] for column in columns], images.astype("<i8").tobytes())


def _scalar_rows(run: Run, known: int) -> Iterator[tuple[Any, ...]]:
    for name in run.scalar_names:
        if name in (*_COLUMNS, "iteration"):
            continue
        for step, value in zip(*map(np.ndarray.tolist, run.scalars(name))):
            if step > known or name.startswith("val_"):
                yield step, name, value


def _event_rows(run: Run) -> Iterator[tuple[Any, ...]]:
    for number, event in enumerate(run.events):
        yield number, event["step"], event["kind"], json.dumps(event)
