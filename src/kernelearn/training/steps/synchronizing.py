"""Batch normalisation by the statistics of the whole batch, where that is cut into shards.

A sum over a shard is exchanged with all others in the middle of a step, and what reads it goes on behind:

    before   y, mean, variance = normalize(x);               dx = normalize_grad(g, y, variance)
    after    mean of x             | all |  mean
             mean of (x - mean)^2  | all |  variance;  y = standardize(x, mean, variance)
             sums of g and of g y  | all |  dx = (g - (sum g + y sum gy) / n) / sqrt(variance + epsilon)

with n the number of values in the shard. What is exchanged is a mean over the shards, weighted by their
shares of the images: of statistics that is the one of the whole batch. A gradient inside of a shard is that
of the shard's own loss, which counts by its share in the loss of the batch: so their mean is the gradient.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kernelearn.engine.graph import Graph
from kernelearn.engine.operators import OPERATORS
from kernelearn.engine.program import Buffer, Operation, Program
from kernelearn.engine.variable import Variable
from kernelearn.errors import ArgumentError


@dataclass(frozen=True)
class Synchronized:
    """A program in which shards exchange on the way.

    Attributes:
        program: its operations read buffers that none of them makes: what came of an exchange.
        exchanged: name of a buffer of one shard -> name of its mean over all shards.
    """

    program: Program
    exchanged: Mapping[str, str] = field(default_factory=dict)


def synchronized(
    program: Program, moving_means: Collection[Variable], variables: Mapping[str, Variable]
) -> Synchronized:
    """Let normalisations have statistics of the whole batch.

    Args:
        moving_means: the state of the layers that asked for it.
        variables: name -> Variable of the program.
    Raises: ArgumentError where their gradients are differentiated once more.
    """
    wanted = {name for name, found in variables.items() if any(found is one for one in moving_means)}
    if not wanted:
        return Synchronized(program)
    graph, changes, made = Graph(program), [], _Made(program)
    for op in program.operations:
        if op.operator == "normalize" and _moves(graph, op, wanted):
            changes.append((op, _forward(made, op)))
            changes += [(back, _backward(made, back)) for back in _gradients(graph, op)]
    return Synchronized(graph.replaced(changes, made.buffers), made.exchanged)


def _moves(graph: Graph, op: Operation, wanted: Collection[str]) -> bool:
    """Whether the mean of a normalisation goes into one of these states."""
    readers = graph.readers(op.outputs[1])
    return any(reader.operator == "moving_average" and reader.inputs[0] in wanted for reader in readers)


def _gradients(graph: Graph, op: Operation) -> list[Operation]:
    """The operations that give the gradient of a normalisation."""
    found = []
    for name in op.outputs[1:]:
        for reader in graph.readers(name):
            if reader.operator == "normalize_grad":
                found.append(reader)
            elif reader.operator != "moving_average":
                raise ArgumentError(
                    f"Layer {op.layer!r} normalises by the whole batch (synchronized=True), and a gradient "
                    f"of its gradient is taken ({reader.operator}), which shards cannot do. Leave "
                    "synchronized out, or train without shards."
                )
    return found


class _Made:
    """The operations that take the place of one, and their buffers."""

    def __init__(self, program: Program) -> None:
        self._known = program.buffers
        self.buffers: dict[str, Buffer] = {}
        self.exchanged: dict[str, str] = {}

    def of(self, op: Operation) -> _Part:
        """The place of an operation, to put others there."""
        return _Part(self, op)

    def named(self, name: str) -> Buffer:
        """A buffer of the program, or one that was made."""
        return self.buffers.get(name) or self._known[name]

    def new(self, stem: str, like: Any, role: str = "value") -> str:
        """A new buffer."""
        name, number = stem, 1
        while name in self.buffers or name in self._known:
            number += 1
            name = f"{stem}_{number}"
        self.buffers[name] = Buffer(name, like.shape, like.dtype, role)
        return name


class _Part:
    """What stands in place of one operation."""

    def __init__(self, made: _Made, op: Operation) -> None:
        self._made, self._op = made, op
        self.operations: list[Operation] = []

    def add(self, operator: str, *inputs: str, into: str | None = None, **attrs: Any) -> str:
        """Append an operation; the name of what it gives."""
        attrs = OPERATORS[operator].whole(attrs)
        (spec,) = OPERATORS[operator].shape_rule(*(self._made.named(name).spec for name in inputs), **attrs)
        output = into or self._made.new(f"{self._op.layer}/synchronized_{operator}", spec)
        op = self._op
        self.operations.append(Operation(operator, inputs, (output,), attrs, op.layer, op.phase))
        return output

    def of_all(self, name: str, into: str | None = None) -> str:
        """The mean over all shards of a buffer of one."""
        whole = self._made.new(f"{name}_of_all", self._made.named(name), "input")
        self._made.exchanged[name] = whole
        return whole if into is None else self.add("stop_gradient", whole, into=into)


def _forward(made: _Made, op: Operation) -> Sequence[Operation]:
    part, (x,), (y, mean, variance) = made.of(op), op.inputs, op.outputs
    axes, epsilon = op.attrs["axes"], op.attrs["epsilon"]
    part.of_all(part.add("reduce_mean", x, axes=axes), into=mean)
    squared = part.add("square", part.add("subtract", x, mean))
    part.of_all(part.add("reduce_mean", squared, axes=axes), into=variance)
    part.add("standardize", x, mean, variance, into=y, epsilon=epsilon)
    return part.operations


def _backward(made: _Made, op: Operation) -> Sequence[Operation]:
    part, (grad, y, variance) = made.of(op), op.inputs
    axes, shape = op.attrs["axes"], made.named(variance).shape
    positions = math.prod(made.named(y).shape[axis] or 1 for axis in axes if axis)
    sums = {"axes": axes, "shape": tuple(shape)}
    total = part.of_all(part.add("sum_to", grad, **sums))
    along = part.of_all(part.add("sum_to", part.add("multiply", grad, y), **sums))
    count = part.add("image_count", y, dtype=made.named(y).dtype)
    means = [
        part.add("scale", part.add("divide", one, count), factor=1 / positions) for one in (total, along)
    ]
    rest = part.add("subtract", part.add("subtract", grad, means[0]), part.add("multiply", y, means[1]))
    part.add("standardize_grad", rest, variance, into=op.outputs[0], epsilon=op.attrs["epsilon"])
    return part.operations
