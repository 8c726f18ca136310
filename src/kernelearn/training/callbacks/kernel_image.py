"""Kernels as a picture, and pictures as PNG files, without an image library."""

import struct
import zlib

import numpy as np

_MAX_IMAGE_SIDE = 1024
_ZOOM = 8


def kernel_picture(kernel: np.ndarray) -> np.ndarray:
    """Every kernel of a layer as one picture: a row for each input channel, a column for each filter.

    Each kernel is scaled by itself: white is 0, full red or blue its largest absolute value, red positive.

    Args:
        kernel: (kh, kw, channels, filters).
    Returns: (height, width, 3) uint8, cut to at most 1024 pixels a side.
    """
    height, width, channels, filters = kernel.shape
    rows = max(1, min(channels, _MAX_IMAGE_SIDE // (height * _ZOOM + 1)))
    columns = max(1, min(filters, _MAX_IMAGE_SIDE // (width * _ZOOM + 1)))
    shown = np.asarray(kernel[:, :, :rows, :columns], "float64")
    scale = np.abs(shown).max(axis=(0, 1), keepdims=True)
    shown = np.nan_to_num(shown / np.where(scale > 0, scale, 1.0))
    tiles = np.repeat(np.repeat(shown, _ZOOM, axis=0), _ZOOM, axis=1)
    tiles = np.pad(tiles, ((0, 1), (0, 1), (0, 0), (0, 0)))
    grid = tiles.transpose(2, 0, 3, 1).reshape(rows * tiles.shape[0], columns * tiles.shape[1])
    return _red_white_blue(grid)


def _red_white_blue(values: np.ndarray) -> np.ndarray:
    fade_red = 1 - np.clip(-values, 0, 1)
    fade_blue = 1 - np.clip(values, 0, 1)
    colours = np.stack([fade_red, np.minimum(fade_red, fade_blue), fade_blue], axis=-1)
    return np.round(255 * colours).astype("uint8")


def png_bytes(picture: np.ndarray) -> bytes:
    """A picture as a PNG file.

    Args:
        picture: (height, width, 3) uint8.
    Source: PNG specification, W3C Recommendation, sections 5.3 (chunks), 9 (filter type 0), 11.2 (IHDR).
    """
    height, width = picture.shape[:2]
    rows = b"".join(b"\0" + row.tobytes() for row in picture)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_png_chunk(kind, data) for kind, data in chunks)


def _png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
