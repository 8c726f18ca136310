"""Moving numbers: reshape costs nothing; the others copy runs that are contiguous on both sides.

The first axis is divided among the tasks, whether it counts images or not, unless numbers cross it. Numbers
of eight bytes are moved as pairs of four, along an axis more; those of one byte one by one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from kernelearn.engine.cpu.language.kernel import Index, Kernel
from kernelearn.engine.cpu.language.loops import block_count, lanes, task_blocks, tiles
from kernelearn.engine.cpu.language.shuffles import transpose
from kernelearn.engine.cpu.language.strides import copy_run, dot, merged_axes, nest, strides_of
from kernelearn.engine.cpu.language.values import Value
from kernelearn.engine.cpu.plan import BYTES, IMAGES, Code, Plan, Tasks, has_images, image_sizes, in_pieces
from kernelearn.engine.program import Operation

# Axes of a result as (size, step in the source).
Axes = tuple[tuple[int, int], ...]


def lower_reshape(plan: Plan, op: Operation) -> bool:
    """The same memory under another name."""
    (source,), (target,) = op.inputs, op.outputs
    shapes = plan.shape(source), plan.shape(target)
    if any(None in shape[1:] for shape in shapes) or has_images(shapes[0]) != has_images(shapes[1]):
        return False
    plan.aliases[target] = source
    return True


def lower_same(plan: Plan, op: Operation) -> bool:
    """The same memory, whatever the shape."""
    plan.aliases[op.outputs[0]] = op.inputs[0]
    return True


# --- what is common to all


def divided(shape: Sequence[int | None]) -> tuple[Tasks, tuple[int, ...]]:
    """The tasks that the first axis makes, and the sizes behind it."""
    if not shape:
        return Tasks(fixed=1), ()
    first = shape[0]
    return (IMAGES if first is None else Tasks(fixed=first)), image_sizes(shape[1:])


def words(dtype: str) -> int:
    """Numbers of four bytes that an entry is moved as; 0 for one of a single byte."""
    return BYTES[dtype] // 4


def in_words(plan: Plan, name: str) -> tuple[int | None, ...]:
    """The shape of a buffer in numbers of four bytes (or of one)."""
    count = words(plan.dtype(name))
    return (*plan.shape(name), count) if count > 1 else plan.shape(name)


def element_of(plan: Plan, name: str) -> str:
    """What `copy_run` moves: anything of four bytes, or single ones."""
    return "float" if words(plan.dtype(name)) else "i8"


def _call(plan: Plan, op: Operation, code: Code, tasks: Tasks, note: str, reads: Mapping[str, str]) -> bool:
    plan.call(op, code, dict(reads), {"y": op.outputs[0]}, tasks, note=note)
    return True


# --- results that walk through the source by steps: slices, mirror images, repetitions


def lower_slice(plan: Plan, op: Operation) -> bool:
    """A window of the array."""
    places = tuple(None if b is None else (b[0], b[1] - b[0], 1) for b in op.attrs["bounds"])
    return _lower_places(plan, op, places)


def lower_strided_slice(plan: Plan, op: Operation) -> bool:
    """Every so many entries, perhaps backwards."""
    return _lower_places(plan, op, op.attrs["places"])


def _lower_places(plan: Plan, op: Operation, places: Sequence[tuple[int, int, int] | None]) -> bool:
    shape, result = in_words(plan, op.inputs[0]), in_words(plan, op.outputs[0])
    strides = strides_of([1 if s is None else s for s in shape])
    whole = [place or (0, 0, 1) for place in places] + [(0, 0, 1)] * (len(shape) - len(places))
    start = sum(first * stride for (first, _, _), stride in zip(whole, strides))
    return _lower_walk(plan, op, result, [step * s for (_, _, step), s in zip(whole, strides)], start)


def lower_broadcast_to(plan: Plan, op: Operation) -> bool:
    """Axes of one entry, and new ones, are passed through without a step."""
    shape, result = in_words(plan, op.inputs[0]), in_words(plan, op.outputs[0])
    strides = strides_of([1 if s is None else s for s in shape])
    steps = [0 if size == 1 else step for size, step in zip(shape, strides)]
    return _lower_walk(plan, op, result, [0] * (len(result) - len(shape)) + steps, 0)


def _lower_walk(
    plan: Plan, op: Operation, result: Sequence[int | None], steps: Sequence[int], start: int
) -> bool:
    """A call that reads the source in these steps along the axes of the result."""
    tasks, sizes = divided(result)
    axes = tuple(merged_axes(zip(sizes, steps[1:])))
    code = Walk(axes, steps[0] if steps else 0, start, element_of(plan, op.inputs[0]))
    return _call(plan, op, code, tasks, "copy", {"x": op.inputs[0]})


@dataclass(frozen=True)
class Walk:
    """y[task, i, j ..] = x[start + task * between + i * step + j * step ..]: runs along the last axis.

    Attributes:
        axes: (size, step) of the result's axes behind the first.
        between: numbers of the source from task to task.
        element: "float" (of four bytes) or "i8".
    """

    axes: Axes
    between: int
    start: int
    element: str

    def emit(self, k: Kernel) -> None:
        counts = [size for size, _ in self.axes]
        with (
            k.loop(k.lo, k.hi, checked=False) as task,
            nest(k, counts[:-1]) as outer,
        ):
            x = dot(outer, [step for _, step in self.axes], task * self.between + self.start)
            y = dot(outer, strides_of(counts), task * math.prod(counts))
            _emit_row(k, x, y, self.axes[-1], self.element)


def _emit_row(k: Kernel, x: Index, y: Index, axis: tuple[int, int], element: str) -> None:
    """One row of the result: a copy, one number repeated, or numbers picked one by one."""
    size, step = axis
    if step == 1 or size == 1:
        copy_run(k, ("x", x), y, size, element=element)
    elif step == 0 and element == "float":
        one = k.broadcast("x", x)

        def repeat(at: Index | int, mask: Value | None) -> None:
            k.store(one, "y", y + at, mask)

        lanes(k, size, repeat)
    else:
        with k.loop(0, size) as i:
            k.store_one(k.load_one("x", x + i * step, element), "y", y + i, element)


def lower_strided_place(plan: Plan, op: Operation) -> bool:
    """Zeros, and the entries between them."""
    source, result = in_words(plan, op.inputs[0]), in_words(plan, op.outputs[0])
    places = [*op.attrs["places"], *[None] * (len(result) - len(op.attrs["places"]))]
    if places[0] is not None:  # entries move along the first axis: all in one task
        source, result, places = (1, *source), (1, *result), [None, *places]
    tasks, sizes = divided(result)
    strides = strides_of(sizes)
    chosen = [p or (0, size, 1) for p, size in zip(places[1:], sizes)]
    start = sum(first * stride for (first, _, _), stride in zip(chosen, strides))
    axes = merged_axes((count, step * stride) for (_, count, step), stride in zip(chosen, strides))
    code = Place(tuple(axes), math.prod(sizes), start, element_of(plan, op.inputs[0]))
    return _call(plan, op, code, tasks, "copy into zeros", {"x": op.inputs[0]})


@dataclass(frozen=True)
class Place:
    """The adjoint of `Walk`: the result, of `size` numbers a task, is written in steps."""

    axes: Axes
    size: int
    start: int
    element: str

    def emit(self, k: Kernel) -> None:
        counts = [size for size, _ in self.axes]
        (last, step) = self.axes[-1]
        with k.loop(k.lo, k.hi, checked=False) as task:
            copy_run(k, None, task * self.size, self.size, element=self.element)
            with nest(k, counts[:-1]) as outer:
                y = dot(outer, [step for _, step in self.axes], task * self.size + self.start)
                x = dot(outer, strides_of(counts), task * math.prod(counts))
                if step == 1:
                    copy_run(k, ("x", x), y, last, element=self.element)
                    return
                with k.loop(0, last) as i:
                    k.store_one(k.load_one("x", x + i, self.element), "y", y + i * step, self.element)


# --- borders


def lower_pad(plan: Plan, op: Operation) -> bool:
    """Zeros, or another number, around every array of the first axis, or around all."""
    source, value = op.inputs[0], float(op.attrs["value"])
    padding = tuple(tuple(p) for p in op.attrs["padding"])
    shape = in_words(plan, source)
    padding += ((0, 0),) * (len(shape) - len(padding))
    if any(min(p) < 0 for p in padding) or (value and plan.dtype(source) != "float32"):
        return False
    if not shape or padding[0] != (0, 0):
        shape, padding = (1, *shape), ((0, 0), *padding)
    tasks, sizes = divided(shape)
    code = Pad(sizes, padding[1:], value, element_of(plan, source))
    return _call(plan, op, code, tasks, "copy into a border", {"x": source})


@dataclass(frozen=True)
class Pad:
    """The inside, and `value` around it."""

    sizes: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    value: float
    element: str

    def emit(self, k: Kernel) -> None:
        totals = [size + lo + hi for size, (lo, hi) in zip(self.sizes, self.padding)]
        with k.loop(k.lo, k.hi, checked=False) as task:
            x, y = task * math.prod(self.sizes), task * math.prod(totals)
            self._axes(k, self.sizes, totals, self.padding, x, y)

    def _axes(
        self,
        k: Kernel,
        sizes: Sequence[int],
        totals: Sequence[int],
        padding: Sequence[tuple[int, int]],
        x: Index,
        y: Index,
    ) -> None:
        """The border before, the inside axis by axis, the border after."""
        if not any(p != (0, 0) for p in padding):
            copy_run(k, ("x", x), y, math.prod(sizes), element=self.element)
            return
        (lo, hi), stride = padding[0], math.prod(totals[1:])
        if lo:
            copy_run(k, None, y, lo * stride, self.value, self.element)
        with k.loop(0, sizes[0]) as i:
            inside = x + i * math.prod(sizes[1:]), y + lo * stride + i * stride
            self._axes(k, sizes[1:], totals[1:], padding[1:], *inside)
        if hi:
            copy_run(k, None, y + (lo + sizes[0]) * stride, hi * stride, self.value, self.element)


# --- joins


def lower_concatenate(plan: Plan, op: Operation) -> bool:
    """Runs of all parts, one after another."""
    shapes = [in_words(plan, name) for name in op.inputs]
    axis = op.attrs["axis"] % len(plan.shape(op.inputs[0]))
    if axis == 0:
        shapes, axis = [(1, *shape) for shape in shapes], 1
    if any(None in shape[1:] for shape in shapes):
        return False
    tasks, sizes = divided(shapes[0])
    outer = math.prod(sizes[: axis - 1])
    runs = tuple(math.prod(image_sizes(shape[axis:])) for shape in shapes)
    code = Concatenate(outer, runs, element_of(plan, op.inputs[0]))
    split = in_pieces(replace(code, outer=1), outer * sum(runs), outer) if tasks == IMAGES else None
    reads = {f"x{i}": name for i, name in enumerate(op.inputs)}
    plan.call(op, code, reads, {"y": op.outputs[0]}, tasks, note="copy", split=split)
    return True


@dataclass(frozen=True)
class Concatenate:
    """Runs of all parts, one after another."""

    outer: int
    runs: tuple[int, ...]
    element: str

    def emit(self, k: Kernel) -> None:
        total = sum(self.runs)
        with k.loop(k.lo * self.outer, k.hi * self.outer, checked=False) as row:
            done = 0
            for number, run in enumerate(self.runs):
                copy_run(k, (f"x{number}", row * run), row * total + done, run, element=self.element)
                done += run


# --- other orders of the axes


def lower_transpose(plan: Plan, op: Operation) -> bool:
    """Axes in another order."""
    (source,) = op.inputs
    shape = in_words(plan, source)
    order = (*op.attrs["axes"], *range(len(op.attrs["axes"]), len(shape)))
    if not shape:
        return False
    turned = None if None in shape or not words(plan.dtype(source)) else turned_of(image_sizes(shape), order)
    if turned is not None:
        own = Tasks(fixed=block_count(plan.target.width, turned.count, turned.vectors(plan.target.width)))
        return _call(plan, op, turned, own, "reorder", {"x": source})
    if order[0] != 0:
        if None in shape:
            return False
        shape, order = (1, *shape), (0, *(a + 1 for a in order))
    tasks, sizes = divided(shape)
    strides = strides_of(sizes)
    axes = tuple(merged_axes((sizes[a - 1], strides[a - 1]) for a in order[1:]))
    element = element_of(plan, source)
    total = math.prod(sizes)
    is_walk = axes[-1][1] == 1 or element == "i8"
    code = Walk(axes, total, 0, element) if is_walk else Transpose(axes)
    return _call(plan, op, code, tasks, "reorder", {"x": source})


def turned_of(sizes: tuple[int, ...], order: tuple[int, ...]) -> Turned | None:
    """What puts the first axis last, or the last one first, and the others in any order; None for others."""
    last = len(sizes) - 1
    if last < 1 or order == tuple(range(last + 1)):
        return None
    if order[-1] == 0:
        steps = dict(zip(order[:-1], strides_of([sizes[axis] for axis in order[:-1]])))
        return Turned(sizes[0], tuple((sizes[axis], steps[axis]) for axis in range(1, last + 1)), False)
    if order[0] == last:
        rows = strides_of(sizes[:-1])
        return Turned(sizes[-1], tuple((sizes[axis], rows[axis]) for axis in order[1:]), True)
    return None


@dataclass(frozen=True)
class Turned:
    """A matrix transposed whose rows are put in another order: weights as two libraries keep them.

    One side is (count, run), the other (rows, count); an entry b of the run is row `_row(b)`. Squares are
    read and written in whole vectors on both sides, and a task is a few vectors of `count`.

    Attributes:
        run: axes of the run, the last one contiguous: (size, step in rows).
        is_back: the result has the run.
    """

    count: int
    run: Axes
    is_back: bool

    def emit(self, k: Kernel) -> None:
        length = math.prod(size for size, _ in self.run)
        for first, vectors in task_blocks(k, self.count, self.vectors(k.width)):
            for b, width in tiles(k, length):
                rows = [self._row(b + j) * self.count + first for j in range(width)]
                for start, mask in vectors:
                    height = k.width if mask is None else self.count % k.width
                    lines = [(first + start + i) * length + b for i in range(height)]
                    self._emit_square(k, [row + start for row in rows], lines)

    def vectors(self, width: int) -> int:
        """Of a task: neighbours, for the sake of pages of memory, and tasks enough for several threads."""
        return max(1, min(4, self.count // (8 * width)))

    def _emit_square(self, k: Kernel, rows: Sequence[Index], lines: Sequence[Index]) -> None:
        """A line for each entry of `count`, a row for each of the run."""
        read, written = (rows, lines) if self.is_back else (lines, rows)
        square = [k.load("x", at, k.mask(len(written))) for at in read]
        square += [k.zero] * (k.width - len(read))
        for at, line in zip(written, transpose(k, square)):
            k.store(line, "y", at, k.mask(len(read)))

    def _row(self, entry: Index) -> Index:
        """Where an entry of the run lies on the other side, in rows."""
        found = entry.kernel.const(0)
        for size, step in reversed(self.run):
            found = found + entry % size * step
            entry = entry // size
        return found


@dataclass(frozen=True)
class Transpose:
    """Squares transposed in registers: another axis than the source's last becomes the last."""

    axes: Axes

    def emit(self, k: Kernel) -> None:
        axes = self.axes
        out_strides = strides_of([size for size, _ in axes])
        # The axis that is contiguous in the input and the one that is in the output form a matrix.
        column = next(i for i, (_, step) in enumerate(axes) if step == 1)
        others = [i for i in range(len(axes) - 1) if i != column]
        with (
            k.loop(k.lo, k.hi, checked=False) as task,
            nest(k, [axes[i][0] for i in others]) as outer,
        ):
            start = task * math.prod(size for size, _ in axes)
            x = dot(outer, [axes[i][1] for i in others], start)
            y = dot(outer, [out_strides[i] for i in others], start)
            _transpose_matrix(k, x, y, axes[-1], (axes[column][0], out_strides[column]))


def _transpose_matrix(k: Kernel, x: Index, y: Index, rows: tuple[int, int], columns: tuple[int, int]) -> None:
    """y[b * step_y + a] = x[a * step_x + b] in square tiles; rows = (count of a, step_x), columns of b."""
    for a, height in tiles(k, rows[0]):
        for b, width in tiles(k, columns[0]):
            mask = k.mask(width)
            square = [k.load("x", x + a * rows[1] + b + i * rows[1], mask) for i in range(height)]
            square += [k.zero] * (k.width - height)
            for i, line in enumerate(transpose(k, square)[:width]):
                k.store(line, "y", y + b * columns[1] + i * columns[1] + a, k.mask(height))
