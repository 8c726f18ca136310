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
from kernelearn.data.ragged import (
    Ragged,
    as_examples,
    each,
    inputs_of_examples,
    is_examples,
    maps_as_examples,
)
from kernelearn.data.stores import ArrayStore
from kernelearn.data.stream import StreamDataset
from kernelearn.errors import ArgumentError, DataError, ShapeError


def as_dataset(
    x: Any,
    y: Any = None,
    sample_weight: Any = None,
    *,
    class_names: Sequence[str] | None = None,
    classes: int | None = None,
    channels_first: bool = False,
    size: int | None = None,
    ragged: bool | None = None,
) -> Dataset | StreamDataset:
    """Wrap arrays, or anything that yields batches, after checking them.

    Args:
        x: (n, ...) array of any rank, or a list, tuple or dict of arrays for several inputs; or a
            `Dataset`, which comes back as it is; or a stream, which brings its own targets. Arrays are not
            copied and not converted here: uint8 becomes [0, 1] in the batches, floats stay. Images of several
            sizes are a list of arrays (h, w, c), or an array of such objects; batches are then of one size
            each, unless `Dataset.padded` is asked for.
        y: targets with n rows, or a structure of them. 1-D strings become class indices. Maps of several
            sizes, such as masks, are a list of arrays too.
        sample_weight: (n,) finite numbers, or (n, ...) for the positions of a mask; a list or dict of such
            for several outputs, where None is all ones.
        class_names: name of each class; labels are checked against their number.
        classes: number of classes, to check labels where there are no names.
        channels_first: x is (n, c, ...) and is to be converted to (n, ..., c).
        size: number of examples in one pass of a stream, where known.
        ragged: whether a list or tuple of arrays is one example each, and not one input each. None: where
            nothing else is possible, because their first axes differ or are not as long as y.
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
    if is_examples(x, y) if ragged is None else ragged:
        x = as_examples(x, "x")
    elif isinstance(x, list | tuple) and any(isinstance(part, list | tuple) for part in x):
        x = inputs_of_examples(x)
    features = _features(x, channels_first)
    rows = len(next(leaves(features)))
    y = maps_as_examples(y, rows, "y")
    sample_weight = maps_as_examples(sample_weight, rows, "sample_weight")
    labels, names = (None, class_names) if y is None else _labels(y, rows, class_names, classes)
    return Dataset(ArrayStore(features), labels, _weights(sample_weight, rows), names)


def _is_stream(x: Any) -> bool:
    """Whether x yields batches instead of being them: it can be iterated or called and is no array."""
    if (
        isinstance(x, list | tuple | dict | str | bytes | Ragged)
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


def _feature(x: Any, what: str, channels_first: bool) -> Any:
    if isinstance(x, Ragged) or is_examples(x):
        return _feature_of_examples(as_examples(x, what), what, channels_first)
    array = check_features(to_numpy(x, what), what)
    return to_channels_last(array) if channels_first else array


def _feature_of_examples(x: Any, what: str, channels_first: bool) -> Any:
    """Images of several sizes after all checks."""
    if not isinstance(x, Ragged):
        return _feature(x, what, channels_first)
    if x.ndim > 2 and x.shape[1 if channels_first else -1] is None:
        channels = sorted({item.shape[0 if channels_first else -1] for item in x})
        raise ShapeError(
            f"The images of {what} have {channels} channels; give all the same number, as {what}[..., :3] "
            "or by repeating grey ones."
        )
    items = [check_features(item[None], f"{what}[{i}]") for i, item in enumerate(x)]
    return Ragged([(to_channels_last(item) if channels_first else item)[0] for item in items], what)


def _target(value: Any, what: str) -> Any:
    if isinstance(value, Ragged):
        return Ragged([clean_targets(item, f"{what}[{i}]") for i, item in enumerate(value)], what)
    return clean_targets(to_numpy(value, what), what)


def _labels(y: Any, rows: int, class_names: Sequence[str] | None, classes: int | None) -> tuple[Any, Any]:
    """Targets after all checks, and class names where the targets were strings."""
    names: Sequence[str] | None = class_names
    if is_structure(y):
        targets = map_arrays(lambda array: _target(array, "y"), y)
    elif isinstance(y, Ragged):
        targets = _target(y, "y")
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

    def checked(value: Any) -> Any:
        weights = _target(value, "sample_weight")
        check_rows(rows, weights, "sample_weight")
        return each(lambda array: array.astype(np.float64), weights) if weights.dtype == np.int64 else weights

    return map_weights(checked, sample_weight)
