"""Nodes that depend on nothing but numbers of the file: computed with NumPy, within bounds.

Shapes that a graph computes (Shape, Gather, Concat ...) are such numbers, with `Images` for the number of
images, which no file knows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kernelearn.conversion.onnx.reading.file import Node
from kernelearn.conversion.onnx.reading.values import Images, Known, Unsupported
from kernelearn.conversion.onnx.types import TYPES

_LARGEST = 1 << 27  # entries of one constant
_MOST_NUMBERS = 4096  # in a list of axes or places


def computed(opset: int, node: Node, inputs: Sequence[Any]) -> list[Known]:
    """The outputs of a node whose inputs are known.

    Raises: Unsupported if the operator, or an attribute, is not known here.
    """
    if node.op_type not in CONSTANTS:
        raise Unsupported(
            f"{node}: {node.op_type} of constants is not computed; fold constants when exporting."
        )
    arrays = [None if value is None else value.array for value in inputs]
    with np.errstate(all="ignore"):
        try:
            made = CONSTANTS[node.op_type](opset, dict(node.attrs), *arrays)
        except Unsupported:
            raise
        except Exception as error:
            raise Unsupported(f"{node}: {type(error).__name__}: {error}") from error
    results = made if isinstance(made, list) else [made]
    origin = next((v for v in inputs if v is not None and v.is_weight), None)
    keeps = origin is not None and node.op_type in _MOVES
    return [
        origin.like(_array(r))
        if keeps and origin is not None
        else Known(_array(r), is_weight=_is_learned(r, inputs))
        for r in results
    ]


_MOVES = ("Identity", "Reshape", "Transpose", "Unsqueeze", "Squeeze", "Flatten", "Cast")


def _is_learned(result: Any, inputs: Sequence[Any]) -> bool:
    """What is computed from weights is a weight too."""
    is_float = _array(result).dtype.kind == "f"
    return is_float and any(value is not None and value.is_weight for value in inputs)


def _array(value: Any) -> np.ndarray:
    array = np.asarray(value)
    if array.size > _LARGEST:
        raise Unsupported(f"a constant of {array.size:,} entries is too large.")
    return array


def _bounded(shape: Sequence[Any]) -> tuple[int, ...]:
    sizes = tuple(int(size) for size in _few(shape))
    if any(size < 0 for size in sizes) or math.prod(sizes) > _LARGEST:
        raise Unsupported(f"a constant of shape {sizes} is too large.")
    return sizes


def _constant(opset: int, attrs: dict[str, Any]) -> Any:
    (key, value), *rest = attrs.items()
    kinds = {
        "value_int": np.int64,
        "value_ints": np.int64,
        "value_float": np.float32,
        "value_floats": np.float32,
    }
    if rest or key not in ("value", *kinds):
        raise Unsupported(f"Constant with {sorted(attrs)} is not known.")
    return np.asarray(value, kinds.get(key)) if key != "value" else value


def _axes(opset: int, attrs: dict[str, Any], given: Any) -> list[int] | None:
    """Axes from an attribute, or from opset 13 on from an input."""
    found = attrs.get("axes") if given is None else given
    return None if found is None else [int(axis) for axis in _few(found)]


def _few(values: Any) -> np.ndarray:
    if np.size(values) > _MOST_NUMBERS:
        raise Unsupported(f"a list of {np.size(values):,} axes or places is too long.")
    return np.ravel(values)


def _unsqueeze(opset: int, attrs: dict[str, Any], x: Any, axes: Any = None) -> Any:
    return np.expand_dims(x, tuple(_axes(opset, attrs, axes) or ()))


def _squeeze(opset: int, attrs: dict[str, Any], x: Any, axes: Any = None) -> Any:
    found = _axes(opset, attrs, axes)
    return np.squeeze(x, None if found is None else tuple(found))


def _gather(opset: int, attrs: dict[str, Any], x: Any, indices: Any) -> Any:
    if np.size(indices) * x.size > _LARGEST:
        raise Unsupported("Gather of constants would be too large.")
    return np.take(x, np.asarray(indices, np.int64), axis=attrs.get("axis", 0))


def _slice(opset: int, attrs: dict[str, Any], x: Any, *inputs: Any) -> Any:
    if opset < 10:
        inputs = tuple(attrs.get(key) for key in ("starts", "ends", "axes"))
    starts, ends, axes, steps = (*inputs, None, None, None, None)[:4]
    starts, ends = _few(starts), _few(ends)
    chosen = range(len(starts)) if axes is None else _few(axes)
    key: list[Any] = [slice(None)] * x.ndim
    for i, axis in enumerate(chosen):
        step = 1 if steps is None else int(np.ravel(steps)[i])
        key[int(axis)] = slice_of(int(np.ravel(starts)[i]), int(np.ravel(ends)[i]), step, x.shape[int(axis)])
    return x[tuple(key)]


def slice_of(start: int, end: int, step: int, size: int) -> slice:
    """ONNX's start and end, negative ones from the end, clamped, as a slice of Python."""
    start = start + size if start < 0 else start
    end = end + size if end < 0 else end
    if step > 0:
        return slice(min(max(start, 0), size), min(max(end, 0), size), step)
    last = min(max(end, -1), size - 1)
    return slice(min(max(start, 0), size - 1), None if last < 0 else last, step)


