"""Two rewrites of gradients of windows of one pixel that move by several: only pixels that they see count.

    before  dw = conv_grad_kernel(x, dy) kernel_size=(1, 1) stride=(2, 2)
    after   r = strided_slice(x), every second row and column;  dw = conv_grad_kernel(r, dy) stride=(1, 1)

With steps of one that is a product of matrices, which is faster than sums tap by tap; r is a quarter of x.

    before  a = conv_grad_input(dy, v) kernel_size=(1, 1) stride=(2, 2);  dx = add(conv_grad_input(dz, w), a)
    after   r = conv_grad_input(dy, v) stride=(1, 1);  a = strided_place(r), zeros between
            dx = add(conv_grad_input(dz, w), a)

A quarter of a is not zero. The other convolution reads r at its end, pixel by pixel (`taps/placed.py`), so a
is never in memory: shortcuts around blocks that halve their maps are such.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from kernelearn.engine.cpu.kernels.entrywise.chain import Place
from kernelearn.engine.cpu.kernels.products.summed import FILTERS, LARGE
from kernelearn.engine.graph import Graph
from kernelearn.engine.program import Buffer, Operation, Program


def take_pixels(program: Program) -> Program:
    """Every such gradient that is large enough to be a product."""
    buffers: dict[str, Buffer] = {}
    changes: list[tuple[Operation, Sequence[Operation]]] = []
    for op in program.operations:
        places = _places(op, program)
        if places is None:
            continue
        x, gradient = op.inputs
        taken = f"{op.outputs[0]}/pixels"
        shape = (*program.buffers[gradient].shape[:-1], program.buffers[x].shape[-1])
        buffers[taken] = replace(program.buffers[x], name=taken, shape=shape, role="value")
        attrs = {"places": (None, *places, None)}
        slice_ = replace(op, operator="strided_slice", inputs=(x,), outputs=(taken,), attrs=attrs)
        axes = len(places)
        ones = {"stride": (1,) * axes, "padding": ((0, 0),) * axes}
        changes.append((op, [slice_, replace(op, inputs=(taken, gradient), attrs={**op.attrs, **ones})]))
    return Graph(program).replaced(changes, buffers)


def _places(op: Operation, program: Program) -> list[Place] | None:
    """The pixels that the window sees; None for other operations, and where it sees zeros around it."""
    if op.operator != "conv_grad_kernel" or math.prod(op.attrs["kernel_size"]) > 1 or op.attrs["groups"] > 1:
        return None
    (*_, inner), (*_, outer) = (program.buffers[name].shape for name in op.inputs)
    if inner is None or outer is None or inner * outer < LARGE or outer < FILTERS:
        return None
    if math.prod(op.attrs["stride"]) == 1:
        return None
    sizes, counts = (program.buffers[name].shape[1:-1] for name in op.inputs)
    return _seen_pixels(sizes, counts, op)


def _seen_pixels(
    sizes: Sequence[int | None], counts: Sequence[int | None], op: Operation
) -> list[Place] | None:
    """The pixels of a map that a window of one pixel sees; None where it sees zeros around it, too.

    Args:
        sizes: of the map; counts: of positions; op: has steps and padding.
    """
    places: list[Place] = []
    for size, count, step, (before, _) in zip(sizes, counts, op.attrs["stride"], op.attrs["padding"]):
        if size is None or count is None or before > 0 or (count - 1) * step - before >= size:
            return None
        places.append((-before, count, step))
    return places


def place_pixels(program: Program) -> Program:
    """Every such gradient that is added to another one."""
    graph = Graph(program)
    buffers: dict[str, Buffer] = {}
    changes: list[tuple[Operation, Sequence[Operation]]] = []
    for op in program.operations:
        if op.operator != "conv_grad_input" or not _is_added(graph, op):
            continue
        gradient, result = (program.buffers[name] for name in (op.inputs[0], op.outputs[0]))
        counts = gradient.shape[1:-1]
        places = _seen_pixels(result.shape[1:-1], counts, op)
        if places is None:
            continue
        taken = f"{result.name}/pixels"
        shape = (*gradient.shape[:-1], result.shape[-1])
        buffers[taken] = replace(result, name=taken, shape=shape, role="value")
        ones = {"stride": (1,) * len(counts), "padding": ((0, 0),) * len(counts), "input_size": counts}
        small = replace(op, outputs=(taken,), attrs={**op.attrs, **ones})
        attrs = {"places": (None, *places, None), "shape": result.shape}
        changes.append((op, [small, replace(op, operator="strided_place", inputs=(taken,), attrs=attrs)]))
    return Graph(program).replaced(changes, buffers)


def takes_places(op: Operation, buffers: Mapping[str, Buffer]) -> bool:
    """Whether a convolution reads smaller maps at its end: one that is no case for minimal filtering."""
    if op.operator != "conv_grad_input" or len(op.attrs["stride"]) < 2:
        return False
    steps: tuple[int, ...] = op.attrs["stride"]
    return max(steps) == 1 if _is_pixel(op, buffers) else min(steps) > 1


def _is_pixel(op: Operation, buffers: Mapping[str, Buffer]) -> bool:
    """Whether the window of an input gradient is a single pixel."""
    return all(size == 1 for size in buffers[op.inputs[1]].shape[:-2])


def _is_added(graph: Graph, op: Operation) -> bool:
    """Whether a gradient is that of a window of one pixel with steps, and added to that of a convolution."""
    buffers = graph.program.buffers
    if not _is_pixel(op, buffers) or max(op.attrs["stride"]) == 1:
        return False
    reader = graph.only_reader(op.outputs[0])
    if reader is None or reader.operator != "add" or len(set(reader.inputs)) < 2:
        return False
    result, total = (buffers[made.outputs[0]] for made in (op, reader))
    if result.shape != total.shape or result.dtype != "float32":  # there is no code for sums of others
        return False
    (other,) = (name for name in reader.inputs if name != op.outputs[0])
    maker = graph.producer(other)
    return maker is not None and takes_places(maker, buffers) and graph.only_reader(other) is reader
