"""Nodes that move numbers: the order of axes is followed where that is enough, else there are layers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from kernelearn.conversion.onnx.reading.file import Node
from kernelearn.conversion.onnx.reading.normalizing import groups_in_reshapes
from kernelearn.conversion.onnx.reading.reader import Reader
from kernelearn.conversion.onnx.reading.shapes import with_new_axes, with_shape, without_axes
from kernelearn.conversion.onnx.reading.values import Followed, Images, Known, plain
from kernelearn.layers import (
    Concatenate,
    Flatten,
)


def shape(r: Reader, node: Node) -> None:
    a = r.options(node, start=0, end=None)
    sizes = r.followed(node).shape[a["start"] : a["end"]]
    if None in sizes:
        r.refuse(node, f"a shape with sizes that the file leaves open, {sizes}")
    array = np.empty(len(sizes), object)
    array[:] = sizes
    is_plain = not any(isinstance(size, Images) for size in sizes)
    r.give(node, Known(array.astype(np.int64) if is_plain else array))


def transpose(r: Reader, node: Node) -> None:
    """No layer: the same tensor, its axes under other numbers."""
    x = r.followed(node)
    perm = r.options(node, perm=None)["perm"] or list(reversed(range(x.rank)))
    if sorted(r.ints(node, perm, "perm")) != list(range(x.rank)):
        r.refuse(node, f"perm={perm} is no order of {x.rank} axes")
    if perm != list(range(x.rank)):
        x = r.unrowed(node, x)
    r.give(node, Followed(x.tensor, tuple(x.order[axis] for axis in perm), x.row))


def flattened(r: Reader, node: Node, x: Followed) -> Followed:
    """All numbers of an image in one row, in our order; the row says where those of the ONNX value are."""
    if x.order.index(0):
        r.refuse(node, f"the images are not the first axis of {x.shape}")
    if x.rank == 2:
        return x
    sizes = r.sizes(node, x)
    places = np.arange(math.prod(sizes)).reshape(sizes).transpose([axis - 1 for axis in x.order[1:]]).ravel()
    is_same = bool(np.array_equal(places, np.arange(len(places))))
    return Followed(r.call(node, Flatten, [x.tensor]), plain(2), None if is_same else places)


def flatten(r: Reader, node: Node) -> None:
    x = r.followed(node)
    axis = r.options(node, axis=1)["axis"]
    if axis < 0:
        axis += x.rank
    if axis != 1:
        r.refuse(node, f"axis={axis} joins the images with other axes, or splits them off")
    r.give(node, flattened(r, node, x) if x.rank > 1 else with_new_axes(r, node, x, [1]))


def reshape(r: Reader, node: Node) -> None:
    allowzero = r.options(node, allowzero=0)["allowzero"]
    x = r.followed(node)
    if groups_in_reshapes(r, node):
        return
    target = list(np.ravel(r.known(node, 1, "the shape").array)[:64])
    if x.order.index(0) or not target:
        r.refuse(node, f"{x.shape} to {target}: the images must stay the first axis")
    known = _target(r, node, x, target, bool(allowzero))
    if len(known) == 1:
        r.give(node, flattened(r, node, x))
    elif known == x.shape[1:]:
        r.give(node, x)
    else:
        r.give(node, with_shape(r, node, x, known))


def _target(r: Reader, node: Node, x: Followed, target: list[Any], allowzero: bool) -> tuple[int, ...]:
    """The sizes behind the images that a shape asks for; it must leave the images alone."""
    entries = math.prod(r.sizes(node, x))
    sizes: list[Any] = [
        x.shape[i] if not isinstance(s, Images) and s == 0 and not allowzero and i < x.rank else s
        for i, s in enumerate(target)
    ]
    first, rest = sizes[0], sizes[1:]
    is_whole = all(isinstance(s, int | np.integer) and (s >= 0 or s == -1) for s in rest)
    if not is_whole or rest.count(-1) > 1:
        r.refuse(node, f"{x.shape} to {target}: the images must stay the first axis")
    if -1 in rest:
        others = math.prod(int(s) for s in rest if s != -1)
        rest = [entries // others if s == -1 and others else s for s in rest]
    is_images = first == Images() if isinstance(first, Images) else first in (-1, r.batch)
    if not is_images or math.prod(int(s) for s in rest) != entries:
        r.refuse(
            node,
            f"{x.shape} to {target}: the images must stay the first axis"
            + ("" if r.batch is None else f" (the file says that there are {r.batch})"),
        )
    return tuple(int(s) for s in rest)


def _axes(r: Reader, node: Node, rank: int, inputs_from: int = 13) -> list[int] | None:
    """Axes from the attribute, or the second input; None if neither is there."""
    if r.opset >= inputs_from:
        found = r.numbers(node, 1, "axes") if r.has(node, 1) else None
    else:
        found = r.options(node, axes=None, keepdims=1)["axes"]
    if found is None:
        return None
    return [r.axis(node, axis, rank) for axis in r.ints(node, found, "axes")]


def squeeze(r: Reader, node: Node) -> None:
    r.options(node, axes=None)
    x = r.unrowed(node, r.followed(node))
    axes = _axes(r, node, x.rank)
    if axes is None:
        if r.batch == 1:
            r.refuse(node, "without axes it would leave out that of the images; name the axes")
        axes = [axis for axis, size in enumerate(x.shape) if size == 1]
    if any(not isinstance(x.shape[axis], int) or x.shape[axis] != 1 for axis in axes):
        r.refuse(node, f"axes {axes} of {x.shape} are not all of size 1, or are that of the images")
    r.give(node, without_axes(r, node, x, axes))


def unsqueeze(r: Reader, node: Node) -> None:
    r.options(node, axes=None)
    x = r.followed(node)
    given = r.numbers(node, 1, "axes") if r.opset >= 13 else r.options(node, axes=None)["axes"]
    rank = x.rank + len(r.ints(node, given, "axes"))
    axes = [r.axis(node, axis, rank) for axis in given]
    if len(set(axes)) != len(axes) or rank > 8:
        r.refuse(node, f"axes={given} are not {len(axes)} new ones")
    r.give(node, with_new_axes(r, node, x, axes))


def concat(r: Reader, node: Node) -> None:
    axis = r.options(node, axis=1)["axis"]
    values = [r.followed(node, index) for index in range(len(node.inputs))]
    if len(values) == 1:
        r.alias(node)
        return
    first = max(values, key=lambda v: math.prod(s or 1 for s in v.tensor.shape[1:]))
    if any(v.rank != first.rank for v in values):
        r.refuse(node, f"values of shapes {[v.shape for v in values]} are joined")
    (own,) = r.own_axes(node, first, [axis])
    if first.rank == 2 and first.order == plain(2):
        y = r.call(node, Concatenate, [v.tensor for v in values], axis=1) if _differ(values) else None
        if y is not None:
            r.give(node, Followed(y, plain(2), _joined_rows(values)))
            return
    tensors = [r.ordered(node, v, first.order) for v in values]
    if len({id(t) for t in tensors}) < len(tensors):
        y = r.operation(node, "concatenate", list(tensors), axis=own)
    else:
        y = r.call(node, Concatenate, tensors, axis=own)
    r.give(node, Followed(y, first.order))


def _differ(values: Sequence[Followed]) -> bool:
    return len({id(v.tensor) for v in values}) == len(values)


def _joined_rows(values: Sequence[Followed]) -> np.ndarray | None:
    """The order of numbers in joined rows."""
    if all(v.row is None for v in values):
        return None
    parts, start = [], 0
    for value in values:
        size = value.tensor.shape[-1]
        parts.append(start + (np.arange(size) if value.row is None else value.row))
        start += size
    return np.concatenate(parts)


def size(r: Reader, node: Node) -> None:
    r.options(node)
    x = r.followed(node)
    array = np.empty((), object)
    array[()] = Images(math.prod(r.sizes(node, x)))
    r.give(node, Known(array))


RULES = {
    "Shape": shape,
    "Size": size,
    "Transpose": transpose,
    "Flatten": flatten,
    "Reshape": reshape,
    "Squeeze": squeeze,
    "Unsqueeze": unsqueeze,
    "Concat": concat,
}
