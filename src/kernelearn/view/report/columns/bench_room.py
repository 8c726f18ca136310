"""How much of a layer's columns is embedded: as many steps, images, filters, channels as its room takes."""

from __future__ import annotations

from dataclasses import replace
from math import prod

from kernelearn.explain.passes.columns import Columns
from kernelearn.view.report.columns.bench_panel import Size

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
_SIDE = 48  # of maps that are cut out of larger ones


def fitting(every: Columns, total: Size, room: int) -> Size:
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


def side_of_cut(every: Columns, room: int) -> int | None:
    """The side of maps where even the least choice of whole ones has no room."""
    least = Size(1, 1, 1, 1)
    large = max(every.x.shape[1:-1], default=1) > _SIDE
    return _SIDE if every.kind == "conv" and large and _bytes(every, least) > room // 2 else None
