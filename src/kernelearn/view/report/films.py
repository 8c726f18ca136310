"""Kernels over time: the numbers of chosen kernels at every step, for one slider that moves all of them.

A tile is a whole filter where the layer reads few channels (an RGB filter: its three slices), else one slice.
The slider begins at the random start; without JavaScript the last step is shown, and a filmstrip of eight.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np

from kernelearn.explain.choices import some_steps
from kernelearn.explain.kernel.source import as_filters, layer_kind
from kernelearn.view.families import WEIGHTS
from kernelearn.view.report.cells import cell_text, crossings, number_table
from kernelearn.view.report.markup import Html, join, paragraph, scrolling, tag
from kernelearn.view.report.material import Material
from kernelearn.view.report.pictures import flat_picture, map_picture

_TILES = 12
# Filters of layers with at most so many input channels are shown whole, slice below slice.
_WHOLE_CHANNELS = 4
_LARGEST_WITH_NUMBERS = 7
_BYTES = 1_200_000  # of float32 numbers in all films together


@dataclass(frozen=True)
class Film:
    """Chosen kernels of one layer at the steps of the report.

    Attributes:
        layer: its name.
        places: (channels, filter) of each tile: all channels of a filter, or one of many.
        channels: of the layer.
        values: (steps, tiles, rows, columns) float32; the slices of a tile lie one below the other.
        biases: (steps, tiles) of each tile's filter, or None where the layer has none or it is not recorded.
        has_text: whether numbers are shown: kernels up to 7 along every axis.
    """

    layer: str
    places: list[tuple[range, int]]
    channels: int
    filters: int
    values: np.ndarray
    biases: np.ndarray | None
    has_text: bool

    @property
    def is_whole(self) -> bool:
        """Whether a tile is a whole filter."""
        return self.channels <= _WHOLE_CHANNELS

    @property
    def limit(self) -> float:
        """One range for all tiles and steps."""
        return float(np.abs(self.values[np.isfinite(self.values)]).max(initial=0.0)) or 1.0

    def name(self, tile: int) -> str:
        """What a tile is."""
        channels, number = self.places[tile]
        return f"filter {number}" if self.is_whole else f"channel {channels[0]} \u2192 filter {number}"


def films(m: Material) -> tuple[np.ndarray, list[Film]]:
    """(steps, films): all recorded steps if they have room, else as many as have."""
    places = {layer: _chosen(m, layer) for layer in m.convolutions}
    numbers = sum(len(found) * size for found, size in places.values())
    known = [m.run.weight_steps(layer, name) for layer, name in m.convolutions.items()]
    shared = reduce(np.intersect1d, known, m.run.steps)  # one slider moves them all
    steps = some_steps(shared, max(2, _BYTES // (4 * max(numbers, 1))))
    return steps, [_film(m, layer, found, steps) for layer, (found, _) in places.items()]


def _chosen(m: Material, layer: str) -> tuple[list[tuple[range, int]], int]:
    """((channels, filter) of the filters or slices that moved most, numbers in each)."""
    kind, name = layer_kind(m.run, layer), m.convolutions[layer]
    known = m.run.weight_steps(layer, name)
    ends = [m.run.kernels(layer, int(known[i]), name) for i in (0, -1)]
    first, last = (as_filters(kernel, kind) for kernel in ends)
    moved = np.nan_to_num(np.square(last - first)).sum(axis=tuple(range(first.ndim - 2)))
    channels, size = len(moved), first[..., 0, 0].size
    if channels <= _WHOLE_CHANNELS:
        filters = np.argsort(-moved.sum(axis=0), kind="stable")[:_TILES]
        return [(range(channels), int(f)) for f in sorted(filters)], size * channels
    order = np.argsort(-moved.ravel(), kind="stable")[:_TILES]
    pairs = sorted((int(c), int(f)) for c, f in (np.unravel_index(place, moved.shape) for place in order))
    return [(range(c, c + 1), f) for c, f in pairs], size


def _film(m: Material, layer: str, places: list[tuple[range, int]], steps: np.ndarray) -> Film:
    kind, name = layer_kind(m.run, layer), m.convolutions[layer]
    frames = []
    for step in steps:
        kernel = as_filters(m.run.kernels(layer, int(step), name), kind)
        slices = [[flat_picture(kernel[..., c, f]) for c in channels] for channels, f in places]
        frames.append([np.concatenate(tile) for tile in slices])
    has_text = max(kernel.shape[:-2]) <= _LARGEST_WITH_NUMBERS
    channels, filters = kernel.shape[-2:]
    values = np.array(frames, np.float32)
    return Film(layer, places, channels, filters, values, _biases(m, layer, places, steps), has_text)


def _biases(m: Material, layer: str, places: list[tuple[range, int]], steps: np.ndarray) -> np.ndarray | None:
    """(steps, tiles) the bias of each tile's filter; None without one for each filter."""
    filters = [f for _, f in places]
    if "bias" not in m.run.weights(layer):
        return None
    values = [m.run.kernels(layer, int(step), "bias") for step in steps]
    if values[0].ndim != 1 or len(values[0]) <= max(filters):
        return None
    return np.array([one[filters] for one in values], np.float32)


