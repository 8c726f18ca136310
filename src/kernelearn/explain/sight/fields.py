"""Receptive fields: which pixels of the image a unit of a layer can see, computed from the geometry.

The walk goes back from a unit through the operations of the lowered model, once with exact sets of numbers
(`support_rules`) and once with unclipped windows (`window_rules`). Nothing is run and no weight is read.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

from kernelearn.engine.program import Buffer, Operation
from kernelearn.errors import ArgumentError, KernelearnError, unknown_name
from kernelearn.explain.sight.geometry_rules import GEOMETRY_RULES
from kernelearn.explain.sight.network import Network, channel_axis, open_network, path_of, sizes_of
from kernelearn.explain.sight.support_rules import Applied, any_of
from kernelearn.explain.sight.window_rules import Box, Span, union, whole
from kernelearn.explain.table import Table

Window = tuple[slice, ...]


@dataclass(frozen=True, eq=False)
class ReceptiveField:
    """What one unit sees of the image. Tuples have one entry per spatial axis of the image.

    Attributes:
        layer: path of the layer.
        unit: index of the unit, as asked for.
        image_size: pixels of the image.
        start, stop: first pixel of the window and the first one after it. They may lie outside of the image:
            there the unit sees padding. Empty (start == stop) for a unit that sees nothing.
        offset: start of the window of the layer's unit 0; the window of unit q starts at offset + q * jump.
        jump: pixels from the window of a unit to that of its neighbour, below 1 after enlarging (then starts
            are rounded), 0 if all units see the same, None if the branches of the network disagree.
        mask: (*image_size) the pixels that are seen, exactly: less than the window where a dilated or strided
            operation leaves gaps, or where branches see a cross.
        channels: (channels,) the input channels that are seen.
    """

    layer: str
    unit: tuple[int, ...]
    image_size: tuple[int, ...]
    start: tuple[int, ...]
    stop: tuple[int, ...]
    offset: tuple[int, ...]
    jump: tuple[Fraction | None, ...]
    mask: np.ndarray = field(repr=False)
    channels: np.ndarray = field(repr=False)

    @property
    def size(self) -> tuple[int, ...]:
        """Pixels of the window, padding included."""
        return tuple(stop - start for start, stop in zip(self.start, self.stop))

    @property
    def centre(self) -> tuple[float, ...]:
        """Middle of the window, in pixels; 0.0 is the middle of the first pixel."""
        return tuple((start + stop - 1) / 2 for start, stop in zip(self.start, self.stop))

    @property
    def is_clipped(self) -> bool:
        """Whether a part of the window lies outside of the image."""
        return any(a < 0 or b > n for a, b, n in zip(self.start, self.stop, self.image_size))

    @property
    def window(self) -> Window:
        """Slices of the spatial axes: the smallest window inside the image around all pixels seen."""
        axes = range(self.mask.ndim)
        seen = [np.flatnonzero(any_of(self.mask, tuple(a for a in axes if a != axis))) for axis in axes]
        return tuple(slice(int(s[0]), int(s[-1]) + 1) if s.size else slice(0, 0) for s in seen)

    @property
    def pixels(self) -> int:
        """Number of pixels seen."""
        return int(self.mask.sum())

    @property
    def share(self) -> float:
        """Fraction of the image seen."""
        return float(self.mask.mean())

    def table(self) -> Table:
        """One row for each thing that can be said of it."""
        rows = (
            ("unit", self.unit),
            ("first pixel", self.start),
            ("first pixel behind", self.stop),
            ("size", self.size),
            ("centre", self.centre),
            ("pixels seen", self.pixels),
            ("share of the image", self.share),
            ("reaches into the padding", self.is_clipped),
        )
        return Table(("what", "value"), rows, f"Receptive field of {self.layer}")

    def to_dict(self) -> dict[str, Any]:
        """The table as JSON values."""
        return self.table().to_dict()


def receptive_field(
    model: Any,
    layer: Any = None,
    unit: Sequence[int] | int | None = None,
    source: str | None = None,
    input_shape: Any = None,
) -> ReceptiveField:
    """What a unit of a layer sees of the image, whatever the weights are.

    Args:
        model: built; of any graph: branches are united.
        layer: path of the layer ("outer/inner" in nested models), the layer, or None for the output.
        unit: its index in the layer's output without the batch: all axes, or the position alone for all
            channels there; None for the position in the middle.
        source: name of the input layer, for models with several.
        input_shape: of one image, (64, 64, 3), for a model that takes any size; of several inputs a list.
    Raises: UnknownNameError, ArgumentError for an index outside of the layer; KernelearnError for an
        operator whose geometry is not known.

    >>> from kernelearn import Sequential
    >>> from kernelearn.layers import Conv2D, Input, MaxPooling2D
    >>> stack = [Input((12, 12, 1)), Conv2D(4, 3), MaxPooling2D(2), Conv2D(8, 3, name="last")]
    >>> seen = receptive_field(Sequential(stack), "last", unit=(0, 1))
    >>> seen.size, [int(j) for j in seen.jump], seen.start, seen.centre
    ((8, 8), [2, 2], (0, 2), (3.5, 5.5))
    """
    network = open_network(model, input_shape)
    return _field_of(network, layer, unit, _source_of(network, source))


def seen_windows(model: Any, layer: Any) -> Callable[[tuple[int, ...] | None, tuple[int, ...]], Window]:
    """A function (unit, shape of an image) -> `ReceptiveField.window`: the model is lowered once for a shape.

    Arguments and errors are those of `receptive_field`, for a model with one input.
    """
    opened = functools.cache(lambda shape: open_network(model, shape))

    @functools.cache
    def window(unit: tuple[int, ...] | None, shape: tuple[int, ...]) -> Window:
        network: Network = opened(shape)
        return _field_of(network, layer, unit, _source_of(network, None)).window

    return window


def receptive_fields(model: Any, source: str | None = None, input_shape: Any = None) -> Table:
    """One row per layer that sees the image: the receptive field of its unit in the middle.

    `size`, `jump`, `offset` and `centre` are those of `ReceptiveField`; `share` is the fraction of the image
    that the unit in the middle sees. `source` and `input_shape` are those of `receptive_field`.
    """
    network = open_network(model, input_shape)
    given = _source_of(network, source)
    rows = []
    for path, buffer in network.layers.items():
        if buffer in network.inputs or given.name not in _above(network, buffer):
            continue
        found = _field_of(network, path, None, given)
        output = "x".join(map(str, sizes_of(buffer)))
        jump = tuple(None if j is None else float(j) for j in found.jump)
        rows.append((path, output, found.size, jump, found.offset, found.centre, found.share))
    columns = ("layer", "output", "size", "jump", "offset", "centre", "share")
    return Table(columns, tuple(rows), title=f"Receptive fields in {model.name}")


def _field_of(network: Network, layer: Any, unit: Any, source: Buffer) -> ReceptiveField:
    target = network.buffer(layer)
    sizes = sizes_of(target)
    channel = channel_axis(network.model, layer, len(target.shape)) - 1
    index = _unit_index(unit, sizes, channel)
    wanted = np.zeros(sizes, bool)
    wanted[index] = True
    mask = _walk(network, target, wanted, "support", np.logical_or, source)
    mask = np.zeros(sizes_of(source), bool) if mask is None else mask
    box, first = (
        _walk(network, target, _box_at(i, sizes, channel), "window", union, source)
        for i in (index, tuple(i if isinstance(i, slice) else 0 for i in index))
    )
    axis = _image_channel_axis(network.model, source)
    spatial = [i for i in range(mask.ndim) if i != axis]
    spans = [_span(box, i) for i in spatial]
    return ReceptiveField(
        layer=network.model.outputs[0].node.layer.name if layer is None else path_of(network.model, layer),
        unit=tuple(i for i in index if not isinstance(i, slice)),
        image_size=tuple(mask.shape[i] for i in spatial),
        start=tuple(span.low for span in spans),
        stop=tuple(span.high + 1 for span in spans),
        offset=tuple(_span(first, i).low for i in spatial),
        jump=tuple(span.jump for span in spans),
        mask=mask if axis is None else any_of(mask, (axis,)),
        channels=np.ones(1, bool) if axis is None else any_of(mask, tuple(spatial)),
    )


class UnitWindows:
    """The windows of many units of one layer: (first pixels, first pixels after), as in `ReceptiveField`.

    Args:
        model: built, with one input.
        layer: path of the layer, the layer, or None for the output.
        input_shape: of one image, for a model that takes any size.

    Call it with the index of a unit, all axes or the position alone.
    """

    def __init__(self, model: Any, layer: Any = None, input_shape: Any = None) -> None:
        self._network = open_network(model, input_shape)
        self._target = self._network.buffer(layer)
        self._source = _source_of(self._network, None)
        self._sizes = sizes_of(self._target)
        self._channel = channel_axis(model, layer, len(self._target.shape)) - 1
        axis = _image_channel_axis(model, self._source)
        self._spatial = [i for i in range(len(sizes_of(self._source))) if i != axis]

    def __call__(self, unit: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        index = _unit_index(unit, self._sizes, self._channel)
        start = _box_at(index, self._sizes, self._channel)
        box = _walk(self._network, self._target, start, "window", union, self._source)
        spans = [_span(box, i) for i in self._spatial]
        return tuple(s.low for s in spans), tuple(s.high + 1 for s in spans)


def _span(box: Box, axis: int) -> Span:
    """The span of one axis; an empty one where nothing is seen."""
    return Span(0, -1) if box is None else box[axis]


def _unit_index(unit: Any, sizes: tuple[int, ...], channel: int) -> tuple[Any, ...]:
    """An index of the layer's output without the batch; a slice for all channels."""
    spatial = [i for i in range(len(sizes)) if i != channel or len(sizes) == 1]
    if unit is None:
        unit = [sizes[i] // 2 for i in spatial] if len(sizes) > 1 else [0]
    given = [int(i) for i in np.atleast_1d(np.asarray(unit, dtype=int))]
    axes = list(range(len(sizes))) if len(given) == len(sizes) else spatial
    bad = len(given) != len(axes) or any(not -sizes[a] <= i < sizes[a] for i, a in zip(given, axes))
    if bad:
        raise ArgumentError(
            f"unit must be an index of an output of shape {sizes}, or a position without its "
            f"channel; got {unit!r}."
        )
    index: list[Any] = [slice(None)] * len(sizes)
    for i, axis in zip(given, axes):
        index[axis] = i % sizes[axis]
    return tuple(index)


def _box_at(index: tuple[Any, ...], sizes: tuple[int, ...], channel: int) -> tuple[Span, ...]:
    """The box of a unit. It moves by one from position to position, not from channel to channel."""
    moves: list[Fraction | None] = [Fraction(int(axis != channel)) for axis in range(len(sizes))]
    if len(sizes) == 1:  # a row of features: neighbours may come from anywhere
        moves = [None]
    return tuple(
        whole(size) if isinstance(i, slice) else Span(i, i, move)
        for i, size, move in zip(index, sizes, moves)
    )


def _source_of(network: Network, name: str | None) -> Buffer:
    """The input by name; the only one if None."""
    names: list[str] = network.model.input_names
    if name is None and len(names) == 1:
        return network.inputs[0]
    if name not in names:
        if name is None:
            raise ArgumentError(f"The model has the inputs {names}; say which one with source=.")
        raise unknown_name("input", name, names)
    return network.inputs[names.index(name)]


def _image_channel_axis(model: Any, source: Buffer) -> int | None:
    """Axis of the channels in one image; None for rows of features."""
    rank = len(source.shape)
    return None if rank <= 2 else channel_axis(model, None, rank) - 1


def _above(network: Network, target: Buffer) -> set[str]:
    """Names of the buffers that `target` is computed from."""
    found = {target.name}
    for op in reversed(network.graph.operations):
        if found.intersection(op.outputs):
            found.update(op.inputs)
    return found


def _walk(
    network: Network,
    target: Buffer,
    start: Any,
    rule: str,
    merge: Callable[..., Any],
    source: Buffer,
) -> Any:
    """Carry `start` from the target back to the source; None where nothing arrives.

    Args:
        start: what is wanted of the target: a set or a box.
        rule: which of `GEOMETRY_RULES`: "support" for sets, "window" for boxes.
        merge: joins what reaches a buffer on several ways.
    """
    dependent = _dependent(network)
    reached = {target.name: start}
    for op in reversed(network.graph.operations):
        wanted = reached.pop(op.outputs[0], None)
        if wanted is None or op.outputs[0] not in dependent:
            continue
        if op.operator not in GEOMETRY_RULES:
            raise KernelearnError(
                f"The geometry of operator {op.operator!r} in layer {op.layer!r} is not known, so that no "
                "receptive field can be computed through it; ask for a layer below it."
            )
        parts = getattr(GEOMETRY_RULES[op.operator], rule)(wanted, _applied(network, op, dependent))
        for name, part in zip(op.inputs, parts):
            if name in dependent and part is not None:
                reached[name] = merge(reached[name], part) if name in reached else part
    return reached.get(source.name)


def _dependent(network: Network) -> set[str]:
    """Names of the buffers that are computed from the images."""
    found = {buffer.name for buffer in network.inputs}
    for op in network.graph.operations:
        if found.intersection(op.inputs):
            found.update(op.outputs)
    return found


def _applied(network: Network, op: Operation, dependent: set[str]) -> Applied:
    def sizes(name: str) -> tuple[int, ...]:
        shape = network.graph.buffers[name].shape
        return tuple(int(s or 0) for s in (shape[1:] if name in dependent else shape))

    return Applied(op.attrs, tuple(map(sizes, op.inputs)), sizes(op.outputs[0]))
