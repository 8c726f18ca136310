"""From a picture file to an array, for training and for prediction by the same steps (needs Pillow).

Steps: read, turn upright as EXIF says, first frame of an animation, convert to grey or RGB, resize.
"""

import io
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from kernelearn._optional import require
from kernelearn.data.arrays import as_float
from kernelearn.data.deep_images import deep_pixels, is_deep, is_grey, resized
from kernelearn.errors import ArgumentError, DataError
from kernelearn.formats.foreign import printable, read_plain, reason, refused

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
_FORMATS = ("PNG", "JPEG", "BMP", "DIB", "GIF", "WEBP", "TIFF", "PPM")  # what these suffixes mean to Pillow
# Most pixels of one bit that a byte can stand for, where the format sets a limit: deflate packs 1032 times.
_PIXELS_PER_BYTE = {"PNG": 8 * 1032, "PPM": 8}
_MAX_SIDE = 16384  # that pictures are stretched to
MAX_PIXELS = 100_000_000  # of one picture; more is a mistake or an attack
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
_GREY_MODES = frozenset({"1", "L", "LA"})
_EXIF_ORIENTATION = 0x0112
_SIDEWAYS = (5, 6, 7, 8)  # EXIF orientations that swap width and height
_TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {  # EXIF 2.3, 4.6.4, Orientation
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.swapaxes(0, 1),
    6: lambda x: x[::-1].swapaxes(0, 1),
    7: lambda x: x[::-1, ::-1].swapaxes(0, 1),
    8: lambda x: x[:, ::-1].swapaxes(0, 1),
}
_PNG_START = b"\x89PNG\r\n\x1a\n"
_REMEDY = "Replace or remove it."


def is_picture(name: str) -> bool:
    """Whether a file name ends like a picture's and is not hidden."""
    base = name.rpartition("/")[2]
    return not base.startswith(".") and os.path.splitext(base)[1].lower() in SUFFIXES


KEEP = "keep"  # in place of a size: every picture has its own


def resolve_size(resize: Any) -> tuple[int, int] | None:
    """`resize` as (height, width): None, one int for a square, or two ints. Raises: ArgumentError."""
    if resize is None:
        return None
    size = (resize, resize) if isinstance(resize, int) and not isinstance(resize, bool) else resize
    is_pair = isinstance(size, list | tuple) and len(size) == 2
    if not is_pair or not all(isinstance(side, int | np.integer) and 0 < side <= _MAX_SIDE for side in size):
        raise ArgumentError(
            f"resize must be an int or (height, width) in pixels, each from 1 to {_MAX_SIDE:,}; "
            f'got {resize!r}. (load also takes resize="keep".)'
        )
    return int(size[0]), int(size[1])


def resolve_channels(channels: Any) -> int | None:
    """`channels` checked: None, 1 (grey), 3 (RGB) or 4 (RGBA). Raises: ArgumentError."""
    if channels is not None and channels not in _MODES:
        raise ArgumentError(f"channels must be 1 (grey), 3 (RGB) or 4 (RGBA), got {channels!r}.")
    return None if channels is None else int(channels)


class Header(NamedTuple):
    """What `decode` will give, told before pixels are decoded.

    Attributes:
        height, width: after turning it upright.
        channels: 1 for grey, 3 for colour.
        is_deep: floats, because it has more than 8 bits per value.
    """

    height: int
    width: int
    channels: int
    is_deep: bool


def open_picture(source: bytes | BinaryIO | Any, name: str) -> Any:
    """An open PIL image whose pixels are not decoded yet.

    Args:
        source: bytes, an open file, or an open PIL image.
        name: how to call it in messages.
    Raises: DataError if it is in none of the formats of `SUFFIXES` or has more than `MAX_PIXELS` pixels.
    """
    pil = require("PIL.Image", "reading picture files")
    if hasattr(source, "convert") and hasattr(source, "size"):
        return source
    try:
        # NOTE: without `formats` Pillow tries all it knows, whatever the name; one starts Ghostscript.
        image = pil.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=_FORMATS)
    except Exception as error:  # Pillow raises many types for damaged files, all of them meaning this
        raise DataError(f"{name} cannot be read as a picture: {_reason(error)}. {_REMEDY}") from error
    _check_plausible(image, source, name)
    if image.width * image.height > MAX_PIXELS:
        raise DataError(
            f"{name} has {image.width} x {image.height} pixels, more than the limit of {MAX_PIXELS:,}. "
            "Scale it down or remove it."
        )
    return image


