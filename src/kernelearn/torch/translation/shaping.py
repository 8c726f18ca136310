"""The same numbers under other axes: views, permutations, squeezing. Mostly only the order changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.fx import Node

from kernelearn.engine.arrays import known
from kernelearn.torch.graphs import standins
from kernelearn.torch.translation.region import Region
from kernelearn.torch.translation.table import CannotTranslate, rule
from kernelearn.torch.translation.values import Order, Value

aten = torch.ops.aten

Shape = tuple[int | None, ...]


@rule(
    aten.view.default,
    aten._unsafe_view.default,
    aten.reshape.default,
    aten.flatten.using_ints,
    aten.unflatten.int,
    aten.squeeze.default,
    aten.squeeze.dim,
    aten.squeeze.dims,
    aten.unsqueeze.default,
)
def view(region: Region, node: Node, x: Node, *sizes: Any) -> Value:
    """The numbers in PyTorch's order, as a tensor of other sizes; the axis of the images stays."""
    return viewed(region, region.value(x), region.shape(x), region.shape(node))


def viewed(region: Region, value: Value, before: Shape, after: Shape) -> Value:
    """A view. It costs nothing where axes that are joined lie side by side."""
    if (before[:1] == (None,)) != (after[:1] == (None,)):
        raise CannotTranslate(f"a view of {before} as {after}")
    order = _order_after(value.order, before, after)
    if order is None:
        buffer = region.turned(value, tuple(range(len(before))))
        return Value.plain(region.add("reshape", buffer, shape=after))
    shape = tuple(after[axis] for axis in order)
    if shape == value.buffer.shape:
        return Value(value.buffer, order)
    return Value(region.add("reshape", value.buffer, shape=shape), order)


def _order_after(order: Order, before: Shape, after: Shape) -> Order | None:
    """The order of the axes after a view that leaves all numbers where they are; None if none does."""
    groups = _groups(before, after)
    lying = [axis for axis in order if before[axis] != 1]
    found: list[int] = []
    while lying:
        joined, split = next(group for group in groups if lying[0] in group[0])
        if lying[: len(joined)] != joined:
            return None
        found += split
        del lying[: len(joined)]
    return (*found, *(axis for axis, size in enumerate(after) if size == 1))


def _groups(before: Shape, after: Shape) -> list[tuple[list[int], list[int]]]:
    """Axes that become axes of as many numbers, each group the smallest; axes of size 1 are in none."""
    left = [axis for axis, size in enumerate(before) if size != 1]
    right = [axis for axis, size in enumerate(after) if size != 1]
    groups = []
    while left and right:
        ours, theirs = [left.pop(0)], [right.pop(0)]
        a, b = before[ours[0]] or 0, after[theirs[0]] or 0
        while a != b:
            if a < b:
                ours.append(left.pop(0))
                a *= before[ours[-1]] or 0
            else:
                theirs.append(right.pop(0))
                b *= after[theirs[-1]] or 0
        groups.append((ours, theirs))
    return groups


@rule(aten.permute.default)
def permute(region: Region, node: Node, x: Node, axes: Sequence[int]) -> Value:
    """The same tensor with its axes in another order; nothing moves."""
    value = region.value(x)
    rank = len(value.order)
    axes = [axis % rank for axis in axes]
    if region.shape(x)[:1] == (None,) and axes[0] != 0:
        raise CannotTranslate("the axis of the images would not be the first any more")
    return Value(value.buffer, tuple(axes.index(axis) for axis in value.order))


@rule(aten.transpose.int)
def transpose(region: Region, node: Node, x: Node, first: int, second: int) -> Value:
    """Two axes exchanged."""
    axes = list(range(len(region.shape(x))))
    axes[first], axes[second] = axes[second], axes[first]
    return permute(region, node, x, axes)


@rule(aten.t.default)
def turned_matrix(region: Region, node: Node, x: Node) -> Value:
    """The transpose of a matrix."""
    return permute(region, node, x, list(range(len(region.shape(x))))[::-1])


