"""Parts of tensors: slices, halves, one entry of an axis; and tensors joined, or with a border."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.fx import Node

from kernelearn.engine.arrays import known
from kernelearn.engine.program import Buffer
from kernelearn.torch.graphs import standins
from kernelearn.torch.translation.region import Region
from kernelearn.torch.translation.shaping import viewed
from kernelearn.torch.translation.table import CannotTranslate, rule
from kernelearn.torch.translation.values import Value

aten = torch.ops.aten


def part(region: Region, value: Value, axis: int, start: int, count: int, step: int = 1) -> Value:
    """Entries start, start + step, ... of an axis of the tensor."""
    at = value.order.index(axis)
    shape = value.buffer.shape
    if shape[at] is None:
        raise CannotTranslate("some of the images only")
    if count < 1:
        raise CannotTranslate("an empty slice")
    if (start, count, step) == (0, shape[at], 1):
        return value
    if step == 1:
        bounds = tuple((start, start + count) if k == at else None for k in range(len(shape)))
        return Value(region.add("slice", value.buffer, bounds=bounds), value.order)
    places = tuple((start, count, step) if k == at else None for k in range(len(shape)))
    return Value(region.add("strided_slice", value.buffer, places=places), value.order)


def _axis(region: Region, x: Node, axis: int) -> tuple[int, int | None]:
    """The number of an axis, counted from the front, and its size."""
    shape = region.shape(x)
    return axis % len(shape), shape[axis]


@rule(aten.slice.Tensor)
def take_slice(
    region: Region, node: Node, x: Node, axis: int, start: int | None, end: int | None, step: int
) -> Value:
    """x[start:end:step] along an axis."""
    axis, size = _axis(region, x, axis)
    if size is None:
        if (start or 0) == 0 and region.shape(node)[:1] == (None,) and step == 1 and _is_all(end):
            return region.value(x)
        raise CannotTranslate("some of the images only")
    first, last, _ = slice(start, end, 1).indices(size)
    return part(region, region.value(x), axis, first, -((first - last) // step), step)


def _is_all(end: Any) -> bool:
    """Whether a slice goes to the end, however many there are."""
    return end is None or (isinstance(end, int) and end >= 2**31)


@rule(aten.narrow.default)
def narrow(region: Region, node: Node, x: Node, axis: int, start: int, count: int) -> Value:
    """Some entries of an axis."""
    axis, size = _axis(region, x, axis)
    return part(region, region.value(x), axis, start % (size or 1), count)


@rule(aten.select.int)
def select(region: Region, node: Node, x: Node, axis: int, index: int) -> Value:
    """One entry of an axis, which goes."""
    axis, size = _axis(region, x, axis)
    return _one(region, x, axis, index % (size or 1))


def _one(region: Region, x: Node, axis: int, index: int) -> Value:
    before = region.shape(x)
    taken = part(region, region.value(x), axis, index, 1)
    kept = tuple(1 if k == axis else size for k, size in enumerate(before))
    return viewed(region, taken, kept, before[:axis] + before[axis + 1 :])


@rule(aten.index.Tensor, whole_numbers=(1,))
def chosen(region: Region, node: Node, x: Node, indices: Sequence[Node | None]) -> Value:
    """x[..., numbers, ...]: entries of one axis by their numbers, the same for all images."""
    axes = [axis for axis, each in enumerate(indices) if each is not None]
    if len(axes) > 1:
        raise CannotTranslate("entries chosen along several axes at once")
    return _by_numbers(region, x, axes[0], indices[axes[0]])  # type: ignore[arg-type]


@rule(aten.index_select.default, whole_numbers=(2,))
def chosen_of_axis(region: Region, node: Node, x: Node, axis: int, numbers: Node) -> Value:
    """The same under its other name."""
    return _by_numbers(region, x, _axis(region, x, axis)[0], numbers)


def _by_numbers(region: Region, x: Node, axis: int, numbers: Node) -> Value:
    if numbers.meta["val"].dtype not in (torch.int64, torch.int32) or numbers.meta["of_images"]:
        raise CannotTranslate("entries chosen otherwise than by the same numbers for all images")
    if region.shape(x)[axis] is None:
        raise CannotTranslate("some of the images only")
    if not numbers.meta["val"].numel():
        raise CannotTranslate("no entries")
    places = region.weight(numbers, tuple(range(numbers.meta["val"].dim())))
    return Value.plain(region.add("gather", region.plain(x), places, axis=axis))


@rule(aten.unbind.int)
def unbind(region: Region, node: Node, x: Node, axis: int) -> tuple[Value | None, ...]:
    """Every entry of an axis."""
    axis, size = _axis(region, x, axis)
    return tuple(_one(region, x, axis, index) for index in range(size or 0))


def _pieces(region: Region, x: Node, axis: int, sizes: Sequence[int]) -> tuple[Value | None, ...]:
    value, starts = region.value(x), [sum(sizes[:k]) for k in range(len(sizes))]
    return tuple(part(region, value, axis, start, size) for start, size in zip(starts, sizes))


@rule(aten.split.Tensor)
def split(region: Region, node: Node, x: Node, size: int, axis: int) -> tuple[Value | None, ...]:
    """Pieces of equal size, the last one perhaps smaller."""
    axis, whole = _axis(region, x, axis)
    if whole is None:
        raise CannotTranslate("some of the images only")
    return _pieces(region, x, axis, [min(size, whole - start) for start in range(0, whole, size)])


@rule(aten.chunk.default)
def chunk(region: Region, node: Node, x: Node, count: int, axis: int) -> tuple[Value | None, ...]:
    """So many pieces, or fewer."""
    _, whole = _axis(region, x, axis)
    return split(region, node, x, -(-(whole or 0) // count), axis)


@rule(aten.split_with_sizes.default, aten.split.sizes)
def split_with_sizes(
    region: Region, node: Node, x: Node, sizes: Sequence[int], axis: int
) -> tuple[Value | None, ...]:
    """Pieces of these sizes."""
    return _pieces(region, x, _axis(region, x, axis)[0], sizes)


@rule(aten.glu.default)
def gated(region: Region, node: Node, x: Node, axis: int) -> Value:
    """The first half of an axis times the sigmoid of the second."""
    axis, size = _axis(region, x, axis)
    half = known(size) // 2
    first, second = (part(region, region.value(x), axis, start, half) for start in (0, half))
    gate = region.add("activation", second.buffer, kind="sigmoid")
    return Value(region.add("multiply", first.buffer, gate), first.order)


@rule(standins.copied)
def copied(region: Region, node: Node, x: Node, source: Node, *rest: bool) -> Value:
    """The numbers of another tensor."""
    if region.shape(x) != region.shape(source):
        raise CannotTranslate("numbers of another shape are copied")
    return region.value(source)


@rule(aten.slice_scatter.default)
def put_slice(
    region: Region,
    node: Node,
    x: Node,
    source: Node,
    axis: int,
    start: int | None,
    end: int | None,
    step: int,
) -> Value:
    """x with other numbers from start to end of an axis."""
    axis, size = _axis(region, x, axis)
    if size is None or step != 1:
        raise CannotTranslate("other numbers for some of the images, or in steps")
    first, last, _ = slice(start, end, 1).indices(size)
    value = region.value(x)
    pieces = [part(region, value, axis, 0, first).buffer] if first else []
    pieces += [region.take(source, value.order)]
    pieces += [part(region, value, axis, last, size - last).buffer] if last < size else []
    if len(pieces) == 1:
        return Value(pieces[0], value.order)
    return Value(region.add("concatenate", *pieces, axis=value.order.index(axis)), value.order)


@rule(aten.flip.default)
def flip(region: Region, node: Node, x: Node, axes: Sequence[int]) -> Value:
    """Axes turned round."""
    value = region.value(x)
    for axis in axes:
        axis, size = _axis(region, x, axis)
        value = part(region, value, axis, (size or 0) - 1, size or 0, -1)
    return value


@rule(aten.cat.default)
def concatenate(region: Region, node: Node, tensors: Sequence[Node], axis: int) -> Value:
    """Tensors one behind the other."""
    axis, size = _axis(region, tensors[0], axis)
    if size is None or len({len(region.shape(x)) for x in tensors}) > 1:
        raise CannotTranslate("images joined with images")
    buffers, order = region.alike(*tensors)
    if len(buffers) == 1:
        return Value(buffers[0], order)
    return Value(region.add("concatenate", *buffers, axis=order.index(axis)), order)


@rule(aten.stack.default)
def stack(region: Region, node: Node, tensors: Sequence[Node], axis: int) -> Value:
    """Tensors one behind the other, along a new axis."""
    after = region.shape(node)
    axis %= len(after)
    one = tuple(1 if k == axis else size for k, size in enumerate(after))
    values = [viewed(region, region.value(x), region.shape(x), one) for x in tensors]
    order = values[0].order
    buffers = [region.turned(value, order) for value in values]
    return Value(region.add("concatenate", *buffers, axis=order.index(axis)), order)


@rule(aten.constant_pad_nd.default)
def constant_pad(region: Region, node: Node, x: Node, widths: Sequence[int], value: float) -> Value:
    """A border of one number; below zero, entries are cut off."""
    found, rank = region.value(x), len(region.shape(x))
    padding = [(0, 0)] * rank
    for k in range(len(widths) // 2):
        axis, (low, high) = rank - 1 - k, widths[2 * k : 2 * k + 2]
        size = region.shape(x)[axis]
        if (low, high) == (0, 0):
            continue
        if size is None:
            raise CannotTranslate("a border of images")
        found = part(region, found, axis, max(-low, 0), size - max(-low, 0) - max(-high, 0))
        padding[found.order.index(axis)] = max(low, 0), max(high, 0)
    if not any(map(any, padding)):
        return found
    y = region.add("pad", found.buffer, padding=tuple(padding), value=float(value))
    return Value(y, found.order)


@rule(aten.pad.default)
def pad(region: Region, node: Node, x: Node, widths: Sequence[int], mode: str, value: float | None) -> Value:
    """A border: of one number, of the tensor mirrored, of its outermost entries, or of its other end."""
    if mode == "constant":
        return constant_pad(region, node, x, widths, value or 0.0)
    return _bordered(region, x, widths, mode)


@rule(aten.reflection_pad1d.default, aten.reflection_pad2d.default, aten.reflection_pad3d.default)
def reflection_pad(region: Region, node: Node, x: Node, widths: Sequence[int]) -> Value:
    """A border of the tensor mirrored at its outermost entries."""
    return _bordered(region, x, widths, "reflect")


@rule(aten.replication_pad1d.default, aten.replication_pad2d.default, aten.replication_pad3d.default)
def replication_pad(region: Region, node: Node, x: Node, widths: Sequence[int]) -> Value:
    """A border of the outermost entries."""
    return _bordered(region, x, widths, "replicate")


def _bordered(region: Region, x: Node, widths: Sequence[int], mode: str) -> Value:
    value, rank = region.value(x), len(region.shape(x))
    for k in range(len(widths) // 2):
        axis, (low, high) = rank - 1 - k, widths[2 * k : 2 * k + 2]
        size = region.shape(x)[axis]
        if size is None or min(low, high) < 0:
            raise CannotTranslate("a border below zero, or of images")
        before, after = _borders(region, value, axis, size, (low, high), mode)
        pieces = [*before, value.buffer, *after]
        if len(pieces) > 1:
            at = value.order.index(axis)
            value = Value(region.add("concatenate", *pieces, axis=at), value.order)
    return value


def _borders(
    region: Region, value: Value, axis: int, size: int, widths: tuple[int, int], mode: str
) -> tuple[list[Buffer], list[Buffer]]:
    """What comes before and behind an axis."""
    low, high = widths

    def taken(start: int, count: int, step: int = 1) -> list[Buffer]:
        return [part(region, value, axis, start, count, step).buffer] if count else []

    if mode == "reflect":
        return taken(low, low, -1), taken(size - 2, high, -1)
    if mode == "circular":
        return taken(size - low, low), taken(0, high)
    return taken(0, min(low, 1)) * low, taken(size - 1, min(high, 1)) * high
