"""Hugging Face datasets: objects of the `datasets` library, or a folder written by its `save_to_disk`.

Objects are recognised by what they offer (features, column_names, rows by number), so the library is
needed only to open a folder. Nothing is fetched: name a set by loading it yourself.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kernelearn._optional import require
from kernelearn.data.dataset import Dataset
from kernelearn.data.images import decode, header_of
from kernelearn.data.ragged import agreed
from kernelearn.data.sources.common import (
    Parts,
    ReadOptions,
    assemble,
    clean_labels,
    image_dataset,
    local_name,
)
from kernelearn.data.stores import PictureStore, cached_if_small
from kernelearn.errors import DataError, FormatError
from kernelearn.formats.foreign import read_plain

_IMAGE_COLUMNS = ("image", "img", "images", "pixel_values", "pixels", "x")
_LABEL_COLUMNS = ("label", "labels", "fine_label", "target", "class", "y")
_ROLES = {
    "train": "train",
    "test": "test",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
}
_LOOKED_AT = 64  # first rows that decide between grey and colour
# What the list of sources says of it.
ACCEPTED = (("a Hugging Face dataset", "an object, or a folder from save_to_disk (x_column=, y_column=)"),)


def matches(source: Any) -> bool:
    """Whether `source` is such an object, a dict of them by part, or a folder of one."""
    if isinstance(source, Path):
        return source.is_dir() and any(
            (source / name).exists() for name in ("dataset_dict.json", "state.json")
        )
    if isinstance(source, Mapping):
        return bool(source) and all(_is_table(table) for table in source.values())
    return _is_table(source)


def read(source: Any, options: ReadOptions) -> Parts:
    """The parts "train", "test" and "validation" of a dict, or one dataset as a whole.

    Raises: DataError for unknown columns, pictures of mixed sizes or labels missing; MissingDependencyError
        for a folder without the `datasets` package.
    """
    name = "dataset"
    if isinstance(source, Path):
        name, source = local_name(source), _from_disk(source)
    tables = source if isinstance(source, Mapping) else {"train": source}
    parts: dict[str, Dataset | None] = {}
    for key, table in tables.items():
        role = _ROLES.get(str(key).lower())
        if role is None:
            raise DataError(
                f"The dataset has a part {key!r}; known are {', '.join(_ROLES)}. Choose: "
                f"load(dataset[{key!r}])."
            )
        parts[role] = _read_table(table, f"the {key} part", options)
    return assemble(name, parts)


def _is_table(value: Any) -> bool:
    return all(hasattr(value, name) for name in ("features", "column_names", "__getitem__", "__len__"))


def _from_disk(path: Path) -> Any:
    datasets = require("datasets", "Hugging Face dataset folders")
    try:
        return datasets.load_from_disk(str(path))
    except Exception as error:
        raise FormatError(f"{path} is no readable Hugging Face dataset: {error}") from error


def _read_table(table: Any, what: str, options: ReadOptions) -> Dataset:
    x_column = _column(table, options.x_column, _IMAGE_COLUMNS, "x_column")
    y_column = _column(table, options.y_column, _LABEL_COLUMNS, "y_column")
    if len(table) == 0:
        raise DataError(f"{what} of the dataset has no rows.")
    names = getattr(table.features.get(y_column), "names", None)
    y = _labels(table, y_column, what)
    if not _is_picture(table[0][x_column]):
        return image_dataset(_values(table[x_column]), y, options, names, f"{what}, column {x_column!r}")
    labels, class_names = clean_labels(y, f"labels of {what}", names or options.class_names)
    return Dataset(_pictures(table, x_column, what, options), labels, class_names=class_names)


def _column(table: Any, asked: str | None, usual: Sequence[str], argument: str) -> str:
    names = list(table.column_names)
    column = asked if asked is not None else next((name for name in usual if name in names), None)
    if column is None or column not in names:
        raise DataError(
            f"The dataset has the columns {names}, not {column or usual[0]!r}. Name the one to use: "
            f'{argument}="...".'
        )
    return column


def _labels(table: Any, column: str, what: str) -> np.ndarray:
    values = list(table[column])
    missing = [row for row, value in enumerate(values) if value is None]
    if missing:
        raise DataError(
            f"Column {column!r} of {what} has no label in row {missing[0]} ({len(missing)} in all). Filter "
            "them out."
        )
    return np.asarray(values)


def _values(column: Any) -> Any:
    return column if isinstance(column, np.ndarray) else [np.asarray(value) for value in column]


def _is_picture(value: Any) -> bool:
    is_pil = hasattr(value, "convert") and hasattr(value, "size")
    return (
        is_pil
        or isinstance(value, bytes)
        or (isinstance(value, Mapping) and {"bytes", "path"} & set(value) != set())
    )


def _content(cell: Any, name: str) -> Any:
    """What a cell holds of a picture: an open one, or the bytes of its file.

    Cells of columns that are not decoded are bytes or {"bytes": ..., "path": ...}.
    """
    if isinstance(cell, Mapping):
        cell = cell.get("bytes") or cell.get("path")
    if cell is None:
        raise DataError(f"{name} has no picture.")
    return read_plain(cell) if isinstance(cell, str) else cell


def _pictures(table: Any, column: str, what: str, options: ReadOptions) -> Any:
    """A store that decodes rows; the first rows say how large the pictures are and whether any has colour."""
    names = [f"row {row} of {what}" for row in range(len(table))]
    looked_at = len(table) if options.keeps_sizes else min(_LOOKED_AT, len(table))
    headers = [header_of(_content(table[row][column], names[row]), names[row]) for row in range(looked_at)]
    channels = options.channels or max(header.channels for header in headers)
    deep = any(header.is_deep for header in headers)
    height, width = options.resize or headers[0][:2]
    shapes = np.array([(*header[:2], channels) for header in headers], np.int64)
    shape = agreed(shapes.tolist()) if options.keeps_sizes else (height, width, channels)

    def fetched(row: int) -> Any:
        return _content(table[row][column], names[row])

    def decoded(content: Any, row: int) -> np.ndarray:
        header = header_of(content, names[row])
        if options.channels is None and header.channels > channels:
            raise DataError(
                f"{names[row]} has colour but the first rows have none. Give channels=3, or 1 for grey."
            )
        if header.is_deep and not deep:
            raise DataError(
                f"{names[row]} has more than 8 bits per value but the first rows have not. Convert the rows "
                "to one kind."
            )
        pixels = decode(content, channels, options.resize, names[row])
        if pixels.shape[:2] != (height, width) and not options.keeps_sizes:
            raise DataError(
                f"{names[row]} is {pixels.shape[0]} x {pixels.shape[1]} pixels (height x width), the first "
                f"is {height} x {width}: mixed sizes. Give resize=({height}, {width}) or another size, "
                "or resize='keep' for a network of any size."
            )
        return pixels

    several = shapes if None in shape else None
    store = PictureStore(fetched, decoded, len(table), shape, options.workers, deep, several)
    return cached_if_small(store, options.cache_bytes)
