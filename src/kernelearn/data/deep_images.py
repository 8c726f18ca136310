"""Pictures of more than 8 bits per value, to floats in [0, 1] without losing a bit.

Which there are: 16-bit PNG, PNM and TIFF, grey or colour (a TIFF may also have 12), divided by the largest
value that their kind can hold; and floating-point TIFF, whose values must lie in [0, 1] already. 32-bit
integers have no such largest value and are refused. Pillow reads 16-bit colour with 8 bits only: here it is
asked twice, for the high bytes and for the low ones.
"""

import functools
import io
import re
import struct
import sys
import warnings
import zlib
from typing import Any

import numpy as np

from kernelearn import config
from kernelearn._optional import require
from kernelearn.data.layout import resize_array, to_channels
from kernelearn.errors import DataError
from kernelearn.formats.foreign import read_claimed

_BANDS = {"LA": 2, "RGB": 3, "RGBX": 3, "RGBA": 4}
_OTHER_BYTE = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
_BITS_PER_SAMPLE, _PHOTOMETRIC, _WHITE_IS_ZERO = 258, 262, 0  # TIFF 6.0, tags 258 and 262
_COMMENT = re.compile(rb"#[^\r\n]*")
_REMEDY = "Scale its values to [0, 1] and save them as .npy, or save it as a 16-bit PNG."


def is_deep(image: Any) -> bool:
    """Whether an open picture has more than 8 bits per value, told from its header."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return True
    rawmode, maximum = _tile_of(image)
    return ";16" in rawmode or maximum > 255


def is_grey(image: Any) -> bool:
    """Whether an open deep picture has no colours."""
    return image.mode in ("I", "F") or image.mode.startswith("I;") or _base(image) == "LA"


def deep_pixels(image: Any, channels: int, name: str) -> np.ndarray:
    """Values of an open deep picture.

    Args:
        image: whose pixels are not decoded yet, or which is grey.
        channels: 1, 3 or 4.
        name: how to call it in messages.
    Returns: (h, w, channels) floats in [0, 1] (`config.floatx()`), as they lie in the file, not turned.
    Raises: DataError for a range that is not known, and anything that a decoder raises.
    """
    values = _values(image, name)
    has_alpha = values.shape[-1] in (2, 4)
    colours, alpha = (values[..., :-1], values[..., -1:]) if has_alpha else (values, None)
    if channels != 4:
        shown: np.ndarray = to_channels(colours[None], channels, name)[0]
        return shown
    if alpha is None and "transparency" in image.info:
        raise DataError(f"{name} makes one colour of 16 bits transparent, which is not read. {_REMEDY}")
    opaque = np.ones((*values.shape[:2], 1), values.dtype) if alpha is None else alpha
    return np.concatenate([to_channels(colours[None], 3, name)[0], opaque], axis=-1)


def resized(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Floats (h, w, c) stretched to `size`; colours weigh as much as they are opaque, as in Pillow."""
    has_alpha = pixels.shape[-1] == 4
    source = (
        np.concatenate([pixels[..., :3] * pixels[..., 3:], pixels[..., 3:]], axis=-1) if has_alpha else pixels
    )
    result: np.ndarray = resize_array(source[None], size)[0]
    if has_alpha:
        np.divide(result[..., :3], result[..., 3:], where=result[..., 3:] > 0, out=result[..., :3])
        np.clip(result, 0, 1, out=result)
    return result


def _values(image: Any, name: str) -> np.ndarray:
    """(h, w, 1, 2, 3 or 4) floats in [0, 1]; an even number of bands ends with the transparency."""
    if image.mode == "F":
        return _checked_floats(np.asarray(image), name)[..., None]
    if image.format == "PPM" and getattr(image, "tile", None):
        return _pnm_values(image)
    if image.mode == "I" and image.format not in ("PPM", "PNG"):
        raise DataError(f"{name} has whole numbers of 32 bits, of which the range is not known. {_REMEDY}")
    if image.mode == "I" or image.mode.startswith("I;"):
        return _grey_values(image)
    return _scaled(_both_bytes(image, name), 65535)


def _scaled(values: np.ndarray, maximum: int) -> np.ndarray:
    scaled: np.ndarray = np.divide(values, maximum, dtype=config.floatx())
    return scaled


