"""Random changes of images, each a deterministic function of the images x (n, h, w, c) and of a draw per
image.

Draws are numbers in [0, 1), one row per image, from `random_uniform`. Flipping, cropping and warping are
linear in x: their gradients put every number back to where it was read.

    warp   y[n,p,q,c] = sum over the four pixels around (v, u) = A (p, q) + b of weight * x[pixel], and its
    adjoint
"""

from collections.abc import Callable, Iterator

import numpy as np

from kernelearn.engine.arrays import Array, Sizes


def flip(x: Array, draw: Array, *, axes: tuple[int, ...]) -> Array:
    """Mirror image i along axes[j] where draw[i, j] <= 0.5. It is its own adjoint."""
    y = x
    for number, axis in enumerate(axes):
        chosen = (draw[:, number] <= 0.5).reshape(-1, *(1,) * (x.ndim - 1))
        y = np.where(chosen, np.flip(y, axis), y)
    return y


def crop(x: Array, draw: Array, *, size: tuple[int, ...]) -> Array:
    """A window of `size` pixels out of every image, all positions equally likely: (n, *size, c)."""
    return np.stack([image[window] for image, window in zip(x, _windows(draw, x.shape[1:-1], size))], axis=0)


def crop_grad(grad_y: Array, draw: Array, *, size: tuple[int, ...], input_size: tuple[int, ...]) -> Array:
    """dL/dx of `crop`: zero outside of the window."""
    grad_x = np.zeros((grad_y.shape[0], *input_size, grad_y.shape[-1]), grad_y.dtype)
    for image, window, part in zip(grad_x, _windows(draw, input_size, size), grad_y):
        image[window] = part
    return grad_x


def _windows(draw: Array, input_size: Sizes, size: Sizes) -> Iterator[tuple[slice, ...]]:
    """The slices of every image that its draw stands for."""
    room = np.asarray(input_size) - np.asarray(size)
    starts = np.minimum((draw * (room + 1)).astype(np.int64), room)
    return (tuple(slice(a, a + s) for a, s in zip(row, size)) for row in starts)


def contrast(x: Array, draw: Array, *, low: float, high: float, value_range: tuple[float, float]) -> Array:
    """(x - mean) * factor + mean, clipped to `value_range`; the mean is that of each image and channel.

    The factor lies between low and high, as the draw (n, 1) does between 0 and 1.
    """
    return np.clip(_stretched(x, draw, low, high), *value_range)


def contrast_grad(
    grad_y: Array, x: Array, draw: Array, *, low: float, high: float, value_range: tuple[float, float]
) -> Array:
    """dL/dx of `contrast`: f * g + (1 - f) * mean(g), g zero where the result was clipped."""
    y = _stretched(x, draw, low, high)
    inside = np.where((y > value_range[0]) & (y < value_range[1]), grad_y, grad_y.dtype.type(0))
    return _stretched(inside, draw, low, high)


def _stretched(x: Array, draw: Array, low: float, high: float) -> Array:
    """The part of `contrast` that is linear, and equal to its own adjoint."""
    factor = (low + draw * (high - low)).astype(x.dtype).reshape(-1, *(1,) * (x.ndim - 1))
    mean = x.mean(axis=tuple(range(1, x.ndim - 1)), keepdims=True)
    return (x - mean) * factor + mean


# --- affine maps: (n, 2, 3) float64, from output (row, column, 1) to input (row, column)

Ranges = tuple[tuple[float, float], ...]


def affine_map(x: Array, draw: Array, *, kind: str, ranges: Ranges) -> Array:
    """Where each output pixel is read in the input.

    Args:
        x: (n, h, w, c); only its shape is used.
        draw: (n, k) in [0, 1), one column per parameter.
        kind: "rotation" (1 parameter, turns counter-clockwise), "translation" (down, right, in shares of the
            height and width), "zoom" (factors of height and width; one for both if only one is drawn).
        ranges: (low, high) of every parameter.
    Returns: (n, 2, 3) float64.
    """
    low, high = np.asarray(ranges, np.float64).T
    return AFFINE_KINDS[kind](low + draw.astype(np.float64) * (high - low), *x.shape[1:-1])


def _about_centre(rows: Array, height: int, width: int) -> Array:
    """(n, 2, 2) matrices as maps (n, 2, 3) that leave the middle of the image where it is."""
    centre = np.array([(height - 1) / 2, (width - 1) / 2])
    return np.concatenate([rows, (centre - rows @ centre)[..., None]], axis=-1)


