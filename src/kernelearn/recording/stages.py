"""What follows the sum of a convolution or dense layer, up to its pooling: the places that a number passes.

    z      window x kernel + bias
    norm   behind a normalisation
    a      behind an activation
    pool   behind a pooling

Recorder, explanations and page go by the same places, found by reading a program.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kernelearn.engine.graph import Graph
from kernelearn.engine.program import Operation

# Operator -> the place behind it.
_PLACES = {
    "bias_add": "z",
    "normalize": "norm",
    "standardize": "norm",
    "affine": "norm",
    "activation": "a",
    "prelu": "a",
    "softmax": "a",
    "max_pool": "pool",
    "average_pool": "pool",
    "reduce_max": "pool",
    "reduce_mean": "pool",
}
# Places in their order; a number passes each at most once, a normalisation in two operators.
_ORDER = ("z", "norm", "a", "pool")
# Attributes that say what an operator does.
_SAID = ("kind", "size", "stride", "padding", "axes", "alpha", "axis")


@dataclass(frozen=True)
class Stage:
    """One place.

    Attributes:
        name: "z", "norm", "a" or "pool"; operator, layer: what leads there; attrs: of it.
        value: buffer of the numbers; winner: buffer with the number of the cell that won each window, of a
            maximum over windows.
    """

    name: str
    operator: str
    layer: str
    value: str
    attrs: Mapping[str, Any] = field(default_factory=dict)
    winner: str | None = None

    def about(self) -> dict[str, Any]:
        """As JSON values, without the buffers."""
        said = {name: self.attrs[name] for name in _SAID if name in self.attrs}
        return {"name": self.name, "operator": self.operator, "layer": self.layer, **said}


def stages_of(graph: Graph, operation: Operation) -> tuple[Stage, ...]:
    """The places behind an operation, as long as the numbers go one way alone."""
    found = [Stage("z", operation.operator, operation.layer, operation.outputs[0])]
    while True:
        following = _next(graph, found[-1])
        if following is None:
            return tuple(found)
        if following.name == found[-1].name:
            found.pop()
        found.append(following)


def _next(graph: Graph, stage: Stage) -> Stage | None:
    """The place behind a place; None where there is none, or the numbers go several ways."""
    readers = [op for op in graph.readers(stage.value) if op.phase == "forward" and op.operator != "loss"]
    if len(readers) != 1 or readers[0].inputs[0] != stage.value:
        return None
    op = readers[0]
    place = _PLACES.get(op.operator)
    if place is None or not _may_follow(place, stage, op, graph):
        return None
    winner = op.outputs[1] if op.operator == "max_pool" else None
    return Stage(place, op.operator, op.layer, op.outputs[0], op.attrs, winner)


def _may_follow(place: str, before: Stage, op: Operation, graph: Graph) -> bool:
    """Whether a place comes behind another: in order, or the second operator of a normalisation."""
    if op.operator in ("reduce_max", "reduce_mean"):
        rank = len(graph.program.buffers[before.value].shape)
        return before.name != "pool" and sorted(op.attrs["axes"]) == list(range(1, rank - 1))
    if place == before.name:
        return place == "norm" or (place == "z" and before.operator != "bias_add")
    return _ORDER.index(place) > _ORDER.index(before.name)
