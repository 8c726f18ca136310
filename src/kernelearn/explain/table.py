"""A small table of results: prints itself, shows itself in a notebook, and turns into dicts or CSV."""

from __future__ import annotations

import csv
import html
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kernelearn.errors import unknown_name
from kernelearn.storage import PathLike, atomic_write

# Shown as 0: what sums of float64 products leave of a zero.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Table:
    """Rows of values under named columns.

    Attributes:
        columns: names.
        rows: one value per column in each; text, numbers, bools, None, or tuples of these.
        title: printed above; "" for none.

    >>> print(Table(("layer", "size"), (("conv", (3, 3)), ("dense", None)), title="Fields"))
    Fields
    layer  size
    conv   3 x 3
    dense  -
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    title: str = ""

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (dict(zip(self.columns, row)) for row in self.rows)

    def __getitem__(self, key: int | str) -> Any:
        """A row as a dict, by number; or a column as a list, by name."""
        if not isinstance(key, str):
            return dict(zip(self.columns, self.rows[key]))
        if key not in self.columns:
            raise unknown_name("column", key, self.columns)
        index = self.columns.index(key)
        return [row[index] for row in self.rows]

    def cells(self) -> list[list[str]]:
        """The rows as they are shown: text, four digits to a number."""
        return [[_short(value) for value in row] for row in self.rows]

    @property
    def is_numeric(self) -> list[bool]:
        """Which columns hold numbers, which stand right."""
        return [
            bool(self.rows) and all(_is_number(row[i]) or row[i] is None for row in self.rows)
            for i in range(len(self.columns))
        ]

    def to_dict(self) -> dict[str, list[Any]]:
        """Column name -> its values, as JSON values."""
        return {name: [_plain(value) for value in self[name]] for name in self.columns}

    def to_csv(self, path: PathLike | None = None) -> str:
        """The table as CSV, with a header; also written to `path` if given."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows([_exact(value) for value in row] for row in self.rows)
        if path is not None:
            with atomic_write(Path(path)) as file:
                file.write(text.getvalue().encode("utf-8"))
        return text.getvalue()

    def __str__(self) -> str:
        cells = [list(self.columns), *self.cells()]
        widths = [max(len(row[i]) for row in cells) for i in range(len(self.columns))]
        lines = ["  ".join(map(_padded, row, widths, self.is_numeric)).rstrip() for row in cells]
        return "\n".join([self.title, *lines] if self.title else lines)

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{html.escape(name)}</th>" for name in self.columns)
        rows = ("".join(f"<td>{html.escape(text)}</td>" for text in row) for row in self.cells())
        body = "".join(f"<tr>{row}</tr>" for row in rows)
        caption = f"<caption>{html.escape(self.title)}</caption>" if self.title else ""
        return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


def _padded(text: str, width: int, is_numeric: bool) -> str:
    return text.rjust(width) if is_numeric else text.ljust(width)


def _short(value: Any) -> str:
    """As shown to people: four digits, yes and no, sizes as 3 x 3."""
    if value is None:
        return "-"
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, float | np.floating):
        return f"{float(value):.4g}" if abs(float(value)) > _ROUNDING else "0"
    if isinstance(value, tuple):
        return " x ".join(map(_short, value))
    return str(value)


def _exact(value: Any) -> str:
    """As written to files: nothing rounded."""
    if value is None:
        return ""
    if isinstance(value, float | np.floating):
        return repr(float(value))
    if isinstance(value, tuple):
        return " x ".join(map(_exact, value))
    return str(value)


def _plain(value: Any) -> Any:
    """As JSON."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(one) for one in value]
    return value
