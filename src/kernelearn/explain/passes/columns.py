"""A layer as columns: x, W, z, then what follows (normalisation, addition, activation, dropout, pooling).

A column is a place in the network. What went through it stands above (its values), what came back through the
same place below (its errors), both of one shape; `opens` tells where the next operation lets an error back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kernelearn.engine.operators import OPERATORS
from kernelearn.engine.program import Operation
from kernelearn.explain.passes.following import STAGES, At, sums_of, way_behind
from kernelearn.explain.passes.pools import poolings_of
from kernelearn.explain.passes.replay import Replay
from kernelearn.explain.passes.slopes import vector_product

# What a stage of `following.STAGES` is as a column, in the order of the names below.
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
# Through these an error may be stopped: their slope can be 0.
_STOPPING = ("activation", "prelu", "dropout", "max_pool", "reduce_max")


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
    places = _places(replay, op)
    following = [*places[1:], None]
    rank = len(places[0].at.axes)
    columns = tuple(_column(replay, place, after, at, rank) for place, after in zip(places, following))
    return Columns(
        layer=layer,
        kind=op.operator,
        attrs={key: value for key, value in op.attrs.items() if key != "precision"},
        x=x,
        kernel=kernel,
        bias=_bias(replay, places[0].at.op),
        columns=columns,
        residual=_residual(replay, op, x, kernel, at),
    )


@dataclass(frozen=True)
class _Place:
    """A column, where the way is there, and where it is before; z has nothing before it."""

    key: str
    at: At
    before: At


def _places(replay: Replay, op: Operation) -> list[_Place]:
    """z, what follows it, and what follows its pooling; runs of one kind are one column."""
    before = sums_of(replay, op)
    found = [_Place("z", before, before)]
    while True:
        for at in way_behind(replay, before):
            if not at.is_turned:
                key = _KEYS[STAGES[at.op.operator]]
                if _is_of_another(key, [place.key for place in found]) or _is_wider(replay, before, at):
                    return found
                found[-1 if key == found[-1].key else len(found) :] = [_Place(key, at, before)]
            before = at
        pools = poolings_of(replay, before)
        if not pools or "p" in [place.key for place in found]:
            return found
        found.append(_Place("p", pools[0], before))
        before = pools[0]


def _is_of_another(key: str, keys: list[str]) -> bool:
    """Whether a column belongs to the next layer: behind an activation only dropout is this one's."""
    return key in keys[:-1] or ("a" in keys and key != "d")


def _is_wider(replay: Replay, before: At, at: At) -> bool:
    return replay.value(at.buffer).shape != replay.value(before.buffer).shape


def _column(replay: Replay, place: _Place, after: _Place | None, rows: np.ndarray, rank: int) -> Column:
    op, channel = place.at.op, place.at.channel
    errors = replay.gradient(place.at.buffer)
    return Column(
        key=place.key,
        operator=op.operator,
        layer=op.layer,
        kind=str(op.attrs.get("kind", "")),
        attrs=dict(op.attrs),
        values=_last(replay.value(place.at.buffer)[rows].astype(np.float64), channel, rank),
        errors=None if errors is None else _last(errors[rows].astype(np.float64), channel, rank),
        opens=None if after is None else _opens(replay, after, rows, rank),
    )


def _opens(replay: Replay, after: _Place, rows: np.ndarray, rank: int) -> np.ndarray | None:
    """Where the slope of the next operation is not 0."""
    op, source = after.at.op, after.before
    if op.operator not in _STOPPING or source.buffer not in op.inputs:
        return None
    ones = np.ones((len(rows), *replay.value(op.outputs[0]).shape[1:]))
    slopes = vector_product(replay, op, op.inputs.index(source.buffer), rows, ones)
    return np.asarray(_last(slopes, source.channel, rank) != 0)


def _last(values: np.ndarray, channel: int, rank: int) -> np.ndarray:
    """(rows, *positions, channels): channels last; pooled over all positions, these are of size 1."""
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
