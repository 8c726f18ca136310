"""From arrays as sources hold them to images (n, h, w, c): missing axes, channel order, channels, size."""

import numpy as np

from kernelearn._optional import require
from kernelearn.errors import ArgumentError, ShapeError

_CHANNELS = (1, 3, 4)
_LUMA = np.array([19595, 38470, 7471])  # ITU-R BT.601 (0.299, 0.587, 0.114) in 65536ths, as Pillow rounds it


def to_images(
    x: np.ndarray,
    *,
    image_shape: tuple[int, ...] | None = None,
    channels_first: bool = False,
    channels: int | None = None,
    resize: tuple[int, int] | None = None,
    what: str = "x",
) -> np.ndarray:
    """Images (n, h, w, c) from (n, h, w), (n, h, w, c), (n, c, h, w) or, with `image_shape`, flat rows.

    Raises: ShapeError for any other number of axes, for flat rows without `image_shape`, and for what
        looks like (n, c, h, w) without `channels_first`.
    """
    x = _unflatten(x, image_shape, what)
    if x.ndim == 3:
        x = x[..., None]
    elif x.ndim != 4:
        raise ShapeError(f"{what} must be images (n, h, w) or (n, h, w, c), got shape {x.shape}.")
    elif channels_first:
        x = to_channels_last(x)
    else:
        refuse_channels_first(x, what)
    x = x if channels is None else to_channels(x, channels, what)
    return x if resize is None else resize_array(x, resize)


def to_channels_last(x: np.ndarray) -> np.ndarray:
    """(n, c, ...) to (n, ..., c), as one contiguous array; (n, features) stays."""
    return x if x.ndim < 3 else np.ascontiguousarray(np.moveaxis(x, 1, -1))


def refuse_channels_first(x: np.ndarray, what: str, is_torch_tensor: bool = False) -> None:
    """Refuse 4-D arrays that look like (n, c, h, w): a silent mix-up would train on nonsense.

    Args:
        x: the array.
        what: how to call it.
        is_torch_tensor: PyTorch's order is channels first, so there a shape that could be read either way
            is refused too.
    Raises: ShapeError.
    """
    if x.ndim != 4:
        return
    first, last = x.shape[1] in _CHANNELS, x.shape[3] in _CHANNELS
    if first and (is_torch_tensor or not last):
        raise ShapeError(
            f"{what} has shape {x.shape}, which looks like channels first (n, c, h, w); expected (n, h, w, "
            "c). Give channels_first=True to have it converted, or a NumPy array in the order (n, h, w, c)."
        )


def resize_array(x: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Images (n, h, w, c) stretched to `size` (height, width), bilinear with antialiasing, type kept."""
    if x.shape[1:3] == size:
        return x
    pil = require("PIL.Image", "resizing images")
    work = np.uint8 if x.dtype == np.uint8 else np.float32
    out = np.empty((len(x), *size, x.shape[-1]), dtype=work)
    for target, image in zip(out, x):
        for channel in range(x.shape[-1]):
            plane = pil.fromarray(np.ascontiguousarray(image[..., channel], dtype=work))
            target[..., channel] = np.asarray(plane.resize(size[::-1], pil.Resampling.BILINEAR))
    return out


def to_channels(x: np.ndarray, channels: int, what: str = "x") -> np.ndarray:
    """Change the number of channels: grey to colour by repeating, colour to grey by luma (ITU-R BT.601)."""
    have = x.shape[-1]
    if have == channels:
        return x
    if have == 1 and channels == 3:
        return np.repeat(x, 3, axis=-1)
    if have == 3 and channels == 1:
        return _grey(x)[..., None]
    raise ArgumentError(
        f"{what} has {have} channels; only 1 and 3 can be turned into each other, not into {channels}."
    )


def _grey(x: np.ndarray) -> np.ndarray:
    """Luma of (..., 3), type kept; for integers to the bit what Pillow's convert("L") gives."""
    if x.dtype.kind in "iu":
        luma: np.ndarray = (x.astype(np.int64) @ _LUMA + 0x8000) >> 16
    else:
        luma = x @ (_LUMA / 65536)
    return luma.astype(x.dtype)


def _unflatten(x: np.ndarray, image_shape: tuple[int, ...] | None, what: str) -> np.ndarray:
    if x.ndim != 2:
        return x
    if image_shape is None:
        raise ShapeError(
            f"{what} has shape {x.shape}: one flat row per example. Give image_shape=(height, width) or "
            "(height, width, channels) to read the rows as images."
        )
    if int(np.prod(image_shape)) != x.shape[1]:
        raise ShapeError(
            f"{what} has rows of {x.shape[1]} values, which do not fill image_shape={image_shape}."
        )
    return x.reshape(len(x), *image_shape)
