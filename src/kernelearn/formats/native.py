"""The package's own file format, suffix `.kernelearn`: a zip with one JSON file and one .npy file an array.

Members, all stored without compression, so that no file can unpack to more than its own size:

    kernelearn.json     {"format", "format_version", "library_version", "config", "arrays": {name: member}}
    arrays/NAME.npy     NumPy's array format, little-endian, C order, never pickled

Equal content gives equal bytes. A file that is not exactly what was written gives a FormatError.
"""

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Mapping
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from kernelearn import __version__
from kernelearn.errors import ArgumentError, FormatError
from kernelearn.formats import npy
from kernelearn.formats.foreign import open_plain, parse_json
from kernelearn.formats.json_shape import Every, check_json
from kernelearn.formats.safe_zip import COPY, SafeZip, damaged
from kernelearn.storage import PathLike, atomic_write

SUFFIX = ".kernelearn"
FORMAT_NAME = "kernelearn"
FORMAT_VERSION = 1
DEFAULT_MAX_BYTES = 16 * 2**30

HEADER = "kernelearn.json"
_FIXED_DATE = (1980, 1, 1, 0, 0, 0)
_NAME_LIMIT = 1000

_FOREIGN = (
    (b"\x89HDF\r\n\x1a\n", "it is an HDF5 file, as older Keras versions write"),
    (b"\x80", "it looks like a Python pickle, which is never opened because loading one can run code"),
    (b"\x93NUMPY", "it is a NumPy .npy file"),
    (b"{", "it looks like JSON"),
)
_FOREIGN_MEMBERS = (
    ("metadata.json", "it looks like a .keras file"),
    ("data.pkl", "it looks like a PyTorch file"),
)


_HEADER_SHAPE = {"config": dict, "arrays": Every({"sha256": str, "dtype": str, "shape": [int]})}


class _Member(NamedTuple):
    """What the header says about one array."""

    sha256: str
    dtype: str
    shape: list[int]


