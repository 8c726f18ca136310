"""Convolution, its two gradients and the transposed convolution in 1, 2 or 3 dimensions.

With x the input, w the kernel, y the output, g = dL/dy, stride s, dilation d and padding p (written in 2-D,
one group):

    forward          y[n,p,q,f]      = sum_{i,j,c}  x_pad[n, p*s + i*d, q*s + j*d, c] * w[i,j,c,f]
    kernel gradient  dL/dw[i,j,c,f]  = sum_{n,p,q}  x_pad[n, p*s + i*d, q*s + j*d, c] * g[n,p,q,f]
    input gradient   dL/dx_pad[n,u,v,c] = sum of w[i,j,c,f] * g[n,p,q,f]
                                          over all i,j,f,p,q with p*s + i*d = u and q*s + j*d = v

It is a dense layer applied at every position (p, q) with the same weights: put the inputs of one position in
a row ("columns", n*oh*ow rows of kh*kw*c numbers) and all three are matrix products:

    y = columns @ w      dL/dw = columns.T @ g      dL/dcolumns = g @ w.T, each entry added where it was read

The kernel gradient sums over positions because every position uses the same weight; that is the one
difference from a dense layer, which sums over images only. A transposed convolution is the input gradient
used as a forward pass.

Shapes: x (n, *spatial, c), w (*kernel, c // groups, f), y (n, *outputs, f). Filter block k of `groups` blocks
sees channel block k. Results have the dtype of x; sums run in that dtype (BLAS). With precision="bfloat16"
both operands are rounded to bfloat16 first (`precision.py`).
"""

from collections.abc import Iterator

import numpy as np

from kernelearn.engine.arrays import Array, Pairs, Sizes
from kernelearn.engine.geometry import output_sizes
from kernelearn.engine.reference.precision import with_precision
from kernelearn.engine.reference.windows import pad_spatial, padded_sizes, taps, unpad_spatial

# Columns are built for a few images at a time: about this many numbers, which keeps them in the CPU cache and
# bounds memory.
CHUNK_NUMBERS = 2**20


@with_precision
def conv(x: Array, kernel: Array, *, stride: Sizes, padding: Pairs, dilation: Sizes, groups: int) -> Array:
    """Convolution (cross-correlation, as in every deep learning library): the forward equation above.

    Args:
        x: (n, *spatial, c) float array.
        kernel: (*kernel, c // groups, filters).
        stride, dilation: ints per spatial axis.
        padding: (before, after) per spatial axis in pixels; negative crops.
        groups: c and filters are divided into this many independent blocks.
    Returns: (n, *outputs, filters), dtype of x.
    Checked: tests/engine/test_conv.py.
    """
    size = kernel.shape[:-2]
    outputs = output_sizes(x.shape[1:-1], size, stride, dilation, padding)
    weights = _weight_matrices(kernel, groups)
    y = np.empty((x.shape[0], *outputs, kernel.shape[-1]), x.dtype)
    for part in _chunks(x, size, outputs):
        columns = _columns(x[part], size, stride, padding, dilation, groups, outputs)
        y[part] = _merge_groups(columns @ weights, y[part].shape)
    return y