def section(m: Material) -> Html:
    """All films with their slider."""
    steps, found = films(m)
    if not found:
        return paragraph("No convolution kernel is recorded in this run.", class_="missing")
    count = len(m.run.steps)
    shown = (
        f"All {count:,} recorded steps (of {m.run.last_step + 1:,} in the training) are here."
        if len(steps) == count
        else f"{len(steps):,} of the {count:,} recorded steps are here, spread evenly; the run has them all."
    )
    return join(
        [
            paragraph(
                "Each square is one weight, with its number. Orange is positive, violet is negative, and the "
                "paler the closer to zero; all kernels of a layer share one range. It begins with the "
                "numbers that the layer was made with, and plays once when it is first seen, unless your "
                "system asks for less motion. Move the slider, or use "
                f"the arrow keys and the space bar. {shown}"
            ),
            _controls(m, steps),
            *(_film_block(film, steps) for film in found),
            _data(m, steps, found),
        ]
    )


def _controls(m: Material, steps: np.ndarray) -> Html:
    last = len(steps) - 1
    slider = tag(
        "input",
        type="range",
        id="step",
        min=0,
        max=last,
        value=last,
        aria_label="step of the training",
    )
    return tag(
        "div",
        tag("button", "Play", type="button", id="play", aria_pressed="false"),
        slider,
        tag("output", f"step {int(steps[-1]):,}", id="where", for_="step"),
        class_="controls needs-script",
    )


def _film_block(film: Film, steps: np.ndarray) -> Html:
    tiles = [_tile(film, tile) for tile in range(len(film.places))]
    total = film.filters * (1 if film.is_whole else film.channels)
    what = "filters" if film.is_whole else "kernel slices (input channel \u2192 filter)"
    chosen = "all" if total == len(tiles) else f"the {len(tiles)} of {total:,} that moved farthest"
    below = " The slices of a filter stand below each other, channel 0 first." if film.channels > 1 else ""
    words = f"{what.capitalize()}: {chosen}. Range \u00b1{film.limit:.3f}.{below if film.is_whole else ''}"
    return tag(
        "section",
        tag("h3", film.layer),
        paragraph(words, class_="note"),
        tag("div", *tiles, class_="tiles", data_film=film.layer),
        _strip(film, steps),
        class_="film",
    )


def _tile(film: Film, tile: int) -> Html:
    """The last frame of a tile as a table; the script rewrites its numbers."""
    values = film.values[-1, tile]
    height = len(values) // len(film.places[tile][0])
    slices = [values[top : top + height] for top in range(0, len(values), height)]
    body = number_table(slices, film.limit, WEIGHTS)
    return tag("figure", body, tag("figcaption", film.name(tile), *_bias_text(film, tile)), class_="tile")


def _bias_text(film: Film, tile: int) -> list[Html | str]:
    if film.biases is None:
        return []
    return [", bias ", tag("span", cell_text(film.biases[-1, tile]), class_="bias")]


def _strip(film: Film, steps: np.ndarray) -> Html:
    """Eight steps side by side, as pictures."""
    places = np.unique(np.linspace(0, len(steps) - 1, 8).round().astype(int))
    head = tag("tr", tag("td", ""), *(_frame_head(int(i), int(steps[i])) for i in places))
    rows = []
    for tile in range(len(film.places)):
        cells = [tag("td", _picture(film, tile, int(i), int(steps[i]))) for i in places]
        rows.append(tag("tr", tag("th", film.name(tile), scope="row"), *cells))
    strip = tag("table", tag("thead", head), tag("tbody", *rows), class_="strip")
    return scrolling(strip)


def _frame_head(frame: int, step: int) -> Html:
    return tag("th", f"step {step:,}", scope="col", data_frame=frame)


def _picture(film: Film, tile: int, frame: int, step: int) -> Html:
    values = film.values[frame, tile]
    return map_picture(values, film.limit, WEIGHTS, f"{film.name(tile)} at step {step}", 44)


def _data(m: Material, steps: np.ndarray, found: Sequence[Film]) -> Html:
    """The numbers of all frames for the script: little-endian float32 in base64."""
    content: dict[str, Any] = {
        "steps": [int(step) for step in steps],
        "notes": _notes(m, steps),
        "crossings": crossings(),
        "films": [
            {
                "layer": film.layer,
                "limit": film.limit,
                "numbers": int(film.values[0].size),
                "hasText": film.has_text,
                "values": _base64(film.values),
                "biases": "" if film.biases is None else _base64(film.biases),
            }
            for film in found
        ],
    }
    # NOTE: "<" could end the script element from within a layer's name.
    text = json.dumps(content, separators=(",", ":")).replace("<", "\\u003c")
    return tag("script", Html(text), type="application/json", id="film-data")


def _base64(values: np.ndarray) -> str:
    return base64.b64encode(values.astype("<f4").tobytes()).decode("ascii")


def _notes(m: Material, steps: np.ndarray) -> list[str]:
    """Loss of the batch at every step, in words."""
    known, values = m.run.scalars("loss")
    losses = dict(zip(known.tolist(), values.tolist()))
    return [f"loss {losses[s]:.4f}" if s in losses else "before training" for s in map(int, steps)]
