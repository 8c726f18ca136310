"""From a picture file to an array, for training and for prediction by the same steps (needs Pillow).

Steps: read, turn upright as EXIF says, first frame of an animation, convert to grey or RGB, resize.
"""

import contextlib
import io
import os
from pathlib import Path
from typing import Any

import numpy as np

from kernelearn._optional import require
from kernelearn.data.arrays import as_float
from kernelearn.errors import ArgumentError, DataError

SUFFIXES = frozenset(
    [
        ".png",
        ".jpg",
        ".jpeg",
        ".jfif",
        ".bmp",
        ".dib",
        ".gif",
        ".webp",
        ".tif",
        ".tiff",
        ".ppm",
        ".pgm",
        ".pbm",
        ".pnm",
    ]
)
MAX_PIXELS = 100_000_000  # of one picture; more is a mistake or an attack
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
_GREY_MODES = frozenset({"1", "L", "LA", "I;16", "I;16L", "I;16B", "I;16N", "I", "F"})
_EXIF_ORIENTATION = 0x0112
_SIDEWAYS = (5, 6, 7, 8)  # EXIF orientations that swap width and height


def is_picture(name: str) -> bool:
    """Whether a file name ends like a picture's and is not hidden."""
    base = name.rpartition("/")[2]
    return not base.startswith(".") and os.path.splitext(base)[1].lower() in SUFFIXES


def resolve_size(resize: Any) -> tuple[int, int] | None:
    """`resize` as (height, width): None, one int for a square, or two ints. Raises: ArgumentError."""
    if resize is None:
        return None
    size = (resize, resize) if isinstance(resize, int) and not isinstance(resize, bool) else resize
    is_pair = isinstance(size, list | tuple) and len(size) == 2
    if not is_pair or not all(isinstance(side, int | np.integer) and 0 < side <= 16384 for side in size):
        raise ArgumentError(f"resize must be an int or (height, width) in pixels, got {resize!r}.")
    return int(size[0]), int(size[1])


def resolve_channels(channels: Any) -> int | None:
    """`channels` checked: None, 1 (grey), 3 (RGB) or 4 (RGBA). Raises: ArgumentError."""
    if channels is not None and channels not in _MODES:
        raise ArgumentError(f"channels must be 1 (grey), 3 (RGB) or 4 (RGBA), got {channels!r}.")
    return channels


def open_picture(source: Any, name: str) -> Any:
    """An open PIL image whose pixels are not decoded yet.

    Args:
        source: path, bytes, or an open PIL image.
        name: how to call it in messages.
    Raises: DataError if it is no picture or has more than `MAX_PIXELS` pixels.
    """
    pil = require("PIL.Image", "reading picture files")
    if hasattr(source, "convert") and hasattr(source, "size"):
        return source
    try:
        image = pil.open(io.BytesIO(source) if isinstance(source, bytes) else source)
    except FileNotFoundError as error:
        raise DataError(f"There is no picture {name}.") from error
    except Exception as error:  # Pillow raises many types for damaged files, all of them meaning this
        raise DataError(
            f"{name} cannot be read as a picture: {_reason(error)}. Replace or remove it."
        ) from error
    if image.width * image.height > MAX_PIXELS:
        image.close()
        raise DataError(
            f"{name} has {image.width} x {image.height} pixels, more than the limit of {MAX_PIXELS:,}."
        )
    return image


def picture_size(image: Any) -> tuple[int, int, int]:
    """(height, width, channels) that `decode` gives by default, told from the header alone."""
    width, height = image.size
    if _orientation(image) in _SIDEWAYS:
        width, height = height, width
    return height, width, 1 if image.mode in _GREY_MODES else 3


def decode(image: Any, channels: int, size: tuple[int, int] | None, name: str) -> np.ndarray:
    """Pixels of an open picture.

    Args:
        image: from `open_picture`.
        channels: 1, 3 or 4; a transparent layer is dropped unless 4.
        size: (height, width) to stretch to, bilinear with antialiasing; None keeps the size.
        name: how to call it in messages.
    Returns: (h, w, channels) uint8.
    Raises: DataError naming the picture if it is truncated or damaged.
    """
    pil = require("PIL.Image", "reading picture files")
    try:
        image.load()
        converted = _to_8_bit(pil, _upright(image)).convert(_MODES[channels])
    except Exception as error:  # see open_picture
        raise DataError(f"{name} is damaged or truncated: {_reason(error)}. Replace or remove it.") from error
    if size is not None and converted.size != size[::-1]:
        converted = converted.resize(size[::-1], pil.Resampling.BILINEAR)
    return np.asarray(converted).reshape(converted.height, converted.width, channels)


def load_image(
    source: str | Path | bytes | Any,
    input_shape: tuple[int | None, int | None, int],
    resize: bool | int | tuple[int, int] | None = None,
) -> np.ndarray:
    """One picture for prediction, decoded exactly as the pictures of a training set are.

    Args:
        source: path, bytes of a file, or PIL image.
        input_shape: (h, w, c) that the network expects; None for h or w accepts any.
        resize: None refuses another size; True stretches to `input_shape`; an int or (height, width) must
            agree with it.
    Returns: (h, w, c) float array in [0, 1] (`config.floatx()`).
    Raises: DataError naming the picture if it is unreadable or has another size.

    >>> load_image("photo.jpg", (32, 32, 3), resize=True).shape  # doctest: +SKIP
    (32, 32, 3)
    """
    name = str(source) if isinstance(source, str | os.PathLike) else "The picture"
    height, width, channels = input_shape
    if resize is True:
        if height is None or width is None:
            raise ArgumentError(
                f"resize=True needs a fixed size, but input_shape is {input_shape}: give resize=(h, w)."
            )
        resize = (height, width)
    resolve_channels(channels)
    with _closing(open_picture(source, name), source) as image:
        pixels = decode(image, channels, resolve_size(None if resize is False else resize), name)
    if any(want is not None and have != want for have, want in zip(pixels.shape, input_shape)):
        raise DataError(
            f"{name} has {pixels.shape[0]} x {pixels.shape[1]} pixels (height x width), expected {height} x "
            f"{width}. Give resize=True to stretch it to that size."
        )
    return as_float(pixels)


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


def _to_8_bit(pil: Any, image: Any) -> Any:
    """16-bit grey to 8 bits, 65535 to 255; Pillow's own conversion would clip at 255."""
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):
        return pil.fromarray((np.asarray(image).astype(np.uint32) // 257).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ValueError(
            f"its pixels are 32-bit numbers (mode {image.mode}), of which the range is not known"
        )
    return image


def _upright(image: Any) -> Any:
    if _orientation(image) == 1:
        return image
    return require("PIL.ImageOps", "reading picture files").exif_transpose(image)


def _orientation(image: Any) -> int:
    return image.getexif().get(_EXIF_ORIENTATION, 1) if "exif" in image.info else 1


def _closing(image: Any, source: Any) -> Any:
    """Close the file of a picture we opened, leave a picture of the user's open."""
    return contextlib.nullcontext(image) if image is source else contextlib.closing(image)


def _reason(error: Exception) -> str:
    text = str(error)
    if "cannot identify" in text:
        return "it is in no known picture format"
    return f"{text or type(error).__name__}".rstrip(".")
