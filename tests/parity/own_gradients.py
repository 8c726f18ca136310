"""Value and gradients of a user's function, by this library, in float64 on either engine.

The function is traced into a program as in `Model.compute_loss`; where it needs the number of images, the
program is made for that number.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kernelearn.engine.backends import prepare
from kernelearn.engine.gradients import add_gradients
from kernelearn.engine.program import ProgramBuilder
from kernelearn.tracing import BatchSizeNeeded, Traced, tracing

Answer = tuple[float, list[np.ndarray]]


def program_of(function: Callable[..., Any], inputs: Sequence[np.ndarray], batched: bool) -> ProgramBuilder:
    """A program with the function's value and the gradient of every input."""
    try:
        return _traced(function, inputs, batched, None)
    except BatchSizeNeeded:
        return _traced(function, inputs, batched, len(inputs[0]))


def _traced(
    function: Callable[..., Any], inputs: Sequence[np.ndarray], batched: bool, images: int | None
) -> ProgramBuilder:
    graph = ProgramBuilder(training=True, dtype="float64")
    graph.batch = images
    shapes = [(None, *x.shape[1:]) if batched and i == 0 else x.shape for i, x in enumerate(inputs)]
    given = [graph.input(f"x{i}", shape) for i, shape in enumerate(shapes)]
    with tracing(graph):
        loss = function(*[Traced(graph, buffer) for buffer in given]).buffer
        grads = add_gradients(graph, loss, also=tuple(given))
    graph.outputs = {"value": loss.name, **{b.name: grads[b.name].name for b in given if b.name in grads}}
    return graph


def run(graph: ProgramBuilder, inputs: Sequence[np.ndarray], engine: str) -> Answer:
    """The value, and the gradient of each input (zeros where the value does not depend on it)."""
    results = prepare(graph.build(), graph.variables, engine).run({f"x{i}": x for i, x in enumerate(inputs)})
    grads = [np.asarray(results.get(f"x{i}", np.zeros_like(x))) for i, x in enumerate(inputs)]
    return float(results["value"]), grads
