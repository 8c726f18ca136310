"""Images of other sizes: resized, cropped, with a border, and cut into patches."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from kernelearn.engine import dtypes, geometry
from kernelearn.engine.reference.shaping import RESIZE_WINDOWS
from kernelearn.errors import ArgumentError, unknown_name
from kernelearn.ops._dispatch import operation
from kernelearn.ops._run import Value, cast_to, emit, floats, run, transposed
from kernelearn.ops._shapes import dtype_name, inner_sizes, reshaped_to
from kernelearn.ops.entrywise.arithmetic import clip
from kernelearn.ops.entrywise.functions import round as rounded
from kernelearn.ops.image.batches import as_batch
from kernelearn.ops.moving.joining import concatenate


@operation(name="image.resize")
def resize(
    images: Value,
    size: Sequence[int],
    interpolation: str = "bilinear",
    antialias: bool = False,
    crop_to_aspect_ratio: bool = False,
    pad_to_aspect_ratio: bool = False,
    fill_mode: str = "constant",
    fill_value: float = 0.0,
    data_format: str | None = None,
) -> Any:
    """Images resampled to size = (height, width); integer images are rounded.

    Args:
        interpolation: "nearest", "bilinear", "bicubic", "lanczos3" or "lanczos5".
        antialias: widen the window when shrinking.
        crop_to_aspect_ratio: first cut out the largest window of the wanted proportions.
        pad_to_aspect_ratio: first put a border of `fill_value` around.

    >>> import numpy as np
    >>> from kernelearn import ops
    >>> ops.image.resize(np.array([0.0, 4.0]).reshape(1, 2, 1), (1, 4)).ravel()
    array([0., 1., 3., 4.])
    """
    if interpolation not in RESIZE_WINDOWS:
        raise unknown_name("interpolation", interpolation, RESIZE_WINDOWS)
    if crop_to_aspect_ratio and pad_to_aspect_ratio:
        raise ArgumentError("Only one of crop_to_aspect_ratio and pad_to_aspect_ratio can be True.")
    if fill_mode != "constant":
        raise ArgumentError(f'fill_mode of resize is "constant"; got {fill_mode!r}.')
    x, back = as_batch(images, data_format, "resize")
    height, width = geometry.normalize_tuple(size, 2, "size")
    if crop_to_aspect_ratio:
        x = _cropped_to(x, height, width)
    elif pad_to_aspect_ratio:
        x = _padded_to(x, height, width, fill_value)
    kind = dtype_name(x)
    (wide,) = floats(x)
    y = run("resize", (wide,), None, size=(height, width), method=interpolation, antialias=bool(antialias))
    return back(_as_type(y, kind))


def _as_type(y: Value, kind: str) -> Value:
    """Floats in the type of the images: integers are rounded and held within their type."""
    if dtypes.is_float(kind):
        return cast_to(y, kind)
    limits = np.iinfo(kind)
    return cast_to(clip(rounded(y), float(limits.min), float(limits.max)), kind)


def _cropped_to(x: Value, height: int, width: int) -> Value:
    """The middle window of the proportions height to width."""
    rows, columns, _ = inner_sizes(x)
    kept_rows = max(min(rows, int(columns * height / width)), 1)
    kept_columns = max(min(columns, int(rows * width / height)), 1)
    top, left = (rows - kept_rows) // 2, (columns - kept_columns) // 2
    return _window(x, (top, top + kept_rows), (left, left + kept_columns))


def _padded_to(x: Value, height: int, width: int, value: float) -> Value:
    """With a border on both sides, so that the proportions are height to width."""
    rows, columns, _ = inner_sizes(x)
    more_rows = (max(rows, int(columns * height / width)) - rows) // 2
    more_columns = (max(columns, int(rows * width / height)) - columns) // 2
    return _bordered(x, (more_rows, more_rows), (more_columns, more_columns), value)


def _window(x: Value, rows: tuple[int, int], columns: tuple[int, int]) -> Value:
    if (rows, columns) == ((0, x.shape[1]), (0, x.shape[2])):
        return x
    return emit("slice", x, bounds=(None, rows, columns, None))


def _bordered(x: Value, rows: tuple[int, int], columns: tuple[int, int], value: float = 0.0) -> Value:
    if not any((*rows, *columns)):
        return x
    return emit("pad", x, padding=((0, 0), rows, columns, (0, 0)), value=float(value))


def _sides(before: Any, behind: Any, target: Any, change: int, names: Sequence[str]) -> tuple[int, int]:
    """What comes before and behind along an axis, of which two of three numbers are given.

    Args:
        change: what is left over: the target's size less the image's, or the other way round.
    """
    if [before, behind, target].count(None) != 1:
        raise ArgumentError(f"Give exactly two of {', '.join(names)}; got {before}, {behind} and {target}.")
    before = change - behind if before is None else before
    behind = change - before if behind is None else behind
    if before < 0 or behind < 0:
        raise ArgumentError(
            f"{names[0]} and {names[1]} must not be negative; they come to {before} and {behind}."
        )
    return int(before), int(behind)


@operation(name="image.pad_images")
def pad_images(
    images: Value,
    top_padding: int | None = None,
    left_padding: int | None = None,
    bottom_padding: int | None = None,
    right_padding: int | None = None,
    target_height: int | None = None,
    target_width: int | None = None,
    data_format: str | None = None,
) -> Any:
    """A border of zeros; of top, bottom and target height two are given, and of left, right and target width.

    >>> import numpy as np
    >>> from kernelearn import ops
    >>> ops.image.pad_images(np.ones((2, 2, 1)), 1, 0, target_height=4, target_width=3).shape
    (4, 3, 1)
    """
    x, back = as_batch(images, data_format, "pad_images")
    height, width, _ = inner_sizes(x)
    vertical = "top_padding", "bottom_padding", "target_height"
    horizontal = "left_padding", "right_padding", "target_width"
    rows = _sides(top_padding, bottom_padding, target_height, (target_height or 0) - height, vertical)
    columns = _sides(left_padding, right_padding, target_width, (target_width or 0) - width, horizontal)
    return back(_bordered(x, rows, columns))


@operation(name="image.crop_images")
def crop_images(
    images: Value,
    top_cropping: int | None = None,
    left_cropping: int | None = None,
    bottom_cropping: int | None = None,
    right_cropping: int | None = None,
    target_height: int | None = None,
    target_width: int | None = None,
    data_format: str | None = None,
) -> Any:
    """A window; of top, bottom and target height two are given, and of left, right and target width.

    >>> import numpy as np
    >>> from kernelearn import ops
    >>> ops.image.crop_images(np.arange(4.0).reshape(2, 2, 1), 1, 0, target_height=1, target_width=2).ravel()
    array([2., 3.])
    """
    x, back = as_batch(images, data_format, "crop_images")
    height, width, _ = inner_sizes(x)
    vertical = "top_cropping", "bottom_cropping", "target_height"
    horizontal = "left_cropping", "right_cropping", "target_width"
    top, bottom = _sides(
        top_cropping, bottom_cropping, target_height, height - (target_height or 0), vertical
    )
    left, right = _sides(left_cropping, right_cropping, target_width, width - (target_width or 0), horizontal)
    return back(_window(x, (top, height - bottom), (left, width - right)))


@operation(name="image.extract_patches")
def extract_patches(
    images: Value,
    size: int | Sequence[int],
    strides: int | Sequence[int] | None = None,
    dilation_rate: int | Sequence[int] = 1,
    padding: str = "valid",
    data_format: str | None = None,
) -> Any:
    """Patches of images, each as the channels of one pixel, in the order (row, column, channel).

    Args:
        size: (height, width), or three numbers for volumes.
        strides: from patch to patch; None: as `size`, side by side.
        padding: "valid" or "same" (zeros).

    >>> import numpy as np
    >>> from kernelearn import ops
    >>> ops.image.extract_patches(np.zeros((2, 8, 6, 3)), 2).shape
    (2, 4, 3, 12)
    """
    rank = 2 if isinstance(size, int) else len(size)
    return _patches(images, size, strides, dilation_rate, padding, data_format, rank)


@operation(name="image.extract_patches_3d")
def extract_patches_3d(
    volumes: Value,
    size: int | Sequence[int],
    strides: int | Sequence[int] | None = None,
    dilation_rate: int | Sequence[int] = 1,
    padding: str = "valid",
    data_format: str | None = None,
) -> Any:
    """As `extract_patches`, of volumes."""
    return _patches(volumes, size, strides, dilation_rate, padding, data_format, 3)


def _patches(
    images: Any, size: Any, strides: Any, dilation: Any, padding: str, data_format: str | None, rank: int
) -> Value:
    x, back = as_batch(images, data_format, "extract_patches", rank)
    kernel = geometry.normalize_tuple(size, rank, "size")
    stride = kernel if strides is None else geometry.normalize_tuple(strides, rank, "strides")
    rate = geometry.normalize_tuple(dilation, rank, "dilation_rate")
    sizes = inner_sizes(x)[:-1]
    pads = tuple(map(geometry.resolve_padding, [padding] * rank, sizes, kernel, stride, rate))
    if any(map(any, pads)):
        x = emit("pad", x, padding=((0, 0), *pads, (0, 0)))
    outputs = geometry.output_sizes(sizes, kernel, stride, rate, pads, "patch")
    if stride == kernel and set(rate) == {1}:
        return back(_side_by_side(x, kernel, outputs))
    parts = []
    for tap in itertools.product(*map(range, kernel)):
        starts = [t * r for t, r in zip(tap, rate)]
        places = [(start, count, step) for start, count, step in zip(starts, outputs, stride)]
        parts.append(emit("strided_slice", x, places=(None, *places, None)))
    return back(concatenate(parts, -1))


def _side_by_side(x: Value, kernel: Sequence[int], outputs: Sequence[int]) -> Value:
    """Patches that share no pixel: the axes (place, within) of every direction, in another order."""
    rank, channels = len(kernel), int(x.shape[-1])
    used = [count * k for count, k in zip(outputs, kernel)]
    if used != list(inner_sizes(x)[:-1]):
        x = emit("slice", x, bounds=(None, *((0, size) for size in used), None))
    first = x.buffer.shape[0] if hasattr(x, "buffer") else x.shape[0]
    pairs = [n for pair in zip(outputs, kernel) for n in pair]
    apart = reshaped_to(x, [first, *pairs, channels])
    order = [0, *range(1, 2 * rank, 2), *range(2, 2 * rank + 1, 2), 2 * rank + 1]
    return reshaped_to(transposed(apart, order), [first, *outputs, int(np.prod(kernel)) * channels])
