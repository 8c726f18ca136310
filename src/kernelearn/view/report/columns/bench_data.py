"""Which numbers of a layer's columns go into the report, and how: chosen steps, images, filters, channels.

Everything is float32 in base64; the choice is made so small that it fits into the room that a layer has.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np

from kernelearn.errors import KernelearnError
from kernelearn.explain.choices import filters_that_moved_most, moved_most, some_steps
from kernelearn.explain.passes.columns import Columns
from kernelearn.explain.passes.recorded_columns import RecordedColumns
from kernelearn.view.report.columns.bench_sources import LedgerSteps, ProbeSteps

Source = LedgerSteps | ProbeSteps
# At most so much of each; and what is given up, in this order, until a layer fits into its room.
_MOST = {"steps": 12, "images": 4, "filters": 6, "channels": 8}
_GIVEN_UP: tuple[dict[str, int], ...] = (
    {"steps": 8},
    {"images": 3},
    {"filters": 4},
    {"channels": 4},
    {"steps": 4},
    {"images": 2},
    {"filters": 2},
    {"channels": 2},
    {"steps": 2, "images": 1},
    {"steps": 1, "filters": 1, "channels": 1},
)
_UNITS = 16  # of a dense layer, which has no positions
_INPUTS = 1024  # of a dense layer
_SIDE = 48  # of maps that are cut out of larger ones


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


def panel_of(run: Any, source: RecordedColumns, layer: str, weight: str, room: int) -> Panel:
    """The numbers of a layer around the weight of it that moved farthest.

    Args:
        room: bytes that its numbers may take.
    Raises: KernelearnError for a layer that neither ledgers nor probe images show, or that cannot be opened.
    """
    index = moved_most(run, layer, 1, weight)[0]
    has_ledger = len(run.ledger_steps_of(layer, weight)) > 0
    opened = (LedgerSteps if has_ledger else ProbeSteps)(run, source, layer, weight)
    first_step = opened.first(index)
    every = opened.columns(first_step, np.arange(1))[0]
    place = _place_in_kernel(every, run.shape_of(layer, weight), index)
    total = _total(opened, every, first_step)
    size = _fitting(every, total, room)
    filters = _filters(run, layer, weight, every, place[2], size)
    builder = _Builder(opened, total, filters, place, size, _cut(every, room))
    return builder.panel(_steps(opened.steps, first_step, size.steps), first_step, index)


def _steps(known: np.ndarray, first: int, count: int) -> list[int]:
    """The first one and others, spread evenly."""
    steps = sorted({first, *map(int, some_steps(known, count))})
    if len(steps) > count:
        others = [k for k in steps[1:-1] if k != first] or [k for k in steps if k != first]
        steps.remove(min(others, key=lambda k: abs(k - first)))
    return steps


def _total(opened: Source, every: Columns, step: int) -> Size:
    filters = every.columns[0].values.shape[-1]
    channels = 1 if every.kind == "dense" else _slices(every)
    return Size(len(opened.steps), len(opened.images(step)[0]), filters, channels)


def _slices(every: Columns) -> int:
    """Input channels of one filter."""
    return every.kernel.shape[-1 if every.kind == "conv_transpose" else -2]


def _place_in_kernel(every: Columns, shape: tuple[int, ...], index: tuple[int, ...]) -> tuple[int, int, int]:
    """(number of the tap, of the slice, of the filter) of a number of the weight."""
    place = [int(i) for i in np.unravel_index(np.ravel_multi_index(index, shape), every.kernel.shape)]
    if every.kind == "dense":
        return place[0], 0, place[1]
    *taps, c, f = place
    c, f = (f, c) if every.kind == "conv_transpose" else (c, f)
    return int(np.ravel_multi_index(taps, every.kernel.shape[:-2])), c, f


def _fitting(every: Columns, total: Size, room: int) -> Size:
    """As much as there is, at most `_MOST`, and as fits."""
    units = _UNITS if every.kind == "dense" else _MOST["filters"]
    wanted = {**_MOST, "filters": units}
    size = Size(*(min(wanted[name], getattr(total, name)) for name in _MOST))
    for less in _GIVEN_UP:
        if _bytes(every, size) <= room:
            break
        size = replace(size, **{name: min(value, getattr(size, name)) for name, value in less.items()})
    return size


def _bytes(every: Columns, size: Size) -> int:
    positions = sum(2 * prod(c.values.shape[1:-1]) for c in every.columns)
    is_dense = every.kind == "dense"
    spatial = prod(every.x.shape[1:]) if is_dense else prod(every.x.shape[1:-1]) * size.channels * 2
    taps = every.kernel.shape[0] if is_dense else prod(every.kernel.shape[:-2]) * size.channels
    of_image = spatial + positions * size.filters
    return 4 * size.steps * (size.images * of_image + 2 * size.filters * taps)


def _cut(every: Columns, room: int) -> int | None:
    """The side of maps where even the least choice of whole ones has no room."""
    least = Size(1, 1, 1, 1)
    large = max(every.x.shape[1:-1], default=1) > _SIDE
    return _SIDE if every.kind == "conv" and large and _bytes(every, least) > room // 2 else None


def _filters(run: Any, layer: str, weight: str, every: Columns, chosen: int, size: Size) -> list[int]:
    """The filters to show: that of the weight, and those that moved most."""
    there = every.columns[0].values.shape[-1]
    if there <= size.filters:
        return list(range(there))
    moved = [chosen]
    if run.shape_of(layer, weight)[-1] == there:
        moved += [f for f in filters_that_moved_most(run, layer, size.filters, weight) if f != chosen]
    else:
        moved += [f for f in range(there) if f != chosen]
    return sorted(moved[: size.filters])


@dataclass
class _Builder:
    """Collects the numbers of the chosen steps, images, filters and channels."""

    opened: Source
    total: Size
    filters: list[int]
    place: tuple[int, int, int]
    size: Size
    cut: int | None

    def panel(self, steps: list[int], first: int, index: tuple[int, ...]) -> Panel:
        """Everything about the chosen steps; the first choice is the number at an index of the weight."""
        rows = {step: self.opened.rows(step, index, self.size.images) for step in steps}
        opened = {step: self.opened.columns(step, rows[step]) for step in steps}
        found = {step: columns for step, (columns, _) in opened.items()}
        one = found[first]
        keys = _shared(found.values())
        taps = _inputs(one, self.place[0]) if one.kind == "dense" else None
        channels = [self._channels(one, f) for f in self.filters]
        inputs = sorted({c for own in channels for c in own})
        position = _position(one, self.place)
        window = None if self.cut is None else _window(one, position, self.cut, keys)
        batches = {step: self.opened.images(step) for step in steps}
        return Panel(
            layer=self.opened.layer,
            weight=self.opened.weight,
            kind=one.kind,
            is_trained=self.opened.is_trained,
            taps=tuple(one.kernel.shape[:-2]) if taps is None else (len(taps),),
            geometry=_geometry(one),
            total=self.total,
            steps=steps,
            images=[batches[k][0][rows[k]].tolist() for k in steps],
            labels=[None if (own := batches[k][1]) is None else own[rows[k]].tolist() for k in steps],
            filters=self.filters,
            channels=channels,
            inputs=inputs if taps is None else taps,
            first={"step": steps.index(first), "image": 0, **self._begin(one, taps), "position": position},
            columns=[_described(one, key, window) for key in keys],
            arrays=self._arrays(found, keys, inputs, taps, window),
            missing=[opened[k][1] for k in steps],
            origin=None if window is None else {"x": window["x"][0], "z": window["z"][0]},
            residual=max(columns.residual for columns in found.values()),
        )

    def _begin(self, one: Columns, taps: list[int] | None) -> dict[str, int]:
        """Where filter, channel and tap of the first choice stand in the lists."""
        tap, channel, number = self.place
        at = self.filters.index(number)
        found = {"filter": at, "channel": self._slices_of(one, at).index(channel)}
        return {**found, "tap": tap if taps is None else taps.index(tap)}

    def _slices_of(self, one: Columns, at: int) -> list[int]:
        """Which slices of the kernel of a filter are here."""
        if one.kind == "dense":
            return [0]
        count = _slices(one)
        if count <= self.size.channels:
            return list(range(count))
        weights = _filter_kernel(one, self.filters[at])
        strength = np.abs(weights).sum(axis=tuple(range(weights.ndim - 1)))
        order = [int(c) for c in np.argsort(-strength, kind="stable") if c != self.place[1]]
        return sorted([self.place[1], *order][: self.size.channels])

    def _channels(self, one: Columns, number: int) -> list[int]:
        """The input channels that the slices of a filter read."""
        if one.kind == "dense":
            return [0]
        slices = self._slices_of(one, self.filters.index(number))
        groups = int(one.attrs.get("groups", 1))
        filters = one.columns[0].values.shape[-1]
        before = number // (filters // groups) * _slices(one) if one.kind == "conv" else 0
        return [before + c for c in slices]

    def _arrays(
        self,
        found: dict[int, Columns],
        keys: list[str],
        inputs: list[int],
        taps: list[int] | None,
        window: Any,
    ) -> dict[str, np.ndarray]:
        arrays: dict[str, list[np.ndarray]] = {}

        def add(name: str, value: np.ndarray) -> None:
            arrays.setdefault(name, []).append(value)

        for step, one in found.items():
            whole = self.opened.gradient(step, one.kernel.shape)
            add("W", np.stack([self._weights(one, one.kernel, at, taps) for at in range(len(self.filters))]))
            add("G", np.stack([self._weights(one, whole, at, taps) for at in range(len(self.filters))]))
            add("b", np.zeros(len(self.filters)) if one.bias is None else one.bias[self.filters])
            add("x", _read(one, inputs, taps, window))
            for key in keys:
                column = one.column(key)
                assert column is not None
                add(f"v{key}", self._maps(column.values, key, window))
                none = np.full_like(column.values, np.nan)
                add(f"e{key}", self._maps(none if column.errors is None else column.errors, key, window))
                opens = np.ones_like(column.values, bool) if column.opens is None else column.opens
                add(f"o{key}", self._maps(opens, key, window))
        sizes = {name: max(len(one) for one in several) for name, several in arrays.items()}
        return {
            name: np.stack([_padded(one, sizes[name]) for one in several]).astype(
                np.uint8 if several[0].dtype == bool else np.float32
            )
            for name, several in arrays.items()
        }

    def _weights(self, one: Columns, kernel: np.ndarray, at: int, taps: list[int] | None) -> np.ndarray:
        """(slices, taps) of one filter."""
        if taps is not None:
            return kernel[taps, self.filters[at]][None]
        own = _filter_kernel(replace(one, kernel=kernel), self.filters[at])[..., self._slices_of(one, at)]
        return own.reshape(-1, own.shape[-1]).T

    def _maps(self, values: np.ndarray, key: str, window: Any) -> np.ndarray:
        """(images, filters, *positions)."""
        chosen = np.moveaxis(values[..., self.filters], -1, 1)
        if window is None:
            return chosen
        start, stop = window[key]
        return chosen[(slice(None), slice(None), *map(slice, start, stop))]


def _padded(one: np.ndarray, count: int) -> np.ndarray:
    """With NaN rows for images that a short batch lacks."""
    if len(one) == count:
        return one
    fill = np.nan if one.dtype.kind == "f" else False
    return np.concatenate([one, np.full((count - len(one), *one.shape[1:]), fill, one.dtype)])


def _filter_kernel(one: Columns, number: int) -> np.ndarray:
    """(*taps, slices) of a convolution's filter."""
    return np.asarray(one.kernel[..., number, :] if one.kind == "conv_transpose" else one.kernel[..., number])


