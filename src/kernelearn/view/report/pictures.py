"""Small pictures as PNG in data URIs: images, signed maps, activations. Written here, without any library."""

from __future__ import annotations

import base64
import struct
import zlib

import numpy as np

from kernelearn.view.report.markup import Html, tag

# Anchors of a scale from dark blue over grey to yellow, which stays readable with every colour blindness.
_SEQUENCE = np.array(
    [(0, 34, 78), (53, 69, 108), (102, 105, 112), (148, 142, 119), (200, 184, 102), (254, 232, 56)], float
)
_POSITIVE, _NEGATIVE = (200, 50, 50), (45, 115, 190)


def png(pixels: np.ndarray) -> bytes:
    """A PNG file of (h, w), (h, w, 3) or (h, w, 4) uint8: grey, RGB or RGBA."""
    height, width = pixels.shape[:2]
    kind = {2: 0, 3: 2, 4: 6}[2 if pixels.ndim == 2 else pixels.shape[2]]
    flat = np.ascontiguousarray(pixels, np.uint8).reshape(height, -1)
    lines = np.concatenate([np.zeros((height, 1), np.uint8), flat], axis=1)  # filter 0 before each line
    head = struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(lines.tobytes(), 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, data) for name, data in chunks)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def data_uri(pixels: np.ndarray) -> str:
    """The PNG as a data URI."""
    return "data:image/png;base64," + base64.b64encode(png(pixels)).decode("ascii")


def img(pixels: np.ndarray, alt: str, size: int) -> Html:
    """An <img> whose longer side has `size` pixels of the page."""
    height, width = pixels.shape[:2]
    scale = size / max(height, width)
    return tag(
        "img",
        src=data_uri(pixels),
        alt=alt,
        width=max(1, round(width * scale)),
        height=max(1, round(height * scale)),
        loading="lazy",
    )


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


def signed_pixels(values: np.ndarray, limit: float) -> np.ndarray:
    """Signed numbers as red and blue that let the background through at 0: right on light and on dark."""
    strength = np.clip(np.abs(np.nan_to_num(values)) / (limit or 1.0), 0, 1)
    colours = np.where((values > 0)[..., None], np.array(_POSITIVE), np.array(_NEGATIVE))
    return np.concatenate([colours, (strength * 255)[..., None]], axis=-1).astype(np.uint8)


def positive_pixels(values: np.ndarray, limit: float) -> np.ndarray:
    """Numbers from 0 to `limit` from dark blue to yellow."""
    place = np.clip(np.nan_to_num(values) / (limit or 1.0), 0, 1) * (len(_SEQUENCE) - 1)
    low = np.minimum(place.astype(int), len(_SEQUENCE) - 2)
    part = (place - low)[..., None]
    return (_SEQUENCE[low] * (1 - part) + _SEQUENCE[low + 1] * part + 0.5).astype(np.uint8)


def flat_picture(values: np.ndarray) -> np.ndarray:
    """(h, w) of an array with any number of axes: slices one below the other, a row for a vector."""
    found = np.atleast_2d(np.asarray(values, np.float64))
    return found.reshape(-1, found.shape[-1])
