"""Which numbers of a layer's columns go into the report, and how: chosen steps, images, filters, channels.

Everything is float32 in base64; the choice is made so small that it fits into the room that a layer has.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from kernelearn.errors import KernelearnError
from kernelearn.explain.choices import filters_that_moved_most, moved_most, some_steps
from kernelearn.explain.passes.columns import Columns
from kernelearn.explain.passes.recorded_columns import RecordedColumns
from kernelearn.view.report.columns.bench_geometry import (
    filter_kernel,
    geometry_of,
    position_of,
    slice_count,
    window_of,
)
from kernelearn.view.report.columns.bench_panel import Panel, Size
from kernelearn.view.report.columns.bench_room import fitting, side_of_cut
from kernelearn.view.report.columns.bench_sources import LedgerSteps, ProbeSteps

Source = LedgerSteps | ProbeSteps
_INPUTS = 1024  # of a dense layer


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
    size = fitting(every, total, room)
    filters = _filters(run, layer, weight, every, place[2], size)
    builder = _Builder(opened, total, filters, place, size, side_of_cut(every, room))
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
    channels = 1 if every.kind == "dense" else slice_count(every)
    return Size(len(opened.steps), len(opened.images(step)[0]), filters, channels)


def _place_in_kernel(every: Columns, shape: tuple[int, ...], index: tuple[int, ...]) -> tuple[int, int, int]:
    """(number of the tap, of the slice, of the filter) of a number of the weight."""
    place = [int(i) for i in np.unravel_index(np.ravel_multi_index(index, shape), every.kernel.shape)]
    if every.kind == "dense":
        return place[0], 0, place[1]
    *taps, c, f = place
    c, f = (f, c) if every.kind == "conv_transpose" else (c, f)
    return int(np.ravel_multi_index(taps, every.kernel.shape[:-2])), c, f


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
        position = position_of(one, self.place)
        window = None if self.cut is None else window_of(one, position, self.cut, keys)
        batches = {step: self.opened.images(step) for step in steps}
        return Panel(
            layer=self.opened.layer,
            weight=self.opened.weight,
            kind=one.kind,
            is_trained=self.opened.is_trained,
            taps=tuple(one.kernel.shape[:-2]) if taps is None else (len(taps),),
            geometry=geometry_of(one),
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
        count = slice_count(one)
        if count <= self.size.channels:
            return list(range(count))
        weights = filter_kernel(one, self.filters[at])
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
        before = number // (filters // groups) * slice_count(one) if one.kind == "conv" else 0
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
        own = filter_kernel(replace(one, kernel=kernel), self.filters[at])[..., self._slices_of(one, at)]
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