def _shared(several: Any) -> list[str]:
    """The columns that all steps have."""
    lists = [[column.key for column in one.columns] for one in several]
    return [key for key in lists[0] if all(key in own for own in lists)]


def _inputs(one: Columns, tap: int) -> list[int]:
    """The inputs of a dense layer that are here: all, or those that are read most strongly."""
    count = one.kernel.shape[0]
    if count <= _INPUTS:
        return list(range(count))
    strength = np.abs(one.kernel).sum(axis=1) * np.abs(one.x).reshape(-1, count).max(axis=0)
    order = [int(i) for i in np.argsort(-strength, kind="stable") if i != tap]
    return sorted([tap, *order][:_INPUTS])


def _read(one: Columns, inputs: list[int], taps: list[int] | None, window: Any) -> np.ndarray:
    """(images, channels, *spatial) of what the layer read; of a dense layer one channel, inputs last."""
    if taps is not None:
        return one.x[..., taps][:, None]
    chosen = np.moveaxis(one.x[..., inputs], -1, 1)
    if window is None:
        return chosen
    start, stop = window["x"]
    return chosen[(slice(None), slice(None), *map(slice, start, stop))]


def _geometry(one: Columns) -> dict[str, list[int]]:
    rank = one.x.ndim - 2
    if one.kind == "dense":
        return {"stride": [], "dilation": [], "before": []}
    given = {"stride": one.attrs["stride"], "dilation": one.attrs.get("dilation") or [1] * rank}
    before = [int(pair[0]) for pair in one.attrs["padding"]]
    return {**{name: [int(v) for v in values] for name, values in given.items()}, "before": before}


