"""From a translated region to a program: results with memory of their own, and the backward part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.fx import Node

from kernelearn.engine.cpu.cut import add_backward
from kernelearn.engine.program import Buffer, Program, ProgramBuilder
from kernelearn.torch.translation.region import SAME_MEMORY, Region, lies_in, memory_order
from kernelearn.torch.translation.values import Order, Value

# Operators that only move numbers.
_MOVING = (*SAME_MEMORY, "transpose")


@dataclass(frozen=True)
class Parts:
    """What a region gives and what its backward part has to find.

    Attributes:
        results: nodes.
        wanted: given nodes whose gradients are needed.
    """

    results: Sequence[Node]
    wanted: Sequence[Node]

    @classmethod
    def of_one(cls, node: Node) -> Parts:
        """A region of one node alone."""
        values = node.meta["val"]
        is_one = isinstance(values, torch.Tensor)
        needed = [n for n in node.all_input_nodes if n.meta.get("needs")] if node.meta.get("needs") else []
        return cls([node] if is_one else [], needed) if is_one else cls(_Picked.all_of(node), needed)


@dataclass(frozen=True, eq=False)
class _Picked:
    """A result of a node with several, without a node that takes it."""

    source: Node
    number: int
    meta: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def all_of(cls, node: Node) -> list[Any]:
        return [
            cls(node, i, {"val": v, "needs": node.meta.get("needs")}) for i, v in enumerate(node.meta["val"])
        ]


@dataclass(frozen=True)
class Result:
    """A result of a program: its node, its buffer, and the order of its axes in memory."""

    node: Node
    value: Value


@dataclass(frozen=True)
class Finished:
    """A program, and where in it the tensors of a region are.

    Attributes:
        results: in the order in which they were asked for.
        tangents: for each, the name of the input that brings its gradient; None where it has none.
        gradients: given node -> buffer of its gradient.
        sources: given node -> numbers of the results by which its gradient comes.
    """

    program: Program
    results: Sequence[Result]
    tangents: Sequence[str | None]
    gradients: Mapping[Node, Buffer]
    sources: Mapping[Node, frozenset[int]]


def finish(region: Region, parts: Parts) -> Finished:
    """The program of a region whose nodes are all translated."""
    graph, taken = region.graph, set[str]()
    results = []
    for node in parts.results:
        found = _value(region, node)
        if found is not None:
            value = _as_pytorch_has_it(region, node, found)
            results.append(Result(node, Value(_apart(region, value.buffer, taken), value.order)))
    wanted = {region.declared[n].buffer.name: n for n in parts.wanted if n in region.declared}
    carrying = [
        bool(wanted) and bool(r.node.meta.get("needs")) and r.value.buffer.dtype == "float32" for r in results
    ]
    tangents = [f"tangent/{i}" if carries else None for i, carries in enumerate(carrying)]
    gradients, sources = {}, {}
    if any(carrying):
        values = [r.value.buffer for r, carries in zip(results, carrying) if carries]
        grads = add_backward(graph, values, [t for t in tangents if t], wanted)
        reached = _reached(graph, tangents)
        sources = {wanted[name]: reached[grad.name] for name, grad in grads.items()}
        graph.phase = "backward"
        gradients = {wanted[name]: _apart(region, grad, taken) for name, grad in grads.items()}
        graph.phase = "forward"
    graph.outputs = {f"result/{i}": r.value.buffer.name for i, r in enumerate(results)}
    graph.outputs |= {f"grad/{node.name}": buffer.name for node, buffer in gradients.items()}
    return Finished(graph.build(), results, tangents, gradients, sources)


def _reached(graph: ProgramBuilder, tangents: Sequence[str | None]) -> dict[str, frozenset[int]]:
    """Name of a buffer of the backward part -> numbers of the results whose gradients it is computed from."""
    found = {name: frozenset([number]) for number, name in enumerate(tangents) if name is not None}
    for op in graph.operations:
        if op.phase == "backward":
            given = frozenset[int]().union(*(found.get(name, ()) for name in op.inputs))
            found.update(dict.fromkeys(op.outputs, given))
    return found


def _value(region: Region, node: Any) -> Value | None:
    if isinstance(node, _Picked):
        return region.picked(node.source, node.number)
    return region.value(node)


def _as_pytorch_has_it(region: Region, node: Any, value: Value) -> Value:
    """A result in the order of axes that its memory has in PyTorch, where that is one of the engine's."""
    tensor = node.meta["val"]
    order = memory_order(tensor, value.buffer.shape[:1] == (None,))
    if not lies_in(tensor, order):
        order = tuple(range(tensor.dim()))
    return Value(region.turned(value, order), order)


def _apart(region: Region, buffer: Buffer, taken: set[str]) -> Buffer:
    """A buffer whose memory nothing given and no other result has; a copy if need be."""
    root = region.root(buffer.name)
    if root in taken or region.graph.buffers[root].role != "value":
        copied: Buffer = region.add("scale", buffer, factor=1.0)
        buffer, root = copied, copied.name
    taken.add(root)
    return buffer


def read_by_backward(program: Program) -> set[str]:
    """What the backward part reads, itself or turned: what PyTorch's own would have kept."""
    sources = {op.outputs[0]: op.inputs[0] for op in program.operations if op.operator in _MOVING}
    names = {name for op in program.operations if op.phase != "forward" for name in op.inputs}
    for name in list(names):
        while name in sources:
            name = sources[name]
            names.add(name)
    return names


def strides_of(shape: Sequence[int], order: Order) -> tuple[int, ...]:
    """The strides of a tensor whose axes lie in memory in this order."""
    steps, step = [0] * len(order), 1
    for axis in reversed(order):
        steps[axis] = step
        if axis != order[0]:  # the first size, which may be open, is the stride of nothing
            step *= shape[axis]
    return tuple(steps)
