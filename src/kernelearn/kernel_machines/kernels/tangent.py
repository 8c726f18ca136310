"""The empirical neural tangent kernel: inner products of the gradients of a network's outputs.

K(x, x') is the mean over outputs o of the sum over parameters w of df_o(x)/dw df_o(x')/dw, at the
network's present parameters: of a `kernelearn` model, or of anything whose derivatives a function gives.
Source: Jacot, Gabriel and Hongler, NeurIPS 2018.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from kernelearn.errors import ArgumentError, ShapeError

Jacobian = Callable[[np.ndarray], np.ndarray]


def empirical_ntk(model: Any, x: np.ndarray, y: np.ndarray | None = None, batch_size: int = 64) -> np.ndarray:
    """(n, m) tangent kernel between batches x (n, ...) and y (m, ...), or x and itself.

    The matrix is a precomputed kernel: `MultipleKernelClassifier([empirical_ntk(model, x)])` takes it, with
    point numbers as X, and so does `sklearn.svm.SVC(kernel="precomputed")`.

    Cost for a model with p trainable parameters and o outputs: one forward and backward pass with a batch of
    one for every image and output, then n m o p multiplications. Memory: 2 x batch_size x o x p x 8 bytes.
    With several batches the gradients of the second side are worked out again for every batch of the first.

    Args:
        model: a `kernelearn` model with one input and one output (its trainable weights count, in inference
            mode; let it end in logits), or a function: batch (b, ...) -> (b, outputs, parameters).
        x: (n, ...) images. y: (m, ...) images, or None for x.
        batch_size: examples whose gradients are held at once, for each of the two sides.
    Returns: (n, m) float64, averaged over the outputs; symmetric positive semidefinite without y.
    Raises: ArgumentError for another kind of model or one without trainable weights, ShapeError.

    >>> linear = lambda batch: batch[:, None, :]  # f(x) = w'x has the gradient x
    >>> empirical_ntk(linear, np.eye(2)).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    jacobian = _jacobian_of(model)
    x = np.asarray(x)
    other = x if y is None else np.asarray(y)
    out = np.empty((len(x), len(other)))
    for rows in _batches(len(x), batch_size):
        left = _checked(jacobian(x[rows]), rows)
        for columns in _batches(len(other), batch_size):
            if y is None and columns.start < rows.start:
                out[rows, columns] = out[columns, rows].T
                continue
            right = left if y is None and columns == rows else _checked(jacobian(other[columns]), columns)
            out[rows, columns] = np.einsum("iop,jop->ij", left, right, optimize=True) / left.shape[1]
    return out


def _jacobian_of(model: Any) -> Jacobian:
    if hasattr(model, "trainable_weights"):
        from kernelearn.models.jacobian import OutputGradients

        return OutputGradients(model)
    if callable(model):
        return model
    raise ArgumentError(
        "Expected a kernelearn model or a function from a batch to (batch, outputs, parameters) derivatives; "
        f"got {type(model).__name__}."
    )


def _batches(n: int, size: int) -> list[slice]:
    return [slice(start, min(start + size, n)) for start in range(0, n, size)]


def _checked(gradients: np.ndarray, rows: slice) -> np.ndarray:
    gradients = np.asarray(gradients, dtype=np.float64)
    if gradients.ndim != 3 or len(gradients) != rows.stop - rows.start:
        raise ShapeError(
            f"The Jacobian must have shape ({rows.stop - rows.start}, outputs, parameters), "
            f"got {gradients.shape}."
        )
    return gradients
