"""Moving numbers: reshape costs nothing; the others copy runs that are contiguous on both sides."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from kernelearn.engine.cpu.language.kernel import Index, Kernel
from kernelearn.engine.cpu.language.loops import tiles
from kernelearn.engine.cpu.language.shuffles import transpose
from kernelearn.engine.cpu.language.strides import copy_run, dot, merged_axes, nest, strides_of
from kernelearn.engine.cpu.plan import Plan, has_images, image_sizes
from kernelearn.engine.program import Operation


def lower_reshape(plan: Plan, op: Operation) -> bool:
    """The same memory under another name."""
    (source,), (target,) = op.inputs, op.outputs
    shapes = plan.shape(source), plan.shape(target)
    if any(None in shape[1:] for shape in shapes) or has_images(shapes[0]) != has_images(shapes[1]):
        return False
    plan.aliases[target] = source
    return True


def _is_movable(plan: Plan, op: Operation) -> bool:
    """Whether all tensors have images and numbers of four bytes."""
    names = (*op.inputs, *op.outputs)
    return all(has_images(plan.shape(n)) and plan.dtype(n) in ("float32", "int32") for n in names)


def lower_slice(plan: Plan, op: Operation) -> bool:
    """A window of every image."""
    sizes, bounds = image_sizes(plan.shape(op.inputs[0])), op.attrs["bounds"]
    if not _is_movable(plan, op) or bounds[0] is not None:
        return False
    windows = tuple(b or (0, s) for b, s in zip(bounds[1:], sizes))
    plan.call(
        op,
        Slice(sizes, windows),
        {"x": op.inputs[0]},
        {"y": op.outputs[0]},
        note="copy",
    )
    return True


@dataclass(frozen=True)
class Slice:
    """Runs of the last axis that is cut, with all that is within it."""

    sizes: tuple[int, ...]
    windows: tuple[tuple[int, int], ...]

    def emit(self, k: Kernel) -> None:
        cut = [i for i, (window, size) in enumerate(zip(self.windows, self.sizes)) if window != (0, size)]
        last = cut[-1] if cut else 0
        counts = [hi - lo for lo, hi in self.windows]
        strides, out_strides = strides_of(self.sizes), strides_of(counts)
        offset = sum(lo * stride for (lo, _), stride in zip(self.windows, strides))
        with (
            k.loop(k.lo, k.hi, checked=False) as image,
            nest(k, counts[:last]) as outer,
        ):
            x = dot(outer, strides, image * math.prod(self.sizes) + offset)
            y = dot(outer, out_strides, image * math.prod(counts))
            copy_run(k, ("x", x), y, math.prod(counts[last:]))


def lower_pad(plan: Plan, op: Operation) -> bool:
    """Zeros around every image."""
    sizes, padding = image_sizes(plan.shape(op.inputs[0])), tuple(tuple(p) for p in op.attrs["padding"])
    if not _is_movable(plan, op) or padding[0] != (0, 0) or any(min(p) < 0 for p in padding):
        return False
    plan.call(
        op,
        Pad(sizes, padding[1:]),
        {"x": op.inputs[0]},
        {"y": op.outputs[0]},
        note="copy into zeros",
    )
    return True


@dataclass(frozen=True)
class Pad:
    """The inside, and zeros around it."""

    sizes: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]

    def emit(self, k: Kernel) -> None:
        totals = [size + lo + hi for size, (lo, hi) in zip(self.sizes, self.padding)]
        with k.loop(k.lo, k.hi, checked=False) as image:
            x, y = image * math.prod(self.sizes), image * math.prod(totals)
            _pad_axes(k, self.sizes, totals, self.padding, x, y)


def _pad_axes(
    k: Kernel,
    sizes: Sequence[int],
    totals: Sequence[int],
    padding: Sequence[tuple[int, int]],
    x: Index,
    y: Index,
) -> None:
    """Zeros before, the inside axis by axis, zeros after."""
    if not any(p != (0, 0) for p in padding):
        copy_run(k, ("x", x), y, math.prod(sizes))
        return
    (lo, hi), stride = padding[0], math.prod(totals[1:])
    if lo:
        copy_run(k, None, y, lo * stride)
    with k.loop(0, sizes[0]) as i:
        inside = x + i * math.prod(sizes[1:]), y + lo * stride + i * stride
        _pad_axes(k, sizes[1:], totals[1:], padding[1:], *inside)
    if hi:
        copy_run(k, None, y + (lo + sizes[0]) * stride, hi * stride)


def lower_concatenate(plan: Plan, op: Operation) -> bool:
    """Runs of all parts, one after another."""
    shapes = [plan.shape(n) for n in op.inputs]
    axis = op.attrs["axis"] % len(shapes[0])
    if not _is_movable(plan, op) or axis == 0:
        return False
    outer = math.prod(image_sizes(shapes[0])[: axis - 1])
    runs = [math.prod(image_sizes(shape)[axis - 1 :]) for shape in shapes]
    plan.call(
        op,
        Concatenate(outer, tuple(runs)),
        {f"x{i}": name for i, name in enumerate(op.inputs)},
        {"y": op.outputs[0]},
        note="copy",
    )
    return True


@dataclass(frozen=True)
class Concatenate:
    """Runs of all parts, one after another."""

    outer: int
    runs: tuple[int, ...]

    def emit(self, k: Kernel) -> None:
        total = sum(self.runs)
        with k.loop(k.lo * self.outer, k.hi * self.outer, checked=False) as row:
            done = 0
            for number, run in enumerate(self.runs):
                copy_run(k, (f"x{number}", row * run), row * total + done, run)
                done += run


def lower_transpose(plan: Plan, op: Operation) -> bool:
    """Axes of every image in another order."""
    sizes, axes = image_sizes(plan.shape(op.inputs[0])), op.attrs["axes"]
    if not _is_movable(plan, op) or axes[0] != 0:
        return False
    order = tuple(a - 1 for a in axes[1:])
    plan.call(
        op,
        Transpose(sizes, order),
        {"x": op.inputs[0]},
        {"y": op.outputs[0]},
        note="reorder",
    )
    return True


@dataclass(frozen=True)
class Transpose:
    """Runs where the last axis stays last, else squares transposed in registers."""

    sizes: tuple[int, ...]
    order: tuple[int, ...]

    def emit(self, k: Kernel) -> None:
        axes = merged_axes(self.sizes, self.order)
        out_strides = strides_of([size for size, _ in axes])
        total = math.prod(self.sizes)
        last_size, last_step = axes[-1]
        with k.loop(k.lo, k.hi, checked=False) as image:
            start = image * total
            if last_step == 1:
                with nest(k, [size for size, _ in axes[:-1]]) as outer:
                    x = dot(outer, [step for _, step in axes], start)
                    copy_run(k, ("x", x), dot(outer, out_strides, start), last_size)
                return
            # The axis that is contiguous in the input and the one that is in the output form a matrix.
            column = next(i for i, (_, step) in enumerate(axes) if step == 1)
            others = [i for i in range(len(axes) - 1) if i != column]
            with nest(k, [axes[i][0] for i in others]) as outer:
                x = dot(outer, [axes[i][1] for i in others], start)
                y = dot(outer, [out_strides[i] for i in others], start)
                _transpose_matrix(k, x, y, (last_size, last_step), (axes[column][0], out_strides[column]))


def _transpose_matrix(k: Kernel, x: Index, y: Index, rows: tuple[int, int], columns: tuple[int, int]) -> None:
    """y[b * step_y + a] = x[a * step_x + b] in square tiles; rows = (count of a, step_x), columns of b."""
    for a, height in tiles(k, rows[0]):
        for b, width in tiles(k, columns[0]):
            mask = k.mask(width)
            square = [k.load("x", x + a * rows[1] + b + i * rows[1], mask) for i in range(height)]
            square += [k.zero] * (k.width - height)
            for i, line in enumerate(transpose(k, square)[:width]):
                k.store(line, "y", y + b * columns[1] + i * columns[1] + a, k.mask(height))
