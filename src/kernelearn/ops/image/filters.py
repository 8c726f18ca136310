"""Images blurred, their edges, and images shaken as if printed on rubber."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernelearn.ops import random
from kernelearn.ops._dispatch import operation
from kernelearn.ops._run import Value, cast_to, floats
from kernelearn.ops._shapes import dtype_name, inner_sizes
from kernelearn.ops.convolution import depthwise_conv
from kernelearn.ops.image.batches import as_batch
from kernelearn.ops.image.sampling import _check_mode, _pixels, read_images
from kernelearn.ops.joining import stack
from kernelearn.ops.shaping import shape


@operation(name="image.gaussian_blur")
def gaussian_blur(
    images: Value,
    kernel_size: Sequence[int] = (3, 3),
    sigma: Sequence[float] = (1.0, 1.0),
    data_format: str | None = None,
) -> Any:
    """Images blurred by a normal distribution, with zeros around them.

    Args:
        kernel_size: pixels across and down; sigma: standard deviations in pixels, across and down.

    >>> import numpy as np
    >>> from kernelearn import ops
    >>> ops.image.gaussian_blur(np.eye(3)[1].reshape(1, 3, 1), (3, 1), (1.0, 1.0)).round(3).ravel()
    array([0.274, 0.452, 0.274])
    """
    x, back = as_batch(images, data_format, "gaussian_blur")
    kind = dtype_name(x)
    (x,) = floats(x)
    across, down = (_bell(int(size), float(s)) for size, s in zip(kernel_size, sigma, strict=True))
    kernel = np.outer(down, across)[:, :, None, None]
    channels = inner_sizes(x)[-1]
    spread = np.broadcast_to(kernel, (*kernel.shape[:2], channels, 1)).astype(dtype_name(x))
    return back(cast_to(depthwise_conv(x, spread, padding="same"), kind))


def _bell(size: int, sigma: float) -> NDArray[Any]:
    """Weights of a normal distribution at `size` neighbouring pixels; their sum is one."""
    places = np.arange(size) - (size - 1) / 2
    weights = np.exp(-0.5 * (places / sigma) ** 2)
    return np.asarray(weights / weights.sum())


@operation(name="image.sobel_edges")
def sobel_edges(images: Value, data_format: str | None = None) -> Any:
    """Edges by Sobel's kernels, down and across, as an axis more; zeros are around the images.

    >>> import numpy as np
    >>> from kernelearn import ops
    >>> ops.image.sobel_edges(np.arange(9.0).reshape(1, 3, 3, 1))[0, 1, 1, 0].tolist()
    [24.0, 8.0]
    """
    x, back = as_batch(images, data_format, "sobel_edges")
    (x,) = floats(x)
    slope, smooth = np.array([-1.0, 0.0, 1.0]), np.array([1.0, 2.0, 1.0])
    channels = inner_sizes(x)[-1]
    found = []
    for kernel in (np.outer(slope, smooth), np.outer(smooth, slope)):
        spread = np.broadcast_to(kernel[:, :, None, None], (3, 3, channels, 1)).astype(dtype_name(x))
        found.append(back(depthwise_conv(x, spread, padding="same")))
    return stack(found, -1)


@operation(name="image.elastic_transform")
def elastic_transform(
    images: Value,
    alpha: float = 20.0,
    sigma: float = 5.0,
    interpolation: str = "bilinear",
    fill_mode: str = "reflect",
    fill_value: float = 0.0,
    seed: Any = None,
    data_format: str | None = None,
) -> Any:
    """Images whose pixels are moved by random fields that change slowly over the image.

    Args:
        alpha: how far; sigma: in pixels, how slowly.
        seed: as of `kernelearn.random`.
    Source: Simard, Steinkraus, Platt (2003), "Best practices for convolutional neural networks".

    >>> import numpy as np
    >>> from kernelearn import ops
    >>> ops.image.elastic_transform(np.ones((4, 5, 1)), seed=1).shape
    (4, 5, 1)
    """
    _check_mode(fill_mode)
    x, back = as_batch(images, data_format, "elastic_transform")
    kind = dtype_name(x)
    (x,) = floats(x)
    height, width, _ = inner_sizes(x)
    size = int(6 * sigma) | 1
    # NOTE: two fields from one draw, so that a seed given as a number does not give the same field twice.
    noise = random.normal((shape(x)[0], height, width, 2), 0.0, float(sigma), dtype_name(x), seed)
    moved = gaussian_blur(noise, (size, size), (sigma, sigma)) * float(alpha)
    across, down = _pixels(x)
    rows, columns = down + moved[..., 0], across + moved[..., 1]
    return back(cast_to(read_images(x, rows, columns, interpolation, fill_mode, fill_value), kind))
