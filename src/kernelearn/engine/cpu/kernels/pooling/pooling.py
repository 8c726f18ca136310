"""Pooling and enlarging: max, average, sum over windows, and their gradients in one pass each.

Gradients are gathered: every pixel is written once, with what the windows that it belongs to send back. So
nothing is filled with zeros before, and nothing added into memory. Where windows do not overlap, as in the
usual 2 x 2 with stride 2, that is one comparison per pixel. Small windows are unrolled, border and inside
apart; large ones are loops.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

from kernelearn.engine.cpu.kernels.pooling.windows import (
    Range,
    WindowAxis,
    cell_segments,
    output_range,
    tap_range,
    window_segments,
)
from kernelearn.engine.cpu.language import functions as fn
from kernelearn.engine.cpu.language.kernel import Index, Kernel
from kernelearn.engine.cpu.language.loops import lanes
from kernelearn.engine.cpu.language.values import Value
from kernelearn.engine.cpu.plan import Code, Plan, Tasks, image_sizes, in_pieces
from kernelearn.engine.geometry import output_sizes
from kernelearn.engine.program import Operation

# Taps in the code of one kernel; more become loops.
MOST_TAPS = 160


@dataclass(frozen=True)
class Pool:
    """One pooling: what is done with the numbers of a window.

    Attributes:
        kind: "max", "average", "sum", or "taken": what x has at taps that were written before.
        axes: of the image, without channels.
        has_taps: whether the number of the winning tap is written.
    """

    kind: str
    axes: tuple[WindowAxis, ...]
    channels: int
    has_taps: bool = False

    @property
    def sizes(self) -> tuple[int, ...]:
        return tuple(axis.size for axis in self.axes)

    @property
    def outputs(self) -> tuple[int, ...]:
        return tuple(axis.outputs for axis in self.axes)

    def strides(self, sizes: Sequence[int]) -> list[int]:
        """Numbers between neighbouring pixels, on every axis."""
        return [math.prod(sizes[i + 1 :]) * self.channels for i in range(len(sizes))]

    @property
    def size(self) -> int:
        return math.prod(self.sizes) * self.channels

    @property
    def output_size(self) -> int:
        return math.prod(self.outputs) * self.channels


def _axes(
    sizes: Sequence[int], size: Sequence[int], stride: Sequence[int], padding: Sequence[tuple[int, int]]
) -> tuple[WindowAxis, ...]:
    outputs = output_sizes(sizes, size, stride, (1,) * len(size), padding)
    before = [p[0] for p in padding]
    return tuple(WindowAxis(*values) for values in zip(sizes, size, stride, before, outputs))


def lower_max_pool(plan: Plan, op: Operation) -> bool:
    """Largest numbers; the winning taps only if somebody reads them."""
    y, where = op.outputs
    used = {name for other in plan.program.operations for name in other.inputs}
    used |= set(plan.program.outputs.values())
    return _lower_pool(plan, op, "max", {"y": y, **({"where": where} if where in used else {})})


def lower_average_pool(plan: Plan, op: Operation) -> bool:
    """Means of the pixels that exist."""
    return _lower_pool(plan, op, "average", {"y": op.outputs[0]})


def _lower_pool(plan: Plan, op: Operation, kind: str, writes: dict[str, str]) -> bool:
    source = op.inputs[0]
    if not plan.are_images(source, writes["y"]):
        return False
    *sizes, channels = image_sizes(plan.shape(source))
    attrs = (op.attrs[a] for a in ("size", "stride", "padding"))
    reads = dict(zip(("x", "where"), op.inputs))
    add_pool(plan, op, Pool(kind, _axes(sizes, *attrs), channels, "where" in writes), reads, writes)
    return True


def lower_max_pool_take(plan: Plan, op: Operation) -> bool:
    """What stands where the winners were."""
    return plan.dtype(op.inputs[1]) == "int32" and _lower_pool(plan, op, "taken", {"y": op.outputs[0]})


def lower_max_pool_grad(plan: Plan, op: Operation) -> bool:
    """Every gradient to the pixel that won."""
    grad, where = op.inputs
    return plan.dtype(where) == "int32" and _lower_grad(plan, op, "max", {"g": grad, "where": where})


def lower_average_pool_grad(plan: Plan, op: Operation) -> bool:
    """Equal shares."""
    return _lower_grad(plan, op, "average", {"g": op.inputs[0]})


def _lower_grad(plan: Plan, op: Operation, kind: str, reads: dict[str, str]) -> bool:
    target = op.outputs[0]
    if not plan.are_images(reads["g"], target):
        return False
    *sizes, channels = image_sizes(plan.shape(target))
    attrs = (op.attrs[a] for a in ("size", "stride", "padding"))
    add_pool_grad(plan, op, Pool(kind, _axes(sizes, *attrs), channels), reads, target)
    return True


def lower_upsample(plan: Plan, op: Operation) -> bool:
    """Repeating pixels is the gradient of summing over windows."""
    pool = _enlarged(plan, op, op.inputs[0])
    if pool is None:
        return False
    add_pool_grad(plan, op, pool, {"g": op.inputs[0]}, op.outputs[0])
    return True


def lower_upsample_grad(plan: Plan, op: Operation) -> bool:
    """Sums over the copies of a pixel."""
    pool = _enlarged(plan, op, op.outputs[0])
    if pool is None:
        return False
    add_pool(plan, op, pool, {"x": op.inputs[0]}, {"y": op.outputs[0]})
    return True


def _enlarged(plan: Plan, op: Operation, small: str) -> Pool | None:
    """The sums that lead from the enlarged image to the small one; None where pixels are mixed."""
    if op.attrs["method"] != "nearest" or not plan.are_images(*op.inputs, *op.outputs):
        return None
    *sizes, channels = image_sizes(plan.shape(small))
    axes = tuple(WindowAxis(size * f, f, f, 0, size) for size, f in zip(sizes, op.attrs["factors"]))
    return Pool("sum", axes, channels)


def add_pool(plan: Plan, op: Operation, pool: Pool, reads: dict[str, str], writes: dict[str, str]) -> None:
    """The call that pools."""
    plan.call(
        op,
        Pooling(pool),
        reads,
        writes,
        flops=(float(pool.output_size * math.prod(a.window for a in pool.axes)), 0.0),
        note=f"{pool.kind} over {'x'.join(str(a.window) for a in pool.axes)}",
        split=_split(pool),
    )


def _split(pool: Pool) -> tuple[Code, Tasks] | None:
    """Rows of windows as tasks of their own, where windows lie side by side; None elsewhere."""
    first, *others = pool.axes
    if first.size != first.outputs * first.window or (first.stride, first.before) != (first.window, 0):
        return None
    row = replace(first, size=first.window, outputs=1)
    return in_pieces(Pooling(replace(pool, axes=(row, *others))), pool.size, first.outputs)


def add_pool_grad(plan: Plan, op: Operation, pool: Pool, reads: dict[str, str], target: str) -> None:
    """The call that sends gradients back."""
    plan.call(
        op,
        PoolingGradient(pool),
        reads,
        {"dx": target},
        flops=(float(pool.size), 0.0),
        note=f"gradient of {pool.kind}, gathered",
    )


# --- forward: (number of the tap, offset from the window's start) of every pixel in a window

Taps = list[tuple[int, int]]


@dataclass(frozen=True)
class Pooling:
    """Image after image, window after window, lanes along the channels."""

    pool: Pool

    def emit(self, k: Kernel) -> None:
        counts = [sum(len(s.taps) for s in window_segments(axis)) for axis in self.pool.axes]
        copies = len({k.mask(self.pool.channels - c) for c in range(0, self.pool.channels, k.width)})
        is_small = math.prod(counts) * copies <= MOST_TAPS
        with k.loop(k.lo, k.hi, checked=False) as image:
            x, y = image * self.pool.size, image * self.pool.output_size
            if is_small:
                _unrolled_windows(k, self.pool, 0, x, y, [(0, 0)])
            else:
                _looped_windows(k, self.pool, x, y)


def _unrolled_windows(k: Kernel, pool: Pool, number: int, x: Index, y: Index, taps: Taps) -> None:
    """Axis `number` and those after it; `taps` are those of the axes before."""
    if number == len(pool.axes):
        lanes(k, pool.channels, lambda c, mask: _pool_taps(k, pool, x + c, y + c, taps, mask))
        return
    axis = pool.axes[number]
    step, out_step = pool.strides(pool.sizes)[number], pool.strides(pool.outputs)[number]
    for segment in window_segments(axis):
        inner = [(n * axis.window + t, at + t * step) for n, at in taps for t in segment.taps]
        with k.loop(segment.start, segment.stop) as o:
            start = x + o * (axis.stride * step) - axis.before * step
            _unrolled_windows(k, pool, number + 1, start, y + o * out_step, inner)


def _pool_taps(k: Kernel, pool: Pool, x: Index, y: Index, taps: Taps, mask: Value | None) -> None:
    """One vector of outputs of a window whose taps are known."""
    best, where = _start(k, pool, y, mask)
    for tap, offset in taps:
        best, where = _take(k, pool, best, where, k.load("x", x + offset, mask), _tap(k, tap))
    if pool.kind == "average":
        best = best * (1 / len(taps) if taps else math.nan)
    _finish(k, pool, best, where, y, mask)


def _tap(k: Kernel, number: int) -> Value:
    """The number of a tap in every lane."""
    return k.constant(number, k.vector.of("i32"))


def _start(k: Kernel, pool: Pool, y: Index, mask: Value | None) -> tuple[Value, Value]:
    if pool.kind == "taken":
        return k.zero, k.load("where", y, mask, "i32")
    return k.constant(-math.inf) if pool.kind == "max" else k.zero, _tap(k, 0)


def _take(k: Kernel, pool: Pool, best: Value, where: Value, value: Value, tap: Value) -> tuple[Value, Value]:
    """One more number of a window. The first of equals wins; a NaN wins and stays."""
    if pool.kind == "taken":
        return where.equals(tap).choose(value, best), where
    if pool.kind != "max":
        return (value if best == k.zero else best + value), where
    if not pool.has_taps:
        return fn.maximum(best, value), where
    return fn.take_larger(best, where, value, tap)


def _finish(k: Kernel, pool: Pool, best: Value, where: Value, y: Index, mask: Value | None) -> None:
    k.store(best, "y", y, mask)
    if pool.has_taps:
        k.store(where, "where", y, mask)


def _looped_windows(k: Kernel, pool: Pool, x: Index, y: Index) -> None:
    """Any window: its taps are loops, too."""
    with ExitStack() as stack:
        ranges = []
        for axis, step, out_step in zip(
            pool.axes, pool.strides(pool.sizes), pool.strides(pool.outputs), strict=True
        ):
            o = stack.enter_context(k.loop(0, axis.outputs))
            ranges.append(tap_range(k, axis, o))
            x = x + o * (axis.stride * step) - axis.before * step
            y = y + o * out_step
        start, out = x, y
        lanes(k, pool.channels, lambda c, mask: _loop_taps(k, pool, start + c, out + c, ranges, mask))


def _loop_taps(k: Kernel, pool: Pool, x: Index, y: Index, ranges: list[Range], mask: Value | None) -> None:
    first, first_tap = _start(k, pool, y, mask)
    best, where = k.register(start=first), k.register(start=first_tap)
    with ExitStack() as stack:
        number, at = k.const(0), x
        for axis, step, (lo, hi) in zip(pool.axes, pool.strides(pool.sizes), ranges):
            t = stack.enter_context(k.loop(lo, hi))
            number, at = number * axis.window + t, at + t * step
        tap = number.to_int().splat()
        value, winner = _take(k, pool, k.get(best), k.get(where), k.load("x", at, mask), tap)
        k.set(best, value)
        k.set(where, winner)
    result = k.get(best)
    if pool.kind == "average":
        result = result / _count(k, ranges)
    _finish(k, pool, result, k.get(where), y, mask)


def _count(k: Kernel, ranges: list[Range]) -> Value:
    """Product of the lengths of ranges (none below zero), as float32 in every lane."""
    count = k.const(1)
    for lo, hi in ranges:
        count = k.maximum(hi - lo, 0) * count
    return count.to_float().splat()


# --- backward: (number of the tap, offset of the window, pixels in it) for every window of a pixel

Covers = list[tuple[int, int, int]]


@dataclass(frozen=True)
class PoolingGradient:
    """Image after image, pixel after pixel, lanes along the channels."""

    pool: Pool

    def emit(self, k: Kernel) -> None:
        counts = [sum(len(c) for s in cell_segments(axis) for _, c in s.pixels) for axis in self.pool.axes]
        places = [sum(len(s.pixels) for s in cell_segments(axis)) for axis in self.pool.axes]
        copies = len({k.mask(self.pool.channels - c) for c in range(0, self.pool.channels, k.width)})
        is_small = max(math.prod(counts), math.prod(places)) * copies <= MOST_TAPS
        with k.loop(k.lo, k.hi, checked=False) as image:
            x, y = image * self.pool.size, image * self.pool.output_size
            if is_small:
                _unrolled_cells(k, self.pool, 0, x, y, [(0, [(0, 0, 1)])])
            else:
                _looped_pixels(k, self.pool, x, y)


def _unrolled_cells(
    k: Kernel, pool: Pool, number: int, x: Index, y: Index, pixels: list[tuple[int, Covers]]
) -> None:
    """Axis `number` and those after it; `pixels` (offset in the cell, windows) are of the axes before."""
    if number == len(pool.axes):
        lanes(k, pool.channels, lambda c, mask: _send_back(k, pool, x + c, y + c, pixels, mask))
        return
    axis = pool.axes[number]
    step, out_step = pool.strides(pool.sizes)[number], pool.strides(pool.outputs)[number]
    for segment in cell_segments(axis):
        inner = [
            (
                at + place * step,
                [
                    (n * axis.window + c.tap, offset - c.back * out_step, count * c.count)
                    for n, offset, count in covers
                    for c in here
                ],
            )
            for at, covers in pixels
            for place, here in segment.pixels
        ]
        with k.loop(segment.start, segment.stop) as q:
            start = x + q * (axis.stride * step) - axis.before * step
            _unrolled_cells(k, pool, number + 1, start, y + q * out_step, inner)


def _send_back(
    k: Kernel, pool: Pool, x: Index, y: Index, pixels: list[tuple[int, Covers]], mask: Value | None
) -> None:
    """One vector of every pixel of a cell; a window's gradient is loaded once for all of them."""
    loaded: dict[tuple[int, int], tuple[Value, Value]] = {}
    for at, covers in pixels:
        total = k.nothing
        for tap, offset, count in covers:
            key = offset, count
            if key not in loaded:
                loaded[key] = _window_gradient(k, pool, y + offset, count, mask)
            total = total + _part(pool, *loaded[key], _tap(k, tap))
        k.store(total, "dx", x + at, mask)


