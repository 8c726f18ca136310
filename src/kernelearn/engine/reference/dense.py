"""The dense layer's product, its two gradients and the bias.

    forward          y[n,f]       = sum_c x[n,c] * w[c,f]
    kernel gradient  dL/dw[c,f]   = sum_n x[n,c] * g[n,f]
    input gradient   dL/dx[n,c]   = sum_f g[n,f] * w[c,f]

Leading axes beyond the first behave like more images, as in Keras. Compare `conv.py`: the only difference is
that a convolution's kernel gradient also sums over positions.
"""

import numpy as np

from kernelearn.engine.arrays import Array
from kernelearn.engine.reference.precision import with_precision


@with_precision
def dense(x: Array, kernel: Array) -> Array:
    """(..., c) times (c, f) -> (..., f)."""
    return x @ kernel


@with_precision
def dense_grad_input(grad_y: Array, kernel: Array) -> Array:
    """(..., f) times the transpose of (c, f) -> (..., c)."""
    return grad_y @ kernel.T


@with_precision
def dense_grad_kernel(x: Array, grad_y: Array) -> Array:
    """Sum over all rows of x (..., c) and grad_y (..., f) of their outer product -> (c, f)."""
    return x.reshape(-1, x.shape[-1]).T @ grad_y.reshape(-1, grad_y.shape[-1])


def bias_add(x: Array, bias: Array) -> Array:
    """Add bias (f,) to the last axis of x (..., f)."""
    return x + bias


def bias_grad(grad_y: Array) -> Array:
    """Sum of grad_y (..., f) over everything but channels: (f,)."""
    rows = grad_y.reshape(-1, grad_y.shape[-1])
    # NOTE: a product with ones is summed by BLAS, several times as fast as rows.sum(axis=0) for few channels.
    return np.ones(rows.shape[0], rows.dtype) @ rows
