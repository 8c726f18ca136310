"""CIFAR-10 and CIFAR-100 in their binary version: a folder of .bin files, or the .tar.gz as published.

A record is one label byte (CIFAR-100: a coarse and a fine one), then 3072 bytes, the red, green and blue
plane of a 32 x 32 picture, each row by row (Krizhevsky, https://www.cs.toronto.edu/~kriz/cifar.html).
The "python version" is refused: it is made of pickles, and reading a pickle runs what is written in it.
"""

import re
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from kernelearn.data.archives import open_tar, tar_files
from kernelearn.data.arrays import check_range
from kernelearn.data.dataset import Dataset
from kernelearn.data.sources.common import Parts, ReadOptions, assemble, image_dataset, local_name
from kernelearn.errors import ArgumentError, DataError

_PIXELS = 3 * 32 * 32
_BATCH = re.compile(r"(data_batch_\d+|test_batch|train|test)\.bin")
_PICKLE = re.compile(r"data_batch_\d+|test_batch|batches\.meta")
_NAMES_10 = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def matches(source: Any) -> bool:
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
    files = _folder_files(source) if source.is_dir() else _tar_contents(source, options.max_bytes)
    if any(_BATCH.fullmatch(name) for name in files):
        return _read_batches(files, source, options)
    if _is_python(set(files)):
        raise DataError(
            f"{source} is the Python version of CIFAR, made of pickles; reading a pickle runs the code in "
            "it, so kernelearn does not. Use the binary version (cifar-10-binary.tar.gz or "
            "cifar-100-binary.tar.gz)."
        )
    raise DataError(
        f"{source} holds no CIFAR .bin files, the only tar that is read. Unpack it and give the folder."
    )


def _is_python(names: set[str]) -> bool:
    return any(_PICKLE.fullmatch(name) for name in names) or {"train", "test", "meta"} <= names


def _folder_files(folder: Path) -> dict[str, bytes]:
    """Content of the files that matter, and the bare names of the others."""
    files = {}
    for path in sorted(folder.iterdir()):
        if path.is_file():
            files[path.name] = path.read_bytes() if _is_wanted(path.name) else b""
    return files


def _tar_contents(path: Path, max_bytes: int) -> dict[str, bytes]:
    files = {}
    with open_tar(path) as archive:
        for member, file in tar_files(archive, path, max_bytes):
            name = PurePosixPath(member.name).name
            files[name] = file.read() if _is_wanted(name) else b""
    return files


def _is_wanted(name: str) -> bool:
    return _BATCH.fullmatch(name) is not None or name in (
        "batches.meta.txt",
        "fine_label_names.txt",
        "coarse_label_names.txt",
    )


def _read_batches(files: dict[str, bytes], source: Path, options: ReadOptions) -> Parts:
    is_100 = "train.bin" in files or "test.bin" in files
    column = _label_column(options.y_column, is_100)
    class_names = _class_names(files, is_100, column)
    records: dict[str, list[np.ndarray]] = {}
    for name in sorted(files):
        if _BATCH.fullmatch(name):
            role = "test" if name.startswith("test") else "train"
            records.setdefault(role, []).append(
                _records(files[name], 2 if is_100 else 1, f"{name} in {source}")
            )
    parts: dict[str, Dataset | None] = {
        role: _dataset(
            np.concatenate(batches), is_100, column, class_names, f"the {role} part of {source}", options
        )
        for role, batches in records.items()
    }
    return assemble(local_name(source), parts)


def _label_column(y_column: str | None, is_100: bool) -> int:
    """Which label byte to use."""
    if not is_100 or y_column is None:
        return 1 if is_100 else 0
    columns = {"coarse": 0, "coarse_label": 0, "fine": 1, "fine_label": 1}
    if y_column not in columns:
        raise ArgumentError(f'y_column of CIFAR-100 must be "fine" or "coarse", got {y_column!r}.')
    return columns[y_column]


def _class_names(files: dict[str, bytes], is_100: bool, column: int) -> list[str]:
    if not is_100:
        return files.get("batches.meta.txt", b"").decode().split() or _NAMES_10
    name = ("coarse_label_names.txt", "fine_label_names.txt")[column]
    return files.get(name, b"").decode().split() or [str(index) for index in range((20, 100)[column])]


def _records(content: bytes, label_bytes: int, what: str) -> np.ndarray:
    size = label_bytes + _PIXELS
    if not content or len(content) % size:
        raise DataError(
            f"{what} is truncated: {len(content):,} bytes are no multiple of a record's {size:,}. Fetch it "
            "again."
        )
    return np.frombuffer(content, np.uint8).reshape(-1, size)


def _dataset(
    records: np.ndarray, is_100: bool, column: int, names: list[str], what: str, options: ReadOptions
) -> Dataset:
    labels = records[:, column].astype(np.int64)
    check_range(labels, len(names), what)
    planes = records[:, 2 if is_100 else 1 :].reshape(-1, 3, 32, 32)
    return image_dataset(
        np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), labels, _as_is(options), names, what
    )


def _as_is(options: ReadOptions) -> ReadOptions:
    return replace(options, channels_first=False)
