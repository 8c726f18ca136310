"""Images on arrays: enlarge, resize, and warp by affine maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kernelearn.engine.geometry import normalize_tuple
from kernelearn.engine.reference.images.augmentation import INDEX_RULES, INTERPOLATIONS
from kernelearn.engine.reference.shaping import RESIZE_WINDOWS
from kernelearn.errors import unknown_name
from kernelearn.ops._dispatch import operation
from kernelearn.ops._run import Value, check_axes, floats, run
from kernelearn.ops.convolution import _back, channels_to_end
from kernelearn.ops.pooling import _spatial
from kernelearn.tracing import Traced


@operation
def upsample(
    x: Value,
    size: int | Sequence[int] = 2,
    interpolation: str = "nearest",
    data_format: str | None = None,
    engine: str | None = None,
) -> Any:
    """Enlarge maps (n, *spatial, c) by whole factors, one or one per axis.

    >>> import numpy as np
    >>> from kernelearn import ops
    >>> ops.upsample(np.array([1.0, 2.0]).reshape(1, 2, 1)).ravel()
    array([1., 1., 2., 2.])
    """
    x = _spatial(x, data_format)
    factors = normalize_tuple(size, x.ndim - 2, "size")
    method = _known(interpolation, RESIZE_WINDOWS)
    return _back(run("upsample", (x,), engine, factors=factors, method=method), data_format)


@operation
def resize(
    x: Value,
    size: Sequence[int],
    interpolation: str = "bilinear",
    antialias: bool = False,
    data_format: str | None = None,
    engine: str | None = None,
) -> Any:
    """Images (n, height, width, c) resampled to size = (height, width).

    Args:
        interpolation: "nearest", "bilinear", "bicubic", "lanczos3" or "lanczos5".
        antialias: widen the window when shrinking.
    """
    x = _spatial(x, data_format)
    sizes = normalize_tuple(size, x.ndim - 2, "size")
    method = _known(interpolation, RESIZE_WINDOWS)
    return _back(
        run("resize", (x,), engine, size=sizes, method=method, antialias=bool(antialias)), data_format
    )


@operation
def affine_transform(
    images: Value,
    maps: Value,
    interpolation: str = "bilinear",
    fill_mode: str = "constant",
    fill_value: float = 0.0,
    data_format: str | None = None,
    engine: str | None = None,
) -> Any:
    """Images whose pixel (row, column) is read at maps[n] @ (row, column, 1).

    Args:
        images: (n, height, width, c).
        maps: (n, 2, 3), or (2, 3) for all images. NOTE: rows before columns, unlike the 8 numbers of Keras.
        fill_mode: what lies outside: "constant" (fill_value), "nearest", "wrap" or "reflect".

    >>> import numpy as np
    >>> from kernelearn import ops
    >>> shift = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 1.0]])
    >>> ops.affine_transform(np.array([1.0, 2.0, 3.0]).reshape(1, 1, 3, 1), shift).ravel()
    array([2., 3., 0.])
    """
    (images,) = floats(images)
    check_axes(images, 4, "images", "(n, height, width, c)")
    images = channels_to_end(images, data_format)
    spread = maps if isinstance(maps, Traced) else np.asarray(maps, np.float64)
    if not isinstance(images, Traced):
        spread = np.broadcast_to(spread, (images.shape[0], 2, 3))
    outside = {"fill_mode": _known(fill_mode, INDEX_RULES), "fill_value": float(fill_value)}
    method = _known(interpolation, INTERPOLATIONS)
    y = run("warp", (images, spread), engine, batched=2, interpolation=method, **outside)
    return _back(y, data_format)


def _known(name: str, table: Any) -> str:
    """The name, if the table has it."""
    if name not in table:
        raise unknown_name("interpolation or fill_mode", name, table)
    return name
