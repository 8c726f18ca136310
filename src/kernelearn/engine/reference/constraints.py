"""Projections that keep weights within bounds after every update, and the table of them.

Each is a pure function of the weights; `axis` names the axes whose entries form one vector, for a convolution
kernel of shape (kh, kw, in, filters) usually (0, 1, 2).
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

EPSILON = 1e-7  # Keras's backend.epsilon(), keeps a zero vector zero

Axes = int | Sequence[int]


def _norms(w: NDArray, axis: Axes) -> NDArray:
    axes = axis if isinstance(axis, int) else tuple(axis)
    return np.sqrt(np.sum(w * w, axis=axes, keepdims=True))


def max_norm(w: NDArray, max_value: float = 2.0, axis: Axes = 0) -> NDArray:
    """Vectors longer than `max_value` scaled down to it."""
    norms = _norms(w, axis)
    return w * (np.clip(norms, 0, max_value) / (EPSILON + norms))


def non_neg(w: NDArray) -> NDArray:
    """Negative entries set to zero."""
    return np.maximum(w, 0)


def unit_norm(w: NDArray, axis: Axes = 0) -> NDArray:
    """Vectors scaled to length one."""
    return w / (EPSILON + _norms(w, axis))


def min_max_norm(
    w: NDArray, min_value: float = 0.0, max_value: float = 1.0, rate: float = 1.0, axis: Axes = 0
) -> NDArray:
    """Lengths moved into [min_value, max_value], all the way with rate 1, a share `rate` of it otherwise."""
    norms = _norms(w, axis)
    desired = rate * np.clip(norms, min_value, max_value) + (1 - rate) * norms
    return w * (desired / (EPSILON + norms))


CONSTRAINTS: dict[str, Callable[..., NDArray]] = {
    "max_norm": max_norm,
    "non_neg": non_neg,
    "unit_norm": unit_norm,
    "min_max_norm": min_max_norm,
}
