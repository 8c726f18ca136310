"""The main figure of the report: a layer as columns x, W, z, a, pool; forward above, backward below.

The first choice stands in the page as pictures and tables; the script draws any other that is embedded.
"""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np

from kernelearn.explain.choices import is_convolution
from kernelearn.explain.passes.recorded_columns import RecordedColumns
from kernelearn.view.families import ACTIVATIONS, ERRORS, FAMILIES, WEIGHTS, Family, shades
from kernelearn.view.maps import flat, limit_of
from kernelearn.view.report.cells import NUMBERED, crossings, number_table
from kernelearn.view.report.columns.bench_data import panels
from kernelearn.view.report.columns.bench_panel import Panel
from kernelearn.view.report.columns.chosen import Chosen
from kernelearn.view.report.columns.error_path import path_part
from kernelearn.view.report.columns.window_sum import window_sum
from kernelearn.view.report.decimals import brief, cell_column
from kernelearn.view.report.markup import Html, join, paragraph, tag
from kernelearn.view.report.material import Material
from kernelearn.view.report.pictures import map_picture

# Bytes of numbers, for all layers together.
_ROOM = 720_000
_MOST_LAYERS = 6
_SIDE = 132
NAMES = {
    "z": "z",
    "n": "normalised",
    "s": "sum of branches",
    "a": "a",
    "d": "behind dropout",
    "p": "pooled",
}


def section(m: Material) -> Html:
    """A panel for each layer, of which the reader sees one."""
    layers = _layers(m)
    if not layers:
        return paragraph("No layer with a kernel is recorded in this run.", class_="missing")
    source = RecordedColumns(m.run, *m.training_arrays)
    found = list(panels(m.run, source, layers, _ROOM))
    shown = [(name, panel) for name, panel in found if isinstance(panel, Panel)]
    if not shown:
        reasons = [paragraph(f"{name}: {why}", class_="missing") for name, why in found]
        return join([_intro(), *reasons])
    missing = [
        paragraph(f"{name} is not shown: {p}", class_="missing") for name, p in found if isinstance(p, str)
    ]
    blocks = [_panel(m, source, panel, number) for number, (_, panel) in enumerate(shown)]
    return join([_intro(), *_legend(), *blocks, *missing, _data([panel for _, panel in shown])])


def _layers(m: Material) -> dict[str, str]:
    """The convolutions, six at most, and the last dense layer."""
    dense = [name for name in m.layers if not is_convolution(m.run, name)][-1:]
    return {**m.some_convolutions, **{name: m.layers[name] for name in dense}}


def _intro() -> Html:
    return paragraph(
        "Each column is a place in the network. What went through a cell stands above, what came back "
        "through the same cell stands below. From left to right the upper row is the answer of one filter to "
        "one window; from right to left the lower row is backpropagation, and its last column, the terms, "
        "sums to the one before it, the gradient.",
        class_="lead",
    )


def _legend() -> list[Html]:
    names = ((WEIGHTS, "weights"), (ACTIVATIONS, "inputs and activations"), (ERRORS, "errors and gradients"))
    keys = [
        tag("span", tag("i", class_=f"scale {family.tokens[0]}"), f" \u2212 0 + {words}", class_="key-of")
        for family, words in names
    ]
    hatched = tag("span", tag("i", class_="scale hatched"), " nothing passes", class_="key-of")
    dot = tag("span", tag("i", class_="dot"), " won its pool", class_="key-of")
    return [tag("p", *keys, hatched, dot, class_="hues")]


def _panel(m: Material, source: RecordedColumns, p: Panel, number: int) -> Html:
    one = Chosen.first(p)
    tiles = [tag("div", "forward", class_="rail f"), tag("div", "backward", class_="rail b")]
    for upper, lower in _tiles(one):
        tiles += [upper, lower]
    head = tag("h3", p.layer, " ", tag("span", _kernel_words(p), class_="quiet"))
    parts = [
        head,
        tag("div", class_="choosers needs-script"),
        tag("div", *tiles, class_="columns", style=f"--columns:{len(p.columns) + 2}"),
        tag("div", window_sum(one), class_="neuron"),
        tag("div", class_="readout", role="group", aria_label="what happens at the chosen place"),
        paragraph(_limits(p), class_="note"),
        _missing(p),
        path_part(m, source, p),
    ]
    return tag("section", *parts, class_="bench", data_panel=number, aria_label=p.layer)


