"""Figures of one number of a feature map: as arrays, as a neuron, and the path of its error.

Both directions use the same places: what went through a cell, and what came back through it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kernelearn.view import maps
from kernelearn.view.drawing import caption, signed_text
from kernelearn.view.families import (
    ACTIVATIONS,
    ERRORS,
    INK,
    QUIET,
    WEIGHTS,
    Family,
    colour_of,
    text_on,
)
from kernelearn.view.figure import new_figure

_SLICES = 4
_LINES = 12


def plot_unit(unit: Any) -> Any:
    """One number of a feature map as arrays: input and window, kernel, products, sum, and the map around it.

    Args:
        unit: `explain.Unit`.
    Returns: matplotlib Figure; one row for each of the input channels with the largest sums.
    Raises: MissingDependencyError without matplotlib.
    """
    slices = _slices(unit)
    shown = [("z", unit.map)] if not unit.stages else _maps(unit)
    columns = 4 + len(shown)
    figure = new_figure((2.05 * columns, 1.1 + 2.0 * len(slices)))
    grid = figure.add_gridspec(len(slices), columns)
    window = unit.window
    limits = tuple(map(maps.limit_of, (unit.input_maps, window.weights, window.products)))
    for row, channel in enumerate(slices):
        axes = [figure.add_subplot(grid[row, column]) for column in range(4)]
        _draw_slice(axes, unit, channel, limits, is_first=row == 0)
    limit = maps.limit_of(*(values for _, values in shown))
    for column, (name, values) in enumerate(shown):
        axis = figure.add_subplot(grid[:, 4 + column])
        maps.draw(axis, maps.flat(values), ACTIVATIONS, limit)
        if column:
            maps.hatch(axis, maps.flat(values == 0))
        axis.set_title(name, fontsize=9)
        _frame(axis, unit.position)
    figure.suptitle(_title(unit), fontsize=11)
    caption(figure, [unit.formula, *_stage_lines(unit)])
    return figure


def plot_unit_neuron(unit: Any) -> Any:
    """The same number as a neuron: inputs at the left, a weight on every line, their sum, activation, value.

    Args:
        unit: `explain.Unit`.
    Returns: matplotlib Figure; the inputs with the largest products are drawn, the others are one line.
    Raises: MissingDependencyError without matplotlib.
    """
    products = unit.window.products.ravel()
    order = np.argsort(-np.abs(products), kind="stable")
    shown = np.sort(order[:_LINES]) if len(order) > _LINES else np.arange(len(order))
    rest = float(products.sum() - products[shown].sum())
    rows = len(shown) + (len(order) > len(shown)) + bool(unit.bias)
    figure = new_figure((9.6, 1.4 + 0.42 * max(rows, 6)))
    axis = figure.add_subplot()
    axis.set_axis_off()
    axis.set_xlim(0, 10)
    axis.set_ylim(rows - 0.3, -0.9)
    middle = (rows - 1) / 2
    lines = [_input_line(unit, int(i)) for i in shown]
    if len(order) > len(shown):
        lines.append((f"{len(order) - len(shown):,} others", None, None, rest))
    if unit.bias:
        lines.append(("bias", 1.0, unit.bias, unit.bias))
    _draw_inputs(axis, unit, lines, middle)
    _draw_body(axis, unit, middle)
    figure.suptitle(f"{_title(unit)}, as a neuron", fontsize=11)
    caption(figure, [unit.formula, *_stage_lines(unit)])
    return figure


def plot_delta(path: Any) -> Any:
    """Where the error of a unit comes from: one column for each layer on the way to the loss.

    Args:
        path: `explain.ErrorPath`.
    Returns: matplotlib Figure: the parts of each sum as bars, the error of each number beside them.
    Raises: MissingDependencyError without matplotlib.
    """
    hops = [hop for hop in path.hops if len(hop.parts) > 1 or hop.end is not None]
    figure = new_figure((max(2.9 * len(hops), 5.6), 4.6))
    axes = figure.subplots(1, max(len(hops), 1), squeeze=False)[0]
    for axis, hop in zip(axes, hops):
        _draw_hop(axis, hop)
    step = "" if path.step is None else f", step {path.step}"
    at = ", ".join(map(str, (*path.unit.position, path.unit.filter)))
    figure.suptitle(
        f"Where the error of {path.unit.layer}[{at}] comes from (image {path.image}{step})", fontsize=11
    )
    from kernelearn.explain.passes.backward_text import place_words, reason

    lines = [f"{place_words(hop)}: {signed_text(hop.error, 6)} = {reason(hop)}" for hop in path.hops]
    caption(figure, lines, size=7.5)
    return figure


def _slices(unit: Any) -> list[int]:
    """The input channels to draw, those with the largest sums, in their order."""
    if unit.window.inputs.ndim == 1:
        return [0]
    order = np.argsort(-np.abs(unit.by_channel), kind="stable")[:_SLICES]
    return sorted(int(c) for c in order)


def _maps(unit: Any) -> list[tuple[str, np.ndarray]]:
    """The channel before and after what changes it."""
    before = next((s for s in unit.stages if s.operator in ("activation", "prelu")), None)
    if before is None:
        return [(f"behind {unit.stages[-1].name}", unit.stages[-1].map_after)]
    name = before.kind or before.name
    return [("z", before.map_before), (f"{name}(z)", before.map_after)]


def _draw_slice(
    axes: Sequence[Any], unit: Any, channel: int, limits: tuple[float, ...], is_first: bool
) -> None:
    """Input with its window, window, kernel and products of one input channel."""
    window = unit.window
    is_dense = window.inputs.ndim == 1
    number = int(window.channels[channel])
    inputs, weights, products = (
        array if is_dense else array[..., channel]
        for array in (window.inputs, window.weights, window.products)
    )
    whole = window.inputs if is_dense else unit.input_maps[..., number]
    maps.draw(axes[0], maps.flat(whole), ACTIVATIONS, limits[0])
    if not is_dense:
        _outline(axes[0], window)
    _cells(axes[1], inputs, ACTIVATIONS, limits[0])
    _cells(axes[2], weights, WEIGHTS, limits[1])
    decimals = _cells(axes[3], products, ACTIVATIONS, limits[2])
    if is_first:
        for axis, name in zip(axes, ("input x", "window", "\u00d7 kernel W", "= products")):
            axis.set_title(name, fontsize=9)
    axes[0].set_ylabel("" if is_dense else f"channel {number}", fontsize=8)
    axes[3].set_xlabel(f"sum {maps.fixed(float(products.sum()), decimals)}", fontsize=8)


def _cells(axis: Any, values: np.ndarray, family: Family, limit: float) -> int:
    """A small matrix as colours with numbers; gives the decimals of these."""
    flat, decimals = maps.flat(values), maps.decimals_of(limit)
    maps.draw(axis, flat, family, limit)
    if max(flat.shape) <= maps.NUMBERED:
        maps.draw_numbers(axis, flat, family, limit, decimals)
    return decimals


def _outline(axis: Any, window: Any) -> None:
    """A frame around what the window reads, where it lies in the image."""
    pixels = window.pixels.reshape(-1, window.pixels.shape[-1])[window.is_inside.ravel()]
    if pixels.shape[-1] == 2 and len(pixels):
        (top, left), (bottom, right) = pixels.min(axis=0), pixels.max(axis=0)
        maps.frame(axis, top, left, bottom, right)
    elif pixels.shape[-1] == 1 and len(pixels):
        maps.frame(axis, 0, int(pixels.min()), 0, int(pixels.max()))


def _frame(axis: Any, position: tuple[int, ...]) -> None:
    """A frame around one cell of a map."""
    if len(position) == 2:
        maps.frame(axis, *position, *position)
    elif len(position) == 1:
        maps.frame(axis, 0, position[0], 0, position[0])


def _input_line(unit: Any, i: int) -> tuple[str, float | None, float | None, float]:
    """(name, input, weight, product) of one input."""
    window = unit.window
    *tap, c = (int(k) for k in np.unravel_index(i, window.inputs.shape))
    value, weight = float(window.inputs.ravel()[i]), float(window.weights.ravel()[i])
    channel = int(window.channels[c])
    if not tap:
        return f"x[{channel}]", value, weight, value * weight
    if not window.is_inside[tuple(tap)]:
        return "padding", value, weight, value * weight
    pixel = ", ".join(str(int(p)) for p in window.pixels[tuple(tap)])
    return f"x[{pixel}, {channel}]", value, weight, value * weight


def _draw_inputs(axis: Any, unit: Any, lines: Sequence[Any], middle: float) -> None:
    """Inputs as circles, lines with their weights to the sum."""
    sizes = maps.limit_of([line[1] or 0 for line in lines]), maps.limit_of(unit.window.weights)
    for row, (name, value, weight, product) in enumerate(lines):
        thick = 0.6 + 3.0 * abs(product) / maps.limit_of([line[3] for line in lines])
        hue = QUIET if weight is None else WEIGHTS.plus if weight > 0 else WEIGHTS.minus
        axis.plot([2.0, 6.0], [row, middle], color=hue, linewidth=thick, alpha=0.75, zorder=1)
        axis.text(1.1, row, name, ha="right", va="center", fontsize=7.5, color=QUIET)
        if value is not None:
            tint = colour_of(ACTIVATIONS, value / sizes[0])
            _circle(axis, 1.7, row, signed_text(value, 3), tint, 7)
        share = 0.42
        x, y = 2.0 + 4.0 * share, row + (middle - row) * share
        text = signed_text(product, 3) if weight is None else f"\u03b8 {signed_text(weight, 3)}"
        axis.text(x, y, text, ha="center", va="center", fontsize=7, color=hue, bbox=_LABEL)


_LABEL = {"facecolor": "white", "edgecolor": "none", "pad": 0.8, "alpha": 0.85}


def _draw_body(axis: Any, unit: Any, middle: float) -> None:
    """Sum, what follows it, and the value."""
    axis.text(
        6.35, middle, f"\u03a3\n{signed_text(unit.z, 4)}", ha="center", va="center", fontsize=9, bbox=_BOX
    )
    stages = [s for s in unit.stages if s.operator != "bias_add"]
    place = 7.5
    for stage in stages[:2]:
        axis.annotate("", (place - 0.35, middle), (place - 0.75, middle), arrowprops=_ARROW)
        name = stage.kind or stage.name
        axis.text(
            place,
            middle,
            f"{name}\n{signed_text(stage.value, 4)}",
            ha="center",
            va="center",
            fontsize=8,
            bbox=_BOX,
        )
        place += 1.15
    if unit.pools:
        pool = unit.pools[0]
        word = "mean" if pool.kind == "average" else "won its pool" if pool.is_won else "lost its pool"
        axis.annotate("", (place - 0.4, middle), (place - 0.75, middle), arrowprops=_ARROW)
        axis.text(
            place - 0.35, middle, f"{word}\n{signed_text(pool.value, 4)}", ha="left", va="center", fontsize=8
        )


_BOX = {"facecolor": "white", "edgecolor": INK, "boxstyle": "round,pad=0.4", "linewidth": 1.2}
_ARROW = {"arrowstyle": "->", "color": INK, "linewidth": 1.2}


def _circle(axis: Any, x: float, y: float, text: str, colour: Any, size: float) -> None:
    box = {"facecolor": colour, "edgecolor": INK, "boxstyle": "round,pad=0.25", "linewidth": 0.8}
    axis.text(x, y, text, ha="center", va="center", fontsize=size, color=text_on(colour), bbox=box, zorder=3)


def _draw_hop(axis: Any, hop: Any) -> None:
    """The parts of one error as bars, with the rest in one."""
    parts = list(hop.parts[:8])
    names = [f"{part.layer or part.operator}[{', '.join(map(str, part.index))}]" for part in parts]
    names = [part.note or name for part, name in zip(parts, names)]
    values = [part.term for part in parts]
    rest = [part.term for part in hop.parts[8:]]
    if rest:
        names.append(f"{len(rest):,} others")
        values.append(float(np.sum(rest)))
    if hop.end is not None:
        names.append("loss: p \u2212 y" if hop.end.probability is not None else "loss")
        values.append(hop.end.error)
    names.append("error")
    values.append(hop.error)
    places = np.arange(len(values))
    hues = [
        INK if name == "error" else ERRORS.plus if v > 0 else ERRORS.minus for name, v in zip(names, values)
    ]
    axis.barh(places, values, color=hues, height=0.7)
    axis.axvline(0, color=INK, linewidth=0.8)
    axis.set_yticks(places, names, fontsize=7)
    axis.invert_yaxis()
    limit = 1.9 * maps.limit_of(values)
    axis.set_xlim(-limit, limit)
    for place, value in enumerate(values):
        side = "left" if value >= 0 else "right"
        axis.text(value, place, f" {signed_text(value, 3)} ", va="center", ha=side, fontsize=6.5)
    axis.set_xticks([])
    axis.spines[:].set_visible(False)
    at = ", ".join(map(str, hop.index))
    axis.set_title(f"{hop.layer or hop.buffer} [{at}]", fontsize=9)


def _stage_lines(unit: Any) -> list[str]:
    """What follows the sum, in words."""
    from kernelearn.explain.passes.text import pool_row

    lines = [
        f"{s.kind or s.name}: {s.detail} \u2192 {s.value:.6g}"
        for s in unit.stages
        if s.operator != "bias_add"
    ]
    rows = [pool_row(pool) for pool in unit.pools]
    lines += [f"{row[0]}: {row[1]}" for row in rows]
    return [*lines, f"sum of the products {unit.total:.9g}, the engine's {unit.engine:.9g}"]


def _title(unit: Any) -> str:
    at = ", ".join(map(str, (*unit.position, unit.filter)))
    step = "" if unit.step is None else f", weights of step {unit.step}"
    return f"{unit.layer}[{at}]{step}"
