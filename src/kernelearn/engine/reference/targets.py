"""How targets are matched to predictions, for losses and metrics: shapes, dtypes and integer labels."""

import numpy as np

from kernelearn.engine.arrays import Array
from kernelearn.errors import DataError, ShapeError


def match_targets(y_true: Array, y_pred: Array) -> Array:
    """`y_true` in the dtype and shape of `y_pred`; a last axis of size 1 may be missing or extra.

    Raises: ShapeError for any other difference, which NumPy would broadcast silently.
    """
    y_true = np.asarray(y_true).astype(y_pred.dtype, copy=False)
    if y_true.shape == y_pred.shape:
        return y_true
    if y_true.shape == y_pred.shape[:-1] and y_pred.shape[-1] == 1:
        return y_true[..., None]
    if y_true.shape[:-1] == y_pred.shape and y_true.shape[-1] == 1:
        return y_true[..., 0]
    raise ShapeError(
        f"Targets and predictions must have the same shape, got {y_true.shape} and {y_pred.shape}. "
        "Integer class labels belong to a sparse loss such as 'sparse_categorical_crossentropy'."
    )


def match_labels(y_true: Array, y_pred: Array) -> Array:
    """Integer labels of shape `y_pred.shape[:-1]` (a last axis of size 1 is dropped), checked for shape.

    Raises: ShapeError; DataError for class numbers with a fraction.
    """
    labels = np.asarray(y_true)
    if labels.ndim == y_pred.ndim and labels.shape[-1] == 1:
        labels = labels[..., 0]
    if labels.shape != y_pred.shape[:-1]:
        raise ShapeError(
            f"Integer labels for predictions of shape {y_pred.shape} must have shape {y_pred.shape[:-1]} "
            f"(a last axis of size 1 may follow), got {np.shape(y_true)}. "
            "One-hot targets belong to 'categorical_crossentropy'."
        )
    return class_numbers(labels).astype(np.intp, copy=False)


def class_numbers(labels: Array) -> Array:
    """Class numbers as they are, of any type.

    Raises: DataError for a number with a fraction, or one that is not finite: it is no class, and cutting the
        fraction off would train on other classes than were meant.
    """
    if labels.dtype.kind == "f" and not (np.isfinite(labels) & (labels == np.floor(labels))).all():
        wrong = labels[labels != np.floor(labels)]
        example = wrong.flat[0] if wrong.size else labels[~np.isfinite(labels)].flat[0]
        raise DataError(
            f"Class numbers must be whole, got {example:g}. Targets that are amounts belong to a regression "
            "loss such as 'mean_squared_error'; masks that were scaled must be scaled back."
        )
    return labels
