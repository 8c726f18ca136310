"""Cross-entropies per sample, with the names and arguments of `keras.ops`.

Probabilities are held between 1e-7 and 1 - 1e-7, as the losses of the same names do; from_logits=True takes
logits instead, which is exact and what to prefer. Means over the batch are `kernelearn.losses`.
"""

from __future__ import annotations

from typing import Any

from kernelearn.engine import dtypes
from kernelearn.engine.reference.crossentropy import EPSILON
from kernelearn.errors import ShapeError
from kernelearn.ops._dispatch import operation
from kernelearn.ops._run import Value, cast_to, floats, values
from kernelearn.ops._shapes import axis_of, dtype_name
from kernelearn.ops.choosing.entries import take_along_axis
from kernelearn.ops.entrywise.arithmetic import clip, maximum
from kernelearn.ops.entrywise.functions import exp, log, log1p
from kernelearn.ops.entrywise.pointwise import log_softmax
from kernelearn.ops.moving.shaping import expand_dims, squeeze
from kernelearn.ops.reductions import sum as total


def _log_probabilities(output: Value, from_logits: bool, axis: int) -> Value:
    """Logarithms of the probabilities of the classes."""
    if from_logits:
        return log_softmax(output, axis)
    shares = output / total(output, axis, keepdims=True)
    return log(clip(shares, EPSILON, 1 - EPSILON))


def _check_sizes(target: Value, output: Value) -> None:
    """Raises: ShapeError unless both have the same sizes behind the first axis, which may be open in one."""
    firsts = {target.shape[:1], output.shape[:1]} - {(None,)}
    if target.ndim != output.ndim or target.shape[1:] != output.shape[1:] or len(firsts) > 1:
        raise ShapeError(f"target {target.shape} and output {output.shape} must have one shape.")


@operation
def categorical_crossentropy(target: Value, output: Value, from_logits: bool = False, axis: int = -1) -> Any:
    """-sum(target * log(output)) along the classes, per sample.

    Args:
        target: shares of the classes, of the shape of output.
        output: probabilities (scaled to sum to one), or logits.

    >>> import numpy as np
    >>> from kernelearn import ops
    >>> ops.categorical_crossentropy(np.array([[0.0, 1.0]]), np.array([[0.5, 0.5]])).round(4)
    array([0.6931])
    """
    output, target = floats(output, target)
    _check_sizes(target, output)
    place = axis_of(axis, output.ndim, "categorical_crossentropy")
    return -total(target * _log_probabilities(output, from_logits, place), place)


@operation
def sparse_categorical_crossentropy(
    target: Value, output: Value, from_logits: bool = False, axis: int = -1
) -> Any:
    """`categorical_crossentropy` with class numbers as target: the shape of output without the classes.

    A number that is no class is an error; where a program computes it, the result is NaN.

    >>> import numpy as np
    >>> from kernelearn import ops
    >>> ops.sparse_categorical_crossentropy([1], np.array([[0.5, 0.5]])).round(4)
    array([0.6931])
    """
    (output,) = floats(output)
    target, output = values(target, output)
    place = axis_of(axis, output.ndim, "sparse_categorical_crossentropy")
    if target.ndim == output.ndim and target.shape[place] == 1:
        target = squeeze(target, place)
    if target.ndim != output.ndim - 1:
        raise ShapeError(
            f"Class numbers {target.shape} do not fit output {output.shape} with classes on axis {axis}."
        )
    if dtypes.is_float(dtype_name(target)):
        target = cast_to(target, "int32")
    chosen = take_along_axis(
        _log_probabilities(output, from_logits, place), expand_dims(target, place), place
    )
    return -squeeze(chosen, place)


@operation
def binary_crossentropy(target: Value, output: Value, from_logits: bool = False) -> Any:
    """-(t log(p) + (1 - t) log(1 - p)) for every entry, not averaged.

    >>> import numpy as np
    >>> from kernelearn import ops
    >>> ops.binary_crossentropy(np.array([1.0, 0.0]), np.array([0.5, 0.5])).round(4)
    array([0.6931, 0.6931])
    """
    output, target = floats(output, target)
    _check_sizes(target, output)
    if from_logits:
        return maximum(output, 0.0) - output * target + log1p(exp(-abs(output)))
    p = clip(output, EPSILON, 1 - EPSILON)
    return -(target * log(p) + (1 - target) * log(1 - p))
