"""A rewrite that finds mean and variance of channels in one pass over memory.

    before  m = reduce_mean(x);  c = subtract(x, m);  v = reduce_mean(square(c))
    after   m, v = batch_statistics(x);  c = subtract(x, m)

The statistics of images are joined without cancellation (`kernels/normalization/batch.py`), as precise as the
two passes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from kernelearn.engine.cpu.rewrites.normalization.batchnorm_statistics import is_over_all_but_last
from kernelearn.engine.cpu.rewrites.repeated_operations import without_unread
from kernelearn.engine.graph import Graph
from kernelearn.engine.operators import OPERATORS
from kernelearn.engine.program import Buffer, Operation, Program


def find_at_once(program: Program) -> Program:
    """Every variance of channels that is found from their mean."""
    graph = Graph(program)
    buffers: dict[str, Buffer] = {}
    changes: list[tuple[Operation, Sequence[Operation]]] = []
    done: set[str] = set()
    for op in program.operations:
        mean = _mean_of(graph, op)
        if mean is not None and mean.outputs[0] not in done:
            done.add(mean.outputs[0])
            changes += _replaced(program, mean, op, buffers)
    return without_unread(graph.replaced(changes, buffers)) if changes else program


def _is_mean(program: Program, op: Operation | None) -> bool:
    """Whether an operation gives the means of channels over images and positions."""
    if op is None or op.operator != "reduce_mean":
        return False
    x = program.buffers[op.inputs[0]]
    return x.dtype == "float32" and x.shape[:1] == (None,) and is_over_all_but_last(op, x.shape)


def _mean_of(graph: Graph, variance: Operation) -> Operation | None:
    """The mean that an operation finds the variance from; None if it is no variance."""
    if not _is_mean(graph.program, variance):
        return None
    squared = graph.producer(variance.inputs[0])
    if squared is None or squared.operator not in ("square", "multiply") or len(set(squared.inputs)) > 1:
        return None
    centred = graph.producer(squared.inputs[0])
    if centred is None or centred.operator != "subtract":
        return None
    x, subtracted = centred.inputs
    mean = graph.producer(subtracted)
    if mean is not None and mean.operator == "reshape":
        mean = graph.producer(mean.inputs[0])
    fits = mean is not None and _is_mean(graph.program, mean) and mean.inputs[0] == x
    return mean if fits and mean is not None and mean.phase == variance.phase else None


def _replaced(
    program: Program, mean: Operation, variance: Operation, buffers: dict[str, Buffer]
) -> list[tuple[Operation, Sequence[Operation]]]:
    """Both in place of the mean; of the variance a change of its shape remains."""
    channels = program.buffers[mean.inputs[0]].shape[-1:]
    names = [f"{op.outputs[0]}/statistics" for op in (mean, variance)]
    buffers.update((name, Buffer(name, channels, "float32")) for name in names)
    axes = {"axes": tuple(range(len(program.buffers[mean.inputs[0]].shape) - 1))}
    both = replace(mean, operator="batch_statistics", outputs=tuple(names), attrs=axes)
    return [
        (mean, [both, _shaped(program, names[0], mean)]),
        (variance, [_shaped(program, names[1], variance)]),
    ]


def _shaped(program: Program, name: str, op: Operation) -> Operation:
    attrs = OPERATORS["reshape"].whole({"shape": program.buffers[op.outputs[0]].shape})
    return replace(op, operator="reshape", inputs=(name,), attrs=attrs)
