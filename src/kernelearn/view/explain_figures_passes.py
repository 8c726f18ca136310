"""Figures of a picture on its way through a network, of an activation, of the windows of a convolution."""

from __future__ import annotations

from typing import Any

import numpy as np

from kernelearn._optional import require
from kernelearn.view import maps
from kernelearn.view.drawing import caption, grey, shown_images
from kernelearn.view.families import ACTIVATIONS, ERRORS, HAIR, INK, WEIGHTS
from kernelearn.view.figure import new_figure

_CHANNELS = 3
_COLUMNS = 6


def plot_image_pass(found: Any) -> Any:
    """One picture through everything: maps forward in the upper rows, the errors that came back in the lower.

    Args:
        found: `explain.ImagePass`.
    Returns: matplotlib Figure; of each layer the channels with the largest errors, at the end probabilities.
    Raises: MissingDependencyError without matplotlib.
    """
    layers = [one for one in found.layers if one.errors is not None or one is found.layers[-1]]
    layers = layers[-(2 * _COLUMNS) :]
    columns = len(layers) + 1
    figure = new_figure((1.5 * columns, 6.2))
    axes = figure.subplots(2 * _CHANNELS, columns, squeeze=False)
    for axis in axes.ravel():
        axis.set_axis_off()
    axes[0, 0].set_axis_on()
    grey(axes[0, 0], shown_images(found.picture[None])[0])
    axes[0, 0].set_title("picture", fontsize=8)
    for column, one in enumerate(layers, start=1):
        _draw_layer(axes[:, column], one, found)
    figure.text(0.005, 0.78, "forward", rotation=90, fontsize=9, va="center", color=ACTIVATIONS.plus)
    figure.text(0.005, 0.38, "error", rotation=90, fontsize=9, va="center", color=ERRORS.plus)
    label = "" if found.label is None else f" (class {found.label})"
    figure.suptitle(f"Image {found.image}{label} through step {found.step}", fontsize=11)
    shares = ", ".join(f"{s.layer} {100 * s.along:+.1f} %" for s in found.shares)
    caption(figure, [*found.lines[1:], f"Its part of the gradients: {shares}"])
    return figure


def _draw_layer(axes: Any, one: Any, found: Any) -> None:
    """One layer: its maps above, their errors below, the same channels."""
    channels = _strongest(one)
    limits = maps.limit_of(one.maps), maps.limit_of(one.errors) if one.errors is not None else 1.0
    axes[0].set_title(f"{one.layer}\n{' x '.join(map(str, one.shape))}", fontsize=7.5)
    for row, channel in enumerate(channels):
        maps.draw(axes[row], maps.channel_of(one.maps, channel), ACTIVATIONS, limits[0])
        if one.errors is not None:
            errors = maps.channel_of(one.errors, channel)
            axis = axes[_CHANNELS + row]
            maps.draw(axis, errors, ERRORS, limits[1])
            if not row:
                axis.set_title(f"largest {limits[1]:.2g}", fontsize=7)


def _strongest(one: Any) -> list[int]:
    """The channels to show: those with the largest errors, or numbers; one for rows of features."""
    if one.maps.ndim < 2:
        return [0]
    measured = one.errors if one.errors is not None else one.maps
    strength = np.abs(measured).max(axis=tuple(range(measured.ndim - 1)))
    return sorted(np.argsort(-strength, kind="stable")[:_CHANNELS].tolist())


def plot_activation(found: Any, images: Any = None, channels: Any = None) -> Any:
    """Maps before and behind an activation, side by side; hatching where no error comes back.

    Args:
        found: `explain.Activation`.
        images: what went in, shown at the left.
        channels: which; None for those with the largest numbers.
    Returns: matplotlib Figure, a row for each of the first images.
    Raises: MissingDependencyError without matplotlib.
    """
    if found.before.ndim < 3:
        return _plot_slopes(found)
    strength = found.after.max(axis=tuple(range(found.after.ndim - 1)))
    chosen = sorted(np.argsort(-strength, kind="stable")[:4].tolist()) if channels is None else list(channels)
    rows = min(len(found.before), 4)
    columns = 2 * len(chosen) + (images is not None)
    figure = new_figure((1.25 * columns + 0.4, 1.35 * rows + 1.2))
    axes = figure.subplots(rows, columns, squeeze=False)
    limit = maps.limit_of(found.before[..., chosen], found.after[..., chosen])
    for row in range(rows):
        if images is not None:
            grey(axes[row, 0], shown_images(images)[row])
        for k, channel in enumerate(chosen):
            first = 2 * k + (images is not None)
            maps.draw(axes[row, first], maps.channel_of(found.before[row], channel), ACTIVATIONS, limit)
            maps.draw(axes[row, first + 1], maps.channel_of(found.after[row], channel), ACTIVATIONS, limit)
            maps.hatch(axes[row, first + 1], maps.channel_of(found.slopes[row], channel) == 0)
            if not row:
                axes[0, first].set_title(f"z, channel {channel}", fontsize=7.5)
                axes[0, first + 1].set_title(found.kind, fontsize=7.5)
    figure.suptitle(f"{found.kind} of {found.layer}", fontsize=11)
    caption(figure, [*found.lines, "Hatched: slope 0, no error comes back. One range for all maps."])
    return figure


