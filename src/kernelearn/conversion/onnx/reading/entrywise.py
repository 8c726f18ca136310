"""Nodes of several inputs, entry by entry: arithmetic with broadcasting, conditions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from kernelearn.conversion.onnx.reading.file import Node
from kernelearn.conversion.onnx.reading.reader import Learned, Reader, Rule
from kernelearn.conversion.onnx.reading.shapes import with_new_axes
from kernelearn.conversion.onnx.reading.values import Followed, Known
from kernelearn.engine.arrays import inverse_order
from kernelearn.layers import (
    Activation,
    Add,
    Maximum,
    Minimum,
    Multiply,
    Subtract,
)


def kept(r: Reader, node: Node, x: Followed, tensor: Any) -> None:
    """Give a tensor that has the axes, and the order of numbers, of x."""
    r.give(node, Followed(tensor, x.order, x.row))


def aligned(r: Reader, node: Node, array: Any, x: Followed) -> np.ndarray:
    """A constant that is broadcast to x, with our axes and without that of the images."""
    array = np.asarray(array)
    if array.ndim > x.rank:
        r.refuse(node, f"a constant of shape {array.shape} has more axes than {x.shape}")
    full = array.reshape((1,) * (x.rank - array.ndim) + array.shape)
    ours = full.transpose(inverse_order(x.order))
    if ours.shape[0] != 1:
        r.refuse(node, f"a constant of shape {array.shape} has another value for each image")
    ours = ours[0]
    if x.row is not None and ours.shape[-1] != 1:
        turned = np.empty_like(ours)
        turned[..., x.row] = ours
        ours = turned
    return ours


def operand(r: Reader, node: Node, value: Any, x: Followed) -> Any:
    """A constant beside x: a Python number, an array, or a weight."""
    array = value.array
    if array.size == 1 and array.ndim <= x.rank and not (value.is_weight and array.ndim):
        item = array.reshape(()).item()
        return item
    ours = aligned(r, node, array, x)
    while ours.ndim > 1 and ours.shape[0] == 1:
        ours = ours[0]
    return Learned(ours) if value.is_weight else ours


def joined_order(r: Reader, node: Node, values: Sequence[Followed]) -> tuple[tuple[int, ...], Any]:
    """The order and row in which values meet: that of the one with most numbers."""
    rank = values[0].rank
    if any(v.rank != rank or v.order.index(0) != values[0].order.index(0) for v in values):
        r.refuse(node, f"values of shapes {[v.shape for v in values]} meet with the images at different axes")
    largest = max(values, key=lambda v: math.prod(s or 1 for s in v.tensor.shape[1:]))
    rows = [v.row for v in values]
    first = rows[0]
    same = first is not None and all(row is not None and np.array_equal(row, first) for row in rows)
    return largest.order, first if same else None


def combine(r: Reader, node: Node, name: str, layer: Any = None) -> None:
    """A function of two, entry by entry, with NumPy's broadcasting."""
    first, second = r.value(node, 0), r.value(node, 1)
    if isinstance(first, Followed) and isinstance(second, Followed):
        order, row = joined_order(r, node, [first, second])
        if row is not None:
            tensors = [first.tensor, second.tensor]
        else:
            tensors = [r.ordered(node, v, order) for v in (first, second)]
        is_same = tensors[0] is tensors[1]
        if layer is not None and not is_same:
            y = r.call(node, layer, tensors)
        else:
            y = r.operation(node, name, *tensors)
        r.give(node, Followed(y, order, row))
        return
    x = first if isinstance(first, Followed) else second
    assert isinstance(x, Followed)
    known = second if isinstance(first, Followed) else first
    assert isinstance(known, Known)
    if known.array.ndim > x.rank:
        x = with_rank(r, node, x, known.array.ndim)
    beside = operand(r, node, known, x)
    args = (x.tensor, beside) if isinstance(first, Followed) else (beside, x.tensor)
    y = r.operation(node, name, *args)
    if x.row is not None and y.shape != x.tensor.shape:
        r.refuse(node, "a flattened row is repeated")
    r.give(node, Followed(y, x.order, x.row))


def check_broadcast(r: Reader, node: Node) -> None:
    """Before opset 7 the second operand was put at an axis of the first: give it trailing axes of 1."""
    if r.opset >= 7:
        r.options(node)
        return
    a = r.options(node, broadcast=0, axis=None)
    first, second = r.value(node, 0), r.value(node, 1)
    if not a["broadcast"] or a["axis"] is None:
        return
    if not isinstance(first, Followed) or not isinstance(second, Known):
        r.refuse(node, f"axis={a['axis']} for values that are both computed")
    axis = r.axis(node, a["axis"], first.rank)
    behind = first.rank - axis - second.array.ndim
    if behind < 0:
        r.refuse(node, f"a constant of shape {second.array.shape} at axis {axis} of {first.shape}")
    name = f"{node.inputs[1]} at {axis} of {first.rank}"
    r.values[name] = second.like(second.array.reshape(second.array.shape + (1,) * behind))
    r.replace_input(node, 1, name)


def with_rank(r: Reader, node: Node, x: Followed, rank: int) -> Followed:
    """x with axes of size 1 in front, as broadcasting sees it."""
    return with_new_axes(r, node, x, list(range(rank - x.rank)))


