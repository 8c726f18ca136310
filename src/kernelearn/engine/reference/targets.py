"""How targets are matched to predictions, for losses and metrics: shapes, dtypes and integer labels."""

import numpy as np
from numpy.typing import NDArray

from kernelearn.errors import ShapeError


def match_targets(y_true: NDArray, y_pred: NDArray) -> NDArray:
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


def match_labels(y_true: NDArray, y_pred: NDArray) -> NDArray:
    """Integer labels of shape `y_pred.shape[:-1]` (a last axis of size 1 is dropped), checked for shape.

    Raises: ShapeError.
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
    return labels.astype(np.intp, copy=False)
