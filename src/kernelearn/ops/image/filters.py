"""Images blurred, their edges, and images shaken as if printed on rubber."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernelearn.errors import ShapeError
from kernelearn.ops import random
from kernelearn.ops._dispatch import operation
from kernelearn.ops._run import Value, cast_to, floats
from kernelearn.ops._shapes import dtype_name, inner_sizes, one
from kernelearn.ops.convolution import depthwise_conv
from kernelearn.ops.image.batches import as_batch
from kernelearn.ops.image.sampling import _check_mode, _pixels, read_images
from kernelearn.ops.moving.joining import stack
from kernelearn.ops.moving.shaping import shape, squeeze
from kernelearn.ops.reductions import mean


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


@operation(name="image.ssim")
def ssim(
    image1: Value,
    image2: Value,
    max_val: float = 1.0,
    filter_size: int = 11,
    filter_sigma: float = 1.5,
    k1: float = 0.01,
    k2: float = 0.03,
    data_format: str | None = None,
) -> Any:
    """Structural similarity of two images: one number each, 1 for equal ones.

    Args:
        max_val: the largest value that a pixel can have.
        filter_size, filter_sigma: of the window, a normal distribution.
    Source: Wang, Bovik, Sheikh, Simoncelli (2004), "Image quality assessment".

    >>> import numpy as np
    >>> from kernelearn import ops
    >>> float(ops.image.ssim(np.ones((12, 12, 1)), np.ones((12, 12, 1))))
    1.0
    """
    kind = dtype_name(one(image1))
    first, _ = as_batch(image1, data_format, "ssim")
    second, _ = as_batch(image2, data_format, "ssim")
    a, b = floats(first, second)
    if inner_sizes(a) != inner_sizes(b):
        raise ShapeError(f"ssim compares images of one shape, got {a.shape} and {b.shape}.")
    bell = _bell(filter_size, filter_sigma)
    kernel = np.broadcast_to(
        np.outer(bell, bell)[:, :, None, None], (*[filter_size] * 2, inner_sizes(a)[-1], 1)
    )

    def local(x: Value) -> Value:
        return depthwise_conv(x, kernel.astype(dtype_name(a)), padding="valid")

    mean_a, mean_b = local(a), local(b)
    spread_a, spread_b = local(a * a) - mean_a * mean_a, local(b * b) - mean_b * mean_b
    together = local(a * b) - mean_a * mean_b
    c1, c2 = (k1 * max_val) ** 2, (k2 * max_val) ** 2
    shares = (2.0 * mean_a * mean_b + c1) * (2.0 * together + c2)
    found = mean(
        shares / ((mean_a * mean_a + mean_b * mean_b + c1) * (spread_a + spread_b + c2)), axis=(1, 2, 3)
    )
    return cast_to(squeeze(found, 0) if one(image1).ndim == 3 else found, kind)


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
