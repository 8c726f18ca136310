"""What a pooling makes of one number: which windows it falls into, and whether it wins them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

from kernelearn.engine.program import Operation
from kernelearn.explain.passes.following import At
from kernelearn.explain.passes.replay import Index, Replay

# Poolings of whole maps.
_WHOLE = ("reduce_max", "reduce_mean")


@dataclass(frozen=True, eq=False)
class Pool:
    """One pooling window that a number falls into.

    Attributes:
        kind: "max" or "average".
        layer: that pools.
        position: of the window in the pooled map; () where it covers the whole map.
        pixels: (k, rank) positions in the map before, values: (k,) the numbers there.
        winner: row of `pixels` with the number that is passed on; None for an average.
        place: row of `pixels` that is the number itself.
        value: what the window gives, as the engine has it.
    """

    kind: str
    layer: str
    position: Index
    pixels: np.ndarray
    values: np.ndarray
    winner: int | None
    place: int
    value: float

    @property
    def is_won(self) -> bool:
        """Whether the number is what a maximum passes on."""
        return self.winner == self.place

    @property
    def share(self) -> float:
        """Slope of the window's value by the number: 1 or 0 for a maximum, 1 / size for an average."""
        return float(self.is_won) if self.kind == "max" else 1 / len(self.values)


def windows_of(replay: Replay, op: Operation, row: int, place: Index) -> list[tuple[Index, float]]:
    """(place of a result of a pooling, slope of it by a number) for each window that the number is in."""
    if op.operator in _WHOLE:
        pool = _whole(replay, op, row, place)
        shape = replay.value(op.outputs[0]).shape[1:]
        return [((*[0] * (len(shape) - 1), place[-1]), pool.share)]
    return [((*pool.position, place[-1]), pool.share) for pool in _windows(replay, op, row, place)]


def pools_of(replay: Replay, at: At, row: int, place: Index) -> list[Pool]:
    """The pooling windows into which a number falls at the end of its way, from its place among the sums."""
    if at.channel != len(place):
        return []  # windows and places have their channels last
    found: list[Pool] = []
    for pool in poolings_of(replay, at):
        is_whole = pool.op.operator in _WHOLE
        here = at.place(place)
        found += [_whole(replay, pool.op, row, here)] if is_whole else _windows(replay, pool.op, row, here)
    return found


def poolings_of(replay: Replay, at: At) -> list[At]:
    """What pools the numbers at the end of a way: windows, or all positions and nothing else."""
    positions = [axis for axis in range(1, len(at.axes)) if axis != at.channel]
    found = []
    for op in replay.readers(at.buffer):
        if op.operator in ("max_pool", "average_pool"):
            found.append(At(op, at.axes))
        elif op.operator in _WHOLE and positions and sorted(op.attrs["axes"]) == positions:
            found.append(At(op, (at.axes[0], at.axes[at.channel])))
    return found


def _windows(replay: Replay, op: Operation, row: int, place: Index) -> list[Pool]:
    maps = replay.value(op.inputs[0])[row]
    outputs = replay.value(op.outputs[0])[row]
    *position, channel = place
    axes = zip(position, op.attrs["size"], op.attrs["stride"], op.attrs["padding"], outputs.shape[:-1])
    covering = [
        [o for o in range(count) if o * stride - before <= p < o * stride - before + size]
        for p, size, stride, (before, _), count in axes
    ]
    return [
        _window(op, maps[..., channel], outputs[..., channel], o, tuple(position)) for o in product(*covering)
    ]


def _window(op: Operation, channel: np.ndarray, outputs: np.ndarray, at: Index, position: Index) -> Pool:
    axes = zip(at, op.attrs["size"], op.attrs["stride"], op.attrs["padding"], channel.shape)
    ranges = [
        range(max(o * stride - before, 0), min(o * stride - before + size, limit))
        for o, size, stride, (before, _), limit in axes
    ]
    pixels = list(product(*ranges))
    values = np.array([channel[pixel] for pixel in pixels])
    is_max = op.operator == "max_pool"
    return Pool(
        kind="max" if is_max else "average",
        layer=op.layer,
        position=at,
        pixels=np.array(pixels),
        values=values,
        winner=int(values.argmax()) if is_max else None,
        place=pixels.index(position),
        value=float(outputs[at]),
    )


def _whole(replay: Replay, op: Operation, row: int, place: Index) -> Pool:
    """A reduction over all positions."""
    *position, channel = place
    maps = replay.value(op.inputs[0])[row][..., channel]
    pixels = list(product(*map(range, maps.shape)))
    is_max = op.operator == "reduce_max"
    return Pool(
        kind="max" if is_max else "average",
        layer=op.layer,
        position=(),
        pixels=np.array(pixels),
        values=maps.reshape(-1),
        winner=int(maps.argmax()) if is_max else None,
        place=pixels.index(tuple(position)),
        value=float(np.ravel(replay.value(op.outputs[0])[row])[channel]),
    )