def _checked_floats(values: np.ndarray, name: str) -> np.ndarray:
    # NOTE: a comparison with NaN is false.
    if not ((values >= 0) & (values <= 1)).all():
        raise DataError(
            f"{name} has floating-point values from {values.min():.4g} to {values.max():.4g}; expected "
            f"values in [0, 1]. {_REMEDY}"
        )
    return values.astype(config.floatx())


def _grey_values(image: Any) -> np.ndarray:
    """16-bit grey, which Pillow gives as it is; a TIFF can hold 12 bits, and can count from white."""
    tags = getattr(image, "tag_v2", {})
    bits = tags.get(_BITS_PER_SAMPLE, (16,))[0]
    values = _scaled(np.asarray(image), 2**bits - 1)[..., None]
    return 1 - values if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO else values


def _pnm_values(image: Any) -> np.ndarray:
    """Values of a PNM file, which may have any number as its maximum; Pillow would round them to its own."""
    (tile,) = image.tile
    rawmode, maximum = _tile_of(image)
    shape = (image.height, image.width, 3 if rawmode == "RGB" else 1)
    count = int(np.prod(shape))
    image.fp.seek(tile.offset)
    if tile.codec_name == "ppm_plain":
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # numpy warns where a text is no number
            values = np.fromstring(_COMMENT.sub(b" ", image.fp.read()), np.int64, count, sep=" ")
    else:
        values = np.frombuffer(read_claimed(image.fp, 2 * count), ">u2")
    if len(values) < count or values.min() < 0 or values.max() > maximum:
        raise ValueError(f"{len(values)} of {count} values are there, or some are not in 0..{maximum}")
    return _scaled(values.reshape(shape), maximum)


def _both_bytes(image: Any, name: str) -> np.ndarray:
    """(h, w, bands) uint16 of 16-bit colour."""
    rawmode, _ = _tile_of(image)
    base, end = _base(image), rawmode[-1]
    if base not in _BANDS or end not in _OTHER_BYTE or not _pillow_keeps_bytes():
        raise DataError(f"{name} has 16-bit values in an order ({rawmode}) that is not read. {_REMEDY}")
    image.fp.seek(0)
    content = image.fp.read()
    if base == "LA":  # two values of 16 bits lie as four of 8 do
        four = _read_as(content, image.format, "RGBA")
        high, low = four[..., ::2], four[..., 1::2]
    else:
        high = _read_as(content, image.format, rawmode)
        low = _read_as(content, image.format, rawmode[:-1] + _OTHER_BYTE[end])
    both: np.ndarray = (high.astype(np.uint16) << 8) | low
    return both[..., : _BANDS[base]]


def _read_as(content: bytes, kind: str, rawmode: str) -> np.ndarray:
    """What Pillow decodes if it is told that the values lie in the file as `rawmode` says."""
    image = require("PIL.Image", "reading picture files").open(io.BytesIO(content), formats=[kind])
    image.tile = [
        tile._replace(args=rawmode if isinstance(tile.args, str) else (rawmode, *tile.args[1:]))
        for tile in image.tile
    ]
    return np.asarray(image)


@functools.cache
def _pillow_keeps_bytes() -> bool:
    """Whether this Pillow gives the high byte and the low byte as they are, tried with one pixel."""
    pixel = np.array([[[0x0180, 0xFF7F, 0x80FF]]], np.uint16)
    content = _one_pixel_png(pixel)
    high, low = _read_as(content, "PNG", "RGB;16B"), _read_as(content, "PNG", "RGB;16L")
    return bool((((high.astype(np.uint16) << 8) | low) == pixel).all())


def _one_pixel_png(pixel: np.ndarray) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    header = struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0)
    values = zlib.compress(b"\0" + pixel.astype(">u2").tobytes())
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", values) + chunk(b"IEND", b"")


def _base(image: Any) -> str:
    return _tile_of(image)[0].partition(";")[0]


def _tile_of(image: Any) -> tuple[str, int]:
    """(how values lie in the file, in Pillow's words; the largest value, where the file says one)."""
    if not getattr(image, "tile", None):
        return "", 0
    args = image.tile[0].args
    rawmode = args if isinstance(args, str) else str(args[0]) if args else ""
    is_pnm = image.format == "PPM"
    maximum = args[1] if is_pnm and isinstance(args, tuple) and image.mode != "F" else 0
    return rawmode, 65535 if is_pnm and rawmode == "I;16B" else maximum
