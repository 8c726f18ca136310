"""A rewrite of kernel gradients of windows of one pixel that move by several: from the pixels that they see.

    before  dw = conv_grad_kernel(x, dy) kernel_size=(1, 1) stride=(2, 2)
    after   r = strided_slice(x), every second row and column;  dw = conv_grad_kernel(r, dy) stride=(1, 1)

With steps of one that is a product of matrices, which is faster than sums tap by tap; r is a quarter of x.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from kernelearn.engine.cpu.kernels.entrywise.chain import Place
from kernelearn.engine.cpu.kernels.products.summed import is_large
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
    if math.prod(op.attrs["stride"]) == 1:
        return None
    (_, *sizes, inner), (_, *counts, outer) = (program.buffers[name].shape for name in op.inputs)
    known = [count for count in counts if count is not None]
    if inner is None or outer is None or not is_large(math.prod(known), inner, outer):
        return None
    return seen_pixels(sizes, counts, op)


def seen_pixels(
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
