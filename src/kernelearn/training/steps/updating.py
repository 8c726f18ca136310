"""The end of a training step: gradients become updates of the weights.

    accumulate the gradients, clip them, take the optimiser's step, average the weights, constrain them

of which all but the step is there only where an optimiser or a weight asks for it. The order is Keras's.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from kernelearn import tracing
from kernelearn.engine.program import Buffer, ProgramBuilder
from kernelearn.engine.variable import Variable
from kernelearn.errors import ShapeError, TracingError
from kernelearn.tracing import Traced
from kernelearn.training.steps.rules import constraint_attrs

if TYPE_CHECKING:
    from kernelearn.optimizers import Optimizer

ACCUMULATED = "gradient_accumulator"


def average_name(weight: str) -> str:
    """The name, among the optimiser's arrays, of the moving average of a weight, given by its own name."""
    return f"average/{weight}"


def kind_of(name: str) -> str:
    """What an array of an optimiser is, from its name: "momentum", "gradient_accumulator", "average"."""
    return "average" if name.startswith(average_name("")) else name.rpartition("/")[2]


def carried_shapes(optimizer: Optimizer, weight: Variable) -> dict[str, tuple[int, ...]]:
    """Kind -> shape of everything that is carried from step to step for a weight."""
    shapes = {key: tuple(slot.shape) for key, slot in optimizer.slots_for(weight).items()}
    if optimizer.steps_per_update > 1:
        shapes[ACCUMULATED] = tuple(weight.shape)
    return {**shapes, "average": tuple(weight.shape)} if optimizer.use_ema else shapes


def add_updates(
    graph: ProgramBuilder,
    grads: Mapping[str, Buffer],
    optimizer: Optimizer,
    clock: tuple[Buffer, Buffer],
    multipliers: Mapping[int, float],
) -> None:
    """Update every weight that has a gradient.

    Args:
        grads: name of the weight -> its gradient.
        clock: learning rate (float64) and number of the update (int64), single numbers.
        multipliers: id(weight) -> factor of the learning rate; a weight with 0 is left alone.
    """
    rate, step = clock
    # What nothing reads is not computed: a weight that does not move costs no gradient.
    grads = {n: g for n, g in grads.items() if multipliers.get(id(graph.variables[n]), 1.0) != 0}
    grads = _clipped(graph, _accumulated(graph, grads, optimizer, step), optimizer)
    for name, grad in grads.items():
        weight, param = graph.variables[name], graph.buffers[name]
        graph.layer = name.rpartition("/")[0]
        carried = [
            _slot(graph, f"optimizer/{name}/{key}", slot.shape, weight, optimizer, slot.value)
            for key, slot in optimizer.slots_for(weight).items()
        ]
        attrs = optimizer.attrs(weight)
        attrs["multiplier"] = attrs.get("multiplier", 1.0) * multipliers.get(id(weight), 1.0)
        graph.update(
            optimizer.kind_for(weight), (param, grad, rate, step, *carried), (param, *carried), **attrs
        )
        if optimizer.use_ema:
            _average(graph, param, weight, optimizer, step)
        constraint = getattr(weight, "constraint", None)
        if constraint is not None:
            _constrain(graph, param, constraint)
    graph.layer = ""


def _accumulated(
    graph: ProgramBuilder,
    grads: Mapping[str, Buffer],
    optimizer: Optimizer,
    step: Buffer,
) -> Mapping[str, Buffer]:
    """The gradients; or, where those of several steps make one update, their sums so far."""
    every = optimizer.steps_per_update
    if every == 1:
        return grads
    totals = {}
    for name, grad in grads.items():
        weight = graph.variables[name]
        key = f"optimizer/{name}/{ACCUMULATED}"
        totals[name] = _slot(graph, key, weight.shape, weight, optimizer)
        graph.update("accumulate", (totals[name], grad, step), (totals[name],), every=every)
    return totals


def _clipped(
    graph: ProgramBuilder, grads: Mapping[str, Buffer], optimizer: Optimizer
) -> Mapping[str, Buffer]:
    if optimizer.clipping is None or not grads:
        return grads
    kind, limit = optimizer.clipping
    # NOTE: a sum of gradients is written in the update phase, and what reads it comes after that.
    with _phase(graph, "backward" if optimizer.steps_per_update == 1 else "update"):
        extra = [graph.add("global_norm", *grads.values())] if kind == "clip_by_global_norm" else []
        return {name: graph.add(kind, grad, *extra, limit=limit) for name, grad in grads.items()}


