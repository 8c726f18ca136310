"""safetensors: named arrays behind a JSON header, without code. Weights of anybody, whole models of our own.

A file that `Model.save` wrote holds the config of the model in `__metadata__`, so that `load_model` makes it
again. Files of others hold weights alone; they go into a model that is there by `load_weights`. Which layout
they have is said by the file ("format": "pt") or by the caller, never guessed.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from kernelearn._optional import require
from kernelearn.errors import ArgumentError, FormatError, ShapeError
from kernelearn.formats.foreign import open_plain, parse_json, refused
from kernelearn.models import Model
from kernelearn.models.files import SLOTS, WEIGHTS_OF, model_from_parts, model_parts
from kernelearn.storage import PathLike, atomic_write, readable_size

Arrays = dict[str, NDArray[Any]]
# Type in a file -> NumPy's, and bytes of a number. NumPy has no bfloat16: it is the upper half of a float32.
_TYPES: dict[str, tuple[str, int]] = {
    "F64": ("<f8", 8),
    "F32": ("<f4", 4),
    "F16": ("<f2", 2),
    "BF16": ("<u2", 2),
    "I64": ("<i8", 8),
    "I32": ("<i4", 4),
    "I16": ("<i2", 2),
    "I8": ("|i1", 1),
    "U64": ("<u8", 8),
    "U32": ("<u4", 4),
    "U16": ("<u2", 2),
    "U8": ("|u1", 1),
    "BOOL": ("|b1", 1),
}
_KNOWN = frozenset(np.dtype(kind) for kind, _ in _TYPES.values())
_LONGEST_HEADER = 100_000_000  # bytes; the limit of the format's own library
_METADATA = "__metadata__"
_OWN = "kernelearn"  # key of the config in the metadata, and what "format" says
_SLOT = "__slots__/"  # before the names of the optimiser's arrays
COPY = "Nothing was loaded; use another copy of the file."


def read(path: PathLike) -> tuple[Arrays, dict[str, str]]:
    """The arrays of a file by name, and its metadata; bfloat16 as float32.

    Everything that the header says is checked before memory is taken for an array.

    Raises: FormatError if the file is damaged, or has a type that NumPy cannot hold.
    """
    library = require("safetensors", "reading .safetensors files")
    with open_plain(path, FormatError) as file:
        size = os.fstat(file.fileno()).st_size
        header = _header(path, file.read(8), file, size)
        metadata = _checked(path, header, size - 8 - header.pop("", 0))
        file.seek(0)
        content = file.read()
    with refused(repr(os.fspath(path)), FormatError, COPY):
        parts = library.deserialize(content)
    return {name: _array(part) for name, part in parts}, metadata


def _header(path: PathLike, start: bytes, file: Any, size: int) -> dict[str, Any]:
    """What the header says; its length under the name ""."""
    length = int.from_bytes(start, "little")
    if len(start) < 8 or length > min(_LONGEST_HEADER, size - 8):
        _refuse(path, f"its header claims {readable_size(length)}, the file has {readable_size(size)}")
    found: list[str] = []

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        found.extend(name for name in set(names) if names.count(name) > 1)
        return dict(pairs)

    text = file.read(length)
    parse_json(text, repr(os.fspath(path)), FormatError, COPY)
    with refused(repr(os.fspath(path)), FormatError, COPY):
        header = json.loads(text, object_pairs_hook=once)
    if found or not isinstance(header, dict) or "" in header:
        _refuse(path, f"its header has {found[0]!r} twice" if found else "its header is no table of arrays")
    return {**header, "": length}


def _checked(path: PathLike, header: dict[str, Any], space: int) -> dict[str, str]:
    """The metadata of a header whose arrays lie side by side and fill the file."""
    metadata = header.pop(_METADATA, {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        _refuse(path, "its metadata is no table of texts")
    places = sorted(_place(path, name, entry) for name, entry in header.items())
    end = 0
    for start, stop, name in places:
        if start != end:
            _refuse(path, f"{name!r} begins at byte {start}, where the array before it ends at {end}")
        end = stop
    if end != space:
        _refuse(path, f"its arrays take {end} bytes, and {space} are there")
    return metadata


def _place(path: PathLike, name: str, entry: Any) -> tuple[int, int, str]:
    """Where an array lies: (begin, end, name)."""
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        _refuse(path, f"{name!r} has no dtype, shape and data_offsets")
    kind, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(kind, str) or kind not in _TYPES:
        raise FormatError(
            f"{os.fspath(path)!r}: {name!r} is of type {kind!r}, which cannot be read here; known types are "
            f"{', '.join(_TYPES)}. Save it as F32."
        )
    if not _are_counts(shape) or not _are_counts(offsets) or len(offsets) != 2 or len(shape) > 32:
        _refuse(path, f"{name!r} has the shape {shape!r} and the offsets {offsets!r}")
    if offsets[1] - offsets[0] != math.prod(shape) * _TYPES[kind][1]:
        _refuse(path, f"{name!r} of shape {shape} and type {kind} takes {offsets[1] - offsets[0]} bytes")
    return offsets[0], offsets[1], name


def _are_counts(values: Any) -> bool:
    return isinstance(values, list) and all(type(v) is int and 0 <= v < 1 << 62 for v in values)


def _refuse(path: PathLike, what: str) -> NoReturn:
    raise FormatError(f"{os.fspath(path)!r} is damaged or no safetensors file: {what}. {COPY}")


def _array(part: Mapping[str, Any]) -> NDArray[Any]:
    kind = part["dtype"]
    array = np.frombuffer(part["data"], _TYPES[kind][0]).reshape(part["shape"])
    if kind == "BF16":
        return (array.astype(np.uint32) << 16).view(np.float32)
    return array.astype(array.dtype.newbyteorder("="))


def write(path: PathLike, arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> None:
    """Arrays by name, and texts, as one file, atomically.

    Raises: ArgumentError for a type that the format does not have.
    """
    library = require("safetensors.numpy", "writing .safetensors files")
    for name, array in arrays.items():
        if np.dtype(array.dtype.newbyteorder("<")) not in _KNOWN:
            raise ArgumentError(f"{name!r} has type {array.dtype}, which safetensors does not have.")
    content = library.save(
        {name: np.asarray(array, array.dtype.newbyteorder("="), order="C") for name, array in arrays.items()},
        dict(metadata),
    )
    with atomic_write(path) as file:
        file.write(content)


# --- models


def save_model(model: Model, path: PathLike) -> None:
    """A whole model: weights by their names, the optimiser's arrays, and the config in the metadata."""
    values, arrays = model_parts(model)
    named = {_outside(name): array for name, array in arrays.items()}
    write(path, named, {"format": _OWN, _OWN: json.dumps(values)})
    model.note_saved()