def write(path: PathLike, config: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """Write a config and named arrays into one file, atomically.

    Args:
        path: the file, usually with the suffix `.kernelearn`.
        config: JSON-able; NumPy numbers become plain ones and tuples lists. Floats come back exactly.
        arrays: name -> array of numbers or booleans, any shape. Names may hold `/` but no `..`.
    Raises: ArgumentError for content that the format cannot hold, StorageError if it cannot be written.

    >>> import tempfile, numpy as np
    >>> path = tempfile.mkdtemp() + "/weights.kernelearn"
    >>> write(path, {"epoch": 3}, {"conv/kernel": np.ones((3, 3, 1, 2))})
    >>> config, arrays = read(path)
    >>> config["epoch"], arrays["conv/kernel"].shape
    (3, (3, 3, 1, 2))
    """
    plain = {name: _plain_array(name, array) for name, array in arrays.items()}
    header = _header_bytes(config, {name: _describe(array) for name, array in plain.items()})
    with atomic_write(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(_zip_entry(HEADER), header)
        for name, array in plain.items():
            archive.writestr(_zip_entry(_member_name(name)), _npy_bytes(array))


def read(path: PathLike, max_bytes: int = DEFAULT_MAX_BYTES) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The config and the arrays of a file, in the order in which they were written.

    Args:
        max_bytes: largest total size of the content, in bytes, that is read into memory.
    Raises: FormatError if the file is truncated, damaged, foreign, from a newer version or too large;
        FileNotFoundError if there is none.
    """
    with open_plain(path, FormatError) as file:
        archive = _open_archive(file, path, max_bytes)
        header = _read_header(archive, path)
        _check_complete(archive.names(), header["arrays"], path)
        arrays = {
            name: _read_array(archive, _member_name(name), _Member(**about), path)
            for name, about in header["arrays"].items()
        }
    return header["config"], arrays


def read_config(path: PathLike, max_bytes: int = DEFAULT_MAX_BYTES) -> dict[str, Any]:
    """The config alone, without reading the arrays; errors as of `read`."""
    with open_plain(path, FormatError) as file:
        config: dict[str, Any] = _read_header(_open_archive(file, path, max_bytes), path)["config"]
    return config


def seems(start: bytes, members: set[str]) -> str:
    """What a file that is not ours looks like, as a clause; "" for nothing known.

    Args:
        start: its first bytes.
        members: of a zip.
    """
    names = {name.rpartition("/")[2] for name in members}
    known = [text for magic, text in _FOREIGN if start.startswith(magic)]
    known += [text for name, text in _FOREIGN_MEMBERS if name in names]
    return known[0] if known else ""


def begins(start: bytes, members: set[str]) -> str:
    """What is in a file of an unknown kind."""
    if not start:
        return "it is empty"
    if members:
        return f"it is a zip that holds {', '.join(sorted(members)[:3])}"
    if start.startswith(b"PK"):
        return "it is a zip that is damaged or cut off"
    text = start[:24].decode("latin-1").strip()
    if text.isascii() and text.isprintable():
        return f"it is text that begins with {text!r}"
    return f"its first bytes, {start[:8].hex(' ')}, are those of no format that is read here"


def _plain_array(name: str, array: Any) -> np.ndarray:
    """The array as it will be stored: little-endian, C order."""
    _check_name(name)
    array = np.asarray(array, order="C")
    if array.dtype.kind not in npy.NUMBERS:
        raise ArgumentError(
            f"Array {name!r} has dtype {array.dtype}; only arrays of numbers and booleans can be saved."
        )
    plain: np.ndarray = array.astype(array.dtype.newbyteorder("<"), copy=False)
    return plain


def _check_name(name: str) -> None:
    parts = name.split("/") if isinstance(name, str) else []
    is_plain = parts and all(part not in ("", ".", "..") for part in parts) and "\\" not in name
    if not is_plain or "\0" in name or len(name) > _NAME_LIMIT:
        raise ArgumentError(
            f"Array name {name!r} cannot be saved: use words joined by '/', "
            "without empty parts, '..' or backslashes."
        )


def _member_name(name: str) -> str:
    return f"arrays/{name}.npy"


def _zip_entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _FIXED_DATE)
    entry.create_system = 3
    entry.external_attr = 0o644 << 16
    return entry


def _npy_bytes(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, version=(1, 0), allow_pickle=False)
    return buffer.getvalue()


def _describe(array: np.ndarray) -> dict[str, Any]:
    digest = hashlib.sha256(_npy_bytes(array)).hexdigest()
    return _Member(digest, array.dtype.name, list(array.shape))._asdict()


def _header_bytes(config: Mapping[str, Any], members: Mapping[str, dict[str, Any]]) -> bytes:
    header = {
        "format": FORMAT_NAME,
        "format_version": FORMAT_VERSION,
        "library_version": __version__,
        "config": config,
        "arrays": members,
    }
    _check_keys(config, "config")
    try:
        return json.dumps(header, indent=1, default=_plain_number).encode()
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"The config cannot be saved as JSON: {error}.") from error


def _check_keys(value: Any, where: str) -> None:
    # json turns {1: ...} into {"1": ...} in silence: what comes back would not be what was saved.
    if isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                raise ArgumentError(f"The config cannot be saved: key {key!r} in {where} is not a string.")
            _check_keys(item, f"{where}[{key!r}]")
    elif isinstance(value, list | tuple):
        for i, item in enumerate(value):
            _check_keys(item, f"{where}[{i}]")


def _plain_number(value: Any) -> Any:
    if isinstance(value, np.generic) and value.dtype.kind in "biuf":
        return value.item()
    raise TypeError(f"{value!r} of type {type(value).__name__} is not JSON; save arrays in `arrays`")


def _open_archive(file: BinaryIO, path: PathLike, max_bytes: int) -> SafeZip:
    start = file.read(24)
    if not start.startswith(b"PK"):
        raise _not_ours(path, start)
    archive = SafeZip(file, path, max_bytes)
    if HEADER not in archive.names():
        raise _foreign(path, f"it is a zip without {HEADER}; {seems(b'PK', archive.names())}")
    return archive


def _read_header(archive: SafeZip, path: PathLike) -> dict[str, Any]:
    header = parse_json(archive.read(HEADER), f"{os.fspath(path)!r}: {HEADER}", FormatError, COPY)
    if not isinstance(header, dict) or header.get("format") != FORMAT_NAME:
        raise _foreign(path, f"its {HEADER} does not say so")
    _check_version(header, path)
    _check_header(header, path)
    return header


def _check_version(header: dict[str, Any], path: PathLike) -> None:
    version = header.get("format_version")
    if not isinstance(version, int) or version < 1:
        raise damaged(path, f"format_version is {version!r}")
    if version > FORMAT_VERSION:
        raise FormatError(
            f"{os.fspath(path)!r} was written by kernelearn {header.get('library_version')} in format "
            f"{version}; this is kernelearn {__version__}, which reads formats up to {FORMAT_VERSION}. "
            "Install a newer version: pip install -U kernelearn"
        )


def _check_header(header: dict[str, Any], path: PathLike) -> None:
    check_json(header, _HEADER_SHAPE, f"{os.fspath(path)!r}: {HEADER}", FormatError)
    for name, about in header["arrays"].items():
        if set(about) != set(_Member._fields):
            raise damaged(path, f"the description of array {name!r} is incomplete")


def _check_complete(names: set[str], arrays: Mapping[str, dict[str, Any]], path: PathLike) -> None:
    expected = {HEADER, *map(_member_name, arrays)}
    if expected - names:
        raise damaged(path, f"{min(expected - names)!r} is missing")
    if names - expected:
        raise damaged(path, f"{min(names - expected)!r} does not belong there")


def _read_array(archive: SafeZip, member: str, about: _Member, path: PathLike) -> np.ndarray:
    content = archive.read(member)
    if hashlib.sha256(content).hexdigest() != about.sha256:
        raise damaged(path, f"{member} is not what was written (its checksum differs)")
    what = f"{os.fspath(path)!r}: {member}"
    array = npy.parse(content, what, npy.NUMBERS, FormatError, COPY)
    if [array.dtype.name, list(array.shape)] != [about.dtype, about.shape]:
        found = f"{array.dtype} of shape {array.shape}"
        raise damaged(path, f"{member} is {found}, the header says {about.dtype} of shape {about.shape}")
    return array.astype(array.dtype.newbyteorder("="), order="C", copy=True)


def _not_ours(path: PathLike, start: bytes) -> FormatError:
    if not start:
        return damaged(path, "it is empty")
    detail = seems(start, set()) or f"{begins(start, set())}; expected what is saved as {SUFFIX}"
    return _foreign(path, detail)


def _foreign(path: PathLike, detail: str) -> FormatError:
    return FormatError(f"{os.fspath(path)!r} is not a kernelearn file: {detail.rstrip(' ;')}.")
