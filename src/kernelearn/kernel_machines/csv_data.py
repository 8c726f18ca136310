"""Reading a table from CSV for the kernel machines: header, delimiter, target column, missing values."""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kernelearn.errors import ArgumentError, DataError

_MISSING = {"", "?", "na", "nan", "null", "none"}
_MAX_LEVELS = 20
_MAX_CLASSES = 20


@dataclass(frozen=True)
class Table:
    """Features (n, d) float64 with their names, the target (n,), its name, and how many rows were dropped."""

    features: np.ndarray
    names: list[str]
    target: np.ndarray
    target_name: str
    dropped: int

    @property
    def is_classification(self) -> bool:
        """Whether the target looks like labels: text, or at most 20 distinct whole numbers."""
        if self.target.dtype.kind != "f":
            return True
        return len(np.unique(self.target)) <= _MAX_CLASSES and bool(
            np.all(self.target == np.round(self.target))
        )


def read_table(
    path: Path, target: str | None = None, delimiter: str | None = None, drop_missing: bool = False
) -> Table:
    """Read a CSV file.

    Args:
        target: name or number (from 0, negative from the end) of the target column; None for the last.
        delimiter: one character; None to find out.
        drop_missing: leave out rows with empty fields, "?", "NA" or "nan" instead of refusing the file.
    Raises: DataError naming the file and line, ArgumentError for an unknown target column.
    """
    header, rows = _split_header(_read_rows(path, delimiter), path)
    complete = [row for row in rows if not any(field.strip().lower() in _MISSING for field in row)]
    if len(complete) < len(rows) and not drop_missing:
        raise DataError(
            f"{path} has {len(rows) - len(complete)} rows with missing values. "
            "Use --drop-missing to leave them out, or fill them in."
        )
    if not complete:
        raise DataError(f"{path} has no complete rows of data.")
    position = _target_position(header, target)
    columns = list(zip(*complete))
    features, names = _features(columns, header, position, path)
    labels = _numbers(columns[position])
    text = np.array([field.strip() for field in columns[position]])
    return Table(
        features, names, text if labels is None else labels, header[position], len(rows) - len(complete)
    )


def _read_rows(path: Path, delimiter: str | None) -> list[list[str]]:
    if not Path(path).exists():
        raise DataError(f"There is no file {str(path)!r}; give a table, one sample a row.")
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as text: {error}.") from error
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        raise DataError(f"{path} is empty.")
    rows = list(csv.reader(lines, delimiter=delimiter or _guess(lines[0])))
    for number, row in enumerate(rows, start=1):
        if len(row) != len(rows[0]):
            raise DataError(
                f"{path}, row {number}: expected {len(rows[0])} fields as in the first row, got {len(row)}."
            )
    if len(rows[0]) < 2:
        raise DataError(f"{path} has one column only; give the delimiter with --delimiter if this is wrong.")
    return rows


def _guess(line: str) -> str:
    counts = {mark: line.count(mark) for mark in ",;\t| "}
    return max(counts, key=lambda mark: counts[mark])


def _split_header(rows: list[list[str]], path: Path) -> tuple[list[str], list[list[str]]]:
    """Names and data: the first row is a header when none of its fields is a number."""
    if any(_number(field) is not None or field.strip().lower() in _MISSING for field in rows[0]):
        return [f"x{i}" for i in range(len(rows[0]))], rows
    if len(rows) < 2:
        raise DataError(f"{path} has a header and no rows.")
    return [field.strip() for field in rows[0]], rows[1:]


def _target_position(header: list[str], target: str | None) -> int:
    if target is None:
        return len(header) - 1
    if target in header:
        return header.index(target)
    try:
        return range(len(header))[int(target)]
    except (ValueError, IndexError):
        raise ArgumentError(f"No column {target!r}. Columns: {', '.join(header)}.") from None


def _features(
    columns: list[tuple[str, ...]], header: list[str], position: int, path: Path
) -> tuple[np.ndarray, list[str]]:
    """Numbers as they are; text with few different values as one 0/1 column per value."""
    parts: list[np.ndarray] = []
    names: list[str] = []
    for index, column in enumerate(columns):
        if index == position:
            continue
        numbers = _numbers(column)
        if numbers is not None:
            parts.append(numbers)
            names.append(header[index])
            continue
        levels = sorted({field.strip() for field in column})
        if len(levels) > _MAX_LEVELS:
            raise DataError(
                f"{path}, column {header[index]!r} is text with {len(levels)} different values; at most "
                f"{_MAX_LEVELS} can be used as categories. Remove the column or encode it as numbers."
            )
        parts += [np.array([float(field.strip() == level) for field in column]) for level in levels]
        names += [f"{header[index]}={level}" for level in levels]
    return np.column_stack(parts), names


def _numbers(column: tuple[str, ...]) -> np.ndarray | None:
    values = [_number(field) for field in column]
    return None if any(value is None for value in values) else np.array(values, dtype=np.float64)


def _number(field: str) -> float | None:
    try:
        value = float(field)
    except ValueError:
        return None
    return value if np.isfinite(value) else None