def _position(one: Columns, place: tuple[int, int, int]) -> list[int]:
    """Where the weight has its largest term in the first image; where the sum is largest without errors."""
    tap, channel, number = place
    column = one.columns[0]
    values = column.values[0, ..., number] if column.errors is None else column.errors[0, ..., number]
    if not values.ndim:
        return []
    terms = np.array(values)
    if column.errors is not None and one.kind == "conv":
        taps = np.unravel_index(tap, one.kernel.shape[:-2])
        terms = terms * _inputs_of_tap(one, [int(t) for t in taps], channel, number, values.shape)
    return [int(i) for i in np.unravel_index(np.abs(terms).argmax(), terms.shape)]


def _inputs_of_tap(
    one: Columns, taps: list[int], channel: int, number: int, shape: tuple[int, ...]
) -> np.ndarray:
    """(*positions) what a tap of a convolution reads at each position of the first image."""
    geometry = _geometry(one)
    groups = int(one.attrs.get("groups", 1))
    c = number // (one.columns[0].values.shape[-1] // groups) * _slices(one) + channel
    read = one.x[0, ..., c]
    for axis, (count, t) in enumerate(zip(shape, taps)):
        stride, step, before = (geometry[name][axis] for name in ("stride", "dilation", "before"))
        pixels = np.arange(count) * stride + t * step - before
        inside = (pixels >= 0) & (pixels < read.shape[axis])
        read = np.take(read, np.clip(pixels, 0, read.shape[axis] - 1), axis=axis)
        read = read * inside.reshape([-1 if a == axis else 1 for a in range(read.ndim)])
    return read


