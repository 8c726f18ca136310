"""A layer as columns: x, W, z, then what follows (normalisation, addition, activation, dropout, pooling).

A column is a place in the network. What went through it stands above (its values), what came back through the
same place below (its errors), both of one shape; `opens` tells where the next operation lets an error back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kernelearn.engine.operators import OPERATORS
from kernelearn.engine.program import Operation
from kernelearn.explain.passes.forward import STAGES, following_of, turns_maps
from kernelearn.explain.passes.replay import Replay
from kernelearn.explain.passes.slopes import vector_product

# What a stage of `forward.STAGES` is as a column, in the order of the names below.
_KEYS = {
    "bias": "z",
    "normalisation": "n",
    "scale and shift": "n",
    "factor": "n",
    "scale": "n",
    "addition": "s",
    "subtraction": "s",
    "activation": "a",
    "softmax": "a",
    "log softmax": "a",
    "dropout": "d",
    "noise": "d",
}
_POOLS = ("max_pool", "average_pool", "reduce_max", "reduce_mean")
# Through these an error may be stopped: their slope can be 0.
_STOPPING = ("activation", "prelu", "dropout", "max_pool", "reduce_max")
_MOST = 5


@dataclass(frozen=True, eq=False)
class Column:
    """One place behind a layer's sum of products.

    Attributes:
        key: "z" the sum with its bias, "n" normalised, "s" added to another branch, "a" activated, "d" behind
            dropout or noise, "p" pooled.
        operator, layer, kind: what made it; kind is that of an activation.
        attrs: of the operation, of a pooling its size, stride and padding.
        values: (rows, *positions, filters) float64 as the engine had them; after a pooling, its positions.
        errors: dL/d(values), or None where none was computed.
        opens: bool, where the next operation lets an error back; None where it always does.
    """

    key: str
    operator: str
    layer: str
    kind: str
    attrs: dict[str, Any] = field(repr=False)
    values: np.ndarray = field(repr=False)
    errors: np.ndarray | None = field(repr=False)
    opens: np.ndarray | None = field(repr=False, default=None)


@dataclass(frozen=True, eq=False)
class Columns:
    """A layer in one step, for some images of the batch.

    Attributes:
        layer, kind: its operator, "conv", "conv_transpose" or "dense".
        attrs: stride, padding, dilation, groups of it.
        x: (rows, *spatial, c) float64, what it read; kernel: as the operator takes it, float64.
        bias: (filters,) or None.
        columns: z first.
        residual: the largest difference between sums of products in float64 and the engine's, by the sum of
            the absolute products.
    """

    layer: str
    kind: str
    attrs: dict[str, Any]
    x: np.ndarray = field(repr=False)
    kernel: np.ndarray = field(repr=False)
    bias: np.ndarray | None = field(repr=False)
    columns: tuple[Column, ...]
    residual: float

    def column(self, key: str) -> Column | None:
        """The first column of this kind, or None."""
        return next((one for one in self.columns if one.key == key), None)


def columns_of(
    replay: Replay, layer: str, rows: Sequence[int] | np.ndarray, op: Operation | None = None
) -> Columns:
    """A layer and what follows it, for some images of a run of the network.

    Args:
        op: the operation whose sums are meant, of a layer with several; None for the last.
    Raises: UnknownNameError for a layer without a kernel.
    """
    op = replay.units_of(layer) if op is None else op
    at = np.asarray(rows)
    x = replay.value(op.inputs[0])[at].astype(np.float64)
    kernel = replay.value(op.inputs[1]).astype(np.float64)
    places = list(_places(replay, op))
    following = [*places[1:], None]
    columns = tuple(_column(replay, place, after, at) for place, after in zip(places, following))
    return Columns(
        layer=layer,
        kind=op.operator,
        attrs={key: value for key, value in op.attrs.items() if key != "precision"},
        x=x,
        kernel=kernel,
        bias=_bias(replay, places[0].op),
        columns=columns,
        residual=_residual(replay, op, x, kernel, at),
    )


@dataclass(frozen=True)
class _Place:
    """An operation whose result is a column.

    Attributes:
        channel: the axis of its result that holds the channels.
        source, source_channel: the same of what it reads of the column before it, which may have been turned.
    """

    key: str
    op: Operation
    channel: int
    source: str = ""
    source_channel: int = 0


def _places(replay: Replay, op: Operation) -> Iterator[_Place]:
    """z, and what follows it up to a pooling behind an activation; runs of one kind are one column."""
    found = [_Place("z", op, len(replay.value(op.outputs[0]).shape) - 1)]
    while len(found) <= _MOST:
        last = found[-1]
        following = _next(replay, last, [place.key for place in found])
        if following is None:
            break
        found[-1:] = [following] if following.key == last.key else [last, following]
    return iter(found)


def _next(replay: Replay, last: _Place, keys: list[str]) -> _Place | None:
    """The operation behind a place, as a column; None at the next layer."""
    output, channel = last.op.outputs[0], last.channel
    following = following_of(replay, last.op)
    if following is None:
        readers = replay.readers(output)
        turns = [r for r in readers if turns_maps(r)]
        if turns:
            axes = list(turns[0].attrs["axes"])
            turned = _Place(last.key, turns[0], axes.index(channel))
            return _next(replay, turned, keys)
        pools = [r for r in readers if r.operator in _POOLS and _is_pool(replay, r, channel)]
        return _Place("p", pools[0], channel, output, channel) if pools and "p" not in keys else None
    key = _KEYS[STAGES[following.operator]]
    # NOTE: behind an activation only dropout belongs to this layer; another sum is the next one's business.
    is_late = key in keys[:-1] or ("a" in keys and key != "d")
    is_wider = replay.value(following.outputs[0]).shape != replay.value(output).shape
    return None if is_late or is_wider else _Place(key, following, channel, output, channel)


def _is_pool(replay: Replay, op: Operation, channel: int) -> bool:
    """Whether an operation pools positions: a reduction over all of them and nothing else."""
    rank = replay.value(op.inputs[0]).ndim
    if op.operator in ("max_pool", "average_pool"):
        return True
    return rank > 2 and sorted(op.attrs["axes"]) == [axis for axis in range(1, rank) if axis != channel]


def _column(replay: Replay, place: _Place, after: _Place | None, rows: np.ndarray) -> Column:
    output = place.op.outputs[0]
    rank = replay.value(place.op.inputs[0]).ndim
    errors = replay.gradient(output)
    return Column(
        key=place.key,
        operator=place.op.operator,
        layer=place.op.layer,
        kind=str(place.op.attrs.get("kind", "")),
        attrs=dict(place.op.attrs),
        values=_last(replay.value(output)[rows].astype(np.float64), place.channel, rank),
        errors=None if errors is None else _last(errors[rows].astype(np.float64), place.channel, rank),
        opens=None if after is None else _opens(replay, after, rows),
    )


def _opens(replay: Replay, after: _Place, rows: np.ndarray) -> np.ndarray | None:
    """Where the slope of the next operation is not 0."""
    op = after.op
    if op.operator not in _STOPPING or after.source not in op.inputs:
        return None
    ones = np.ones((len(rows), *replay.value(op.outputs[0]).shape[1:]))
    slopes = vector_product(replay, op, op.inputs.index(after.source), rows, ones)
    return np.asarray(_last(slopes, after.source_channel, slopes.ndim) != 0)


def _last(values: np.ndarray, channel: int, rank: int) -> np.ndarray:
    """(rows, *positions, channels): channels last; a pooling of all positions keeps positions of size 1."""
    if values.ndim < rank:
        return values.reshape(len(values), *[1] * (rank - 2), values.shape[-1])
    return np.moveaxis(values, channel, -1)


def _bias(replay: Replay, op: Operation) -> np.ndarray | None:
    return replay.value(op.inputs[1]).astype(np.float64) if op.operator == "bias_add" else None


def _residual(replay: Replay, op: Operation, x: np.ndarray, kernel: np.ndarray, rows: np.ndarray) -> float:
    function = OPERATORS[op.operator].function
    sums, sizes = (function(a, b, **op.attrs) for a, b in ((x, kernel), (np.abs(x), np.abs(kernel))))
    difference = np.abs(sums - replay.value(op.outputs[0])[rows])
    return float((difference / np.where(sizes > 0, sizes, 1.0)).max(initial=0.0))