@with_precision
def conv_grad_kernel(
    x: Array,
    grad_y: Array,
    *,
    kernel_size: Sizes,
    stride: Sizes,
    padding: Pairs,
    dilation: Sizes,
    groups: int,
) -> Array:
    """Gradient of `conv` with respect to its kernel: the kernel-gradient equation above.

    Args:
        x: (n, *spatial, c), input of the forward pass (unpadded).
        grad_y: (n, *outputs, filters), dL/dy in loss per unit of y.
        kernel_size: ints per spatial axis.
    Returns: (*kernel_size, c // groups, filters), summed over the batch, not averaged.
    """
    outputs, filters = grad_y.shape[1:-1], grad_y.shape[-1]
    entries = int(np.prod(kernel_size)) * (x.shape[-1] // groups)
    total = np.zeros((groups, entries, filters // groups), x.dtype)
    for part in _chunks(x, kernel_size, outputs):
        columns = _columns(x[part], kernel_size, stride, padding, dilation, groups, outputs)
        total += columns.transpose(0, 2, 1) @ _split_groups(grad_y[part], groups)
    merged = total.transpose(1, 0, 2).reshape(*kernel_size, x.shape[-1] // groups, filters)
    return np.ascontiguousarray(merged)


@with_precision
def conv_grad_input(
    grad_y: Array,
    kernel: Array,
    *,
    input_size: Sizes,
    stride: Sizes,
    padding: Pairs,
    dilation: Sizes,
    groups: int,
) -> Array:
    """Gradient of `conv` with respect to its input: the input-gradient equation above.

    Args:
        grad_y: (n, *outputs, filters).
        kernel: (*kernel, c // groups, filters).
        input_size: spatial sizes of x; pixels that no window reads get zero.
    Returns: (n, *input_size, c).
    """
    size, outputs = kernel.shape[:-2], grad_y.shape[1:-1]
    n, channels = grad_y.shape[0], kernel.shape[-2] * groups
    weights = _weight_matrices(kernel, groups).transpose(0, 2, 1)
    padded = np.zeros((n, *padded_sizes(input_size, padding), channels), grad_y.dtype)
    for part in _chunks(padded, size, outputs):
        grad_columns = _split_groups(grad_y[part], groups) @ weights
        _add_columns(padded[part], grad_columns, size, stride, dilation, outputs)
    return np.ascontiguousarray(unpad_spatial(padded, padding, tuple(input_size)))


@with_precision
def conv_transpose(
    x: Array,
    kernel: Array,
    *,
    output_size: Sizes,
    stride: Sizes,
    padding: Pairs,
    dilation: Sizes,
    groups: int,
) -> Array:
    """Transposed convolution: `conv_grad_input` used forward.

    Args:
        kernel: (*kernel, filters // groups, c), as Keras stores it: the kernel of the convolution that goes
            the other way.
        padding: what is cropped (before, after) from the full output, see `geometry.transpose_padding`.
    Returns: (n, *output_size, filters) for x (n, *spatial, c).
    """
    # NOTE: the operands are rounded by now, if they are to be.
    return conv_grad_input(
        x,
        kernel,
        input_size=output_size,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        precision="float32",
    )


def _columns(
    x: Array, size: Sizes, stride: Sizes, padding: Pairs, dilation: Sizes, groups: int, outputs: Sizes
) -> Array:
    """Inputs of every window position in rows (groups, n * positions, taps * c // groups)."""
    padded = pad_spatial(x, padding)
    n, channels = x.shape[0], x.shape[-1]
    columns = np.empty((groups, n, *outputs, *size, channels // groups), x.dtype)
    for index, region in taps(size, stride, dilation, outputs):
        tap = padded[region].reshape(n, *outputs, groups, channels // groups)
        columns[(slice(None),) * (2 + len(outputs)) + index] = np.moveaxis(tap, -2, 0)
    return columns.reshape(groups, n * int(np.prod(outputs)), -1)


def _add_columns(
    padded: Array, grad_columns: Array, size: Sizes, stride: Sizes, dilation: Sizes, outputs: Sizes
) -> None:
    """The adjoint of `_columns`: add every entry to the pixel of `padded` that it was read from."""
    n, channels = padded.shape[0], padded.shape[-1]
    groups = grad_columns.shape[0]
    blocks = grad_columns.reshape(groups, n, *outputs, *size, channels // groups)
    for index, region in taps(size, stride, dilation, outputs):
        tap = np.moveaxis(blocks[(slice(None),) * (2 + len(outputs)) + index], 0, -2)
        padded[region] += tap.reshape(n, *outputs, channels)


def _weight_matrices(kernel: Array, groups: int) -> Array:
    """(*kernel, c // groups, filters) -> (groups, taps * c // groups, filters // groups)."""
    entries = int(np.prod(kernel.shape[:-1]))
    return np.ascontiguousarray(kernel.reshape(entries, groups, -1).transpose(1, 0, 2))


def _split_groups(y: Array, groups: int) -> Array:
    """(n, *outputs, filters) -> (groups, n * positions, filters // groups)."""
    return y.reshape(-1, groups, y.shape[-1] // groups).transpose(1, 0, 2)


def _merge_groups(y: Array, shape: tuple[int, ...]) -> Array:
    """(groups, n * positions, filters // groups) -> (n, *outputs, filters)."""
    return y.transpose(1, 0, 2).reshape(shape)


def _chunks(x: Array, size: Sizes, outputs: Sizes) -> Iterator[slice]:
    """Slices of the batch whose columns hold about CHUNK_NUMBERS numbers each."""
    per_image = int(np.prod(outputs)) * int(np.prod(size)) * x.shape[-1]
    images = max(1, CHUNK_NUMBERS // max(per_image, 1))
    return (slice(i, i + images) for i in range(0, x.shape[0], images))