def _window(one: Columns, position: list[int], side: int, keys: Sequence[str]) -> dict[str, Any]:
    """(start, stop) of what is cut out of x and of each column, around a position."""
    sizes = one.columns[0].values.shape[1:-1]
    start = [max(0, min(p - side // 2, n - side)) for p, n in zip(position, sizes)]
    stop = [min(n, s + side) for s, n in zip(start, sizes)]
    found: dict[str, Any] = {key: (start, stop) for key in keys}
    geometry = _geometry(one)
    axes = list(zip(geometry["stride"], geometry["dilation"], geometry["before"], one.kernel.shape))
    low = [s * stride - before for s, (stride, _, before, _) in zip(start, axes)]
    high = [(e - 1) * stride - before + (k - 1) * d + 1 for e, (stride, d, before, k) in zip(stop, axes)]
    limits = one.x.shape[1:-1]
    found["x"] = ([max(0, v) for v in low], [min(n, v) for v, n in zip(high, limits)])
    pool = one.column("p")
    if pool is not None and "p" in keys:
        strides = list(pool.attrs.get("stride") or sizes)
        counts = pool.values.shape[1:-1]
        ends = [min(n, -(-e // s)) for e, s, n in zip(stop, strides, counts)]
        later = keys[keys.index("p") :]
        found.update({key: ([b // s for b, s in zip(start, strides)], ends) for key in later})
    return found


def _described(one: Columns, key: str, window: Any) -> dict[str, Any]:
    """What the script has to know of a column."""
    column = one.column(key)
    assert column is not None
    shape = list(column.values.shape[1:-1])
    if window is not None:
        shape = [e - b for b, e in zip(*window[key])]
    before = [other.key for other in one.columns[: one.columns.index(column) + 1]]
    pooling = one.column("p") if "p" in before else None
    attrs = {} if pooling is None else pooling.attrs
    pool = {name: _plain(attrs.get(name)) for name in ("size", "stride", "padding")}
    return {
        "key": key,
        "operator": column.operator,
        "layer": column.layer,
        "kind": column.kind,
        "shape": shape,
        "start": [0] * len(shape) if window is None else list(window[key][0]),
        "pool": None if pooling is None else pool,
        "stops": column.opens is not None,
    }


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return None if value is None else int(value)


def panels(
    run: Any, source: RecordedColumns, layers: dict[str, str], room: int
) -> Iterator[tuple[str, Panel | str]]:
    """(layer, its panel, or why it has none) of several layers that share the room."""
    for layer, weight in layers.items():
        try:
            yield layer, panel_of(run, source, layer, weight, room // max(len(layers), 1))
        except KernelearnError as error:
            yield layer, str(error)
