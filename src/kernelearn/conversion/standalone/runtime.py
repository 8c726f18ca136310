"""What an exported predictor does besides computing: reading pictures and arrays, and its command line.

These functions are not used here. Their text goes into `predict.py`, so they need nothing but Python and
NumPy; Pillow, where it is there, reads more kinds of pictures.
"""

import argparse
import json
import sys
import zlib
from pathlib import Path

import numpy as np

_PNG_START = b"\x89PNG\r\n\x1a\n"
_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
_MAX_PIXELS = 100_000_000


def read_png(path, content):
    """Pixels of a PNG file: (h, w, channels) uint8, or float64 in [0, 1] for one of 16 bits.

    Source: Portable Network Graphics (PNG) Specification, W3C.
    """
    at, kind = len(_PNG_START), b""
    chunks: dict[bytes, bytes] = {}
    while kind != b"IEND":
        size = int.from_bytes(content[at : at + 4], "big")
        kind, body = content[at + 4 : at + 8], content[at + 8 : at + 8 + size]
        check = int.from_bytes(content[at + 8 + size : at + 12 + size], "big")
        if len(content) < at + 12 + size or zlib.crc32(kind + body) != check:
            raise ValueError(f"{path} is damaged or truncated.")
        chunks[kind] = chunks.get(kind, b"") + body
        at += 12 + size
    header = chunks.get(b"IHDR", b"")
    if len(header) != 13 or b"IDAT" not in chunks:
        raise ValueError(f"{path} is damaged: it has no header or no pixels.")
    width, height = int.from_bytes(header[:4], "big"), int.from_bytes(header[4:8], "big")
    depth, colour, interlaced = header[8], header[9], header[12]
    if interlaced or colour not in _PNG_CHANNELS or not 0 < width * height <= _MAX_PIXELS:
        raise ValueError(
            f"{path}: interlaced, very large and unusual PNG files need Pillow: pip install pillow"
        )
    bits = depth * _PNG_CHANNELS[colour]
    length, step = (width * bits + 7) // 8, max(1, bits // 8)
    data = zlib.decompressobj().decompress(chunks[b"IDAT"], height * (length + 1))
    if len(data) < height * (length + 1):
        raise ValueError(f"{path} is damaged or truncated.")
    rows = _unfiltered(np.frombuffer(data, np.uint8).reshape(height, length + 1), step)
    if depth == 16:
        return rows.view(">u2").reshape(height, width, -1) / 65535
    if depth < 8:
        parts = np.unpackbits(rows, axis=1).reshape(height, -1, depth)
        values = parts @ (1 << np.arange(depth)[::-1])
        rows = values[:, :width].astype(np.uint8) * (1 if colour == 3 else 255 // (2**depth - 1))
    pixels = rows.reshape(height, width, -1)
    if colour != 3:
        return pixels
    palette = np.frombuffer(chunks[b"PLTE"], np.uint8).reshape(-1, 3)
    if pixels.max() >= len(palette):
        raise ValueError(f"{path} is damaged: it names a colour that its palette does not have.")
    return palette[pixels[..., 0]]


def _unfiltered(rows, step):
    """The bytes of each row, whose filter is its first byte (PNG specification, 9.2)."""
    done = np.zeros((len(rows) + 1, rows.shape[1] - 1), np.uint8)
    for number, row in enumerate(rows):
        kind, line, above = int(row[0]), row[1:], done[number]
        if kind == 2:
            line = line + above
        elif kind == 1:
            line = np.cumsum(_by_pixel(line, step), axis=0, dtype=np.uint8).reshape(-1)[: len(line)]
        elif kind in (3, 4):
            line = _from_left(_by_pixel(line, step), _by_pixel(above, step), kind).reshape(-1)[: len(line)]
        elif kind != 0:
            raise ValueError("The PNG file is damaged: a row has an unknown filter.")
        done[number + 1] = line
    return np.ascontiguousarray(done[1:])


def _by_pixel(line, step):
    return np.pad(line, (0, -len(line) % step)).reshape(-1, step)


def _from_left(line, above, kind):
    """Filters 3 (average) and 4 (Paeth), pixel after pixel."""
    result = np.zeros((len(line) + 1, line.shape[1]), np.int64)
    up = np.concatenate([np.zeros_like(above[:1]), above]).astype(np.int64)
    for i in range(len(line)):
        left, top, corner = result[i], up[i + 1], up[i]
        if kind == 3:
            guess = (left + top) // 2
        else:
            a, b, c = abs(top - corner), abs(left - corner), abs(left + top - 2 * corner)
            guess = np.where((a <= b) & (a <= c), left, np.where(b <= c, top, corner))
        result[i + 1] = (line[i] + guess) % 256
    return result[1:].astype(np.uint8)


def to_channels(pixels, channels):
    """Grey, colour or colour with opacity, from any of them; grey is 0.299 R + 0.587 G + 0.114 B."""
    has_alpha = pixels.shape[-1] in (2, 4)
    colours, alpha = (pixels[..., :-1], pixels[..., -1:]) if has_alpha else (pixels, None)
    if channels == 1 and colours.shape[-1] == 3:
        if colours.dtype == np.uint8:
            grey = (colours.astype(np.int64) @ np.array([19595, 38470, 7471]) + 0x8000) >> 16
            return grey[..., None].astype(np.uint8)
        return colours @ np.array([[0.299], [0.587], [0.114]])
    if channels == 1:
        return colours
    colours = np.repeat(colours, 3, axis=-1) if colours.shape[-1] == 1 else colours
    if channels == 3:
        return colours
    full = 255 if pixels.dtype == np.uint8 else 1
    return np.concatenate(
        [colours, np.full_like(colours[..., :1], full) if alpha is None else alpha], axis=-1
    )


def read_picture(path, shape, resize):
    """A picture as (h, w, c) float32 in [0, 1], of the size in `shape` (None: any)."""
    content = Path(path).read_bytes()
    channels = shape[-1]
    if channels not in (1, 3, 4):
        raise ValueError(f"The network takes {channels} channels, which no picture has. Give a .npy file.")
    try:
        from PIL import Image

        has_pillow = True
    except ImportError:
        has_pillow = False
    wanted = tuple(shape[:2])
    if has_pillow:
        image = Image.open(path).convert({1: "L", 3: "RGB", 4: "RGBA"}[channels])
        if resize and None not in wanted:
            image = image.resize(wanted[::-1], Image.Resampling.BILINEAR)
        pixels = np.asarray(image).reshape(image.height, image.width, channels)
    elif content.startswith(_PNG_START):
        pixels = to_channels(read_png(path, content), channels)
    else:
        raise ValueError(f"{path} is no PNG file: other pictures need Pillow (pip install pillow).")
    if any(want is not None and have != want for have, want in zip(pixels.shape, wanted)):
        remedy = "give --resize" if has_pillow else "resize it, or install Pillow and give --resize"
        raise ValueError(
            f"{path} is {pixels.shape[0]} x {pixels.shape[1]}, the network takes {wanted}: {remedy}."
        )
    return (pixels / np.float32(255) if pixels.dtype == np.uint8 else pixels).astype(np.float32)


def read_input(path, shape, resize):
    """The arrays of a .npy file, or one picture, with the number of images first."""
    if str(path).lower().endswith(".npy"):
        array = np.load(path, allow_pickle=False)
        return array[None] if array.ndim == len(shape) else array
    return read_picture(path, shape, resize)[None]


def as_words(row, class_names, top):
    """The classes that a network sees, as (name, probability), the surest first; plain numbers without."""
    if class_names is None or row.ndim != 1 or len(row) != len(class_names):
        return row.tolist()
    return [(class_names[i], float(row[i])) for i in np.argsort(-row, kind="stable")[:top]]


def main(predict, shape, class_names, arguments=None):
    """The command line: python predict.py FILE..."""
    parser = argparse.ArgumentParser(description="Predict with the exported network.")
    parser.add_argument("files", nargs="+", help="pictures, or .npy files of inputs")
    parser.add_argument("--top", type=int, default=3, help="show so many classes")
    parser.add_argument(
        "--resize", action="store_true", help="stretch pictures of another size (needs Pillow)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--out", help="write the outputs into this .npy file")
    options = parser.parse_args(arguments)
    answers, outputs = [], []
    try:
        for path in options.files:
            result = predict(read_input(path, shape, options.resize))
            if not isinstance(result, np.ndarray):
                raise ValueError(
                    "A network with several outputs is used from Python: from predict import predict"
                )
            outputs.append(result)
            answers += [{"file": path, "answer": as_words(row, class_names, options.top)} for row in result]
    except (OSError, ValueError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    if options.out:
        np.save(options.out, np.concatenate(outputs))
    if options.json:
        print(json.dumps(answers))
        return 0
    for found in answers:
        answer = found["answer"]
        named = [f"{part[0]} ({100 * part[1]:.1f} %)" for part in answer if isinstance(part, tuple)]
        print(f"{found['file']}: {', '.join(named) if named else answer}")
    return 0