def two(name: str, layer: Any = None) -> Rule:
    def rule(r: Reader, node: Node) -> None:
        check_broadcast(r, node)
        combine(r, node, name, layer)

    return rule


def variadic(name: str, layer: Any, is_mean: bool = False) -> Rule:
    """Sum, Max, Min, Mean of any number of inputs, one pair after the other."""

    def rule(r: Reader, node: Node) -> None:
        r.options(node)
        names, y = list(node.inputs), node.outputs[0]
        if len(names) == 1:
            r.alias(node)
        for number, second in enumerate(names[1:], start=1):
            is_last = number == len(names) - 1
            part = Node(node.op_type, node.name, (names[0], second), (y if is_last else f"{y} {number}",), {})
            both = [r.values[names[0]], r.values[second]]
            if all(isinstance(value, Known) for value in both):
                total = {"add": np.add, "maximum": np.maximum, "minimum": np.minimum}[name]
                r.give(part, Known(total(both[0].array, both[1].array)))  # type: ignore[union-attr]
            else:
                combine(r, part, name, layer)
            names[0] = part.outputs[0]
        if is_mean:
            total_value = r.values[y]
            assert isinstance(total_value, Followed)
            scaled = r.operation(node, "multiply", total_value.tensor, 1 / len(node.inputs), suffix="mean")
            kept(r, node, total_value, scaled)

    return rule


def where(r: Reader, node: Node) -> None:
    r.options(node)
    values = [r.value(node, i) for i in range(3)]
    computed = [v for v in values if isinstance(v, Followed)]
    rank = max(v.rank if isinstance(v, Followed) else v.array.ndim for v in values)
    computed = [with_rank(r, node, v, rank) if v.rank < rank else v for v in computed]
    order, _ = joined_order(r, node, computed)
    like = Followed(computed[0].tensor, order)
    parts, rest = [], iter(computed)
    for value in values:
        if isinstance(value, Followed):
            parts.append(r.ordered(node, next(rest), order))
        else:
            parts.append(operand(r, node, value, Followed(like.tensor, order)))
    r.give(node, Followed(r.operation(node, "where", *parts), order))


def power(r: Reader, node: Node) -> None:
    check_broadcast(r, node)
    combine(r, node, "power")


def divide(r: Reader, node: Node) -> None:
    """x / y; the whole of a GELU by Erf where that is what begins here."""
    check_broadcast(r, node)
    if not _is_gelu(r, node):
        values = [r.value(node, i) for i in range(2)]
        dtypes = [v.dtype if isinstance(v, Followed) else v.array.dtype.name for v in values]
        if all(dtype.startswith(("int", "uint")) for dtype in dtypes):
            r.refuse(node, "whole numbers are divided")
        combine(r, node, "divide")


def _is_gelu(r: Reader, node: Node) -> bool:
    """x / sqrt(2), Erf, + 1, times x, times 0.5: the exact GELU of opsets before 20, as one activation."""
    x = r.values[node.inputs[0]]
    if not isinstance(x, Followed) or not _is_number(r, node.inputs[1], math.sqrt(2)):
        return False
    chain, name = [], node.outputs[0]
    for op_type in ("Erf", "Add", "Mul", "Mul"):
        reader = r.only_reader(name)
        if reader is None or reader.op_type != op_type:
            return False
        chain.append(reader)
        name = reader.outputs[0]
    _, plus, by_x, by_half = chain
    others = [
        [n for n in op.inputs if n != before]
        for op, before in ((plus, chain[0].outputs[0]), (by_x, plus.outputs[0]), (by_half, by_x.outputs[0]))
    ]
    if [len(names) for names in others] != [1, 1, 1]:
        return False
    fits = _is_number(r, others[0][0], 1) and others[1][0] == node.inputs[0]
    if not fits or not _is_number(r, others[2][0], 0.5):
        return False
    for op in chain:
        r.skip(op)
    kept(r, by_half, x, r.call(node, Activation, [x.tensor], activation="gelu"))
    return True


def _is_number(r: Reader, name: str, number: float) -> bool:
    """Whether a name is known to stand for a number, in the precision of float32."""
    value = r.values.get(name)
    array = value.array if isinstance(value, Known) else None
    if array is None or np.size(array) != 1:
        return False
    return math.isclose(float(np.reshape(array, ())), number, rel_tol=1e-6)


_OPERANDS: dict[str, tuple[str, Any]] = {
    "Add": ("add", Add), "Sub": ("subtract", Subtract), "Mul": ("multiply", Multiply),
    "Equal": ("equal", None), "Less": ("less", None), "LessOrEqual": ("less_equal", None),
    "Greater": ("greater", None), "GreaterOrEqual": ("greater_equal", None), "And": ("logical_and", None),
    "Or": ("logical_or", None), "Xor": ("logical_xor", None),
}  # fmt: skip

RULES: dict[str, Rule] = {
    **{op: two(name, layer) for op, (name, layer) in _OPERANDS.items()},
    "Div": divide,
    "Pow": power,
    "Where": where,
    "Sum": variadic("add", Add),
    "Max": variadic("maximum", Maximum),
    "Min": variadic("minimum", Minimum),
    "Mean": variadic("add", Add, is_mean=True),
}
