"""A rewrite that joins a depthwise convolution with the pointwise one that reads it, in predictions.

    before  s = fused(x, v, a) body=conv groups=channels + affine + activation
            y = fused(s, w, b) body=conv + bias_add
    after   y = fused(x, v, a, w, b) body=conv groups=channels + affine + activation + conv + bias_add

What lies between them is then a few rows in the cache and no tensor in memory. Where something else reads it,
or is added to it there, nothing changes; nor in training, whose backward pass reads it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from kernelearn.engine.cpu.kernels.convolution.separable import pays
from kernelearn.engine.cpu.kernels.entrywise.chain import operand_kind
from kernelearn.engine.cpu.kernels.entrywise.emitters import has_code, read_inputs
from kernelearn.engine.cpu.kernels.precision import has_rounded_operands
from kernelearn.engine.graph import Graph
from kernelearn.engine.operators.fused import Body
from kernelearn.engine.program import Operation, Program
from kernelearn.engine.work import parts_of


def join_pointwise(program: Program) -> Program:
    """Join each depthwise convolution and its chain with a pointwise one and its chain."""
    if any(op.phase != "forward" for op in program.operations):
        return program
    graph = Graph(program)
    changes: list[tuple[Operation, Sequence[Operation]]] = []
    for op in program.operations:
        reader = graph.only_reader(op.outputs[0]) if len(op.outputs) == 1 else None
        if reader is not None and _can_join(program, op, reader):
            changes += [(op, []), (reader, [_joined(program, op, reader)])]
    return graph.replaced(changes)


def _can_join(program: Program, op: Operation, reader: Operation) -> bool:
    (first, *between), (second, *behind) = parts_of(op), parts_of(reader)
    if not _is_depthwise(program, first) or not _is_pointwise(program, second):
        return False
    made, buffers = op.outputs[0], program.buffers
    if second.inputs[0] != made or any(made in part.inputs for part in behind):
        return False
    if not all(has_code(part, buffers) for part in (*between, *behind)):
        return False
    shape, filters = buffers[made].shape, buffers[second.outputs[0]].shape[-1]
    if shape[0] is not None or None in shape[1:] or filters is None:
        return False
    own = {name for part in (first, *between) for name in part.outputs}
    outside = {name for part in between for name in read_inputs(part)} - own
    if any(operand_kind(buffers[name], shape) not in ("channel", "scalar") for name in outside):
        return False
    _, height, width, channels = shape
    assert height is not None and width is not None and channels is not None
    return pays(height, width, channels, filters)


def _is_depthwise(program: Program, op: Operation) -> bool:
    """Whether every channel of an image is filtered for itself."""
    if op.operator != "conv" or has_rounded_operands(op):
        return False
    x, y = (program.buffers[name].shape for name in (op.inputs[0], op.outputs[0]))
    return len(y) == 4 and 1 < op.attrs["groups"] == x[-1] == y[-1]


def _is_pointwise(program: Program, op: Operation) -> bool:
    """Whether each pixel of an image is multiplied with a matrix."""
    if op.operator != "conv" or has_rounded_operands(op):
        return False
    a, kernel = op.attrs, program.buffers[op.inputs[1]].shape
    is_plain = a["groups"] == 1 and not any(any(zeros) for zeros in a["padding"])
    return is_plain and kernel[:2] == (1, 1) and len(kernel) == 4 and set(a["stride"]) == {1}


def _joined(program: Program, op: Operation, reader: Operation) -> Operation:
    parts = (*parts_of(op), *parts_of(reader))
    inputs = tuple(dict.fromkeys(n for n in (*op.inputs, *reader.inputs) if n not in op.outputs))
    specs = tuple(program.buffers[name].spec for name in reader.outputs)
    body = Body(parts, inputs, reader.outputs, specs)
    return replace(reader, operator="fused", inputs=inputs, attrs={"body": body})
