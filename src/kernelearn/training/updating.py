"""The end of a training step: gradients become updates of the weights.

    accumulate the gradients, clip them, take the optimiser's step, average the weights, constrain them

of which all but the step is there only where an optimiser or a weight asks for it. The order is Keras's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from kernelearn.engine.program import Buffer, ProgramBuilder
from kernelearn.engine.variable import Variable
from kernelearn.training.step import LEARNING_RATE, UPDATE

if TYPE_CHECKING:
    from kernelearn.optimizers import Optimizer

ACCUMULATED = "gradient_accumulator"


def average_name(weight: str) -> str:
    """The name, among the optimiser's arrays, of the moving average of a weight, given by its own name."""
    return f"average/{weight}"


def add_updates(
    graph: ProgramBuilder,
    grads: Mapping[str, Buffer],
    optimizer: Optimizer,
    slots: dict[str, Variable],
    multipliers: Mapping[int, float],
) -> None:
    """Update every weight that has a gradient.

    Args:
        grads: name of the weight -> its gradient.
        slots: the optimiser's arrays by name; missing ones are added.
        multipliers: id(weight) -> factor of the learning rate.
    """
    rate, step = graph.input(LEARNING_RATE, (), "float64"), graph.input(UPDATE, (), "int64")
    grads = _clipped(graph, _accumulated(graph, grads, optimizer, slots, step), optimizer)
    for name, grad in grads.items():
        weight, param = graph.variables[name], graph.buffers[name]
        graph.layer = name.rpartition("/")[0]
        carried = [
            _slot(graph, f"optimizer/{name}/{key}", slot.shape, weight.dtype, slots, slot.value)
            for key, slot in optimizer.slots(weight.shape).items()
        ]
        attrs = {**optimizer.attrs(weight), "multiplier": multipliers.get(id(weight), 1.0)}
        graph.update(optimizer.kind, (param, grad, rate, step, *carried), (param, *carried), **attrs)
        if optimizer.use_ema:
            _average(graph, param, weight, optimizer, slots, step)
        constraint = getattr(weight, "constraint", None)
        if constraint is not None:
            graph.update("constrain", (param,), (param,), **_constraint_attrs(constraint))
    graph.layer = ""


def _accumulated(
    graph: ProgramBuilder,
    grads: Mapping[str, Buffer],
    optimizer: Optimizer,
    slots: dict[str, Variable],
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
        totals[name] = _slot(graph, key, weight.shape, weight.dtype, slots)
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
    slots: dict[str, Variable],
    step: Buffer,
) -> None:
    """Follow a weight by its moving average, and put that in its place now and then."""
    average = _slot(graph, average_name(param.name), weight.shape, weight.dtype, slots)
    every, momentum = optimizer.steps_per_update, optimizer.ema_momentum
    graph.update("average_weight", (average, param, step), (average,), momentum=momentum, every=every)
    frequency = optimizer.ema_overwrite_frequency
    if frequency is not None:
        graph.update("overwrite_weight", (param, average, step), (param,), frequency=frequency, every=every)


def _constraint_attrs(constraint: Any) -> dict[str, Any]:
    if getattr(constraint, "kind", "custom") != "custom":
        return {"kind": constraint.kind, **constraint.attrs()}
    return {"kind": "custom", "custom": constraint}


def _slot(
    graph: ProgramBuilder,
    name: str,
    shape: tuple[int, ...],
    dtype: str,
    slots: dict[str, Variable],
    value: float = 0.0,
) -> Buffer:
    """An array that is carried from step to step, by its name among the optimiser's."""
    if name not in slots or slots[name].shape != tuple(shape):
        slots[name] = Variable(np.full(shape, value, dtype), name, trainable=False)
    return graph.state(name, slots[name])
