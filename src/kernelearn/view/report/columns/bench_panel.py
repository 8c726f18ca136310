"""What the report holds of one layer's columns, and its form for the script: numbers in base64."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Size:
    """How much of a layer is embedded."""

    steps: int
    images: int
    filters: int
    channels: int


@dataclass(frozen=True)
class Panel:
    """What the report holds of one layer.

    Attributes:
        layer, weight: its name and that of its kernel.
        is_trained: whether its images are those of batches, with errors, and not probe images.
        kind: "conv", "conv_transpose" or "dense"; taps: shape of a kernel's slice, or of a dense one.
        geometry: stride, dilation and padding before, one for each axis.
        total: numbers of steps with a ledger, of images, filters and channels that there are.
        steps, images, labels: which are here; images and labels for each step.
        filters, channels: which; channels for each filter: the input channels of its slices.
        inputs: the channels of x that are here.
        first: the default: numbers of step, image, filter, channel, tap in the lists, and the position.
        columns: what follows W, as `describe` gives it; arrays: the numbers, by name.
        missing: for each step what is missing, in words.
        origin: (x, positions) where cut-out maps begin; None where they are whole.
        residual: see `Columns`.
    """

    layer: str
    weight: str
    kind: str
    is_trained: bool
    taps: tuple[int, ...]
    geometry: dict[str, list[int]]
    total: Size
    steps: list[int]
    images: list[list[int]]
    labels: list[list[int] | None]
    filters: list[int]
    channels: list[list[int]]
    inputs: list[int]
    first: dict[str, Any]
    columns: list[dict[str, Any]]
    arrays: dict[str, np.ndarray]
    missing: list[str]
    origin: dict[str, list[int]] | None
    residual: float

    @property
    def is_dense(self) -> bool:
        return self.kind == "dense"

    def to_json(self) -> dict[str, Any]:
        """For the script."""
        names = ("layer", "kind", "taps", "geometry", "steps", "images", "labels", "filters", "channels")
        more = ("inputs", "first", "columns", "missing", "origin", "is_trained")
        found = {name: getattr(self, name) for name in (*names, *more)}
        found["slices"] = self.total.channels
        found["arrays"] = {
            name: {"shape": list(array.shape), "type": array.dtype.char, "data": _base64(array)}
            for name, array in self.arrays.items()
        }
        return found


def _base64(array: np.ndarray) -> str:
    kind = "<f4" if array.dtype.kind == "f" else "u1"
    return base64.b64encode(np.ascontiguousarray(array).astype(kind).tobytes()).decode("ascii")