def _concat(opset: int, attrs: dict[str, Any], *parts: Any) -> Any:
    if any(part.dtype == object for part in parts):
        parts = tuple(part.astype(object) for part in parts)
    return np.concatenate(parts, axis=attrs["axis"])


def _reshape(opset: int, attrs: dict[str, Any], x: Any, shape: Any) -> Any:
    sizes = [
        x.shape[i] if s == 0 and not attrs.get("allowzero") else int(s) for i, s in enumerate(_few(shape))
    ]
    return x.reshape(sizes)


def _cast(opset: int, attrs: dict[str, Any], x: Any) -> Any:
    if x.dtype == object:
        return x
    if attrs["to"] not in TYPES:
        raise Unsupported(f"Cast to the type {attrs['to']} is not known.")
    return x.astype(TYPES[attrs["to"]])


def _full(opset: int, attrs: dict[str, Any], shape: Any) -> Any:
    value = attrs.get("value", np.zeros(1, np.float32))
    return np.full(_bounded(shape), np.ravel(value)[0])


def _expand(opset: int, attrs: dict[str, Any], x: Any, shape: Any) -> Any:
    target = np.broadcast_shapes(x.shape, _bounded(shape))
    return np.broadcast_to(x, _bounded(target)).copy()


def _range(opset: int, attrs: dict[str, Any], start: Any, limit: Any, delta: Any) -> Any:
    _bounded([max(math.ceil((limit - start) / delta), 0)])
    return np.arange(start, limit, delta, dtype=start.dtype)


def _divide(x: Any, y: Any) -> Any:
    if x.dtype == object or y.dtype == object:
        return np.asarray(x, object) // np.asarray(y, object)
    return np.trunc(x / y).astype(x.dtype) if x.dtype.kind in "iu" else x / y


def _reduced(function: Callable[..., Any]) -> Callable[..., Any]:
    def rule(opset: int, attrs: dict[str, Any], x: Any, axes: Any = None) -> Any:
        found = _axes(opset, attrs, axes)
        axis = None if not found else tuple(found)
        return function(x, axis=axis, keepdims=bool(attrs.get("keepdims", 1)))

    return rule


def _split(opset: int, attrs: dict[str, Any], x: Any, sizes: Any = None) -> Any:
    found = attrs.get("split") if sizes is None else sizes
    if found is None:
        raise Unsupported("Split of constants without sizes is not known.")
    return np.split(x, np.cumsum(np.ravel(found))[:-1], axis=attrs.get("axis", 0))


def _two(function: Callable[..., Any]) -> Callable[..., Any]:
    def rule(opset: int, attrs: dict[str, Any], x: Any, y: Any) -> Any:
        made = np.broadcast_shapes(np.shape(x), np.shape(y))
        _bounded(made)
        return function(x, y)

    return rule


def _one(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda opset, attrs, x: function(x)


def _where(opset: int, attrs: dict[str, Any], condition: Any, x: Any, y: Any) -> Any:
    _bounded(np.broadcast_shapes(np.shape(condition), np.shape(x), np.shape(y)))
    return np.where(condition, x, y)


def _equal(x: Any, y: Any) -> Any:
    if object in (x.dtype, y.dtype):
        return np.frompyfunc(lambda a, b: isinstance(a, Images) == isinstance(b, Images) and a == b, 2, 1)(
            x, y
        ).astype(bool)
    return np.equal(x, y)


CONSTANTS: dict[str, Callable[..., Any]] = {
    "Constant": _constant,
    "Identity": _one(lambda x: x),
    "Unsqueeze": _unsqueeze,
    "Squeeze": _squeeze,
    "Gather": _gather,
    "Slice": _slice,
    "Concat": _concat,
    "Reshape": _reshape,
    "Cast": _cast,
    "ConstantOfShape": _full,
    "Expand": _expand,
    "Range": _range,
    "Split": _split,
    "Where": _where,
    "Transpose": lambda opset, attrs, x: np.transpose(x, attrs.get("perm")),
    "Flatten": lambda opset, attrs, x: x.reshape(math.prod(x.shape[: attrs.get("axis", 1)]), -1),
    "Shape": lambda opset, attrs, x: np.array(x.shape[attrs.get("start", 0) : attrs.get("end")], np.int64),
    "Size": lambda opset, attrs, x: np.array(x.size, np.int64),
    "ReduceProd": _reduced(np.prod),
    "ReduceSum": _reduced(np.sum),
    "ReduceMax": _reduced(np.max),
    "ReduceMin": _reduced(np.min),
    "Add": _two(lambda x, y: x + y),
    "Sub": _two(lambda x, y: x - y),
    "Mul": _two(lambda x, y: x * y),
    "Div": _two(_divide),
    "Pow": _two(lambda x, y: np.power(x, y).astype(x.dtype)),
    "Equal": _two(_equal),
    "Greater": _two(np.greater),
    "Less": _two(np.less),
    "Max": _two(np.maximum),
    "Min": _two(np.minimum),
    "And": _two(np.logical_and),
    "Or": _two(np.logical_or),
    "Not": _one(np.logical_not),
    "Neg": _one(lambda x: -x),
    "Abs": _one(np.abs),
    "Sqrt": _one(np.sqrt),
    "Exp": _one(np.exp),
    "Log": _one(np.log),
    "Reciprocal": _one(lambda x: 1 / x),
    "Floor": _one(lambda x: x if x.dtype == object else np.floor(x)),
    "Ceil": _one(lambda x: x if x.dtype == object else np.ceil(x)),
}
