"""A network as a picture: its layers as feature maps in scale with kernels and branches; or every neuron.

`plot_network` is the map of any network, `plot_neurons` the "simple network" view of a small one: each unit a
circle, each weight a line, the ties of a convolution in one colour each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import log2, prod, sqrt
from typing import Any

import numpy as np

from kernelearn._optional import require
from kernelearn.errors import ArgumentError
from kernelearn.view.drawing import caption
from kernelearn.view.families import ACTIVATIONS, HAIR, INK, QUIET, WEIGHTS, colour_of
from kernelearn.view.figure import new_figure
from kernelearn.view.figures import save_figure

# Layers that change no shape are named in the box of the layer before.
_SAME = (
    "Activation",
    "ReLU",
    "LeakyReLU",
    "PReLU",
    "ELU",
    "Softmax",
    "BatchNormalization",
    "LayerNormalization",
)
_SAME_TOO = (
    "GroupNormalization",
    "Dropout",
    "SpatialDropout2D",
    "GaussianNoise",
    "Rescaling",
    "Normalization",
)
_ROW = 12  # boxes side by side before the picture goes on below
_LANE = 1.75  # from a box to the one below it, in units of the distance between columns
_MOST_UNITS, _MOST_LINES = 64, 6000

_KERAS_PLOT_OPTIONS = frozenset(
    {"show_shapes", "show_dtype", "show_layer_names", "rankdir", "expand_nested", "dpi"}
    | {"show_layer_activations", "show_trainable"}
)


@dataclass
class _Box:
    """One layer of the picture with those that are drawn in it.

    Attributes:
        names, words: lines of text; shape: of the output; depth, lane: place in the picture.
        weights: number of weights; is_frozen: whether it has weights and none is trained.
        before: boxes that it reads.
    """

    names: list[str]
    words: list[str]
    shape: tuple[int | None, ...]
    weights: int
    is_frozen: bool
    before: list[_Box] = field(default_factory=list)
    depth: int = 0
    lane: int = 0


def plot_network(model: Any) -> Any:
    """A network: feature maps in scale, kernels, shapes, numbers of weights, branches and residuals.

    Args:
        model: a built model. Layers that keep the shape (activation, normalisation, dropout) stand in the box
            before them; frozen layers are hatched.
    Returns: matplotlib Figure.
    Raises: MissingDependencyError without matplotlib.
    """
    boxes = _boxes(model)
    _place(boxes)
    lanes = max(box.lane for box in boxes) + 1
    deepest = max(box.depth for box in boxes) + 1
    rows, columns = -(-deepest // _ROW), min(deepest, _ROW)
    figure = new_figure((1.25 * columns + 0.4, 1.25 * (_LANE * lanes + 0.1) * rows + 0.8))
    axis = figure.add_subplot()
    axis.set_axis_off()
    axis.set_aspect("equal")
    axis.set_xlim(-0.7, columns - 0.3)
    axis.set_ylim(rows * (_LANE * lanes + 0.1) - 0.4, -0.75)
    places = {id(box): _point(box, lanes) for box in boxes}
    for box in boxes:
        for one in box.before:
            if one.depth // _ROW == box.depth // _ROW:
                _draw_way(axis, places[id(one)], places[id(box)], one, box)
            else:
                _draw_break(axis, places[id(one)], places[id(box)], one, columns)
    largest = max((size or 1 for box in boxes for size in box.shape[1:-1]), default=1)
    for box in boxes:
        _draw_box(axis, box, places[id(box)], largest)
    total = sum(box.weights for box in boxes)
    figure.suptitle(f"{model.name}: {total:,} weights", fontsize=11)
    return figure


def plot_model(model: Any, to_file: Any = "model.png", **keras_options: Any) -> Any:
    """Draw a network into a file, as Keras's function of this name.

    Args:
        model: built.
        to_file: ending in .png, .svg or .pdf.
        keras_options: `show_shapes`, `show_layer_names` and the like: shapes and names are always shown.
    Returns: the matplotlib Figure.
    Raises: ArgumentError for an option that Keras does not have; MissingDependencyError without matplotlib.

    >>> import kernelearn as kl, tempfile
    >>> model = kl.Sequential([kl.layers.Dense(2, input_shape=(3,))])
    >>> _ = kl.utils.plot_model(model, tempfile.mkdtemp() + "/model.svg", show_shapes=True)
    """
    unknown = sorted(set(keras_options) - _KERAS_PLOT_OPTIONS)
    if unknown:
        raise ArgumentError(f"plot_model has no option {unknown}; known are {sorted(_KERAS_PLOT_OPTIONS)}.")
    figure = plot_network(model)
    save_figure(figure, to_file)
    return figure


def _boxes(model: Any) -> list[_Box]:
    """The boxes of a model, in order."""
    model.need_shapes()
    made: dict[int, _Box] = {}
    found: list[_Box] = []
    seen: set[int] = set()
    for tensor in model.inputs:
        box = _Box([tensor.node.layer.name], ["input"], tuple(tensor.shape), 0, False)
        made[id(tensor)] = box
        found.append(box)
    for call in model.calls:
        layer, before = call.layer, [made[id(tensor)] for tensor in call.inputs]
        shape = tuple(call.outputs[0].shape)
        count = 0 if id(layer) in seen else layer.count_params()
        seen.add(id(layer))
        is_frozen = bool(layer.weights) and not layer.trainable_weights
        joins = type(layer).__name__ in (*_SAME, *_SAME_TOO) and len(before) == 1 and shape == before[0].shape
        if joins and not _is_read_elsewhere(model, call):
            box = before[0]
            box.names.append(layer.name)
            box.words.append(type(layer).__name__)
            box.weights += count
        else:
            box = _Box([layer.name], [_kind(layer)], shape, count, is_frozen, before)
            found.append(box)
        made.update((id(tensor), box) for tensor in call.outputs)
    return found


def _is_read_elsewhere(model: Any, call: Any) -> bool:
    """Whether another layer reads the same tensor as this call: then both need a place of their own."""
    given = call.inputs[0]
    readers = [other for other in model.calls if any(tensor is given for tensor in other.inputs)]
    return len(readers) > 1 or any(tensor is given for tensor in model.outputs)


def _kind(layer: Any) -> str:
    """Class with what sets it apart: Conv2D 3 x 3, stride 2."""
    words = type(layer).__name__
    size = getattr(layer, "kernel_size", None) or getattr(layer, "pool_size", None)
    if size is not None:
        words += " " + "x".join(map(str, np.atleast_1d(size)))
    strides = getattr(layer, "strides", None)
    if (
        strides is not None
        and size is not None
        and hasattr(layer, "filters")
        and max(np.atleast_1d(strides)) > 1
    ):
        words += "/" + str(max(np.atleast_1d(strides)))
    return words


def _place(boxes: Sequence[_Box]) -> None:
    """Depth is the longest way from an input; boxes of one depth stand in lanes."""
    taken: dict[int, int] = {}
    for box in boxes:
        box.depth = max((one.depth + 1 for one in box.before), default=0)
        box.lane = taken.get(box.depth, 0)
        taken[box.depth] = box.lane + 1


def _point(box: _Box, lanes: int) -> tuple[float, float]:
    row, column = divmod(box.depth, _ROW)
    return float(column), row * (_LANE * lanes + 0.1) + _LANE * box.lane


def _draw_way(axis: Any, start: tuple[float, float], end: tuple[float, float], one: _Box, box: _Box) -> None:
    """An arrow between two boxes; one that passes over others is bent."""
    is_far = box.depth - one.depth > 1
    bend = "arc3,rad=-0.35" if is_far and start[1] == end[1] else "arc3,rad=0"
    look = {
        "arrowstyle": "->",
        "color": QUIET,
        "linewidth": 0.9,
        "connectionstyle": bend,
        "shrinkA": 16,
        "shrinkB": 18,
    }
    axis.annotate("", end, start, arrowprops=look, zorder=0)


def _draw_break(
    axis: Any, start: tuple[float, float], end: tuple[float, float], one: _Box, columns: int
) -> None:
    """A way that goes on in a row below: out at the right, in at the left with the name of its source."""
    look = {"arrowstyle": "->", "color": QUIET, "linewidth": 0.9, "shrinkA": 16, "shrinkB": 2}
    axis.annotate("", (min(start[0] + 0.72, columns - 0.35), start[1]), start, arrowprops=look, zorder=0)
    name = f"{one.names[0]} "
    inward = {**look, "shrinkA": 0, "shrinkB": 18}
    axis.annotate("", end, (end[0] - 0.72, end[1] + 0.3), arrowprops=inward, zorder=0)
    axis.text(end[0] - 0.66, end[1] + 0.34, name, ha="left", va="top", fontsize=5, color=QUIET)


def _draw_box(axis: Any, box: _Box, at: tuple[float, float], largest: float) -> None:
    """Feature maps as sheets one behind the other, in scale of their sides; rows of features as a bar."""
    patches = require("matplotlib.patches", "drawing figures")
    x, y = at
    maps = len(box.shape) > 2
    side = _side(box.shape, largest)
    sheets = min(1 + int(log2(box.shape[-1] or 1)) // 2, 5) if maps else 1
    width = side if maps else 0.12
    height = side if maps else min(0.3 + 0.07 * log2(box.shape[-1] or 1), 0.9)
    for sheet in reversed(range(sheets)):
        corner = (x - width / 2 + 0.04 * sheet, y - height / 2 - 0.04 * sheet)
        look = {"facecolor": colour_of(ACTIVATIONS, 0.22), "edgecolor": INK, "linewidth": 0.8}
        hatch = "////" if box.is_frozen else None
        axis.add_patch(patches.Rectangle(corner, width, height, hatch=hatch, **look))
    sizes = " x ".join("?" if size is None else str(size) for size in box.shape[1:])
    top = [box.words[0], *(f"+ {word}" for word in box.words[1:])]
    axis.text(x, y - 0.53, "\n".join(top), ha="center", va="bottom", fontsize=5.6, color=INK)
    count = f"\n{box.weights:,} weights" if box.weights else ""
    frozen = ", frozen" if box.is_frozen else ""
    axis.text(
        x,
        y + 0.5,
        f"{box.names[0]}\n{sizes}{count}{frozen}",
        ha="center",
        va="top",
        fontsize=5.6,
        color=QUIET,
    )


def _side(shape: tuple[int | None, ...], largest: float) -> float:
    """Side of a feature map in the picture: by the square root, so that small ones are still seen."""
    sizes = [size or largest for size in shape[1:-1]]
    return 0.14 + 0.66 * sqrt(max(sizes, default=1) / largest) if sizes else 0.2


def plot_neurons(model: Any) -> Any:
    """A small network with every neuron: circles for units, a line for each weight, ties in one colour.

    Args:
        model: a built chain of convolution, dense, flatten, pooling and activation layers, with at most 64
            units in a layer.
    Returns: matplotlib Figure. Lines of a dense layer have the hue of their sign; in a convolution all lines
        with one weight have one colour: that is what tied means. Width: size of the weight.
    Raises: ArgumentError for a network that is too large to draw so, or no chain; MissingDependencyError.
    """
    layers = _chain(model)
    if None in model.inputs[0].shape[1:]:
        raise ArgumentError(
            f"Every neuron can be drawn where their number is known; {model.name!r} takes images of any "
            "size. plot_network draws any network."
        )
    sizes = [
        prod(int(s or 0) for s in model.inputs[0].shape[1:]),
        *(prod(layer.output.shape[1:]) for layer in layers),
    ]
    if max(sizes) > _MOST_UNITS:
        raise ArgumentError(
            f"Every neuron can be drawn for layers of at most {_MOST_UNITS} units; this network has "
            f"layers of {sizes}. plot_network draws any network."
        )
    figure = new_figure((1.9 * len(sizes) + 0.6, 1.6 + 0.16 * max(sizes)))
    axis = figure.add_subplot()
    axis.set_axis_off()
    axis.set_xlim(-0.5, len(sizes) - 0.5)
    axis.set_ylim(-0.06, 1.06)
    heights = [_heights(size) for size in sizes]
    for column, layer in enumerate(layers):
        _draw_lines(axis, layer, column, heights[column], heights[column + 1])
    names = ["input", *(layer.name for layer in layers)]
    for column, (name, ys) in enumerate(zip(names, heights)):
        axis.scatter([column] * len(ys), ys, s=34, color="white", edgecolors=INK, linewidths=0.9, zorder=3)
        axis.text(
            column, 1.05, f"{name}\n{len(ys)} units", ha="center", va="bottom", fontsize=7.5, color=QUIET
        )
    figure.suptitle(f"{model.name}: every neuron", fontsize=11)
    caption(
        figure,
        ["A line is a weight, its width the size. Lines of one colour in a convolution are one weight."],
    )
    return figure


def _chain(model: Any) -> list[Any]:
    """The layers of a chain that change or connect units."""
    model.need_shapes()
    if len(model.inputs) != 1 or any(len(call.inputs) != 1 for call in model.calls):
        raise ArgumentError("Every neuron can be drawn for chains of layers; plot_network draws any network.")
    return [
        call.layer for call in model.calls if type(call.layer).__name__ not in (*_SAME, *_SAME_TOO, "Flatten")
    ]


def _heights(size: int) -> np.ndarray:
    return np.linspace(0.98, 0.02, size) if size > 1 else np.array([0.5])


def _draw_lines(axis: Any, layer: Any, column: int, left: np.ndarray, right: np.ndarray) -> None:
    """The weights between two columns of units."""
    from kernelearn.explain.kernel.matrices import dense_equivalent

    shape = tuple(layer.input.shape[1:])
    if not layer.weights:
        _draw_pool(axis, layer, column, left, right)
        return
    if len(shape) == 1 or type(layer).__name__ == "Dense":
        shape = (len(left),)
    wide = dense_equivalent(layer, shape)
    stage = getattr(wide, "stages", [wide])[0]
    rows, columns, ties = stage.ties.rows, stage.ties.columns, stage.ties.kernel
    if len(rows) > _MOST_LINES:
        raise ArgumentError(f"Layer {layer.name!r} has {len(rows):,} connections, too many to draw.")
    values = stage.kernel.reshape(-1)[ties]
    is_tied = bool(np.bincount(ties).max() > 1)
    collections = require("matplotlib.collections", "drawing figures")
    lines = [((column, left[c]), (column + 1, right[r])) for r, c in zip(rows, columns)]
    limit = float(np.abs(values).max()) or 1.0
    hues = (
        _tie_colours(ties, stage.kernel.size)
        if is_tied
        else [WEIGHTS.plus if v > 0 else WEIGHTS.minus for v in values]
    )
    widths = 0.25 + 1.8 * np.abs(values) / limit
    axis.add_collection(
        collections.LineCollection(lines, colors=hues, linewidths=widths, alpha=0.65, zorder=1)
    )


def _tie_colours(ties: np.ndarray, size: int) -> list[Any]:
    """One colour for each number of the kernel."""
    matplotlib = require("matplotlib", "drawing figures")
    wheel = matplotlib.colormaps["turbo"](np.linspace(0.05, 0.95, size))
    return [wheel[tie] for tie in ties]


def _draw_pool(axis: Any, layer: Any, column: int, left: np.ndarray, right: np.ndarray) -> None:
    """Which units a pooling takes together, as faint lines: found by sending a 1 through each unit."""
    shape = tuple(layer.input.shape[1:])
    ones = np.eye(len(left), dtype=np.float32).reshape(len(left), *shape)
    read = np.asarray(layer(ones)).reshape(len(left), -1)
    for unit, pool in np.argwhere(read != 0):
        axis.plot([column, column + 1], [left[unit], right[pool]], color=HAIR, linewidth=0.8, zorder=0)
