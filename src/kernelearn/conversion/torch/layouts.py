"""The layouts of weights on both sides, as plain NumPy: stated here once, each with its way back.

PyTorch                                     here
conv            (out, in // g, *size)       (*size, in // g, out)
transposed conv (in, out, *size)            (*size, out, in)
depthwise conv  (c * m, 1, *size)           (*size, c, m)          channel c * m_count + m is kernel m of c
linear          (out, in)                   (in, out)              rows in the order of the flattened input
attention       in_proj (3 h d, e)          query, key, value (e, h, d) each; output (h, d, e)
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def conv_kernel(weight: Array) -> Array:
    """Convolution, plain or transposed, from PyTorch: the first two axes go to the end, turned round."""
    return np.moveaxis(weight, (0, 1), (-1, -2))


def conv_weight(kernel: Array) -> Array:
    """Convolution, plain or transposed, to PyTorch."""
    return np.moveaxis(kernel, (-1, -2), (0, 1))


def depthwise_kernel(weight: Array, channels: int) -> Array:
    """Depthwise convolution, from PyTorch: (c * m, 1, *size) to (*size, c, m)."""
    split = weight.reshape(channels, -1, *weight.shape[2:])
    return np.moveaxis(split, (0, 1), (-2, -1))


def depthwise_weight(kernel: Array) -> Array:
    """Depthwise convolution, to PyTorch."""
    split = np.moveaxis(kernel, (-2, -1), (0, 1))
    return split.reshape(-1, 1, *kernel.shape[:-2])


def dense_kernel(weight: Array, places: Array | None = None) -> Array:
    """Linear, from PyTorch; `places[j]` is the place in PyTorch's order of what stands at j here."""
    rows = weight.T
    return rows if places is None else rows[places]


def dense_weight(kernel: Array, places: Array | None = None) -> Array:
    """Linear, to PyTorch; `places[j]` is the place here of what stands at j there."""
    rows = kernel if places is None else kernel[places]
    return rows.T


def inverse(places: Array) -> Array:
    """The places of features that undo others; orders of axes have `inverse_order`."""
    return np.argsort(places)
