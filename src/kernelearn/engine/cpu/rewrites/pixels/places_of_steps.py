"""A rewrite of input gradients of windows of one pixel that move by several: only the pixels that they saw.

    before  a = conv_grad_input(dy, v) kernel_size=(1, 1) stride=(2, 2);  dx = add(conv_grad_input(dz, w), a)
    after   r = conv_grad_input(dy, v) stride=(1, 1);  a = strided_place(r), zeros between
            dx = add(conv_grad_input(dz, w), a)

A quarter of a is not zero. The other convolution reads r at its end, pixel by pixel (`taps/placed.py`), so a
is never in memory: shortcuts around blocks that halve their maps are such.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from kernelearn.engine.cpu.kernels.precision import has_rounded_operands
from kernelearn.engine.cpu.rewrites.pixels.pixels_of_steps import seen_pixels
from kernelearn.engine.graph import Graph
from kernelearn.engine.program import Buffer, Operation, Program


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
        places = seen_pixels(result.shape[1:-1], counts, op)
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
    """Whether a convolution reads smaller maps at its end: one that is no case for minimal filtering, nor for
    matrix tiles.
    """
    if op.operator != "conv_grad_input" or len(op.attrs["stride"]) < 2 or has_rounded_operands(op):
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