def _window_gradient(k: Kernel, pool: Pool, y: Index, count: int, mask: Value | None) -> tuple[Value, Value]:
    """What every pixel of a window may get, and which tap of it won."""
    grad = k.load("g", y, mask)
    if pool.kind == "average" and count != 1:
        grad = grad * (1 / count)
    return grad, k.load("where", y, mask, "i32") if pool.kind == "max" else k.nothing


def _part(pool: Pool, grad: Value, where: Value, tap: Value) -> Value:
    """What the pixel of one tap gets."""
    if pool.kind != "max":
        return grad
    return where.equals(tap).choose(grad, grad.kernel.zero)


def _looped_pixels(k: Kernel, pool: Pool, x: Index, y: Index) -> None:
    """Any window: pixel after pixel, a loop over the windows that it belongs to."""
    with ExitStack() as stack:
        pixels, ranges = [], []
        for axis, step in zip(pool.axes, pool.strides(pool.sizes)):
            p = stack.enter_context(k.loop(0, axis.size))
            pixels.append(p)
            ranges.append(output_range(k, axis, p))
            x = x + p * step
        start = x
        lanes(k, pool.channels, lambda c, mask: _loop_covers(k, pool, start + c, y + c, pixels, ranges, mask))


def _loop_covers(
    k: Kernel,
    pool: Pool,
    x: Index,
    y: Index,
    pixels: list[Index],
    ranges: list[Range],
    mask: Value | None,
) -> None:
    total = k.register(start=k.zero)
    with ExitStack() as stack:
        number, taps = k.const(0), []
        for axis, pixel, (lo, hi), step in zip(pool.axes, pixels, ranges, pool.strides(pool.outputs)):
            o = stack.enter_context(k.loop(lo, hi))
            number = number * axis.window + (pixel + axis.before - o * axis.stride)
            taps.append(tap_range(k, axis, o))
            y = y + o * step
        grad, where = _window_gradient(k, pool, y, 1, mask)
        if pool.kind == "average":
            grad = grad / _count(k, taps)
        k.set(total, k.get(total) + _part(pool, grad, where, number.to_int().splat()))
    k.store(k.get(total), "dx", x, mask)