def _rotation(turns: Array, height: int, width: int) -> Array:
    angle = 2 * np.pi * turns[:, 0]
    cos, sin = np.cos(angle), np.sin(angle)
    rows = np.stack([np.stack([cos, sin], -1), np.stack([-sin, cos], -1)], axis=-2)
    return _about_centre(rows, height, width)


def _translation(shares: Array, height: int, width: int) -> Array:
    maps = np.tile(np.eye(2, 3), (len(shares), 1, 1))
    maps[:, :, 2] = -shares * np.array([height, width])
    return maps


def _zoom(factors: Array, height: int, width: int) -> Array:
    rows = np.broadcast_to(factors, (len(factors), 2))[..., None] * np.eye(2)
    return _about_centre(rows, height, width)


AFFINE_KINDS: dict[str, Callable[..., Array]] = {
    "rotation": _rotation,
    "translation": _translation,
    "zoom": _zoom,
}


def warp(x: Array, maps: Array, *, fill_mode: str, fill_value: float, interpolation: str) -> Array:
    """Every output pixel (p, q) of image n is read at maps[n] @ (p, q, 1).

    Args:
        x: (n, h, w, c).
        maps: (n, 2, 3), from `affine_map`.
        fill_mode: what lies outside: "constant" (fill_value), "nearest", "wrap" or "reflect" (about the
            edge).
        interpolation: "nearest" or "bilinear".
    Returns: like x.
    """
    y = np.zeros(x.shape, x.dtype)
    for pixels, weights, is_real in _reads(maps, x.shape, fill_mode, interpolation):
        values = x.reshape(-1, x.shape[-1])[pixels]
        if fill_mode == "constant":
            values = np.where(is_real[..., None], values, x.dtype.type(fill_value))
        y += values * weights[..., None].astype(x.dtype)
    return y


def warp_grad(grad_y: Array, maps: Array, *, fill_mode: str, fill_value: float, interpolation: str) -> Array:
    """dL/dx of `warp`: what was read with a weight gets the gradient times that weight."""
    grad_x = np.zeros((grad_y.shape[0] * grad_y.shape[1] * grad_y.shape[2], grad_y.shape[-1]), grad_y.dtype)
    for pixels, weights, is_real in _reads(maps, grad_y.shape, fill_mode, interpolation):
        np.add.at(grad_x, pixels, grad_y * (weights * is_real)[..., None].astype(grad_y.dtype))
    return grad_x.reshape(grad_y.shape)


def _reads(
    maps: Array, shape: Sizes, fill_mode: str, interpolation: str
) -> Iterator[tuple[Array, Array, Array]]:
    """Each pixel around the place that is read: flat pixel numbers, weights, whether real; all (n, h, w)."""
    n, height, width, _ = shape
    rows, columns = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    places = np.einsum(
        "nij,jpq->inpq", maps.astype(np.float64), np.stack([rows, columns, np.ones_like(rows)])
    )
    first = np.arange(n)[:, None, None] * height * width
    for row, row_weight in _neighbours(places[0], interpolation):
        for column, column_weight in _neighbours(places[1], interpolation):
            is_real = (row >= 0) & (row < height) & (column >= 0) & (column < width)
            v, u = INDEX_RULES[fill_mode](row, height), INDEX_RULES[fill_mode](column, width)
            yield first + v * width + u, row_weight * column_weight, is_real | (fill_mode != "constant")


def _neighbours(place: Array, interpolation: str) -> list[tuple[Array, Array]]:
    """Whole pixel numbers near a place on one axis, and their weights."""
    if interpolation == "nearest":
        # NOTE: halves go away from zero, as in Keras; np.round would send them to the even pixel.
        nearest = np.copysign(np.floor(np.abs(place) + 0.5), place).astype(np.int64)
        return [(nearest, np.ones_like(place))]
    below = np.floor(place)
    share = place - below
    return [(below.astype(np.int64), 1 - share), (below.astype(np.int64) + 1, share)]


def _reflect(index: Array, size: int) -> Array:
    """... c b a | a b c | c b a ..."""
    folded = index % (2 * size)
    return np.minimum(folded, 2 * size - 1 - folded)


# What stands at a pixel number outside of an axis of this size. For "constant" any pixel will do: it is not
# used.
INDEX_RULES: dict[str, Callable[..., Array]] = {
    "constant": lambda index, size: np.clip(index, 0, size - 1),
    "nearest": lambda index, size: np.clip(index, 0, size - 1),
    "wrap": lambda index, size: index % size,
    "reflect": _reflect,
}
INTERPOLATIONS = ("nearest", "bilinear")
