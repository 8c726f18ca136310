"""New arrays: zeros, ones, ranges, unit matrices, and what arrays are made of.

What is made from plain numbers is an array of NumPy, which a program takes in as a constant. What has the
shape of a traced value is an operation of its program.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernelearn import config
from kernelearn.engine import dtypes
from kernelearn.errors import ArgumentError
from kernelearn.ops._dispatch import operation
from kernelearn.ops._run import Value, cast_to, emit, values
from kernelearn.ops._shapes import dtype_name, one, sizes_of, with_count
from kernelearn.tracing import Symbolic, Traced, current
from kernelearn.tracing.count import ImageCount


def _float(dtype: Any) -> str:
    """A type, by default the float of the program that is traced, or of the process."""
    graph = current()
    return dtypes.checked(dtype) if dtype is not None else (graph.dtype if graph else config.floatx())


def zeros(shape: Any, dtype: Any = None) -> Any:
    """Zeros of this shape.

    >>> from kernelearn import ops
    >>> ops.zeros(2).tolist()
    [0.0, 0.0]
    """
    return full(shape, 0, _float(dtype))


def ones(shape: Any, dtype: Any = None) -> Any:
    """Ones of this shape."""
    return full(shape, 1, _float(dtype))


def empty(shape: Any, dtype: Any = None) -> Any:
    """As `zeros`: nothing here is left without a number."""
    return zeros(shape, dtype)


def full(shape: Any, fill_value: Any, dtype: Any = None) -> Any:
    """An array of this shape, the same number (or what broadcasts to the shape) everywhere.

    The first size may be the number of images: `ops.full((ops.shape(x)[0], 3), 1.0)`.
    """
    from kernelearn.ops.moving.repeating import broadcast_to

    sizes = with_count(sizes_of(shape))
    is_given = isinstance(fill_value, Traced | Symbolic)
    kind = dtypes.checked(dtype) if dtype is not None else None
    if kind is None and not is_given:
        kind = _float(None)
    value = fill_value if is_given else np.asarray(fill_value, kind)
    if any(isinstance(s, ImageCount) for s in sizes) or is_given:
        return broadcast_to(value, sizes)
    return np.broadcast_to(value, [int(s) for s in sizes]).copy()


@operation
def zeros_like(x: Value, dtype: Any = None) -> Any:
    """Zeros of the shape of x, and of its type."""
    return _like(x, 0, dtype)


@operation
def ones_like(x: Value, dtype: Any = None) -> Any:
    """Ones of the shape of x, and of its type."""
    return _like(x, 1, dtype)


@operation
def empty_like(x: Value, dtype: Any = None) -> Any:
    """As `zeros_like`: nothing here is left without a number."""
    return _like(x, 0, dtype)


@operation
def full_like(x: Value, fill_value: Any, dtype: Any = None) -> Any:
    """The same number everywhere, or several that are repeated, in the shape of x.

    >>> from kernelearn import ops
    >>> ops.full_like([1, 2], 7).tolist()
    [7, 7]
    """
    if isinstance(fill_value, int | float):
        return _like(x, fill_value, dtype)
    ones, given = values(_like(x, 1, "bool"), fill_value)
    kind = dtype_name(one(x)) if dtype is None else dtypes.checked(dtype)
    return emit("where", ones, cast_to(given, kind), _like(x, 0, kind))


def _like(x: Value, value: Any, dtype: Any) -> Value:
    x = one(x)
    kind = dtype_name(x) if dtype is None else dtypes.checked(dtype)
    return emit("fill_like", x, value=np.asarray(value, kind).item(), dtype=kind)


def arange(start: Any, stop: Any = None, step: Any = None, dtype: Any = None) -> NDArray[Any]:
    """Numbers from start, in steps, up to before stop. Whole numbers give int32, others the default float.

    >>> from kernelearn import ops
    >>> ops.arange(2, 8, 3).tolist()
    [2, 5]
    """
    bounds = [v for v in (start, stop, step) if v is not None]
    first, last = (0, start) if stop is None else (start, stop)
    kind = _float(dtype) if dtype is not None or any(isinstance(v, float) for v in bounds) else dtypes.INDEX
    return np.arange(_number(first), _number(last), _number(1 if step is None else step)).astype(kind)


def _number(value: Any) -> Any:
    """A plain number; the number of images where it is known.

    Raises: BatchSizeNeeded where it is not.
    """
    return value.__index__() if isinstance(value, ImageCount) else value


def eye(N: Any, M: Any = None, k: int = 0, dtype: Any = None) -> NDArray[Any]:
    """A matrix (N, M) with ones on the diagonal number k.

    >>> from kernelearn import ops
    >>> ops.eye(2).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    return np.eye(int(N), None if M is None else int(M), k, _float(dtype))


