"""Which window of its inputs an output looks at, operator by operator: intervals that may reach into padding.

The same walk as in `support_rules`, on one interval per axis instead of a set, and unclipped: this is the
theoretical receptive field, the same for every unit of a plain stack, with the step from unit to unit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil, floor, prod
from typing import Any

import numpy as np

from kernelearn.engine.geometry import effective_size
from kernelearn.engine.reference.images.resizing import sampling_matrix
from kernelearn.engine.reference.shaping import RESIZE_WINDOWS
from kernelearn.explain.sight.support_rules import Applied, Sizes

_ZERO = 1e-12
_WIDEST_WINDOW = 6  # pixels on each side that the widest resampling window can reach


@dataclass(frozen=True)
class Span:
    """An interval of one axis.

    Attributes:
        low, high: first and last index, both counted; they may lie outside of the array.
        jump: how far the interval moves when the unit moves by one; 0 if it is the same for all units, None
            if branches of the network move differently.
    """

    low: int
    high: int
    jump: Fraction | None = Fraction(0)

    def union(self, other: Span) -> Span:
        """The smallest span around both."""
        jump = self.jump if self.jump == other.jump else None
        return Span(min(self.low, other.low), max(self.high, other.high), jump)


# One span per axis, or None: nothing is seen.
Box = tuple[Span, ...] | None
Rule = Callable[[tuple[Span, ...], Applied], Sequence[Box]]


def whole(size: int) -> Span:
    """All of an axis."""
    return Span(0, size - 1)


def union(first: Box, second: Box) -> Box:
    """The smallest box around both."""
    if first is None or second is None:
        return first or second
    return tuple(a.union(b) for a, b in zip(first, second))


def _scaled(jump: Fraction | None, factor: Fraction | int) -> Fraction | None:
    return None if jump is None else jump * factor


def entry_by_entry_rule(box: tuple[Span, ...], call: Applied) -> list[Box]:
    return [_unbroadcast(box, one, call.output) for one in call.inputs]


def _unbroadcast(box: tuple[Span, ...], sizes: Sizes, output: Sizes) -> Box:
    """An axis of size 1 that is repeated is seen by all units alike."""
    lead = len(output) - len(sizes)
    if lead < 0:  # a weight, shaped to broadcast over the batch too
        return None
    pairs = zip(box[lead:], sizes, output[lead:])
    return tuple(whole(1) if size == 1 and made != 1 else span for span, size, made in pairs)


def dense_rule(box: tuple[Span, ...], call: Applied) -> list[Box]:
    return [(*box[:-1], whole(call.inputs[0][-1])), None]


def matmul_rule(box: tuple[Span, ...], call: Applied) -> list[Box]:
    (a, b), lead, inner = call.inputs, box[:-2], call.inputs[0][-2 if call.attrs["transpose_a"] else -1]
    if len(box) == 1:  # one row for each image
        return [(whole(inner),), None]
    first, second = (box[-2], whole(inner)), (whole(inner), box[-1])
    return [
        (*(_unbroadcast(lead, sizes[:-2], call.output[:-2]) or ()), *(pair[::-1] if is_turned else pair))
        if len(sizes) == len(box)
        else None
        for sizes, pair, is_turned in (
            (a, first, call.attrs["transpose_a"]),
            (b, second, call.attrs["transpose_b"]),
        )
    ]


def gather_rule(box: tuple[Span, ...], call: Applied) -> list[Box]:
    axis, (table, indices) = call.attrs["axis"] - 1, call.inputs
    if axis < 0:
        return [None, tuple(box[: len(indices)])]
    behind = box[len(box) - len(table) + axis + 1 :]
    return [(*box[:axis], whole(table[axis]), *behind), None]


def sum_to_rule(box: tuple[Span, ...], call: Applied) -> list[Box]:
    sizes, axes = call.inputs[0], [axis - 1 for axis in call.attrs["axes"]]
    has_kept = len(call.output) == len(sizes)
    rest = iter(span for i, span in enumerate(box) if not (has_kept and i in axes))
    return [tuple(whole(size) if i in axes else next(rest) for i, size in enumerate(sizes))]


def source_rule(box: tuple[Span, ...], call: Applied) -> list[Box]:
    """Of what is computed from nothing."""
    return []


def _groups(span: Span, outputs: int, inputs: int, groups: int) -> Span:
    """The channels of the groups that these output channels belong to."""
    first, last = (index // (outputs // groups) for index in (span.low, span.high))
    share = inputs // groups
    return Span(first * share, (last + 1) * share - 1)


def _window(span: Span, kernel: int, stride: int, dilation: int, before: int) -> Span:
    start = span.low * stride - before
    stop = span.high * stride - before + effective_size(kernel, dilation) - 1
    return Span(start, stop, _scaled(span.jump, stride))


def conv_rule(box: tuple[Span, ...], call: Applied) -> list[Box]:
    befores = [before for before, _ in call.attrs["padding"]]
    windows = zip(box, call.inputs[1][:-2], call.attrs["stride"], call.attrs["dilation"], befores)
    channels = _groups(box[-1], call.inputs[1][-1], call.inputs[0][-1], call.attrs["groups"])
    return [(*(_window(*one) for one in windows), channels), None]


def pool_rule(box: tuple[Span, ...], call: Applied) -> list[Box]:
    befores = [before for before, _ in call.attrs["padding"]]
    ones = (1,) * len(befores)
    return [
        (
            *(_window(*one) for one in zip(box, call.attrs["size"], call.attrs["stride"], ones, befores)),
            box[-1],
        ),
    ]


def conv_transpose_rule(box: tuple[Span, ...], call: Applied) -> list[Box]:
    befores = [before for before, _ in call.attrs["padding"]]
    windows = zip(box, call.inputs[1][:-2], call.attrs["stride"], call.attrs["dilation"], befores)
    spans = [_transposed_window(*one) for one in windows]
    seen = [span for span in spans if span is not None]
    if len(seen) < len(spans):
        return [None, None]
    filters = call.inputs[1][-2] * call.attrs["groups"]
    return [(*seen, _groups(box[-1], filters, call.inputs[0][-1], call.attrs["groups"])), None]


def _transposed_window(span: Span, kernel: int, stride: int, dilation: int, before: int) -> Span | None:
    """Inputs i with i * stride + tap * dilation - before in the span; None if there is none."""
    outputs = np.arange(span.low, span.high + 1)[:, None] + before
    distances = outputs - np.arange(kernel)[None, :] * dilation
    hits = distances[distances % stride == 0] // stride
    if not hits.size:
        return None
    return Span(int(hits.min()), int(hits.max()), _scaled(span.jump, Fraction(1, stride)))


def reduce_rule(box: tuple[Span, ...], call: Applied) -> list[Box]:
    axes = {axis - 1 for axis in call.attrs["axes"]}
    rest = iter(s for i, s in enumerate(box) if not (call.attrs["keepdims"] and i in axes))
    return [tuple(whole(size) if i in axes else next(rest) for i, size in enumerate(call.inputs[0]))]


def along_axis_rule(box: tuple[Span, ...], call: Applied) -> list[Box]:
    axes = call.attrs["axes"] if "axes" in call.attrs else (call.attrs["axis"],)
    chosen = {axis % (len(box) + 1) - 1 for axis in axes}
    return [tuple(whole(call.inputs[0][i]) if i in chosen else span for i, span in enumerate(box))]


def reshape_rule(box: tuple[Span, ...], call: Applied) -> list[Box]:
    return [tuple(_reshaped(box, call.attrs["shape"][1:], call.inputs[0]))]


def _reshaped(box: tuple[Span, ...], new: Sizes, old: Sizes) -> Iterator[Span]:
    """Spans before a reshape from sizes `old` to `new`, one run of axes after another.

    A run is a shortest stretch of both shapes with the same product. Its numbers from the first to the last
    wanted one are found in the old axes; what lies outside of the array is left out.
    """
    for old_axes, new_axes in _runs(old, new):
        spans = [box[i] for i in new_axes]
        if len(old_axes) == len(new_axes) == 1:
            yield spans[0]
            continue
        sizes, new_sizes = [old[i] for i in old_axes], [new[i] for i in new_axes]
        first = np.ravel_multi_index([s.low for s in spans], new_sizes, mode="clip")
        last = np.ravel_multi_index([s.high for s in spans], new_sizes, mode="clip")
        jump = Fraction(0) if all(s.jump == 0 for s in spans) else None
        yield from _between(int(first), int(last), sizes, jump)


def _between(first: int, last: int, sizes: list[int], jump: Fraction | None) -> Iterator[Span]:
    """The box around all numbers from the first to the last of an array, in row-major order."""
    is_same = True
    for low, high, size in zip(np.unravel_index(first, sizes), np.unravel_index(last, sizes), sizes):
        yield Span(int(low), int(high), jump) if is_same else replace(whole(size), jump=jump)
        is_same = is_same and low == high


def _runs(old: Sizes, new: Sizes) -> Iterator[tuple[list[int], list[int]]]:
    """Shortest stretches of axes of both shapes that hold the same numbers."""
    i = j = 0
    while i < len(old) or j < len(new):
        left, right = [i] if i < len(old) else [], [j] if j < len(new) else []
        i, j = i + len(left), j + len(right)
        while prod(old[k] for k in left) != prod(new[k] for k in right):
            if prod(old[k] for k in left) < prod(new[k] for k in right):
                left.append(i)
                i += 1
            else:
                right.append(j)
                j += 1
        yield left, right


def transpose_rule(box: tuple[Span, ...], call: Applied) -> list[Box]:
    order = [axis - 1 for axis in call.attrs["axes"][1:]]
    return [tuple(box[order.index(i)] for i in range(len(order)))]


def _moved(span: Span, by: int) -> Span:
    return replace(span, low=span.low + by, high=span.high + by)


def slice_rule(box: tuple[Span, ...], call: Applied) -> list[Box]:
    starts = [bound[0] if bound else 0 for bound in call.attrs["bounds"][1:]]
    return [tuple(map(_moved, box, starts))]


def strided_slice_rule(box: tuple[Span, ...], call: Applied) -> list[Box]:
    return [tuple(map(_strided, box, call.attrs["places"][1:]))]


def _strided(span: Span, place: tuple[int, int, int] | None) -> Span:
    start, _, step = place or (0, 0, 1)
    ends = sorted(start + index * step for index in (span.low, span.high))
    return Span(ends[0], ends[1], _scaled(span.jump, step))


def strided_place_rule(box: tuple[Span, ...], call: Applied) -> list[Box]:
    spans = [_placed(*one) for one in zip(box, call.attrs["places"][1:])]
    seen = [span for span in spans if span is not None]
    return [tuple(seen) if len(seen) == len(spans) else None]


def _placed(span: Span, place: tuple[int, int, int] | None) -> Span | None:
    """The entries that stand in the span; None if there is none."""
    if place is None:
        return span
    start, count, step = place
    found = [i for i in range(count) if span.low <= start + i * step <= span.high]
    return Span(found[0], found[-1], _scaled(span.jump, Fraction(1, step))) if found else None


def gather_along_rule(box: tuple[Span, ...], call: Applied) -> list[Box]:
    """Any entry along the axis, and the numbers by which it is chosen."""
    axis = call.attrs["axis"] - 1
    return [tuple(whole(call.inputs[0][i]) if i == axis else span for i, span in enumerate(box)), box]


def pad_rule(box: tuple[Span, ...], call: Applied) -> list[Box]:
    return [tuple(map(_moved, box, [-before for before, _ in call.attrs["padding"][1:]]))]


def concatenate_rule(box: tuple[Span, ...], call: Applied) -> list[Box]:
    axis, start, found = call.attrs["axis"] - 1, 0, []
    for part in call.inputs:
        low, high = box[axis].low - start, box[axis].high - start
        start += part[axis]
        span = Span(max(low, 0), min(high, part[axis] - 1), box[axis].jump)
        is_seen = span.low <= span.high
        found.append((*box[:axis], span, *box[axis + 1 :]) if is_seen else None)
    return found


def upsample_rule(box: tuple[Span, ...], call: Applied) -> list[Box]:
    window = RESIZE_WINDOWS[call.attrs["method"]]
    spans = [_enlarged(span, factor, window) for span, factor in zip(box, call.attrs["factors"])]
    return [(*spans, box[-1])]


def _enlarged(span: Span, factor: int, window: Callable[..., Any]) -> Span:
    """Pixels with a weight for the span's pixels, at the ends of which they reach furthest."""
    reached = [_reached((q + 0.5) / factor - 0.5, window) for q in range(span.low, span.high + 1)]
    low, high = min(r[0] for r in reached), max(r[1] for r in reached)
    return Span(low, high, _scaled(span.jump, Fraction(1, factor)))


def _reached(position: float, window: Callable[..., Any]) -> tuple[int, int]:
    """First and last pixel to which a resampling window at this position gives a weight."""
    pixels = np.arange(floor(position) - _WIDEST_WINDOW, ceil(position) + _WIDEST_WINDOW + 1)
    seen = pixels[np.abs(window(position - pixels)) > _ZERO]
    return int(seen[0]), int(seen[-1])


def resize_rule(box: tuple[Span, ...], call: Applied) -> list[Box]:
    options = call.attrs["method"], call.attrs["antialias"]
    spans = [
        _resampled(span, sampling_matrix(size, new, *options))
        for span, size, new in zip(box, call.inputs[0], call.attrs["size"])
    ]
    return [(*spans, box[-1])]


def _resampled(span: Span, matrix: np.ndarray) -> Span:
    """Resizing has no padding: what lies outside looks where the border looks."""
    new, size = matrix.shape
    rows = matrix[np.clip(span.low, 0, new - 1) : np.clip(span.high, 0, new - 1) + 1]
    seen = np.flatnonzero((np.abs(rows) > _ZERO).any(axis=0))
    return Span(int(seen[0]), int(seen[-1]), _scaled(span.jump, Fraction(size, new)))
