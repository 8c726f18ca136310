"""Convolution, its gradients, and its transposed, depthwise and separable forms, on arrays; 1-D to 3-D."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from kernelearn.engine import geometry
from kernelearn.errors import ArgumentError, ShapeError
from kernelearn.ops._dispatch import operation
from kernelearn.ops._run import Value, check_axes, floats, moved, reshaped, run

Ints = int | Sequence[int]
Sizes = Sequence[int]
Padding = str | int | Sequence[Sequence[int]]


@operation
def conv(
    x: Value,
    kernel: Value,
    strides: Ints = 1,
    padding: Padding = "valid",
    dilation_rate: Ints = 1,
    groups: int = 1,
    data_format: str | None = None,
    engine: str | None = None,
) -> Any:
    """Convolution (cross-correlation): y[n,p,f] = sum over taps i and channels c of x_pad[n, p*s + i*d, c] *
    w[i,c,f].

    Args:
        x: (n, *spatial, c), or (n, c, *spatial) with data_format="channels_first"; one to three spatial axes.
        kernel: (*size, c // groups, filters).
        strides, dilation_rate: an int or one per spatial axis.
        padding: "valid", "same", in 1-D "causal", an int, or one pair (before, after) per spatial axis.
        groups: channels and filters are split into this many independent groups.
        engine: "cpu" (compiled, float32), "reference" (NumPy) or None for the default one.
    Returns: (n, *outputs, filters), in the data format of x.
    Raises: ShapeError, ArgumentError.

    >>> import numpy as np
    >>> from kernelearn import ops
    >>> edges = np.array([1.0, -1.0]).reshape(2, 1, 1)
    >>> ops.conv(np.array([3.0, 5.0, 4.0]).reshape(1, 3, 1), edges).ravel()
    array([-2.,  1.])
    """
    x, kernel = floats(x, kernel)
    x = _channels_last(x, kernel.ndim, data_format)
    attrs = _attrs(x.shape[1:-1], kernel.shape[:-2], strides, padding, dilation_rate, groups)
    return _back(run("conv", (x, kernel), engine, **attrs), data_format)


@operation
def conv_grad_input(
    grad_y: Value,
    kernel: Value,
    input_size: Ints,
    strides: Ints = 1,
    padding: Padding = "valid",
    dilation_rate: Ints = 1,
    groups: int = 1,
    data_format: str | None = None,
    engine: str | None = None,
) -> Any:
    """Gradient of `conv` with respect to x.

    Args:
        grad_y: dL/dy, of the shape of y.
        input_size: spatial sizes of x.
        (the others as in `conv`)
    Returns: dL/dx, of the shape of x.

    >>> import numpy as np
    >>> from kernelearn import ops
    >>> ops.conv_grad_input(np.ones((1, 2, 1)), np.array([1.0, -1.0]).reshape(2, 1, 1), input_size=3).ravel()
    array([ 1.,  0., -1.])
    """
    grad_y, kernel = floats(grad_y, kernel)
    grad_y = _channels_last(grad_y, kernel.ndim, data_format, "grad_y")
    sizes = geometry.normalize_tuple(input_size, kernel.ndim - 2, "input_size")
    attrs = _attrs(sizes, kernel.shape[:-2], strides, padding, dilation_rate, groups)
    _check_grad(grad_y, sizes, kernel.shape[:-2], kernel.shape[-1], attrs)
    return _back(run("conv_grad_input", (grad_y, kernel), engine, input_size=sizes, **attrs), data_format)


@operation
def conv_grad_kernel(
    x: Value,
    grad_y: Value,
    kernel_size: Ints,
    strides: Ints = 1,
    padding: Padding = "valid",
    dilation_rate: Ints = 1,
    groups: int = 1,
    data_format: str | None = None,
    engine: str | None = None,
) -> Any:
    """Gradient of `conv` with respect to the kernel, summed over the batch.

    Args:
        grad_y: dL/dy, of the shape of y.
        kernel_size: an int or one per spatial axis.
        (the others as in `conv`)
    Returns: (*kernel_size, c // groups, filters).

    >>> import numpy as np
    >>> from kernelearn import ops
    >>> x = np.array([3.0, 5.0, 4.0]).reshape(1, 3, 1)
    >>> ops.conv_grad_kernel(x, np.ones((1, 2, 1)), kernel_size=2).ravel()
    array([8., 9.])
    """
    x, grad_y = floats(x, grad_y)
    x, grad_y = _channels_last(x, x.ndim, data_format), _channels_last(grad_y, x.ndim, data_format, "grad_y")
    size = geometry.normalize_tuple(kernel_size, x.ndim - 2, "kernel_size")
    attrs = _attrs(x.shape[1:-1], size, strides, padding, dilation_rate, groups)
    _check_grad(grad_y, x.shape[1:-1], size, grad_y.shape[-1], attrs)
    if x.shape[-1] % groups or grad_y.shape[-1] % groups or x.shape[0] != grad_y.shape[0]:
        raise ShapeError(
            f"x {x.shape} and grad_y {grad_y.shape} must have the same number of images, and channels that "
            f"groups={groups} divides."
        )
    return run("conv_grad_kernel", (x, grad_y), engine, batched=2, kernel_size=size, **attrs)


@operation
def conv_transpose(
    x: Value,
    kernel: Value,
    strides: Ints = 1,
    padding: str = "valid",
    output_padding: Ints | None = None,
    dilation_rate: Ints = 1,
    groups: int = 1,
    data_format: str | None = None,
    engine: str | None = None,
) -> Any:
    """Transposed convolution: the input gradient of a convolution, used to enlarge feature maps.

    Args:
        kernel: (*size, filters // groups, c).
        padding: "valid" or "same".
        output_padding: pixels added to the smallest output; None for Keras's default size, n * stride for
            "same".
        (the others as in `conv`)
    Returns: (n, *outputs, filters), in the data format of x.

    >>> import numpy as np
    >>> from kernelearn import ops
    >>> ops.conv_transpose(np.ones((1, 2, 1)), np.ones((2, 1, 1)), strides=2).ravel()
    array([1., 1., 1., 1.])
    """
    x, kernel = floats(x, kernel)
    x = _channels_last(x, kernel.ndim, data_format)
    rank = kernel.ndim - 2
    stride = geometry.normalize_tuple(strides, rank, "strides")
    dilation = geometry.normalize_tuple(dilation_rate, rank, "dilation_rate")
    extra: Sequence[int | None] = (None,) * rank
    if output_padding is not None:
        extra = geometry.normalize_tuple(output_padding, rank, "output_padding", 0)
    axes = list(zip(kernel.shape[:-2], stride, dilation))
    crop = tuple(geometry.transpose_padding(padding, *axis, more) for axis, more in zip(axes, extra))
    sizes = tuple(
        geometry.transpose_output_size(n, *axis, p) for n, axis, p in zip(x.shape[1:-1], axes, crop)
    )
    attrs: dict[str, Any] = {"stride": stride, "padding": crop, "dilation": dilation, "groups": groups}
    return _back(run("conv_transpose", (x, kernel), engine, output_size=sizes, **attrs), data_format)


@operation
def depthwise_conv(
    x: Value,
    kernel: Value,
    strides: Ints = 1,
    padding: Padding = "valid",
    dilation_rate: Ints = 1,
    data_format: str | None = None,
    engine: str | None = None,
) -> Any:
    """Convolution of every channel with its own kernels; no sum over channels.

    Args:
        kernel: (*size, c, depth_multiplier).
        (the others as in `conv`)
    Returns: (n, *outputs, c * depth_multiplier); output c * depth_multiplier + m is kernel m of channel c.

    >>> import numpy as np
    >>> from kernelearn import ops
    >>> ops.depthwise_conv(np.ones((1, 4, 4, 2)), np.ones((3, 3, 2, 1))).shape
    (1, 2, 2, 2)
    """
    (kernel,) = floats(kernel)
    channels = kernel.shape[-2] if kernel.ndim > 1 else 0
    if channels < 1:
        raise ShapeError(
            f"A depthwise kernel must have shape (*size, channels, depth_multiplier), got {kernel.shape}."
        )
    flat = reshaped(kernel, (*kernel.shape[:-2], 1, math.prod(kernel.shape[-2:])))
    return conv(x, flat, strides, padding, dilation_rate, channels, data_format, engine)


@operation
def separable_conv(
    x: Value,
    depthwise_kernel: Value,
    pointwise_kernel: Value,
    strides: Ints = 1,
    padding: Padding = "valid",
    dilation_rate: Ints = 1,
    data_format: str | None = None,
    engine: str | None = None,
) -> Any:
    """A depthwise convolution followed by a 1 x 1 convolution that mixes the channels.

    Args:
        depthwise_kernel: (*size, c, depth_multiplier).
        pointwise_kernel: (1, ..., c * depth_multiplier, filters).
        (the others as in `conv`)
    """
    middle = depthwise_conv(x, depthwise_kernel, strides, padding, dilation_rate, data_format, engine)
    return conv(middle, pointwise_kernel, data_format=data_format, engine=engine)


def resolve_pairs(
    padding: Padding, sizes: Sizes, kernel: Sizes, stride: Sizes, dilation: Sizes
) -> tuple[tuple[int, int], ...]:
    """Padding as one pair (before, after) per axis."""
    rank = len(sizes)
    if isinstance(padding, str):
        if padding.lower() == "causal" and rank != 1:
            raise ArgumentError(f"padding='causal' is for one spatial axis; the input has {rank}.")
        axes = zip(sizes, kernel, stride, dilation)
        return tuple(geometry.resolve_padding(padding.lower(), *axis) for axis in axes)
    if isinstance(padding, int | np.integer):
        return ((int(padding),) * 2,) * rank
    pairs = list(padding)
    if len(pairs) != rank or any(np.shape(pair) != (2,) for pair in pairs):
        raise ArgumentError(
            f"padding must be a name, an int, or {rank} pairs (before, after), one per spatial axis; "
            f"got {padding!r}."
        )
    return tuple((int(lo), int(hi)) for lo, hi in pairs)


def _attrs(
    sizes: Sizes, kernel: Sizes, strides: Ints, padding: Padding, dilation_rate: Ints, groups: int
) -> dict[str, Any]:
    """The attributes of the convolution operators."""
    rank = len(kernel)
    if isinstance(groups, bool) or not isinstance(groups, int | np.integer) or groups < 1:
        raise ArgumentError(f"groups must be a positive int, got {groups!r}.")
    stride = geometry.normalize_tuple(strides, rank, "strides")
    dilation = geometry.normalize_tuple(dilation_rate, rank, "dilation_rate")
    pairs = resolve_pairs(padding, sizes, kernel, stride, dilation)
    return {"stride": stride, "padding": pairs, "dilation": dilation, "groups": int(groups)}


def _channels_last(x: Value, axes: int, data_format: str | None, name: str = "x") -> Value:
    """x with its channels at the end, checked against the number of axes of the kernel."""
    if not 3 <= axes <= 5:
        raise ShapeError(
            f"A kernel must have 1 to 3 spatial axes and two of channels; this one has {axes} axes."
        )
    check_axes(x, axes, name, "like the kernel: images first, then space and channels")
    return channels_to_end(x, data_format)


def channels_to_end(x: Value, data_format: str | None) -> Value:
    """x itself, or moved from channels_first."""
    if data_format not in (None, "channels_last", "channels_first"):
        raise ArgumentError(f"data_format must be 'channels_last' or 'channels_first', got {data_format!r}.")
    return moved(x, 1, -1) if data_format == "channels_first" else x


def _back(y: Value, data_format: str | None) -> Value:
    """The result in the caller's data format."""
    return moved(y, -1, 1) if data_format == "channels_first" else y


def _check_grad(grad_y: Value, sizes: Sizes, kernel: Sizes, filters: int, attrs: dict[str, Any]) -> None:
    """Raise ShapeError unless grad_y has the shape of the convolution's output."""
    outputs = geometry.output_sizes(sizes, kernel, attrs["stride"], attrs["dilation"], attrs["padding"])
    expected = (grad_y.shape[0], *outputs, filters)
    if grad_y.shape != expected:
        raise ShapeError(
            f"grad_y must have the shape of the output, {expected} (channels last); got {grad_y.shape}."
        )
