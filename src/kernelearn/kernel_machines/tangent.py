"""The empirical neural tangent kernel: inner products of the gradients of a network's outputs.

K(x, x') is the mean over outputs o of the sum over parameters w of df_o(x)/dw df_o(x')/dw, at the
network's present parameters.
Source: Jacot, Gabriel and Hongler, NeurIPS 2018.
"""

from collections.abc import Callable

import numpy as np

from kernelearn.errors import ShapeError

Jacobian = Callable[[np.ndarray], np.ndarray]


def empirical_ntk(
    jacobian: Jacobian, x: np.ndarray, y: np.ndarray | None = None, batch_size: int = 64
) -> np.ndarray:
    """(n, m) tangent kernel between batches x (n, ...) and y (m, ...), or x and itself.

    Args:
        jacobian: batch (b, ...) -> (b, outputs, parameters) derivatives of every output.
        batch_size: examples whose gradients are held at once, for each of the two sides.
    Returns: float64, averaged over the outputs.

    >>> linear = lambda batch: batch[:, None, :]  # f(x) = w'x has the gradient x
    >>> empirical_ntk(linear, np.eye(2)).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    other = x if y is None else y
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
