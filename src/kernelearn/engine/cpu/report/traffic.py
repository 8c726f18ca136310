"""The bytes that a program moves from and to memory, and the least that it could.

What is moved counts by groups of calls, as each group goes through memory once (see `gathering`): a buffer
that several of its calls touch counts once, and one that it has for itself alone does not count.

The least: convolutions and dense layers have to read what they multiply and to write what they make, each
once; of a map that only a pooling reads the pooled one is enough. An update reads and writes its weights
and states once; a gradient that it alone reads need not be in memory. All else (biases, activations,
normalisations with their sums, additions, concatenations) could be done on the way, so it counts as
nothing. What is multiplied in two passes counts twice, as no cache holds it between them. Small programs
that stay in the cache may be better than that; large ones are not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kernelearn.engine.cpu.gathering import Stretch, items
from kernelearn.engine.cpu.plan import Fallback, Plan
from kernelearn.engine.cpu.schedule import in_memory
from kernelearn.engine.graph import Graph
from kernelearn.engine.program import Operation, Program
from kernelearn.engine.work import byte_count

PRODUCTS = frozenset(
    {
        "conv", "conv_grad_input", "conv_grad_kernel", "conv_transpose", "dense", "dense_grad_input",
        "dense_grad_kernel", "matmul", "turned_matmul",
    }
)  # fmt: skip
POOLS = frozenset({"max_pool", "average_pool"})
# What may stand between a product and a pooling that takes its results as they are made.
_BETWEEN = frozenset({"bias_add", "affine", "activation"})


def moved_bytes(parts: Sequence[Stretch | Fallback], plan: Plan, images: int) -> int:
    """Bytes from and to memory of a run on so many images."""
    touched = (in_memory(item, plan) for item in items(parts))
    return sum(byte_count((plan.buffers[name] for name in names), images) for names in touched)


def least_bytes(program: Program, images: int) -> int:
    """Bytes of a run on so many images at least; 0 for a program without products and updates."""
    graph = Graph(program)
    touched = (_touched(graph, op) for op in program.operations)
    return sum(byte_count((program.buffers[name] for name in names), images) for names in touched)


def _touched(graph: Graph, op: Operation) -> Iterable[str]:
    """The buffers that an operation has to move."""
    if op.phase == "update":
        known = (name for name in (*op.inputs, *op.outputs) if not _is_passed_on(graph, name))
        # A weight that is changed in place is read and written.
        return [*dict.fromkeys(known), *(name for name in op.outputs if name in op.inputs)]
    if op.operator in PRODUCTS:
        stored = (name for name in op.outputs if not _is_passed_on(graph, name))
        return [*dict.fromkeys(op.inputs), *(_stored(graph, name) for name in stored)]
    return []


def _is_passed_on(graph: Graph, name: str) -> bool:
    """Whether a buffer is the gradient that a product makes and an update alone reads."""
    made, reader = graph.producer(name), graph.only_reader(name)
    return made is not None and made.operator in PRODUCTS and reader is not None and reader.phase == "update"


def _stored(graph: Graph, name: str) -> str:
    """What of a product's result has to be written: the pooled map, where only a pooling reads it."""
    at = name
    while True:
        readers = [op for op in graph.readers(at) if op.phase == "forward"]
        if len(readers) != 1 or graph.is_kept(at):
            return name
        (reader,) = readers
        if reader.operator in POOLS:
            return reader.outputs[0]
        if reader.operator not in _BETWEEN or reader.inputs[0] != at:
            return name
        at = reader.outputs[0]
