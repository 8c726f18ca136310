"""Pictures written byte by byte, which Pillow cannot write: 16-bit colour, and files of any chunks."""

import struct
import zlib

from PIL import Image

COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # bands -> PNG's number


def chunk(kind, content):
    """One chunk of a PNG with its checksum."""
    checksum = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + checksum


def png(values, orientation=None):
    """A 16-bit PNG of (h, w, bands)."""

    height, width, bands = values.shape
    header = struct.pack(">IIBBBBB", width, height, 16, COLOUR_TYPES[bands], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    exif = b""
    if orientation is not None:
        tags = Image.Exif()
        tags[0x0112] = orientation
        exif = chunk(b"eXIf", tags.tobytes().removeprefix(b"Exif\0\0"))
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    return start + exif + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def tiff(values, order="<", photometric=None, bits=16):
    """An uncompressed TIFF of (h, w, 1 or 3) uint16, written by hand (TIFF 6.0)."""
    height, width, bands = values.shape
    pixels = values.astype(f"{order}u2").tobytes()
    kind = (2 if bands == 3 else 1) if photometric is None else photometric
    extra = 8 + 2 + 10 * 12 + 4
    entries = [
        (256, 4, 1, width), (257, 4, 1, height), (258, 3, bands, bits if bands == 1 else extra),
        (259, 3, 1, 1), (262, 3, 1, kind), (273, 4, 1, extra + 2 * bands), (277, 3, 1, bands),
        (278, 4, 1, height), (279, 4, 1, len(pixels)), (284, 3, 1, 1),
    ]  # fmt: skip

    def entry(tag, kind, count, value):
        is_short = kind == 3 and count == 1
        field = struct.pack(order + "HH", value, 0) if is_short else struct.pack(order + "I", value)
        return struct.pack(order + "HHI", tag, kind, count) + field

    start = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IH", 8, len(entries))
    table = b"".join(entry(*line) for line in entries) + struct.pack(order + "I", 0)
    return start + table + struct.pack(f"{order}{bands}H", *[bits] * bands) + pixels