def _plot_slopes(found: Any) -> Any:
    """A layer without positions: share set to 0 of each unit."""
    figure = new_figure((8.0, 3.0))
    axis = figure.subplots()
    axis.bar(np.arange(found.after.shape[-1]), (found.after == 0).mean(axis=0), color=ACTIVATIONS.plus)
    axis.set_xlabel("unit", fontsize=8)
    axis.set_ylabel("share of images set to 0", fontsize=8)
    figure.suptitle(f"{found.kind} of {found.layer}", fontsize=11)
    caption(figure, found.lines)
    return figure


def plot_geometry(found: Any) -> Any:
    """The windows of a convolution over its input, padding included, and the output that they make.

    Args:
        found: `explain.Geometry`; of a volume the last two axes are drawn.
    Returns: matplotlib Figure.
    Raises: MissingDependencyError without matplotlib.
    """
    figure = new_figure((9.0, 4.4))
    left, right = figure.subplots(1, 2)
    sizes, outputs = found.input_shape[:-1][-2:], found.output_shape[:-1][-2:]
    kernel, stride, dilation = found.kernel_size[-2:], found.strides[-2:], found.dilation[-2:]
    padding = found.padding[-2:]
    if len(sizes) == 1:
        sizes, outputs, kernel, stride, dilation = (
            (1, *one) for one in (sizes, outputs, kernel, stride, dilation)
        )
        padding = ((0, 0), *padding)
    _draw_input(left, sizes, padding)
    marks = [(0, 0), (0, min(1, outputs[1] - 1)), (outputs[0] - 1, outputs[1] - 1)]
    hues = (WEIGHTS.plus, WEIGHTS.minus, ACTIVATIONS.plus)
    for place, hue in zip(dict.fromkeys(marks), hues):
        _draw_window(left, place, kernel, stride, dilation, padding, hue)
    _grid(right, outputs, (0, 0))
    for place, hue in zip(dict.fromkeys(marks), hues):
        _cell(right, *place, hue)
    left.set_title(f"input {' x '.join(map(str, found.input_shape))}, padding grey", fontsize=9)
    right.set_title(f"output {' x '.join(map(str, found.output_shape))}", fontsize=9)
    figure.suptitle(f"{' x '.join(map(str, found.kernel_size))} kernel, {found.filters} filters", fontsize=11)
    dense = f"As a dense layer it would have {found.dense_weights:,} weights."
    caption(figure, [f"Weights: {found.formula}", dense])
    return figure


def _draw_input(axis: Any, sizes: Any, padding: Any) -> None:
    patches = require("matplotlib.patches", "drawing figures")
    (top, bottom), (left, right) = padding
    outer = (-left - 0.5, -top - 0.5), sizes[1] + left + right, sizes[0] + top + bottom
    axis.add_patch(patches.Rectangle(*outer, facecolor=HAIR, edgecolor="none"))
    axis.add_patch(patches.Rectangle((-0.5, -0.5), sizes[1], sizes[0], facecolor="white", edgecolor=INK))
    _grid(axis, sizes, (0, 0))
    axis.set_xlim(-left - 1, sizes[1] + right)
    axis.set_ylim(sizes[0] + bottom, -top - 1)


def _grid(axis: Any, sizes: Any, start: tuple[int, int]) -> None:
    """Lines between pixels, as long as they can be told apart."""
    axis.set_aspect("equal")
    axis.set_xlim(-1, sizes[1])
    axis.set_ylim(sizes[0], -1)
    axis.set_axis_off()
    if max(sizes) > 40:
        _outlined(axis, sizes)
        return
    for x in range(sizes[1] + 1):
        axis.plot([x - 0.5, x - 0.5], [-0.5, sizes[0] - 0.5], color=HAIR, linewidth=0.6)
    for y in range(sizes[0] + 1):
        axis.plot([-0.5, sizes[1] - 0.5], [y - 0.5, y - 0.5], color=HAIR, linewidth=0.6)


def _outlined(axis: Any, sizes: Any) -> None:
    patches = require("matplotlib.patches", "drawing figures")
    axis.add_patch(patches.Rectangle((-0.5, -0.5), sizes[1], sizes[0], fill=False, edgecolor=INK))


def _draw_window(
    axis: Any, place: Any, kernel: Any, stride: Any, dilation: Any, padding: Any, hue: str
) -> None:
    """The pixels that one window reads, and a frame around them."""
    patches = require("matplotlib.patches", "drawing figures")
    starts = [p * s - before for p, s, (before, _) in zip(place, stride, padding)]
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            _cell(axis, starts[0] + i * dilation[0], starts[1] + j * dilation[1], hue)
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilation)]
    corner = (starts[1] - 0.5, starts[0] - 0.5)
    axis.add_patch(patches.Rectangle(corner, spans[1], spans[0], fill=False, edgecolor=hue, linewidth=1.8))


def _cell(axis: Any, row: int, column: int, hue: str) -> None:
    patches = require("matplotlib.patches", "drawing figures")
    axis.add_patch(
        patches.Rectangle((column - 0.5, row - 0.5), 1, 1, facecolor=hue, edgecolor="none", alpha=0.35)
    )
