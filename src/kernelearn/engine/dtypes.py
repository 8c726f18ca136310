"""Which type a result has: the one place that knows.

As in Keras: an integer beside a float takes the float's type, whatever their sizes; Python's numbers have
only a kind and take the type of the array beside them; indices are int32.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from kernelearn import config
from kernelearn.errors import ArgumentError

FLOATS = ("float32", "float64")
INTEGERS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")
BOOL = "bool"
# Of positions: argmax, sorting, counts.
INDEX = "int32"
KNOWN = (BOOL, *INTEGERS, *FLOATS)


def is_float(dtype: str) -> bool:
    """Whether it is float32 or float64."""
    return dtype in FLOATS


def checked(dtype: object) -> str:
    """The name of a type that programs can hold.

    Args:
        dtype: a name ("float32", "int", "float" ...), a Python type or a NumPy type; "float" and float are
            the default float, "int" and int are int32.
    Raises: ArgumentError for others, such as complex numbers.
    """
    usual = {"float": config.floatx(), "int": INDEX, float: config.floatx(), int: INDEX, bool: BOOL}
    try:
        name = usual.get(dtype) or np.dtype(dtype).name  # type: ignore[call-overload]
    except TypeError:
        name = str(dtype)
    if name not in KNOWN:
        raise ArgumentError(f"dtype must be one of {', '.join(KNOWN)}; got {dtype!r}.")
    return str(name)


def result_type(
    dtypes: Iterable[str], numbers: Iterable[bool | int | float] = (), floats: str | None = None
) -> str:
    """The type in which arrays of these types are combined.

    Args:
        dtypes: of the arrays.
        numbers: Python numbers beside them, which are weak; NumPy's float64 is one, but keeps its type where
            no array is of floats.
        floats: the type of a float number beside integers; the default float if None.

    >>> result_type(["int64", "float32"])
    'float32'
    >>> result_type(["uint8"], [2]), result_type(["uint8"], [0.5]), result_type(["bool"], [2])
    ('uint8', 'float32', 'int32')
    >>> result_type(["float32"], [np.float64(2)]), result_type([], [np.float64(2)])
    ('float32', 'float64')
    """
    given = list(dict.fromkeys(dtypes))
    wide = [d for d in given if is_float(d)]
    if wide:
        return max(wide)
    told = list(numbers)
    if floats is None and any(isinstance(number, np.float64) for number in told):
        return "float64"
    if any(isinstance(number, float) for number in told):
        return floats or config.floatx()
    has_integer = not all(isinstance(number, bool) for number in told)
    if not given:
        return INDEX if has_integer else BOOL
    joined = str(np.result_type(*given).name)
    # NOTE: NumPy has no integer for uint64 beside int64 and gives float64.
    joined = joined if joined in INTEGERS or joined == BOOL else "int64"
    return INDEX if joined == BOOL and has_integer else joined


def as_float(dtype: str) -> str:
    """The type of a float function's result: integers and booleans give the default float."""
    return dtype if is_float(dtype) else config.floatx()


def as_sum(dtype: str) -> str:
    """The type in which numbers are added: booleans and small integers as int32."""
    return INDEX if dtype in (BOOL, "int8", "uint8", "int16", "uint16") else dtype
