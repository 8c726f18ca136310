"""A picture of the reader's own: taken in, brought into the shape of the input, kept for a while."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np

from kernelearn._optional import require
from kernelearn.errors import ArgumentError, DataError, FormatError
from kernelearn.formats.foreign import refused
from kernelearn.recording.run import Run
from kernelearn.view.page.addresses.structure import untrained
from kernelearn.view.page.library import PageRun

_KEPT = 16
# Pixels of a picture, before it is made smaller.
_MOST_PIXELS = 30_000_000


def take(page_run: PageRun, body: bytes, kind: str) -> dict[str, Any]:
    """Take a picture in; gives its number for `probe` and `network`.

    Args:
        body: an image file, or JSON {"pixels": nested lists} in the range of the network's input.
        kind: media type.
    Raises: DataError, FormatError, ArgumentError for what is no picture, or a network that takes none.
    """
    with page_run.lock:
        run = page_run.open()
        shape = _shape(page_run)
        is_json = kind.partition(";")[0].strip() == "application/json"
        array, note = _of_json(body, shape) if is_json else _of_file(body, shape, run)
        number = f"p{page_run.pictures_taken + 1}"
        page_run.pictures_taken += 1
        page_run.pictures[number] = array
        while len(page_run.pictures) > _KEPT:
            del page_run.pictures[next(iter(page_run.pictures))]
    return {"picture": number, "shape": list(array.shape), "note": note, "pixels": array}


def picture_of(page_run: PageRun, number: str) -> np.ndarray:
    """A picture that was taken in.

    Raises: ArgumentError for one that is not kept any more.
    """
    if number not in page_run.pictures:
        raise ArgumentError(f"The picture {number!r} is not kept any more: give it once again.")
    return page_run.pictures[number]


def _shape(page_run: PageRun) -> tuple[int, int, int]:
    """(height, width, channels) that the network takes.

    Raises: ArgumentError for one that takes no images.
    """
    model = untrained(page_run)
    shape = tuple(model.inputs[0].shape[1:])
    if len(model.inputs) != 1 or len(shape) != 3:
        raise ArgumentError(f"This network takes {shape}, which is no picture of height x width x channels.")
    probes = page_run.open().probe_images
    if None in shape and probes is not None:
        shape = tuple(probes.shape[1:])
    if None in shape:
        raise ArgumentError(
            "This network takes pictures of any size, and the run has no probe images to say which."
        )
    return shape[0], shape[1], shape[2]


def _of_json(body: bytes, shape: tuple[int, int, int]) -> tuple[np.ndarray, str]:
    with refused("the picture", FormatError, "Send an object with pixels."):
        given = json.loads(body)
        pixels = np.asarray(given["pixels"], np.float32)
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    if pixels.shape != shape or not np.isfinite(pixels).all():
        raise ArgumentError(f"pixels must be {shape} finite numbers; got the shape {pixels.shape}.")
    return pixels, "as it was drawn"


def _of_file(body: bytes, shape: tuple[int, int, int], run: Run) -> tuple[np.ndarray, str]:
    """A file as the network's input: its colours, its size, its range."""
    image = require("PIL.Image", "reading pictures")
    height, width, channels = shape
    if channels not in (1, 3, 4):
        raise ArgumentError(f"A picture file has 1, 3 or 4 channels; this network takes {channels}.")
    with refused("the picture", DataError, "Give a PNG or JPEG file."):
        opened = image.open(io.BytesIO(body))
        if opened.width * opened.height > _MOST_PIXELS:
            raise DataError(
                f"The picture has {opened.width} x {opened.height} pixels, more than {_MOST_PIXELS:,}."
            )
        mode = {1: "L", 3: "RGB", 4: "RGBA"}[channels]
        before = opened.mode
        sized = opened.convert(mode).resize((width, height), image.Resampling.BOX)
        pixels = np.asarray(sized, np.float32).reshape(shape)
    low, high = _range(run)
    found = low + pixels / 255.0 * (high - low)
    notes = [] if before == mode else ["made grey" if channels == 1 else "given the network's colours"]
    if (opened.height, opened.width) != (height, width):
        notes.append(f"resized from {opened.width} x {opened.height}")
    return found.astype(np.float32), ", ".join(notes) or "as it is"


def _range(run: Run) -> tuple[float, float]:
    """Smallest and largest number of the pictures that the network was trained on, as its probes tell."""
    probes = run.probe_images
    if probes is None or isinstance(probes, list):
        return 0.0, 1.0
    low, high = float(probes.min()), float(probes.max())
    return (0.0, high) if low >= 0 else (low, high)