@contextmanager
def _phase(graph: ProgramBuilder, phase: str) -> Iterator[None]:
    before, graph.phase = graph.phase, phase
    yield
    graph.phase = before


def _average(
    graph: ProgramBuilder,
    param: Buffer,
    weight: Variable,
    optimizer: Optimizer,
    step: Buffer,
) -> None:
    """Follow a weight by its moving average, and put that in its place now and then."""
    average = _slot(graph, average_name(param.name), weight.shape, weight, optimizer)
    every, momentum = optimizer.steps_per_update, optimizer.ema_momentum
    graph.update("average_weight", (average, param, step), (average,), momentum=momentum, every=every)
    frequency = optimizer.ema_overwrite_frequency
    if frequency is not None:
        graph.update("overwrite_weight", (param, average, step), (param,), frequency=frequency, every=every)


def _constrain(graph: ProgramBuilder, param: Buffer, constraint: Any) -> None:
    """Project a weight: by the engine's kernel, by traced code, or, for code in NumPy, on the host."""
    if getattr(constraint, "kind", "custom") == "custom":
        value = _traced(graph, param, constraint)
        if value is not None:
            graph.update("assign", (value,), (param,))
            return
    graph.update("constrain", (param,), (param,), **constraint_attrs(constraint))


def _traced(graph: ProgramBuilder, param: Buffer, constraint: Any) -> Buffer | None:
    """What a constraint of the user's own makes of a weight, as operations; None for code in NumPy.

    Raises: ShapeError for a value of another shape.
    """
    before = len(graph.operations)
    with _phase(graph, "update"), tracing.tracing(graph):
        try:
            value = constraint(Traced(graph, param))
        except TracingError:
            value = None
    if not isinstance(value, Traced):
        del graph.operations[before:]
        return None
    if value.buffer.shape != param.shape:
        raise ShapeError(
            f"The constraint of {param.name!r} must keep its shape {param.shape}; it gave "
            f"{value.buffer.shape}."
        )
    return value.buffer


class Carried(Variable):
    """An array that an optimiser carries for one weight; it knows which."""

    def __init__(self, value: np.ndarray, name: str, weight: Variable) -> None:
        super().__init__(value, name, trainable=False)
        self.weight = weakref.ref(weight)


def _slot(
    graph: ProgramBuilder,
    name: str,
    shape: tuple[int, ...],
    weight: Variable,
    optimizer: Optimizer,
    value: float = 0.0,
) -> Buffer:
    """An array that is carried from step to step for a weight, under whichever name a step has given it."""
    carried = optimizer.carried
    known = _carried_name(name, weight, carried)
    if known is None or carried[known].shape != tuple(shape):
        known = known or _unused(name, carried)
        carried[known] = Carried(np.full(shape, value, weight.dtype), known, weight)
    elif not isinstance(carried[known], Carried):  # it came from a file, and says from now on whose it is
        carried[known] = Carried(carried[known].numpy(), known, weight)
    return graph.state(known, carried[known])


def _carried_name(name: str, weight: Variable, carried: Mapping[str, Variable]) -> str | None:
    """The name under which an array of this kind is carried for a weight; None if there is none."""
    if name in carried and _may_be_of(carried[name], weight):
        return name
    kind = name.rpartition("/")[2] if name.startswith("optimizer/") else average_name("")
    same = (n for n in carried if n.endswith(f"/{kind}") or n.startswith(kind))
    return next((n for n in same if _is_of(carried[n], weight)), None)


def _is_of(slot: Variable, weight: Variable) -> bool:
    return isinstance(slot, Carried) and slot.weight() is weight


def _may_be_of(slot: Variable, weight: Variable) -> bool:
    """Whether a slot can be this weight's: one from a file, or of a weight that is gone, does not say."""
    return not isinstance(slot, Carried) or slot.weight() is weight or slot.weight() is None


def _unused(name: str, taken: Mapping[str, Variable]) -> str:
    """The name, or the same with a number before its last part where another weight has it."""
    stem, _, last = name.rpartition("/")
    numbered = (f"{stem}_{number}/{last}" for number in itertools.count(2))
    return next(found for found in itertools.chain([name], numbered) if found not in taken)
