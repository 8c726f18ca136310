"""What every array passes on its way in: one place for dtype, shape, finiteness and label rules.

Stored arrays keep their own type (uint8 images stay uint8); `as_float` is the edge at which a batch turns
into the float type of the process.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from kernelearn import config
from kernelearn.data.ragged import Ragged
from kernelearn.errors import DataError, ShapeError

_CHUNK_VALUES = 1 << 24  # values looked at in one go, so that a memory-mapped file is never read whole


def is_torch(value: Any) -> bool:
    """Whether `value` is an object of PyTorch, told without importing it."""
    return any(kind.__module__.partition(".")[0] == "torch" for kind in type(value).__mro__)


def is_structure(value: Any) -> bool:
    """Whether `value` is several arrays (a dict, or a list or tuple of arrays), not one."""
    if isinstance(value, dict):
        return True
    return isinstance(value, list | tuple) and bool(value) and all(_has_rows(item) for item in value)


def map_arrays(function: Callable[..., Any], value: Any) -> Any:
    """Apply `function` to an array, or to each array of a list, tuple or dict of arrays."""
    if isinstance(value, dict):
        return {key: function(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)([function(item) for item in value])
    return function(value)


def map_weights(function: Callable[..., Any], value: Any) -> Any:
    """`map_arrays` for sample weights, where None stands for all ones: for all outputs or for one of several.

    A list or tuple is one array of weights for each output if it holds an array, else it is one array.
    """
    if isinstance(value, dict):
        return {key: map_weights(function, item) for key, item in value.items()}
    if isinstance(value, list | tuple) and any(_has_rows(item) for item in value):
        return type(value)(map_weights(function, item) for item in value)
    return None if value is None else function(value)


def leaves(value: Any) -> Iterator[np.ndarray]:
    """The arrays of `value`, in order; nothing for None."""
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list | tuple):
        yield from value
    elif value is not None:
        yield value


def as_float(raw: np.ndarray) -> np.ndarray:
    """The numbers a network sees: uint8 scaled to [0, 1], everything else unchanged, in `config.floatx()`.

    Returns a new array, or a read-only view where nothing had to change, so that no consumer can write
    into the user's data.
    """
    dtype = np.dtype(config.floatx())
    if raw.dtype == np.uint8:
        scaled: np.ndarray = np.divide(raw, dtype.type(255), dtype=dtype)
        return scaled
    result = raw.astype(dtype, copy=False)
    if np.may_share_memory(result, raw):
        result = result.view()
        result.flags.writeable = False
    return result


def as_target(raw: np.ndarray) -> np.ndarray:
    """Targets of a batch: class indices as int64, real values in the float type of the process."""
    return raw if raw.dtype == np.int64 else as_float(raw)


def to_numpy(value: Any, what: str) -> np.ndarray:
    """One numeric or string array from anything array-like.

    Args:
        value: array, nested list, data frame, or tensor on the CPU.
        what: how to call it in an error message, for example "x".
    Raises: DataError for ragged or object arrays, which hold no numbers.
    """
    if is_torch(value):
        value = value.detach().cpu().numpy()
    try:
        array = np.asarray(value)
    except (ValueError, TypeError) as error:
        raise DataError(
            f"{what} is no rectangular array: {error}. Give every row the same shape, for example by "
            "resizing the images first."
        ) from error
    if array.dtype == object:
        array = _from_objects(array, what)
    if array.dtype.kind not in "biufUS":
        raise DataError(
            f"{what} must hold numbers, got an array of {array.dtype}. Convert it to float32 or uint8."
        )
    return array


def check_features(x: np.ndarray, what: str = "x") -> np.ndarray:
    """Check that `x` is at least one row of finite numbers; gives it back.

    Raises: ShapeError for no axis to iterate over, DataError for no rows, strings, NaN or infinity.
    """
    if x.ndim == 0:
        raise ShapeError(
            f"{what} must have a first axis that counts examples, got a single number of shape ()."
        )
    if len(x) == 0 or x.size == 0:
        raise DataError(f"{what} is empty: its shape is {x.shape}. Give at least one example.")
    if x.dtype.kind not in "biuf":
        raise DataError(f"{what} must hold numbers, got {x.dtype}. Strings are accepted as labels only.")
    check_finite(x, what)
    return x


def check_finite(x: np.ndarray, what: str) -> None:
    """Refuse NaN, infinity and values that overflow the float type of the process, naming the first row."""
    if x.dtype.kind != "f":
        return
    limit = np.finfo(config.floatx()).max
    step = max(1, _CHUNK_VALUES // max(1, x[0].size if x.ndim > 1 else 1))
    for start in range(0, len(x), step):
        chunk = x[start : start + step].reshape(len(x[start : start + step]), -1)
        # NOTE: a comparison with NaN is false, so this one test catches NaN, infinity and overflow.
        bad = ~(np.abs(chunk) <= limit).all(axis=1)
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            value = chunk[row][~(np.abs(chunk[row]) <= limit)][0]
            raise DataError(
                f"{what} must hold finite {config.floatx()} numbers, but row {start + row} has {value} "
                f"(first of {int(bad.sum())} such rows in the {len(chunk)} looked at). Drop or repair these "
                f"rows: {what}[~mask]."
            )


def check_rows(expected: int, array: np.ndarray, what: str, other: str = "x") -> None:
    """Refuse an array whose first axis does not match `expected` rows."""
    rows = len(array) if array.ndim else 0
    if rows != expected:
        raise ShapeError(
            f"{what} must have one row per example: {other} has {expected} rows, {what} has shape "
            f"{array.shape}."
        )


def clean_targets(y: np.ndarray, what: str = "y") -> np.ndarray:
    """Integer and bool targets as int64, float targets as they are after a check for NaN."""
    if y.dtype.kind in "biu":
        if y.dtype == np.uint64 and y.size and int(y.max()) > np.iinfo(np.int64).max:
            raise DataError(f"{what} has labels beyond the range of int64.")
        return y.astype(np.int64, copy=False)
    if y.dtype.kind != "f":
        raise DataError(f"{what} must hold numbers, got {y.dtype}.")
    check_finite(y, what)
    return y


def encode_names(y: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """String labels to class indices; the classes are the distinct strings in sorted order."""
    values, indices = np.unique(y.astype(str), return_inverse=True)
    return indices.reshape(y.shape).astype(np.int64), [str(value) for value in values]


def check_range(labels: np.ndarray, classes: int, what: str) -> None:
    """Refuse class indices outside [0, classes), saying which and where.

    Raises: DataError.
    """
    bad = (labels < 0) | (labels >= classes)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise DataError(
            f"Labels of {what} must lie in 0..{classes - 1} ({classes} classes), but row {row} has "
            f"{int(labels[row])} (first of {int(bad.sum())}). Relabel from 0, for example with np.unique(y, "
            "return_inverse=True)[1]."
        )


def class_counts(labels: np.ndarray, classes: int) -> np.ndarray:
    """(classes,) number of examples of each class."""
    return np.bincount(labels, minlength=classes)


def _has_rows(item: Any) -> bool:
    is_array = isinstance(item, np.ndarray | Ragged) or hasattr(item, "__array__")
    return is_array and (isinstance(item, Ragged) or np.ndim(item) > 0)


def _from_objects(array: np.ndarray, what: str) -> np.ndarray:
    """Object arrays hold strings (as pandas keeps them) or rows of unequal shape."""
    if all(isinstance(item, str) for item in array.flat):
        return array.astype(str)
    if all(isinstance(item, int | float | np.number) for item in array.flat):
        return array.astype(
            np.float64 if any(isinstance(i, float | np.floating) for i in array.flat) else np.int64
        )
    raise DataError(
        f"{what} is an array of Python objects (dtype object), not of numbers: its rows differ in shape or "
        "type. Stack them into one array of numbers first, for example with np.stack."
    )
