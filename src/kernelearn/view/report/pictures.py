"""Small pictures as PNG in data URIs: images, and maps in the hues of what they are, light and dark."""

from __future__ import annotations

import base64
import struct
import zlib

import numpy as np

from kernelearn.view.families import SHADES, Family, shades
from kernelearn.view.report.markup import Html, tag

# Levels on each side of zero; with one for what is not a number they are the 256 of a palette.
_LEVELS = 127


def png(pixels: np.ndarray, palette: np.ndarray | None = None) -> bytes:
    """A PNG file of (h, w), (h, w, 3) or (h, w, 4) uint8: grey, RGB or RGBA; or of entries of a palette.

    Args:
        palette: (entries, 4) red, green, blue, opacity of each number in `pixels`.
    """
    height, width = pixels.shape[:2]
    kind = {2: 0, 3: 2, 4: 6}[2 if pixels.ndim == 2 else pixels.shape[2]] if palette is None else 3
    flat = np.ascontiguousarray(pixels, np.uint8).reshape(height, -1)
    lines = np.concatenate([np.zeros((height, 1), np.uint8), flat], axis=1)  # filter 0 before each line
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0))]
    if palette is not None:
        chunks += _palette_chunks(palette.astype(np.uint8))
    chunks += [(b"IDAT", zlib.compress(lines.tobytes(), 9)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, data) for name, data in chunks)


def _palette_chunks(colours: np.ndarray) -> list[tuple[bytes, bytes]]:
    found = [(b"PLTE", colours[:, :3].tobytes())]
    return [*found, (b"tRNS", colours[:, 3].tobytes())] if (colours[:, 3] < 255).any() else found


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def data_uri(pixels: np.ndarray, palette: np.ndarray | None = None) -> str:
    """The PNG as a data URI."""
    return "data:image/png;base64," + base64.b64encode(png(pixels, palette)).decode("ascii")


def img(pixels: np.ndarray, alt: str, size: int, palette: np.ndarray | None = None) -> Html:
    """An <img> whose longer side has `size` pixels of the page."""
    pixels = pixels if palette is not None else smaller(pixels, max(size, 48)).astype(np.uint8)
    height, width = pixels.shape[:2]
    scale = size / max(height, width)
    return tag(
        "img",
        src=data_uri(pixels, palette),
        alt=alt,
        width=max(1, round(width * scale)),
        height=max(1, round(height * scale)),
    )


def smaller(values: np.ndarray, most: int) -> np.ndarray:
    """A picture of at most so many cells a side: means of blocks, which a screen would show anyway."""
    step = -(-max(values.shape[:2]) // most)
    if step < 2:
        return values
    for axis in (0, 1):
        starts = np.arange(0, values.shape[axis], step)
        counts = np.diff([*starts, values.shape[axis]])
        sums = np.add.reduceat(values.astype(np.float64), starts, axis=axis)
        values = sums / counts.reshape([-1 if a == axis else 1 for a in range(sums.ndim)])
    return values


def grey_pixels(image: np.ndarray) -> np.ndarray:
    """An image in [0, 1], (h, w) or (h, w, 3), as bytes."""
    return (np.clip(np.nan_to_num(image), 0, 1) * 255 + 0.5).astype(np.uint8)


def image_pixels(image: np.ndarray) -> np.ndarray:
    """One image of the data, channels last, as bytes; numbers beside [0, 1] are stretched.

    A sequence becomes a line, a volume its slices one below the other; other than three channels show the
    first.
    """
    values = np.asarray(image, np.float64)
    values = values[:, None] if values.ndim == 1 else values
    values = values[None] if values.ndim == 2 else values.reshape(-1, *values.shape[-2:])
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > 1:
        values = (values - low) / ((high - low) or 1.0)
    return grey_pixels(values if values.shape[-1] == 3 else values[..., 0])


def map_picture(values: np.ndarray, limit: float, family: Family, words: str, size: int) -> Html:
    """A map (h, w) in the hues of its family, one picture for a light page and one for a dark.

    Args:
        limit: strongest colour at +-limit. What is not a number is left transparent.
        words: what it shows, for those who cannot see it.
        size: its longer side in pixels of the page.
    """
    levels, light, dark = _levels(smaller(values, max(size, 64)), limit, family)
    other = tag("source", srcset=data_uri(levels, dark), media="(prefers-color-scheme: dark)")
    return tag("picture", other, img(levels, words, size, light))


def _levels(values: np.ndarray, limit: float, family: Family) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(numbers of palette entries, the light palette, the dark one) with those entries only that are used."""
    found = np.asarray(values, np.float64)
    shares = np.clip(np.nan_to_num(found) / (limit or 1.0), -1, 1)
    levels = np.where(np.isfinite(found), np.rint(_LEVELS * shares), _LEVELS + 1).astype(int)
    used, places = np.unique(levels, return_inverse=True)
    at = np.rint(np.clip(used, -_LEVELS, _LEVELS) * SHADES / _LEVELS).astype(int) + SHADES
    clear = np.where(used > _LEVELS, 0, 255)[:, None]
    light, dark = (np.concatenate([shades(family, is_dark)[at], clear], axis=1) for is_dark in (False, True))
    return places.reshape(found.shape).astype(np.uint8), light, dark


def flat_picture(values: np.ndarray) -> np.ndarray:
    """(h, w) of an array with any number of axes: slices one below the other, a row for a vector."""
    found = np.atleast_2d(np.asarray(values, np.float64))
    return found.reshape(-1, found.shape[-1])
