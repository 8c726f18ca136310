"""Axes that come and go: new ones of size 1, ones left out, whole new shapes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kernelearn.conversion.onnx.reading.file import Node
from kernelearn.conversion.onnx.reading.reader import Reader
from kernelearn.conversion.onnx.reading.values import Followed, plain
from kernelearn.layers import Reshape


def with_shape(r: Reader, node: Node, x: Followed, sizes: Sequence[int]) -> Followed:
    """Another shape of every image, with its numbers in the order of the ONNX value."""
    tensor = r.ordered(node, x)
    return Followed(r.call(node, Reshape, [tensor], target_shape=tuple(sizes)), plain(len(sizes) + 1))


def with_new_axes(r: Reader, node: Node, x: Followed, axes: Sequence[int]) -> Followed:
    """New axes of size 1 at these places of the result; in our tensor they stand right behind the images.

    Args:
        axes: counted from the front of the result.
    """
    x = r.unrowed(node, x)
    count, rank = len(axes), x.rank + len(axes)
    target = (1,) * count + tuple(x.tensor.shape[1:])
    if None in target:
        r.refuse(node, f"new axes for {x.shape}, whose sizes are open")
    tensor = r.call(node, Reshape, [x.tensor], suffix="axes", target_shape=target)
    old = iter([0 if axis == 0 else axis + count for axis in x.order])
    new = iter(range(1, count + 1))
    order = tuple(next(new) if axis in axes else next(old) for axis in range(rank))
    return Followed(tensor, order)


def without_axes(r: Reader, node: Node, x: Followed, axes: Sequence[int]) -> Followed:
    """Axes of the ONNX value, each of size 1, left out."""
    if not axes:
        return x
    gone = {x.order[axis] for axis in axes}
    kept = [axis for axis in range(x.rank) if axis not in gone]
    sizes: list[Any] = [x.tensor.shape[axis] for axis in kept[1:]]
    tensor = r.call(node, Reshape, [x.tensor], suffix="axes", target_shape=tuple(sizes))
    return Followed(tensor, tuple(kept.index(axis) for axis in x.order if axis not in gone))