def identity(n: Any, dtype: Any = None) -> NDArray[Any]:
    """The unit matrix (n, n)."""
    return eye(n, dtype=dtype)


def tri(N: Any, M: Any = None, k: int = 0, dtype: Any = None) -> NDArray[Any]:
    """A matrix (N, M) with ones on and below the diagonal number k."""
    return np.tri(int(N), None if M is None else int(M), k, _float(dtype))


def linspace(
    start: Any,
    stop: Any,
    num: int = 50,
    endpoint: bool = True,
    retstep: bool = False,
    dtype: Any = None,
    axis: int = 0,
) -> Any:
    """`num` numbers at equal distances.

    Args:
        endpoint: whether stop is the last one; retstep: give the distance too.

    >>> from kernelearn import ops
    >>> ops.linspace(0, 1, 3).tolist()
    [0.0, 0.5, 1.0]
    """
    made, distance = np.linspace(start, stop, int(num), endpoint, retstep=True, axis=axis)
    found = np.asarray(made, _float(dtype))
    return (found, distance) if retstep else found


def logspace(
    start: Any,
    stop: Any,
    num: int = 50,
    endpoint: bool = True,
    base: float = 10,
    dtype: Any = None,
    axis: int = 0,
) -> NDArray[Any]:
    """Powers of `base`, the exponents at equal distances from start to stop."""
    return np.logspace(start, stop, int(num), endpoint, base, axis=axis).astype(_float(dtype))


def geomspace(
    start: Any, stop: Any, num: int = 50, endpoint: bool = True, dtype: Any = None, axis: int = 0
) -> NDArray[Any]:
    """Numbers from start to stop, each the same multiple of the one before."""
    return np.geomspace(start, stop, int(num), endpoint, axis=axis).astype(_float(dtype))


# --- from and to other kinds


@operation
def array(x: Value, dtype: Any = None) -> Any:
    """x as an array; weights, symbolic and traced values are as they are, in another type if one is given."""
    return convert_to_tensor(x, dtype)


@operation
def convert_to_tensor(
    x: Value, dtype: Any = None, sparse: bool | None = None, ragged: bool | None = None
) -> Any:
    """As `array`; Python's numbers become the default float, or int32.

    >>> from kernelearn import ops
    >>> ops.convert_to_tensor([1.0, 2.0]).dtype.name
    'float32'
    """
    if sparse or ragged:
        raise ArgumentError("kernelearn has no sparse or ragged arrays; leave sparse and ragged out.")
    if isinstance(x, Traced):
        return x if dtype is None else cast_to(x, dtypes.checked(dtype))
    found = np.asarray(x)
    if dtype is None and not hasattr(x, "dtype"):
        usual = {"f": _float(None), "i": dtypes.INDEX}
        return found.astype(usual.get(found.dtype.kind, found.dtype))
    return found if dtype is None else found.astype(dtypes.checked(dtype))


def convert_to_numpy(x: Any) -> NDArray[Any]:
    """The numbers of an array or weight.

    Raises: TracingError for symbolic and traced values, which have none yet.
    """
    return np.asarray(x)


def is_tensor(x: Any) -> bool:
    """Whether x is an array, or a symbolic or traced value.

    >>> from kernelearn import ops
    >>> ops.is_tensor([1]), ops.is_tensor(ops.zeros(1))
    (False, True)
    """
    return isinstance(x, np.ndarray | Traced | Symbolic)
