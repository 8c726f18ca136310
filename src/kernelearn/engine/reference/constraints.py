"""Projections that keep weights within bounds after every update, and the table of them.

Each is a pure function of the weights; `axis` names the axes whose entries form one vector, for a convolution
kernel of shape (kh, kw, in, filters) usually (0, 1, 2).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kernelearn.engine.arrays import Array

EPSILON = 1e-7  # Keras's backend.epsilon(), keeps a zero vector zero

Axes = int | Sequence[int]


@dataclass(frozen=True)
class Projection:
    """A constraint as a function of the weights.

    Called as projection(w, **attrs), it gives the weights within bounds, shape and dtype of w.
    attrs: its attributes with their defaults; `function` takes all of them.
    """

    function: Callable[..., Array]
    attrs: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, w: Array, **attrs: Any) -> Array:
        return self.function(w, **{**self.attrs, **attrs})


def _norms(w: Array, axis: Axes) -> Array:
    axes = axis if isinstance(axis, int) else tuple(axis)
    return np.sqrt(np.sum(w * w, axis=axes, keepdims=True))


def max_norm(w: Array, max_value: float, axis: Axes) -> Array:
    """Vectors longer than `max_value` scaled down to it."""
    norms = _norms(w, axis)
    return w * (np.clip(norms, 0, max_value) / (EPSILON + norms))


def non_neg(w: Array) -> Array:
    """Negative entries set to zero."""
    return np.maximum(w, 0)


def unit_norm(w: Array, axis: Axes) -> Array:
    """Vectors scaled to length one."""
    return w / (EPSILON + _norms(w, axis))


def min_max_norm(w: Array, min_value: float, max_value: float, rate: float, axis: Axes) -> Array:
    """Lengths moved into [min_value, max_value], all the way with rate 1, a share `rate` of it otherwise."""
    norms = _norms(w, axis)
    desired = rate * np.clip(norms, min_value, max_value) + (1 - rate) * norms
    return w * (desired / (EPSILON + norms))


CONSTRAINTS: dict[str, Projection] = {
    "max_norm": Projection(max_norm, {"max_value": 2.0, "axis": 0}),
    "non_neg": Projection(non_neg),
    "unit_norm": Projection(unit_norm, {"axis": 0}),
    "min_max_norm": Projection(min_max_norm, {"min_value": 0.0, "max_value": 1.0, "rate": 1.0, "axis": 0}),
}
