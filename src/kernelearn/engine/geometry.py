"""Sizes and paddings of windows: ints in, ints out. The only place that knows what "same" means.

A window operation (convolution, pooling) is described per spatial axis by kernel size, stride, dilation and
padding (before, after). Everything below works on one axis; the `*_all` helpers map it over axes.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from kernelearn.engine.arrays import Sizes, known
from kernelearn.errors import ArgumentError, ShapeError

PADDINGS = ("valid", "same", "causal")
Pair = tuple[int, int]


def normalize_tuple(value: int | Sequence[int], rank: int, name: str, minimum: int = 1) -> tuple[int, ...]:
    """An int or a sequence of `rank` ints as a tuple of `rank` ints.

    >>> normalize_tuple(3, 2, "kernel_size")
    (3, 3)
    """
    values: tuple[Any, ...] = (value,) * rank
    if isinstance(value, Sequence | np.ndarray) and not isinstance(value, str):
        values = tuple(value)
    ok = len(values) == rank and all(
        isinstance(v, int | np.integer) and not isinstance(v, bool) and v >= minimum for v in values
    )
    if not ok:
        raise ArgumentError(
            f"{name} must be an int or {rank} ints, each at least {minimum}; got {value!r}. "
            f"For example {name}={max(minimum, 1)} or {name}={(max(minimum, 1),) * rank}."
        )
    return tuple(int(v) for v in values)


def effective_size(kernel: int, dilation: int) -> int:
    """Pixels that a dilated kernel spans: (kernel - 1) * dilation + 1."""
    return (kernel - 1) * dilation + 1


def resolve_padding(padding: str, size: int, kernel: int, stride: int = 1, dilation: int = 1) -> Pair:
    """Padding (before, after) in pixels that a name stands for on one axis.

    "valid" pads nothing. "same" gives ceil(size / stride) outputs; an odd rest goes after, as in TensorFlow
    and Keras (PyTorch pads otherwise when stride > 1). "causal" pads only before: output t sees inputs <= t.

    >>> resolve_padding("same", 32, kernel=3, stride=2)
    (0, 1)
    """
    span = effective_size(kernel, dilation)
    if padding == "valid":
        return 0, 0
    if padding == "causal":
        return span - 1, 0
    if padding == "same":
        outputs = -(-size // stride)
        total = max((outputs - 1) * stride + span - size, 0)
        return total // 2, total - total // 2
    raise ArgumentError(f"padding must be one of {PADDINGS}, got {padding!r}.")


def output_size(size: int, kernel: int, stride: int = 1, dilation: int = 1, padding: Pair = (0, 0)) -> int:
    """Number of window positions on one axis; below 1 when the window does not fit.

    >>> output_size(28, kernel=3)
    26
    """
    return (size + sum(padding) - effective_size(kernel, dilation)) // stride + 1


def output_sizes(
    sizes: Sequence[int | None],
    kernel: Sequence[int | None],
    stride: Sequence[int],
    dilation: Sequence[int],
    padding: Sequence[Pair],
    what: str = "window",
) -> Sizes:
    """`output_size` on every axis.

    Raises: ShapeError if the window does not fit into the padded input on some axis.
    """
    windows = tuple(map(known, kernel))
    outputs = tuple(map(output_size, map(known, sizes), windows, stride, dilation, padding))
    if min(outputs, default=1) < 1:
        spans = tuple(map(effective_size, windows, dilation))
        raise ShapeError(
            f"A {what} spanning {spans} pixels does not fit into an input of {tuple(sizes)} with padding "
            f"{tuple(padding)}. Use a smaller kernel_size or pool_size, padding='same', or larger inputs."
        )
    return outputs


def transpose_padding(
    padding: str, kernel: int, stride: int, dilation: int, output_padding: int | None
) -> Pair:
    """Pixels (before, after) that a transposed convolution crops from its full output on one axis.

    The full output has (size - 1) * stride + span pixels. A negative number extends it by zeros instead. This
    is the rule of Keras for every backend: "valid" keeps all and covers at least one stride, "same" gives
    size * stride pixels, an explicit `output_padding` gives (size - 1) * stride + span % 2 + output_padding.

    >>> transpose_padding("same", kernel=3, stride=2, dilation=1, output_padding=None)
    (0, 1)
    """
    span = effective_size(kernel, dilation)
    if padding == "valid":
        extra = max(span, stride) - span if output_padding is None else output_padding
        return 0, -extra
    if padding != "same":
        raise ArgumentError(
            f"padding of a transposed convolution must be 'valid' or 'same', got {padding!r}."
        )
    if output_padding is None:
        total = stride + span - 2
    else:
        total = span + span % 2 - 2 + output_padding
    before = min(total // 2 + total % 2, span - 1)
    return span - 1 - before, span - 1 - (total - before)


def transpose_output_size(size: int, kernel: int, stride: int, dilation: int, padding: Pair) -> int:
    """Size of a transposed convolution's output on one axis, `padding` from `transpose_padding`.

    >>> transpose_output_size(7, 3, 2, 1, (0, 1))
    14
    """
    return (size - 1) * stride + effective_size(kernel, dilation) - sum(padding)


def window_counts(size: int, kernel: int, stride: int, padding: Pair) -> list[int]:
    """How many real (not padded) pixels each window position covers: the divisor of average pooling.

    >>> window_counts(4, kernel=3, stride=1, padding=(1, 1))
    [2, 3, 3, 2]
    """
    starts = [q * stride - padding[0] for q in range(output_size(size, kernel, stride, 1, padding))]
    return [max(min(start + kernel, size) - max(start, 0), 0) for start in starts]


def receptive_field(windows: Sequence[tuple[int, int, int]]) -> tuple[int, int]:
    """Receptive field of a stack of windows on one axis.

    Args:
        windows: (kernel, stride, dilation) from the input to the output.
    Returns: (size, jump): how many input pixels one output sees, and how far apart in the input two
        neighbouring outputs look. Source: Araujo, Norris and Sim, Distill 2019, equation 2.

    >>> receptive_field([(3, 1, 1), (2, 2, 1), (3, 1, 1)])
    (8, 2)
    """
    size, jump = 1, 1
    for kernel, stride, dilation in windows:
        size += (effective_size(kernel, dilation) - 1) * jump
        jump *= stride
    return size, jump
