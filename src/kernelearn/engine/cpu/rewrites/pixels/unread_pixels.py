"""A rewrite that computes no pixels that nobody reads: those beyond the last whole window of a pooling.

An 11 x 11 map under windows of 2 x 2 without padding keeps 5 x 5: row and column 11 are never read, and their
gradients are zero. The convolution before such a pooling makes 10 x 10 instead, in all its passes.

    before  y (n, 11, 11, c) = conv(x, w) padding=((0, 0), (0, 0));  p (n, 5, 5, c) = max_pool(y)
            dy (n, 11, 11, c) = max_pool_grad(dp);  dw = conv_grad_kernel(x, dy) padding=((0, 0), (0, 0))
    after   y (n, 10, 10, c) = conv(x, w) padding=((0, -1), (0, -1));  p (n, 5, 5, c) = max_pool(y)
            dy (n, 10, 10, c) = max_pool_grad(dp);  dw = conv_grad_kernel(x, dy) padding=((0, -1), (0, -1))

What is entry by entry in between is cropped too; where something else reads the pixels, nothing changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from kernelearn.engine.cpu.kernels.entrywise.chain import operand_kind
from kernelearn.engine.cpu.kernels.entrywise.emitters import has_code
from kernelearn.engine.graph import Graph
from kernelearn.engine.program import Operation, Program

POOLS = ("max_pool", "average_pool")
POOL_GRADIENTS = ("max_pool_grad", "average_pool_grad")
CONV_GRADIENTS = {"conv_grad_input": 0, "conv_grad_kernel": 1}


def crop_unread(program: Program) -> Program:
    """Shorten every convolution whose last pixels no pooling window reaches, and its gradients."""
    graph = Graph(program)
    for op in program.operations:
        if op.operator in POOLS:
            graph = _cropped(graph, op, op.inputs[0], op.outputs[0])
        elif op.operator in POOL_GRADIENTS:
            graph = _cropped(graph, op, op.outputs[0], op.inputs[0])
    return graph.program


def _cropped(graph: Graph, pool: Operation, full: str, pooled: str) -> Graph:
    """The program with fewer pixels on one side of a pooling or its gradient, or the same if they are read.

    Args:
        full: its tensor with all pixels; pooled: the one with a number for each window.
    """
    buffers = graph.program.buffers
    shape = buffers[full].shape
    sizes = [s for s in shape[1:-1] if s is not None]
    read = _read_sizes(pool, sizes, [s for s in buffers[pooled].shape[1:-1] if s is not None])
    tensors = _tensors(graph, full) if read != sizes else None
    if tensors is None:
        return graph
    cut = [size - kept for size, kept in zip(sizes, read)]
    shorter = {name: replace(buffers[name], shape=(shape[0], *read, shape[-1])) for name in tensors}
    changes = [(op, [_shortened(op, tensors, cut, tuple(read))]) for op in graph.program.operations]
    return Graph(graph.replaced(changes, shorter))


def _read_sizes(pool: Operation, sizes: Sequence[int], counts: Sequence[int]) -> list[int]:
    """Pixels along each axis that some window reaches."""
    a = pool.attrs
    axes = zip(sizes, counts, a["stride"], a["size"], a["padding"], strict=True)
    return [
        min(size, (count - 1) * step + window - before) for size, count, step, window, (before, _) in axes
    ]


def _tensors(graph: Graph, name: str) -> set[str] | None:
    """All tensors that have to be cropped together with one; None if some operation cannot."""
    found, pending = {name}, [name]
    while pending:
        name = pending.pop()
        if graph.is_kept(name) or graph.program.buffers[name].role != "value":
            return None
        made = graph.producer(name)
        for op in (*([] if made is None else [made]), *graph.readers(name)):
            more = _cropped_with(graph.program, op, name)
            if more is None:
                return None
            pending += sorted(more - found)
            found |= more
    return found


def _cropped_with(program: Program, op: Operation, name: str) -> set[str] | None:
    """Tensors of an operation that have to be cropped with one of them; None if it cannot be."""
    if op.operator == "conv" or op.operator in POOL_GRADIENTS:
        return {name} if name in op.outputs else None
    if op.operator in (*POOLS, "bias_grad"):
        return {name} if name in op.inputs else None
    if op.operator in CONV_GRADIENTS:
        return {name} if op.inputs[CONV_GRADIENTS[op.operator]] == name else None
    shape = program.buffers[name].shape
    names = (*op.inputs, *op.outputs)
    kinds = {n: operand_kind(program.buffers[n], shape) for n in names}
    if op.operator == "broadcast_to" or not has_code(op, program.buffers) or None in kinds.values():
        return None
    return {n for n in names if kinds[n] == "full"}


def _shortened(op: Operation, tensors: set[str], cut: list[int], read: tuple[int, ...]) -> Operation:
    """The operation on cropped tensors: a convolution has less padding behind the image, even below none."""
    if op.operator in POOL_GRADIENTS and tensors.intersection(op.outputs):
        return replace(op, attrs={**op.attrs, "input_size": read})
    if op.operator not in ("conv", *CONV_GRADIENTS):
        return op
    made = op.outputs[0] if op.operator == "conv" else op.inputs[CONV_GRADIENTS[op.operator]]
    if made not in tensors:
        return op
    padding = tuple(
        (before, after - step * less)
        for (before, after), step, less in zip(op.attrs["padding"], op.attrs["stride"], cut)
    )
    return replace(op, attrs={**op.attrs, "padding": padding})
