"""`as_dataset`: what a user hands to `fit`, `evaluate` or `predict`, as a dataset."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from kernelearn.data.arrays import (
    check_features,
    check_range,
    check_rows,
    clean_targets,
    encode_names,
    is_structure,
    is_torch,
    leaves,
    map_arrays,
    map_weights,
    to_numpy,
)
from kernelearn.data.dataset import Dataset
from kernelearn.data.layout import to_channels_last
from kernelearn.data.stores import ArrayStore
from kernelearn.data.stream import StreamDataset
from kernelearn.errors import ArgumentError, DataError


def as_dataset(
    x: Any,
    y: Any = None,
    sample_weight: Any = None,
    *,
    class_names: Sequence[str] | None = None,
    classes: int | None = None,
    channels_first: bool = False,
    size: int | None = None,
) -> Dataset | StreamDataset:
    """Wrap arrays, or anything that yields batches, after checking them.

    Args:
        x: (n, ...) array of any rank, or a list, tuple or dict of arrays for several inputs; or a
            `Dataset`, which comes back as it is; or a stream, which brings its own targets. Arrays are not
            copied and not converted here: uint8 becomes [0, 1] in the batches, floats stay.
        y: targets with n rows, or a structure of them. 1-D strings become class indices.
        sample_weight: (n,) finite numbers, or (n, ...) for the positions of a mask; a list or dict of such
            for several outputs, where None is all ones.
        class_names: name of each class; labels are checked against their number.
        classes: number of classes, to check labels where there are no names.
        channels_first: x is (n, c, ...) and is to be converted to (n, ..., c).
        size: number of examples in one pass of a stream, where known.
    Raises: DataError for NaN, infinity, empty arrays, strings as features and labels out of range;
        ShapeError for rows that do not match; ArgumentError for targets beside a stream.

    >>> data = as_dataset(np.zeros((6, 4, 4, 1), np.uint8), [0, 1, 2, 0, 1, 2])
    >>> len(data), data.x_shape
    (6, (4, 4, 1))
    """
    if isinstance(x, Dataset | StreamDataset) or _is_stream(x):
        if y is not None or sample_weight is not None:
            raise ArgumentError(
                f"A {type(x).__name__} brings its own targets and weights; leave y and sample_weight out."
            )
        if isinstance(x, Dataset | StreamDataset):
            return x
        return StreamDataset(x, size, class_names, channels_first)
    features = _features(x, channels_first)
    rows = len(next(leaves(features)))
    labels, names = (None, class_names) if y is None else _labels(y, rows, class_names, classes)
    return Dataset(ArrayStore(features), labels, _weights(sample_weight, rows), names)


def _is_stream(x: Any) -> bool:
    """Whether x yields batches instead of being them: it can be iterated or called and is no array."""
    if (
        isinstance(x, list | tuple | dict | str | bytes)
        or hasattr(x, "__array__")
        or (is_torch(x) and hasattr(x, "shape"))
    ):
        return False
    if not callable(x) and not hasattr(x, "__iter__"):
        raise DataError(
            "Expected an array, several arrays, a Dataset, or something that yields batches (a map-style "
            f"torch dataset needs a DataLoader); got {type(x).__name__}."
        )
    return True


def _features(x: Any, channels_first: bool) -> Any:
    if not is_structure(x):
        return _feature(x, "x", channels_first)
    if not x:
        raise DataError("x is an empty dict; give at least one input.")
    named = x.items() if isinstance(x, dict) else enumerate(x)
    checked = [_feature(array, f"x[{key!r}]", channels_first) for key, array in named]
    for index, array in enumerate(checked):
        check_rows(len(checked[0]), array, f"input {index} of x", "input 0")
    return dict(zip(x, checked)) if isinstance(x, dict) else type(x)(checked)


def _feature(x: Any, what: str, channels_first: bool) -> np.ndarray:
    array = check_features(to_numpy(x, what), what)
    return to_channels_last(array) if channels_first else array


def _labels(y: Any, rows: int, class_names: Sequence[str] | None, classes: int | None) -> tuple[Any, Any]:
    """Targets after all checks, and class names where the targets were strings."""
    names: Sequence[str] | None = class_names
    if is_structure(y):
        targets = map_arrays(lambda array: clean_targets(to_numpy(array, "y"), "y"), y)
    else:
        raw = to_numpy(y, "y")
        if raw.dtype.kind in "US":
            targets, names = encode_names(raw)
            names = _same_names(names, class_names)
        else:
            targets = clean_targets(raw, "y")
    for array in leaves(targets):
        check_rows(rows, array, "y")
    limit = len(names) if names is not None else classes
    if (
        limit is not None
        and isinstance(targets, np.ndarray)
        and targets.dtype == np.int64
        and targets.ndim == 1
    ):
        check_range(targets, limit, "y")
    return targets, names


def _same_names(found: list[str], class_names: Sequence[str] | None) -> list[str]:
    if class_names is not None and found != list(class_names):
        raise DataError(f"y has the classes {found[:10]}, but class_names says {list(class_names)[:10]}.")
    return found


def _weights(sample_weight: Any, rows: int) -> Any:
    """Sample weights after all checks: an array, or one for each output; a weight for each position too."""

    def checked(value: Any) -> np.ndarray:
        weights = clean_targets(to_numpy(value, "sample_weight"), "sample_weight")
        check_rows(rows, weights, "sample_weight")
        return weights.astype(np.float64) if weights.dtype == np.int64 else weights

    return map_weights(checked, sample_weight)