def header_of(source: bytes | BinaryIO | Any, name: str) -> Header:
    """What `decode` gives by default, told from the header alone; arguments and errors of `open_picture`."""
    image = open_picture(source, name)
    with refused(name, remedy=_REMEDY):
        width, height = image.size[::-1] if _orientation(image) in _SIDEWAYS else image.size
        deep = is_deep(image)
        grey = is_grey(image) if deep else image.mode in _GREY_MODES
    return Header(height, width, 1 if grey else 3, deep)


def decode(source: bytes | Any, channels: int, size: tuple[int, int] | None, name: str) -> np.ndarray:
    """Pixels of a picture.

    Args:
        source: bytes or an open PIL image.
        channels: 1, 3 or 4; a transparent layer is dropped unless 4.
        size: (height, width) to stretch to, bilinear with antialiasing; None keeps the size.
        name: how to call it in messages.
    Returns: (h, w, channels) uint8; floats in [0, 1] if it has more than 8 bits per value.
    Raises: DataError naming the picture if it is truncated or damaged.
    """
    image = open_picture(source, name)
    with refused(name, remedy=_REMEDY):
        if isinstance(source, bytes) and source.startswith(_PNG_START):
            _check_png(source)
        if is_deep(image):
            pixels = _turned(deep_pixels(image, channels, name), _orientation(image))
            return pixels if size in (None, pixels.shape[:2]) else resized(pixels, size)
        image.load()
        pixels = _turned(np.asarray(image.convert(_MODES[channels])), _orientation(image))
        pixels = pixels.reshape(*pixels.shape[:2], channels)
        return pixels if size in (None, pixels.shape[:2]) else _resized(pixels, size)


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
    name = printable(source) if isinstance(source, str | os.PathLike) else "The picture"
    height, width, channels = input_shape
    if resize is True:
        if height is None or width is None:
            raise ArgumentError(
                f"resize=True needs a fixed size, but input_shape is {input_shape}: give resize=(h, w)."
            )
        resize = (height, width)
    resolve_channels(channels)
    size = resolve_size(None if resize is False else resize)
    content = _content(source) if isinstance(source, str | os.PathLike) else source
    pixels = decode(content, channels, size, name)
    if any(want is not None and have != want for have, want in zip(pixels.shape, input_shape)):
        raise DataError(
            f"{name} has {pixels.shape[0]} x {pixels.shape[1]} pixels (height x width), expected {height} x "
            f"{width}. Give resize=True to stretch it to that size."
        )
    return as_float(pixels)


def _content(path: str | os.PathLike[str]) -> bytes:
    try:
        return read_plain(path)
    except FileNotFoundError as error:
        raise DataError(f"There is no picture {printable(path)}.") from error


def _resized(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """uint8 (h, w, c) stretched to `size` by Pillow, which weighs colours by how opaque they are."""
    pil = require("PIL.Image", "reading picture files")
    image = pil.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    resized_image = image.resize(size[::-1], pil.Resampling.BILINEAR)
    return np.asarray(resized_image).reshape(*size, pixels.shape[-1])


def _check_plausible(image: Any, source: bytes | BinaryIO, name: str) -> None:
    """Refuse a size that the bytes at hand cannot hold, before memory is taken for it. Raises: DataError."""
    most = _PIXELS_PER_BYTE.get(image.format)
    if most is None:
        return
    size = len(source) if isinstance(source, bytes) else source.seek(0, os.SEEK_END)
    if image.width * image.height > most * size:
        raise DataError(
            f"{name} is damaged or truncated: it claims {image.width} x {image.height} pixels, which its "
            f"{size:,} bytes cannot hold. {_REMEDY}"
        )


def _check_png(content: bytes) -> None:
    """Compare the checksums of all chunks, which Pillow does not do for those of the pixels."""
    at, kind = len(_PNG_START), b""
    while kind != b"IEND":
        end = at + 8 + int.from_bytes(content[at : at + 4])
        kind = content[at + 4 : at + 8]
        if zlib.crc32(memoryview(content)[at + 4 : end]).to_bytes(4) != content[end : end + 4]:
            raise ValueError(f"the checksum of its chunk {kind!r} differs")
        at = end + 4


def _turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """An image (h, w, ...) turned upright."""
    turn = _TURNS.get(orientation)
    return pixels if turn is None else np.ascontiguousarray(turn(pixels))


def _orientation(image: Any) -> int:
    """As the EXIF data says, 1 to 8; 1 where it says nothing that has a meaning."""
    value = image.getexif().get(_EXIF_ORIENTATION, 1) if "exif" in image.info else 1
    return value if isinstance(value, int) else 1


def _reason(error: Exception) -> str:
    text = reason(error)
    return "it is in no known picture format" if "cannot identify" in text else text
