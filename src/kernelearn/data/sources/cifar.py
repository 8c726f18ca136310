"""CIFAR-10 and CIFAR-100 in their binary version: a folder of .bin files, or the .tar.gz as published.

A record is one label byte (CIFAR-100: a coarse and a fine one), then 3072 bytes, the red, green and blue
plane of a 32 x 32 picture, each row by row (Krizhevsky, https://www.cs.toronto.edu/~kriz/cifar.html).
The "python version" is refused: it is made of pickles, and reading a pickle runs what is written in it.
"""

import io
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import numpy as np

from kernelearn.data.archives import read_values, tar_files
from kernelearn.data.arrays import check_range
from kernelearn.data.dataset import Dataset
from kernelearn.data.sources.common import Parts, ReadOptions, assemble, image_dataset, local_name
from kernelearn.errors import ArgumentError, DataError
from kernelearn.formats.foreign import Reader, open_plain, read_claimed, refused

_PIXELS = 3 * 32 * 32
_BATCH = re.compile(r"(data_batch_\d+|test_batch|train|test)\.bin")
_PICKLE = re.compile(r"data_batch_\d+|test_batch|batches\.meta")
_TEXTS = ("batches.meta.txt", "fine_label_names.txt", "coarse_label_names.txt")
_MAX_TEXT = 1 << 16  # bytes of a list of class names
_AT_ONCE = 4096  # records
_NAMES_10 = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
# What the list of sources says of it.
ACCEPTED = (("CIFAR-10 or CIFAR-100", "binary version: a folder of .bin files or the .tar.gz"),)


def matches(source: object) -> bool:
    """Whether `source` is a folder or tar of CIFAR files of either version."""
    if not isinstance(source, Path):
        return False
    if source.is_dir():
        names = {path.name for path in source.iterdir() if path.is_file()}
        return any(_BATCH.fullmatch(name) for name in names) or _is_python(names)
    return source.name.lower().endswith((".tar.gz", ".tgz", ".tar"))


def read(source: Path, options: ReadOptions) -> Parts:
    """Train and test part. CIFAR-100 has its 100 fine labels, or with y_column="coarse" its 20 coarse ones.

    Raises: DataError for pickles, truncated files and labels out of range.
    """
    contents = _folder_files(source) if source.is_dir() else tar_files(source, options.max_bytes)
    found = _Found()
    for name, size, file in contents:
        found.take(PurePosixPath(name).name, size, file, source)
    if found.batches:
        return _assembled(found, source, options)
    if _is_python(found.names):
        raise DataError(
            f"{source} is the Python version of CIFAR, made of pickles; reading a pickle runs the code in "
            "it, so kernelearn does not. Use the binary version (cifar-10-binary.tar.gz or "
            "cifar-100-binary.tar.gz)."
        )
    raise DataError(
        f"{source} holds no CIFAR .bin files, the only tar that is read. Unpack it and give the folder."
    )


class _Found:
    """What is taken from the files of a folder or a tar, one after another.

    Attributes:
        names: of all files.
        texts: name -> text, of the lists of class names.
        batches: name -> (label bytes (n, 1 or 2), images (n, 32, 32, 3)), uint8.
    """

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.texts: dict[str, list[str]] = {}
        self.batches: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def take(self, name: str, size: int, file: Reader, source: Path) -> None:
        self.names.add(name)
        if name in _TEXTS:
            with refused(f"{name} in {source}"):
                self.texts[name] = read_claimed(file, min(size, _MAX_TEXT)).decode().split()
        if _BATCH.fullmatch(name):
            label_bytes = 2 if name in ("train.bin", "test.bin") else 1
            with refused(f"{name} in {source}"):
                self.batches[name] = _records(file, size, label_bytes, f"{name} in {source}")


def _is_python(names: set[str]) -> bool:
    return any(_PICKLE.fullmatch(name) for name in names) or {"train", "test", "meta"} <= names