def _kernel_words(p: Panel) -> str:
    if p.is_dense:
        return f"dense, {p.total.filters:,} units of {p.taps[0]:,} inputs"
    size = " \u00d7 ".join(map(str, p.taps))
    depth = f" \u00d7 {p.total.channels:,}" if p.total.channels > 1 else ""
    return f"{p.total.filters:,} filters of {size}{depth}"


def _limits(p: Panel) -> str:
    """What is embedded, of how much."""
    of_batch = "images of each batch (those that gave most to the gradient)"
    parts = [
        f"{len(p.steps):,} of {p.total.steps:,} steps with {'a ledger' if p.is_trained else 'all weights'}",
        f"{max(map(len, p.images))} of {p.total.images:,} {of_batch if p.is_trained else 'probe images'}",
        f"{len(p.filters):,} of {p.total.filters:,} {'units' if p.is_dense else 'filters'}",
    ]
    if p.total.channels > 1:
        parts.append(f"{len(p.channels[0])} of {p.total.channels:,} slices of each")
    cut = (
        ""
        if p.origin is None
        else " The maps are cut out around the first position: whole ones are too large."
    )
    return (
        f"In this file: {', '.join(parts)}; the run has them all.{cut} Sums of products in float64 and the "
        f"engine's differ by at most {brief(p.residual, 2)} of the absolute products."
    )


def _missing(p: Panel) -> Html:
    words = next((one for one in p.missing if one), "")
    if not words:
        return Html("")
    if not p.is_trained:
        return paragraph(f"The lower row is not recorded: {words}", class_="missing")
    return paragraph(
        f"The errors behind the sum z are not recorded, and could not be computed once more: {words}. "
        "kernelearn report takes the training's own data for it; write_report(training=...) does in Python.",
        class_="missing",
    )


def _tiles(one: Chosen) -> list[tuple[Html, Html]]:
    """(forward, backward) of every column."""
    p = one.panel
    keys = [column["key"] for column in p.columns]
    image = p.images[one.step][one.image]
    maps = limit_of(*(one.map("v", key) for key in keys if key != "n"))
    errors = limit_of(*(one.map("e", key) for key in keys))
    reads, terms = [one.read(s) for s in one.shown], [one.terms(s) for s in one.shown]
    found = [
        (
            _tile(
                "f",
                "x",
                "x input",
                _pictures(_lines(p, reads), ACTIVATIONS, "input"),
                f"image {image}",
            ),
            _tile(
                "b",
                "x",
                "x \u00b7 \u03b4 terms",
                _pictures(_lines(p, terms), ERRORS, "terms") if np.isfinite(terms).all() else _not_recorded(),
                _sum(terms),
            ),
        ),
        _kernel_tiles(one),
    ]
    for column in p.columns:
        key, name = column["key"], _name(column)
        values, back = one.map("v", key), one.map("e", key)
        limit = limit_of(values) if key == "n" else maps
        upper = _pictures(_lines(p, [values]), ACTIVATIONS, name, limit)
        lower: Any = _pictures(_lines(p, [back]), ERRORS, f"errors of {name}", errors)
        if not np.isfinite(back).any():
            lower = tag("p", _no_error(column), class_="quiet")
        found.append((_tile("f", key, name, upper, ""), _tile("b", key, f"\u03b4 at {key}", lower, "")))
    return found


def _sum(terms: list[np.ndarray]) -> str:
    total = float(np.sum(terms))
    return f"sum {brief(total, 3)}" if len(terms) == 1 and np.isfinite(total) else ""