def _outside(name: str) -> str:
    return name.removeprefix(WEIGHTS_OF) if name.startswith(WEIGHTS_OF) else _SLOT + name.removeprefix(SLOTS)


def _inside(name: str) -> str:
    return SLOTS + name.removeprefix(_SLOT) if name.startswith(_SLOT) else WEIGHTS_OF + name


def load_model(path: PathLike, custom_objects: Any = None, compile: bool = True) -> Any:
    """A model that `Model.save` wrote.

    Raises: FormatError for a file that holds weights alone.
    """
    arrays, metadata = read(path)
    if _OWN not in metadata:
        raise FormatError(
            f"{os.fspath(path)!r} holds weights alone, no structure of a model ({len(arrays)} arrays, "
            f"{', '.join(list(arrays)[:3])} ...). Build the model and give it the weights: "
            "model.load_weights(path), "
            "or kernelearn.load_torch_state_dict(model, path) for the names and layouts of PyTorch."
        )
    values = parse_json(metadata[_OWN].encode(), f"{os.fspath(path)!r}: the config", FormatError, COPY)
    named = {_inside(name): array for name, array in arrays.items()}
    return model_from_parts(values, named, path, compile)


def save_weights(model: Model, path: PathLike) -> None:
    """The weights by their names here, in the layouts that they have here."""
    write(path, {name: w.numpy() for name, w in model.weight_paths().items()}, {"format": _OWN})
    model.note_saved()


def load_weights(
    model: Model,
    path: PathLike,
    by_name: bool = False,
    skip_mismatch: bool = False,
    by_position: bool = False,
) -> list[str]:
    """Weights of a file into a model, by name; see `Model.load_weights`.

    Names and layouts are PyTorch's if the file says so ("format": "pt"), else they must be the model's own.
    """
    from kernelearn.conversion.torch.states import assign

    arrays, metadata = read(path)
    arrays = {name: array for name, array in arrays.items() if not name.startswith(_SLOT)}
    if metadata.get("format") == "pt":
        return list(assign(model, arrays, None, not by_name, by_position, skip_mismatch, False))
    if by_position:
        raise ArgumentError(
            f"{os.fspath(path)!r} keeps no order of its arrays: weights go in by their names."
        )
    own = model.weight_paths()
    _check_names(path, list(own), arrays, by_name)
    odd = [name for name in own if name in arrays and own[name].shape != arrays[name].shape]
    if odd and not skip_mismatch:
        raise ShapeError(
            f"{os.fspath(path)!r}: {odd[0]!r} has shape {arrays[odd[0]].shape}, in the model "
            f"{own[odd[0]].shape}. "
            "Nothing was assigned; skip_mismatch=True leaves such weights as they are."
        )
    taken = [name for name in own if name in arrays and name not in odd]
    for name in taken:
        own[name].assign(arrays[name])
    return taken


def _check_names(path: PathLike, own: list[str], arrays: Arrays, by_name: bool) -> None:
    missing, extra = [n for n in own if n not in arrays], [n for n in arrays if n not in own]
    if (by_name and len(missing) < len(own)) or not (missing or extra):
        return
    raise FormatError(
        f"{os.fspath(path)!r} has other names than the model. Only the model has {missing[:6]}, only "
        "the file has "
        f"{extra[:6]}. Weights of PyTorch go in by kernelearn.load_torch_state_dict(model, path); "
        "by_name=True takes "
        "what agrees."
    )