def _folder_files(folder: Path) -> Iterator[tuple[str, int, BinaryIO]]:
    """(name, size, content ready to read) of each file; those that are of no use stay closed."""
    for path in sorted(folder.iterdir()):
        if not path.is_file():
            continue
        if _BATCH.fullmatch(path.name) or path.name in _TEXTS:
            with open_plain(path) as file:
                yield path.name, os.fstat(file.fileno()).st_size, file
        else:
            yield path.name, 0, io.BytesIO()


def _records(file: Reader, size: int, label_bytes: int, what: str) -> tuple[np.ndarray, np.ndarray]:
    """Labels and images of one file of records; read in pieces, so that images are in memory once."""
    record = label_bytes + _PIXELS
    count = size // record
    if not size or size % record:
        raise DataError(
            f"{what} is truncated: {size:,} bytes are no multiple of a record's {record:,}. Fetch it again."
        )
    labels, images = np.empty((count, label_bytes), np.uint8), np.empty((count, 32, 32, 3), np.uint8)
    for start in range(0, count, _AT_ONCE):
        rows = min(_AT_ONCE, count - start)
        piece = read_values(file, rows * record)
        if len(piece) < rows * record:
            raise DataError(f"{what} is truncated: it has fewer than the {size:,} bytes it claims.")
        piece = piece.reshape(rows, record)
        labels[start : start + rows] = piece[:, :label_bytes]
        planes = piece[:, label_bytes:].reshape(-1, 3, 32, 32)
        images[start : start + rows] = planes.transpose(0, 2, 3, 1)
    return labels, images


def _assembled(found: _Found, source: Path, options: ReadOptions) -> Parts:
    is_100 = "train.bin" in found.batches or "test.bin" in found.batches
    column = _label_column(options.y_column, is_100)
    class_names = _class_names(found.texts, is_100, column)
    parts: dict[str, Dataset | None] = {}
    for role in ("train", "test"):
        names = sorted(name for name in found.batches if name.startswith("test") == (role == "test"))
        if names:
            what = f"the {role} part of {source}"
            labels, images = _joined([found.batches.pop(name) for name in names], what)
            check_range(labels[:, column], len(class_names), what)
            parts[role] = image_dataset(
                images, labels[:, column].astype(np.int64), _as_is(options), class_names, what
            )
    return assemble(local_name(source), parts)


def _joined(batches: list[tuple[np.ndarray, np.ndarray]], what: str) -> tuple[np.ndarray, np.ndarray]:
    """Labels and images of all batches, each let go once it is copied."""
    if len({labels.shape[1] for labels, _ in batches}) > 1:
        raise DataError(f"{what} has files of CIFAR-10 and of CIFAR-100. Give each a folder of its own.")
    total = sum(len(labels) for labels, _ in batches)
    all_labels = np.concatenate([labels for labels, _ in batches])
    images = np.empty((total, 32, 32, 3), np.uint8)
    end = total
    while batches:
        _, part = batches.pop()
        images[end - len(part) : end] = part
        end -= len(part)
    return all_labels, images


def _label_column(y_column: str | None, is_100: bool) -> int:
    """Which label byte to use."""
    if not is_100 or y_column is None:
        return 1 if is_100 else 0
    columns = {"coarse": 0, "coarse_label": 0, "fine": 1, "fine_label": 1}
    if y_column not in columns:
        raise ArgumentError(f'y_column of CIFAR-100 must be "fine" or "coarse", got {y_column!r}.')
    return columns[y_column]


def _class_names(texts: dict[str, list[str]], is_100: bool, column: int) -> list[str]:
    if not is_100:
        return texts.get("batches.meta.txt") or _NAMES_10
    name = ("coarse_label_names.txt", "fine_label_names.txt")[column]
    return texts.get(name) or [str(index) for index in range((20, 100)[column])]


def _as_is(options: ReadOptions) -> ReadOptions:
    return replace(options, channels_first=False)