def _not_recorded() -> Html:
    return tag("p", "not recorded", class_="missing")


def _no_error(column: dict[str, Any]) -> str:
    if column["operator"] in ("softmax", "log_softmax"):
        return "The loss reads z itself: its error there is p \u2212 y."
    return "not recorded"


def _kernel_tiles(one: Chosen) -> tuple[Html, Html]:
    weights, gradients = one.weights("W"), one.weights("G")
    shown = [[flat(values[s]) for s in one.shown] for values in (weights, gradients)]
    tables = []
    for several, family in zip(shown, (WEIGHTS, ERRORS)):
        limit = limit_of(*several)
        wide = max(part.shape[1] for part in several)
        is_narrow = wide > 3 or len(one.panel.columns) > 3
        column = cell_column([limit], 2 if is_narrow else 3)
        if not np.isfinite(several).any():
            tables.append((_not_recorded(), ""))
            continue
        if wide <= 5 and max(part.shape[0] for part in several) <= NUMBERED:
            scaled = [part / 10.0**column.exponent for part in several]
            board = number_table(scaled, limit / 10.0**column.exponent, family, column.places, is_narrow)
        else:
            board = _pictures(several, family, "kernel", limit)
        tables.append((board, f"in units of {column.unit}" if column.unit else ""))
    step = one.panel.steps[one.step]
    (upper, unit), (lower, of_gradient) = tables
    when = "before" if one.panel.is_trained else "after"
    words = ", ".join(filter(None, [f"{when} step {step:,}", unit]))
    filter_name = f"{'unit' if one.panel.is_dense else 'filter'} {one.panel.filters[one.filter]}"
    back = ", ".join(filter(None, ["of the whole batch" if one.panel.is_trained else "", of_gradient]))
    return (
        _tile("f", "W", f"W {filter_name}", upper, words),
        _tile("b", "W", "\u2202L/\u2202W", lower, back),
    )


def _tile(row: str, key: str, title: str, board: Any, caption: str) -> Html:
    return tag(
        "div",
        tag("h4", title),
        tag("div", board, class_="board-of"),
        tag("p", caption, class_="cap"),
        class_=f"tile {row} of-{_hue(row, key)}",
        data_tile=f"{row}{key}",
    )


def _hue(row: str, key: str) -> str:
    return "e" if row == "b" else "w" if key == "W" else "a"


def _name(column: dict[str, Any]) -> str:
    key, kind = column["key"], column["kind"]
    if key == "a":
        return f"a = {kind or column['operator']}(z)"
    if key == "p":
        size = column["pool"]["size"]
        what = "largest" if "max" in column["operator"] else "mean"
        return f"{what} of " + (" \u00d7 ".join(map(str, size)) if size else "all")
    return "z = x\u2217W + b" if key == "z" else NAMES[key]


def _lines(p: Panel, values: list[np.ndarray]) -> list[np.ndarray]:
    """The maps of a sequence as lines; rows of features are folded into blocks elsewhere."""
    is_sequence = not p.is_dense and len(p.taps) == 1
    return [one[None] for one in values] if is_sequence else values


def _pictures(values: list[np.ndarray], family: Family, words: str, limit: float | None = None) -> Html:
    """Maps below each other, with one range."""
    side = _SIDE if len(values) == 1 else max(48, _SIDE * 2 // (len(values) + 1))
    strongest = limit_of(*values) if limit is None else limit
    return join(map_picture(flat(one), strongest, family, words, side) for one in values)


def _data(found: list[Panel]) -> Html:
    """Everything that the script draws from."""
    palettes = {
        family.name[0]: [
            base64.b64encode(shades(family, is_dark).tobytes()).decode("ascii") for is_dark in (False, True)
        ]
        for family in FAMILIES
    }
    content = {"palettes": palettes, "crossings": crossings(), "panels": [one.to_json() for one in found]}
    text = json.dumps(content, separators=(",", ":")).replace("<", "\\u003c")
    return tag("script", Html(text), type="application/json", id="bench-data")
