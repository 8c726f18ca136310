"""Moving numbers without changing them: reshape, transpose, slice, pad, repeat, join, enlarge."""

import functools
from collections.abc import Callable

import numpy as np

from kernelearn.engine.arrays import Array, Places, Shape
from kernelearn.errors import ShapeError


def reshape(x: Array, *, shape: tuple[int | None, ...]) -> Array:
    """Reshape; None stands for the number of images."""
    return x.reshape([-1 if s is None else s for s in shape])


def fix_images(x: Array, *, images: int) -> Array:
    """x itself, of a program that is for so many images."""
    if len(x) != images:
        raise ShapeError(f"A program for {images} images got {len(x)}.")
    return x


def open_images(x: Array, *, images: int) -> Array:
    """x itself, where its first axis counts the images."""
    return x


def transpose(x: Array, *, axes: tuple[int, ...]) -> Array:
    """Reorder the axes."""
    return np.ascontiguousarray(x.transpose(axes))


def slice_axes(x: Array, *, bounds: tuple[tuple[int, int] | None, ...]) -> Array:
    """Keep [start, stop) on every axis; None keeps all of it."""
    return np.ascontiguousarray(x[tuple(slice(*b) if b else slice(None) for b in bounds)])


def strided_slice(x: Array, *, places: Places) -> Array:
    """y[i] = x[start + i * step] for i < count, on every axis with (start, count, step); None: all of it."""
    return np.ascontiguousarray(x[tuple(map(_selection, places))])


def strided_place(y: Array, *, places: Places, shape: Shape) -> Array:
    """The adjoint of `strided_slice`: x[start + i * step] = y[i], zeros everywhere else."""
    x = np.zeros([y.shape[0] if s is None else s for s in shape], y.dtype)
    x[tuple(map(_selection, places))] = y
    return x


def _selection(place: tuple[int, int, int] | None) -> slice:
    if place is None:
        return slice(None)
    start, count, step = place
    stop = start + count * step
    # NOTE: a negative stop would count from the end.
    return slice(start, stop if stop >= 0 else None, step)


def broadcast_to(x: Array, *like: Array, shape: Shape) -> Array:
    """Repeat along axes of size 1 and along new ones in front.

    None stands for the number of images: that of x, or of `like` where x has none.
    """
    images = (like[0] if like else x).shape[:1]
    sizes = [images[0] if s is None else s for s in shape]
    return np.broadcast_to(x, sizes).copy()


def pad_axes(x: Array, *, padding: tuple[tuple[int, int], ...], value: float) -> Array:
    """Put `value` (before, after) times around every axis."""
    return np.pad(x, padding, constant_values=x.dtype.type(value))


def concatenate(*parts: Array, axis: int) -> Array:
    """Join along an axis."""
    return np.concatenate(parts, axis=axis)


def upsample(x: Array, *, factors: tuple[int, ...], method: str) -> Array:
    """Enlarge the spatial axes of x (n, *spatial, c) by whole factors.

    Separable: on every axis a constant matrix (`resize_matrix`) times the pixels; "nearest" repeats them.
    """
    for axis, factor in enumerate(factors, start=1):
        if method == "nearest":
            x = np.repeat(x, factor, axis=axis)
        else:
            x = _along(resize_matrix(x.shape[axis], factor, method), x, axis)
    return x


def upsample_grad(grad_y: Array, *, factors: tuple[int, ...], method: str) -> Array:
    """Gradient of `upsample`: the transposed matrices; for "nearest" the sum over the copies of a pixel."""
    for axis, factor in enumerate(factors, start=1):
        if method == "nearest":
            shape = (*grad_y.shape[:axis], grad_y.shape[axis] // factor, factor, *grad_y.shape[axis + 1 :])
            grad_y = grad_y.reshape(shape).sum(axis=axis + 1)
            continue
        grad_y = _along(resize_matrix(grad_y.shape[axis] // factor, factor, method).T, grad_y, axis)
    return grad_y


@functools.lru_cache(maxsize=64)
def resize_matrix(size: int, factor: int, method: str) -> Array:
    """The (size * factor, size) matrix that resamples one axis, half-pixel centres, float64.

    Output pixel q lies at u = (q + 0.5) / factor - 0.5 in input pixels and weighs input pixel p by h(u - p);
    weights that fall outside of the image are dropped and the rest is scaled to sum to one.
    """
    positions = (np.arange(size * factor) + 0.5) / factor - 0.5
    weights = RESIZE_WINDOWS[method](positions[:, None] - np.arange(size)[None, :])
    return weights / weights.sum(axis=1, keepdims=True)


# Weight of a pixel by its distance.
Window = Callable[[Array], Array]


def _nearest(distance: Array) -> Array:
    return ((distance >= -0.5) & (distance < 0.5)).astype(float)


def _linear(distance: Array) -> Array:
    return np.maximum(1 - np.abs(distance), 0)


def _cubic(distance: Array) -> Array:
    """Keys's cubic convolution with a = -0.5 (IEEE TASSP 1981, equation 15)."""
    d = np.abs(distance)
    near = (1.5 * d - 2.5) * d * d + 1
    far = ((-0.5 * d + 2.5) * d - 4) * d + 2
    return np.where(d < 1, near, np.where(d < 2, far, 0.0))


def _lanczos(radius: int) -> Window:
    return lambda distance: np.where(
        np.abs(distance) < radius, np.sinc(distance) * np.sinc(distance / radius), 0.0
    )


RESIZE_WINDOWS: dict[str, Window] = {
    "nearest": _nearest,
    "bilinear": _linear,
    "bicubic": _cubic,
    "lanczos3": _lanczos(3),
    "lanczos5": _lanczos(5),
}


def _along(matrix: Array, x: Array, axis: int) -> Array:
    """Multiply `matrix` into one axis of x."""
    moved = np.moveaxis(np.tensordot(matrix.astype(x.dtype), x, axes=(1, axis)), 0, axis)
    return np.ascontiguousarray(moved)
