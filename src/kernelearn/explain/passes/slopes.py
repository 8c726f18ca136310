"""How much each result of one operation changes with one of its inputs: the row of numbers that the chain
rule multiplies with the errors above.

Four ways, all exact: the weights of a convolution or dense layer, read off by sending a single 1 through it;
a pooling's winner or share; the slope of what works entry by entry; and for everything else the operation's
own gradient rule, asked once for each result.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from kernelearn.engine.backends import prepare
from kernelearn.engine.operators import OPERATORS
from kernelearn.engine.operators.table import Context
from kernelearn.engine.program import Operation, ProgramBuilder
from kernelearn.explain.passes.pools import windows_of
from kernelearn.explain.passes.replay import Index, Replay
from kernelearn.explain.sight.geometry_rules import is_entry_by_entry
from kernelearn.recording.factors import KINDS

# Results of one image up to which an operation without a way of its own is asked result by result.
MOST_RESULTS = 2048
# Linear in the first input, image by image, so that a single 1 sent through gives the numbers.
_MOVING = frozenset(
    {"average_pool", "pad", "reduce_mean", "reshape", "slice", "transpose", "upsample", "resize"}
)


@dataclass(frozen=True)
class Slope:
    """One result of an operation that depends on the number asked for.

    Attributes:
        index: of the result, without the image's axis; factor: d result / d number.
    """

    index: Index
    factor: float


def slopes_of(replay: Replay, op: Operation, operand: int, row: int, place: Index) -> list[Slope] | None:
    """The results of an operation that depend on one number of one of its inputs.

    Args:
        operand: which input; row: the image; place: of the number in it, without the image's axis.
    Returns: None where the results of one image depend on other images, or are too many to ask.
    """
    if _mixes_images(replay, op):
        return None
    if operand == 0 and op.operator in KINDS:
        return _of_kernel(replay, op, row, place)
    if op.operator in ("max_pool", "reduce_max") and operand == 0:
        return [Slope(at, share) for at, share in windows_of(replay, op, row, place)]
    if is_entry_by_entry(op.operator) and _is_same_size(replay, op, operand):
        return _entry_by_entry(replay, op, operand, row, place)
    if op.operator == "concatenate":
        return [_joined(replay, op, operand, place)]
    if op.operator in _MOVING and operand == 0:
        return _sent_through(replay, op, row, place)
    return _result_by_result(replay, op, operand, row, place)


def vector_product(replay: Replay, op: Operation, operand: int, rows: Any, grad: np.ndarray) -> np.ndarray:
    """dL/d(input) by the operation's gradient rule, in float64, for an error of all its results.

    Args:
        rows: of the images, an index or slice for the first axis of everything that has images; may repeat.
        grad: like the first result, for these rows.
    """
    builder = ProgramBuilder(training=True, dtype="float64")
    given: dict[str, np.ndarray] = {}

    def entered(name: str, key: str) -> Any:
        array = replay.value(name)[rows] if replay.has_images(name) else replay.value(name)
        array = array.astype(np.float64) if array.dtype.kind == "f" else array
        shape = (None, *array.shape[1:]) if replay.has_images(name) else array.shape
        given[key] = array
        return builder.input(key, shape, array.dtype.name)

    inputs = tuple(entered(name, f"in{i}") for i, name in enumerate(op.inputs))
    outputs = tuple(entered(name, f"out{i}") for i, name in enumerate(op.outputs))
    given["grad"] = np.asarray(grad, np.float64)
    error = builder.input("grad", outputs[0].shape, "float64")
    needs = tuple(i == operand for i in range(len(inputs)))
    rule = OPERATORS[op.operator].gradient
    assert rule is not None  # the backward pass came through it
    result = rule(Context(builder, inputs, outputs, dict(op.attrs), error, needs))[operand]
    if result is None:
        return np.zeros_like(given[f"in{operand}"])
    if result.name in given:
        return given[result.name]
    builder.outputs = {"result": result.name}
    return np.asarray(prepare(builder.build(), {}, "reference").run(given)["result"])


def _mixes_images(replay: Replay, op: Operation) -> bool:
    return not replay.has_images(op.outputs[0])


def _is_same_size(replay: Replay, op: Operation, operand: int) -> bool:
    buffers = replay.program.buffers
    return buffers[op.inputs[operand]].shape == buffers[op.outputs[0]].shape


def _of_kernel(replay: Replay, op: Operation, row: int, place: Index) -> list[Slope]:
    """The weights from one number of the input to the units that read it."""
    x, kernel = _single_one(replay, op, place), replay.value(op.inputs[1]).astype(np.float64)
    function = OPERATORS[op.operator].function
    weights = function(x, kernel, **op.attrs)[0]
    read = function(x, np.ones_like(kernel), **op.attrs)[0]
    return [Slope(at, float(weights[at])) for at in map(_plain, np.argwhere(read))]


def _sent_through(replay: Replay, op: Operation, row: int, place: Index) -> list[Slope]:
    found = OPERATORS[op.operator].function(_single_one(replay, op, place), **op.attrs)[0]
    return [Slope(at, float(found[at])) for at in map(_plain, np.argwhere(found))]


def _joined(replay: Replay, op: Operation, operand: int, place: Index) -> Slope:
    """Where a number stands when its tensor is joined behind others."""
    axis = int(op.attrs["axis"]) % (len(place) + 1) - 1
    before = sum(replay.value(name).shape[axis + 1] for name in op.inputs[:operand])
    return Slope((*place[:axis], place[axis] + before, *place[axis + 1 :]), 1.0)


def _single_one(replay: Replay, op: Operation, place: Index) -> np.ndarray:
    """One image of zeros with a 1 at a place."""
    x = np.zeros((1, *replay.value(op.inputs[0]).shape[1:]))
    x[(0, *place)] = 1.0
    return x


def _entry_by_entry(replay: Replay, op: Operation, operand: int, row: int, place: Index) -> list[Slope]:
    ones = np.ones((1, *replay.value(op.outputs[0]).shape[1:]))
    slope = vector_product(replay, op, operand, slice(row, row + 1), ones)
    return [Slope(place, float(slope[(0, *place)]))]


def _result_by_result(
    replay: Replay, op: Operation, operand: int, row: int, place: Index
) -> list[Slope] | None:
    """The gradient rule asked for every result of the image: a batch in which each image asks for another."""
    shape = replay.value(op.outputs[0]).shape[1:]
    count = int(np.prod(shape, dtype=int))
    if count > MOST_RESULTS or not replay.has_images(op.inputs[operand]):
        return None
    asked = np.eye(count).reshape(count, *shape)
    rows = np.full(count, row)
    one_number: tuple[Any, ...] = (slice(None), *place)
    found = vector_product(replay, op, operand, rows, asked)[one_number]
    chosen = np.flatnonzero(found)
    return [Slope(_plain(np.unravel_index(i, shape)), float(found[i])) for i in chosen]


def _plain(index: Any) -> Index:
    return tuple(int(i) for i in index)


def normalization_parts(
    replay: Replay, op: Operation, row: int, place: Index, grad: np.ndarray
) -> Mapping[str, float]:
    """The three parts of the error below a normalisation, which sum to it.

        dL/dx = (g - mean(g) - y * mean(g * y)) / sqrt(variance + epsilon)

    The first is what comes back at this place; the others are there because this number also moves the mean
    and the variance by which it and its neighbours are measured: of its channel in the whole batch, or of its
    image.
    """
    axes, epsilon = tuple(op.attrs["axes"]), float(op.attrs["epsilon"])
    y, g = (replay.value(op.outputs[0]).astype(np.float64), np.asarray(grad, np.float64))
    variance = replay.value(op.outputs[2]).astype(np.float64)
    index = (row, *place)
    kept = tuple(i for axis, i in enumerate(index) if axis not in axes)
    deviation = float(np.sqrt(variance[kept] + epsilon))
    return {
        "at this place": float(g[index]) / deviation,
        "through the mean": -float(g.mean(axis=axes)[kept]) / deviation,
        "through the variance": -float(y[index] * (g * y).mean(axis=axes)[kept]) / deviation,
    }