@rule(aten.expand.default)
def expand(region: Region, node: Node, x: Node, sizes: Sequence[Any], implicit: bool = False) -> Value:
    """Axes of size 1 repeated; new ones in front."""
    before, after = region.shape(x), region.shape(node)
    lead = len(after) - len(before)
    if before[:1] == (None,) and (lead or after[:1] != (None,)):
        raise CannotTranslate(f"an expansion of {before} to {after}")
    value = region.value(x) if not lead else Value.plain(region.plain(x))
    order = value.order if not lead else tuple(range(len(after)))
    shape = tuple(after[axis] for axis in order)
    if shape == value.buffer.shape:
        return value
    if None in shape and value.buffer.shape[:1] != (None,):
        raise CannotTranslate("one for all images, repeated for each")
    return Value(region.add("broadcast_to", value.buffer, shape=shape), order)


@rule(aten.broadcast_tensors.default)
def broadcast(region: Region, node: Node, tensors: Sequence[Node]) -> tuple[Value, ...]:
    """Tensors of one shape are what they are, as those that a loss compares."""
    if len({region.shape(tensor) for tensor in tensors}) > 1:
        raise CannotTranslate("tensors of several shapes are brought to one")
    return tuple(region.value(tensor) for tensor in tensors)


@rule(standins.repeated)
def repeat_for_images(region: Region, node: Node, x: Node, images: Node, sizes: Sequence[int]) -> Value:
    """One thing for all images, once for each of them."""
    like = region.value(images).buffer
    whole = region.plain(x)
    lead = len(sizes) + 1 - len(whole.shape)
    if lead:
        whole = region.add("reshape", whole, shape=(*[1] * lead, *whole.shape))
    return Value.plain(region.add("broadcast_to", whole, like, shape=(None, *sizes)))


@rule(aten.repeat.default)
def repeat(region: Region, node: Node, x: Node, counts: Sequence[Any]) -> Value:
    """Axes one behind the other so many times; new ones in front."""
    before = region.shape(x)
    lead = len(counts) - len(before)
    if before[:1] == (None,) and (lead or counts[0] != 1):
        raise CannotTranslate("images repeated")
    value = region.value(x)
    if lead:
        value = viewed(region, value, before, (*[1] * lead, *before))
    for axis, count in enumerate(counts):
        if count != 1:
            at = value.order.index(axis)
            value = Value(region.add("concatenate", *[value.buffer] * known(count), axis=at), value.order)
    return value


@rule(aten.roll.default)
def roll(region: Region, node: Node, x: Node, shifts: Sequence[int], axes: Sequence[int]) -> Value:
    """Entries moved on, those at the end to the front."""
    value, shape = region.value(x), region.shape(x)
    if not axes:
        raise CannotTranslate("all entries rolled as one")
    for shift, axis in zip(shifts, axes):
        at, size = value.order.index(axis % len(shape)), shape[axis]
        if size is None:
            raise CannotTranslate("images rolled")
        cut = -shift % size
        if cut:
            bounds = [
                tuple((a, b) if k == at else None for k in range(len(shape)))
                for a, b in ((cut, size), (0, cut))
            ]
            pieces = [region.add("slice", value.buffer, bounds=each) for each in bounds]
            value = Value(region.add("concatenate", *pieces, axis=at), value.order)
    return value


@rule(aten.pixel_shuffle.default)
def pixel_shuffle(region: Region, node: Node, x: Node, factor: int) -> Value:
    """Channels become pixels: (n, c r r, h, w) to (n, c, h r, w r)."""
    images = region.images(x)
    n, *sizes = images.shape
    h, w, channels = map(known, sizes)
    c = channels // factor**2
    split = region.add("reshape", images, shape=(n, h, w, c, factor, factor))
    moved = region.add("transpose", split, axes=(0, 1, 4, 2, 5, 3))
    return Value.images(region.add("reshape", moved, shape=(n, h * factor, w * factor, c)))


@rule(aten.pixel_unshuffle.default)
def pixel_unshuffle(region: Region, node: Node, x: Node, factor: int) -> Value:
    """Pixels become channels: (n, c, h r, w r) to (n, c r r, h, w)."""
    images = region.images(x)
    n, *sizes = images.shape
    h, w, c = map(known, sizes)
    split = region.add("reshape", images, shape=(n, h // factor, factor, w // factor, factor, c))
    moved = region.add("transpose", split, axes=(0, 1, 3, 5, 2, 4))
    return Value.images(region.add("reshape", moved, shape=(n, h // factor, w // factor, c * factor**2)))
