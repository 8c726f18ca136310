"""IDX files, the format of MNIST: a folder of them, or one images file, gzipped or not.

Format: bytes 0 0 type ndim, then ndim big-endian uint32 sizes, then the values, big-endian, last axis
fastest (LeCun, Cortes and Burges, http://yann.lecun.com/exdb/mnist/).
"""

import gzip
import math
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np

from kernelearn.data.archives import read_values, size_limit, unpacked
from kernelearn.data.dataset import Dataset
from kernelearn.data.sources.common import Parts, ReadOptions, assemble, image_dataset, local_name
from kernelearn.errors import DataError
from kernelearn.formats.foreign import Reader

_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_CODES = {np.dtype(name).newbyteorder("=").str.lstrip("<>|="): code for code, name in _TYPES.items()}
_FILE = re.compile(r"(?P<prefix>.*?)[-_.]?(?P<what>images|labels)[-_.]idx\d[-_.]\w+?(\.gz)?", re.IGNORECASE)
_ROLES = (("t10k", "test"), ("test", "test"), ("valid", "validation"), ("train", "train"))
# What the list of sources says of it.
ACCEPTED = (("a folder of IDX files", "MNIST's format, gzipped or not: train-images-idx3-ubyte ..."),)


def matches(source: Any) -> bool:
    """Whether `source` is an IDX images file or a folder with one."""
    if not isinstance(source, Path):
        return False
    return bool(_pairs(source)) if source.is_dir() else _FILE.fullmatch(source.name) is not None


def read(source: Path, options: ReadOptions) -> Parts:
    """Every images file with its labels file: `train-` is for training, `t10k-` or `test-` for testing.

    Raises: DataError for a missing partner, a damaged file, or two sets of images for one part.
    """
    if source.is_dir():
        return _read_sets(_pairs(source), source, options)
    match = _FILE.fullmatch(source.name)
    if match is None or match["what"].lower() != "images":
        raise DataError(f"{source} holds labels; give the images file, or the folder of both.")
    partners = {
        key: files for key, files in _pairs(source.parent).items() if _family(key) == _family(match["prefix"])
    }
    return _read_sets(partners, source, options)


def read_idx(path: Path, max_bytes: int = 1 << 34) -> np.ndarray:
    """One IDX file as an array in native byte order.

    Raises: DataError if the file is no IDX file, is shorter or longer than its header says, or is larger
        than `max_bytes`.
    """
    with unpacked(path, max_bytes) as file:
        dtype, shape = _read_header(file, path)
        size = dtype.itemsize * math.prod(shape)
        if size > max_bytes:
            raise DataError(f"{path} declares {size:,} bytes, above the limit max_bytes={max_bytes:,}.")
        if size > size_limit(file, 4 + 4 * len(shape)):
            raise _wrong_length(path, "truncated", size, shape)
        values = read_values(file, size)
        if len(values) < size:
            raise _wrong_length(path, "truncated", size, shape)
        if file.read(1):  # reading on to the end also has gzip compare its checksum
            raise _wrong_length(path, "followed by more", size, shape)
        return values.view(dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)


def save_idx(path: str | Path, array: np.ndarray) -> None:
    """Write `array` as an IDX file, gzipped if the name ends in .gz.

    Raises: DataError for a type that IDX does not have.
    """
    code = _CODES.get(array.dtype.str.lstrip("<>|="))
    if code is None:
        raise DataError(f"IDX has no type for {array.dtype}; it has {', '.join(_CODES)}.")
    header = bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    content = header + array.astype(_TYPES[code]).tobytes()
    Path(path).write_bytes(gzip.compress(content) if str(path).endswith(".gz") else content)


def _read_header(file: Reader, path: Path) -> tuple[np.dtype, tuple[int, ...]]:
    """Type and shape of an IDX file. Raises: DataError if it is none."""
    head = file.read(4)
    if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in _TYPES or not 1 <= head[3] <= 8:
        raise DataError(
            f"{path} is no IDX file: it starts with {head.hex(' ') or 'nothing'}, expected 00 00 type ndim."
        )
    sizes = file.read(4 * head[3])
    if len(sizes) < 4 * head[3]:
        raise DataError(f"{path} is truncated inside its header. Fetch it again.")
    return np.dtype(_TYPES[head[2]]), struct.unpack(f">{head[3]}I", sizes)


def _wrong_length(path: Path, state: str, size: int, shape: tuple[int, ...]) -> DataError:
    return DataError(f"{path} is {state}: {size:,} bytes of values are expected for shape {shape}.")


def _pairs(folder: Path) -> dict[str, dict[str, Path]]:
    """prefix -> {"images": path, "labels": path}; an unpacked file wins over its .gz."""
    found: dict[str, dict[str, Path]] = {}
    for path in sorted(folder.iterdir(), key=lambda path: path.suffix != ".gz"):
        match = _FILE.fullmatch(path.name)
        if match is not None and path.is_file():
            found.setdefault(match["prefix"], {})[match["what"].lower()] = path
    return found


def _role(prefix: str) -> str:
    return next((role for word, role in _ROLES if word in prefix.lower()), "train")


def _family(prefix: str) -> str:
    """What prefixes of parts that belong together share: "emnist-letters-" of "emnist-letters-train"."""
    lower = prefix.lower()
    for word, _ in _ROLES:
        lower = lower.replace(word, "")
    return lower


def _read_sets(sets: dict[str, dict[str, Path]], source: Path, options: ReadOptions) -> Parts:
    parts: dict[str, Dataset | None] = {}
    chosen: dict[str, str] = {}
    for prefix, files in sorted(sets.items()):
        role = _role(prefix)
        if role in parts:
            raise DataError(
                f"{source} has several sets for the {role} part: {chosen[role]!r} and {prefix!r}. Give the "
                "images file of the one you mean."
            )
        parts[role], chosen[role] = _read_pair(files, options), prefix
    return assemble(local_name(source if source.is_dir() else source.parent), parts)


def _read_pair(files: dict[str, Path], options: ReadOptions) -> Dataset:
    for what, other in (("images", "labels"), ("labels", "images")):
        if what not in files:
            raise DataError(f"{files[other]} has no {what} file beside it. Both are needed.")
    images = read_idx(files["images"], options.max_bytes)
    labels = read_idx(files["labels"], options.max_bytes)
    return image_dataset(images, labels, options, what=str(files["images"]))
