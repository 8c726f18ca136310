"""Colours of images: to grey, and between red, green, blue and hue, saturation, value."""

from __future__ import annotations

from typing import Any

import numpy as np

from kernelearn.engine import dtypes
from kernelearn.errors import ArgumentError, ShapeError
from kernelearn.ops._dispatch import operation
from kernelearn.ops._run import Value, cast_to, floats
from kernelearn.ops._shapes import dtype_name
from kernelearn.ops.entrywise.arithmetic import clip, maximum, minimum, mod
from kernelearn.ops.entrywise.conditions import where
from kernelearn.ops.image.batches import Back, as_batch
from kernelearn.ops.moving.joining import concatenate, split

# Weights of red, green and blue, as in TensorFlow's `rgb_to_grayscale`.
GREY = (0.2989, 0.5870, 0.1140)


@operation(name="image.rgb_to_grayscale")
def rgb_to_grayscale(images: Value, data_format: str | None = None) -> Any:
    """Images of one channel: 0.2989 red + 0.5870 green + 0.1140 blue. Grey ones stay.

    >>> import numpy as np
    >>> from kernelearn import ops
    >>> ops.image.rgb_to_grayscale(np.ones((1, 1, 3), "float32")).round(4).ravel()
    array([0.9999], dtype=float32)
    """
    x, back = as_batch(images, data_format, "rgb_to_grayscale")
    if x.shape[-1] == 1:
        return back(x)
    kind = dtype_name(x)
    _check_channels(x, "rgb_to_grayscale")
    (wide,) = floats(x)
    red, green, blue = split(wide, 3, -1)
    grey = red * GREY[0] + green * GREY[1] + blue * GREY[2]
    return back(cast_to(grey, kind))


def _check_channels(x: Value, what: str) -> None:
    if x.shape[-1] != 3:
        raise ShapeError(f"{what} takes images of three channels, got shape {x.shape} (channels last).")


def _planes(images: Any, data_format: str | None, what: str) -> tuple[list[Value], Back]:
    """The three channels of float images."""
    x, back = as_batch(images, data_format, what)
    _check_channels(x, what)
    if not dtypes.is_float(dtype_name(x)):
        raise ArgumentError(
            f"{what} takes float images with values in [0, 1], got {dtype_name(x)}; scale them."
        )
    return split(x, 3, -1), back


@operation(name="image.rgb_to_hsv")
def rgb_to_hsv(images: Value, data_format: str | None = None) -> Any:
    """Hue, saturation and value, all in [0, 1], of float images in [0, 1].

    >>> import numpy as np
    >>> from kernelearn import ops
    >>> ops.image.rgb_to_hsv(np.array([[[0.0, 0.5, 0.0]]])).round(3).ravel()
    array([0.333, 1.   , 0.5  ])
    """
    channels, back = _planes(images, data_format, "rgb_to_hsv")
    least = float(np.finfo(dtype_name(channels[0])).eps)
    red, green, blue = (where(abs(c) < least, 0.0, c) for c in channels)
    value = maximum(maximum(red, green), blue)
    spread = value - minimum(minimum(red, green), blue)
    saturation = where(value > 0, spread / where(value > 0, value, 1.0), 0.0)
    share = 1.0 / (6.0 * where(spread > 0, spread, 1.0))
    hue = where(value == green, share * (blue - red) + 2 / 6, share * (red - green) + 4 / 6)
    hue = where(value == red, share * (green - blue), hue)
    # NOTE: of grey pixels the hue is 0; between magenta and red it would be negative.
    hue = where(spread > 0, hue, 0.0) + where(hue < 0, 1.0, 0.0)
    return back(concatenate([hue, saturation, value], -1))


@operation(name="image.hsv_to_rgb")
def hsv_to_rgb(images: Value, data_format: str | None = None) -> Any:
    """Red, green and blue of hue, saturation and value.

    >>> import numpy as np
    >>> from kernelearn import ops
    >>> ops.image.hsv_to_rgb(np.array([[[1 / 3, 1.0, 0.5]]])).round(3).ravel()
    array([0. , 0.5, 0. ])
    """
    (hue, saturation, value), back = _planes(images, data_format, "hsv_to_rgb")
    turned = mod(hue, 1.0) * 6.0
    shares = [
        clip(abs(turned - 3.0) - 1.0, 0.0, 1.0),
        clip(2.0 - abs(turned - 2.0), 0.0, 1.0),
        clip(2.0 - abs(turned - 4.0), 0.0, 1.0),
    ]
    grey = 1.0 - saturation
    return back(concatenate([value * (grey + saturation * share) for share in shares], -1))
