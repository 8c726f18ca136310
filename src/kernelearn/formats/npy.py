"""NumPy's array format, `.npy`, read without trusting it: sizes are compared before memory is taken.

Used by the package's own format, by `.npz` and by `.npy` files, which are mapped and not read.
Source: numpy.lib.format, versions 1.0 to 3.0. Objects are never read, because they are pickles.
"""

import io
import math
import warnings
from typing import BinaryIO, Literal, NamedTuple

import numpy as np

from kernelearn.errors import DataError
from kernelearn.formats.foreign import Refusal, refused

NUMBERS = "biufc"  # kinds: booleans, integers, floats, complex numbers
TEXT = "US"
_VERSIONS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
_START = 1 << 16  # bytes; numpy reads no longer header
_WHY_NOT = "only numbers and booleans are allowed here, no other types."
_WHY_NOT_OBJECTS = (
    "only numbers and booleans are allowed: Python objects are a pickle, and reading a pickle runs the code "
    "in it. Save plain arrays."
)
_LAST_CHARACTER = 0x10FFFF
_SURROGATES = (0xD800, 0xDFFF)


class Header(NamedTuple):
    """What stands before the values, and where these begin."""

    dtype: np.dtype
    shape: tuple[int, ...]
    order: Literal["C", "F"]
    offset: int


def parse(
    content: bytes, what: str, kinds: str = NUMBERS + TEXT, error: Refusal = DataError, remedy: str = ""
) -> np.ndarray:
    """The array in the bytes of a .npy file, as a read-only view of them.

    Args:
        what: the file, for messages.
        kinds: which kinds of types may come.
        error, remedy: see `foreign.refused`.
    Raises: `error` for anything that is not exactly one array of these kinds.
    """
    with refused(what, error, remedy or "Fetch or write it again."):
        header = _read_header(content[:_START], len(content), kinds, what, error)
        count = math.prod(header.shape)
        values = np.frombuffer(content, header.dtype, count, header.offset)
        return _text_checked(values.reshape(header.shape, order=header.order))


def mapped(file: BinaryIO, size: int, what: str, kinds: str = NUMBERS + TEXT) -> np.ndarray:
    """The array of an open .npy file of `size` bytes, mapped into memory and not read.

    Raises: DataError as `parse`.
    """
    with refused(what, remedy="Fetch or write it again."):
        header = _read_header(file.read(_START), size, kinds, what, DataError)
        values = np.memmap(file, header.dtype, "r", header.offset, header.shape, order=header.order)
        return _text_checked(values)


def _read_header(start: bytes, size: int, kinds: str, what: str, error: Refusal) -> Header:
    """The header, after a check that the values that it promises are what follows it.

    Args:
        start: the first bytes of the file.
        size: how many it has.
        kinds, what, error: as of `parse`.
    """
    file = io.BytesIO(start)
    version = np.lib.format.read_magic(file)
    if version not in _VERSIONS:
        raise ValueError(f"its npy version is {version}")
    with warnings.catch_warnings():
        warnings.simplefilter("error", SyntaxWarning)  # of a number in a header: damage
        shape, is_fortran, dtype = _VERSIONS[version](file)
    if dtype.hasobject or dtype.kind not in kinds:
        raise error(f"{what} holds {dtype}; {_WHY_NOT_OBJECTS if dtype.hasobject else _WHY_NOT}")
    offset = file.tell()
    # NOTE: True passes numpy's own test of a shape, and what it gives is not what was written.
    if not all(type(side) is int and side >= 0 for side in shape):
        raise ValueError(f"no bytes of data have the shape {shape}")
    if math.prod(shape) * dtype.itemsize != size - offset or dtype.itemsize == 0:
        raise ValueError(f"{size - offset} bytes of data are not what {dtype} of shape {shape} needs")
    return Header(dtype, shape, "F" if is_fortran else "C", offset)


def _text_checked(values: np.ndarray) -> np.ndarray:
    """Strings are given back if every character of them is one: Python ends in odd ways on others."""
    if values.dtype.kind == "U":
        codes = np.asarray(values).ravel().view(np.uint32 if values.dtype.isnative else ">u4")
        is_surrogate = (codes >= _SURROGATES[0]) & (codes <= _SURROGATES[1])
        if (codes > _LAST_CHARACTER).any() or is_surrogate.any():
            raise ValueError("it has text with characters that do not exist")
    return values
