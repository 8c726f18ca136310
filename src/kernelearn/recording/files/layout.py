"""How a record lies in its file: a header of 64 bytes, then arrays at fixed places, all little-endian.

    bytes 0-63   header: magic, layout, run, step, rows, number, time, checksums (`HEADER`)
    then         one array a field, each beginning at a multiple of 16 bytes
    whole        padded with zeros to a multiple of 64 bytes: record number r begins at r * record_bytes

All records of a file have the same length, so that any number of any record can be fetched by itself. The
checksum of the payload is written with it: a record that was not written whole is seen.
"""

from __future__ import annotations

import json
import math
import struct
import sys
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile
from typing import Any

import numpy as np

from kernelearn.errors import FormatError

MAGIC = 0x314C4E4B  # "KNL1"
HEADER_BYTES = 64
_FIELD_ALIGNMENT = 16
_RECORD_ALIGNMENT = 64
# Type of a field -> how `struct` writes one number of it, with the bytes up to the next field.
_PACKED = {"<f4": "f12x", "<f8": "d8x", "<i4": "i12x", "<i8": "q8x"}
_DTYPES = tuple(_PACKED)

HEADER = np.dtype(
    [
        ("magic", "<u4"),
        ("layout", "<u4"),  # checksum of the layout: records of another one are foreign
        ("run", "<u8"),
        ("step", "<i8"),
        ("number", "<u8"),  # of the record in its file
        ("time", "<f8"),  # seconds since 1970
        ("rows", "<u4"),  # images in arrays that hold one row an image
        ("unused", "<u4", 3),
        ("payload_checksum", "<u4"),
        ("header_checksum", "<u4"),
    ]
)
# The same for `struct`, which packs a header ten times faster than NumPy.
HEADER_FORMAT = struct.Struct("<IIQqQdI12xII")
CHECKSUM_FORMAT = struct.Struct("<I")


@dataclass(frozen=True)
class Field:
    """One array of a record.

    Attributes:
        name: as in `layer/kernel`.
        dtype: "<f4", "<f8", "<i4" or "<i8".
        shape: sizes; None in front stands for one row an image, at most `Layout.capacity` of them.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...]

    def sizes(self, capacity: int) -> tuple[int, ...]:
        """The shape with room for `capacity` images."""
        return tuple(capacity if size is None else size for size in self.shape)


@dataclass(frozen=True)
class Layout:
    """The arrays of the records of one file, in order.

    Attributes:
        name: of the stream, such as "kernels".
        capacity: most images that a record has room for.
    """

    name: str
    fields: tuple[Field, ...]
    capacity: int = 1

    @cached_property
    def offsets(self) -> dict[str, int]:
        """Field name -> its first byte in a record."""
        offsets, end = {}, HEADER_BYTES
        for field in self.fields:
            offsets[field.name] = end
            size = math.prod(field.sizes(self.capacity)) * np.dtype(field.dtype).itemsize
            end = _rounded_up(end + size, _FIELD_ALIGNMENT)
        return offsets

    @cached_property
    def record_bytes(self) -> int:
        """Length of a record."""
        end = HEADER_BYTES
        for field in self.fields:
            end = self.offsets[field.name]
            end += math.prod(field.sizes(self.capacity)) * np.dtype(field.dtype).itemsize
        return _rounded_up(end, _RECORD_ALIGNMENT)

    @cached_property
    def scalars(self) -> struct.Struct:
        """Packs the fields without a shape that stand in front of all others."""
        first = takewhile(lambda field: not field.shape, self.fields)
        return struct.Struct("<" + "".join(_PACKED[field.dtype] for field in first))

    @cached_property
    def checksum(self) -> int:
        """A number that tells this layout from others."""
        return zlib.crc32(json.dumps(self._plain(), sort_keys=True).encode())

    def field(self, name: str) -> Field:
        """The field of this name; KeyError if there is none."""
        return self._by_name[name]

    @cached_property
    def _by_name(self) -> dict[str, Field]:
        return {field.name: field for field in self.fields}

    def views(self, record: Any) -> dict[str, np.ndarray]:
        """Field name -> its array, a view into the bytes of a record."""
        return {f.name: self.view(record, f.name) for f in self.fields}

    def view(self, record: Any, name: str) -> np.ndarray:
        """One field as a view into the bytes of a record."""
        field = self.field(name)
        return np.ndarray(
            field.sizes(self.capacity), np.dtype(field.dtype), buffer=record, offset=self.offsets[name]
        )

    def _plain(self) -> dict[str, Any]:
        fields = [{"name": f.name, "dtype": f.dtype, "shape": list(f.shape)} for f in self.fields]
        return {"name": self.name, "capacity": self.capacity, "fields": fields}

    def to_json(self) -> dict[str, Any]:
        """For the manifest: everything that another program needs to read a record."""
        plain = self._plain()
        for field in plain["fields"]:
            field["offset"] = self.offsets[field["name"]]
        return {**plain, "record_bytes": self.record_bytes, "checksum": self.checksum}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Layout:
        """What `to_json` gave.

        Raises: FormatError if it describes no layout, or not the places that this version would choose.
        """
        try:
            layout = cls(str(values["name"]), _fields(values["fields"]), int(values["capacity"]))
            same = layout.to_json() == dict(values)
        except Exception as error:  # whatever wrong types end in
            raise FormatError(f"The manifest describes a stream in an unknown way: {error!r}.") from error
        if not same:
            raise FormatError(f"The manifest contradicts itself about the stream {layout.name!r}.")
        return layout


def _fields(values: Sequence[Mapping[str, Any]]) -> tuple[Field, ...]:
    fields = [
        Field(str(v["name"]), v["dtype"], tuple(None if s is None else int(s) for s in v["shape"]))
        for v in values
    ]
    unknown = [f.dtype for f in fields if f.dtype not in _DTYPES]
    if unknown:
        raise ValueError(f"dtype {unknown[0]!r}")
    if any(size is not None and size < 0 for field in fields for size in field.shape):
        raise ValueError("a negative size")
    return tuple(fields)


def little(dtype: Any) -> str:
    """The little-endian name of a float or integer type: "float32" -> "<f4"."""
    return str(np.dtype(dtype).newbyteorder("<").str if sys.byteorder == "big" else np.dtype(dtype).str)


def _rounded_up(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple
