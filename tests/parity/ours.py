"""The cases of `layer_cases.py` run by this library, to be compared with golden files and live libraries."""

import numpy as np

from kernelearn import layers
from kernelearn.engine.backends import prepare
from kernelearn.engine.gradients import add_gradients
from kernelearn.engine.program import ProgramBuilder
from tests.parity.layer_cases import BATCH, RATE, LayerCase, WarpCase


def run_layer(case: LayerCase) -> list[np.ndarray]:
    """[output, gradients of inputs, gradients of trainable weights, all weights after one step of SGD]."""
    layer = getattr(layers, case.layer)(**{**case.arguments, "dtype": "float64"})
    layer.ensure_built([(None, *shape) for shape in case.shapes])
    counted = [w for w in layer.weights if w.name != "count"]
    for weight, value in zip(counted, case.weights([w.shape for w in counted])):
        weight.assign(value)
    graph, y = _step(layer, case)
    feed = {f"input_{i}": x for i, x in enumerate(case.inputs())}
    feed |= {"ones": np.ones(BATCH), "target": case.target((BATCH, *y.shape[1:])).reshape(BATCH, -1)}
    results = prepare(graph.build(), graph.variables, "reference").run({**feed, "rate": RATE, "step": 1})
    zeros = {f"input_{i}": np.zeros_like(x) for i, x in enumerate(case.inputs())}
    inputs = [results.get(name, zero) for name, zero in zeros.items()]
    return [
        results["output"],
        *inputs,
        *[results[w.path] for w in layer.trainable_weights],
        *[w.value for w in counted],
    ]


def _step(layer, case: LayerCase):
    """The program of one step: output, loss, gradients, updates."""
    graph = ProgramBuilder(training=case.training, dtype="float64")
    inputs = [graph.input(f"input_{i}", (None, *shape)) for i, shape in enumerate(case.shapes)]
    with graph.scope(layer.name):
        y = layer.lower(graph, *inputs)
    flat = graph.add("reshape", y, shape=(None, int(np.prod(y.shape[1:]))))
    fed = [graph.input("target", flat.shape), graph.input("ones", (None,))]
    loss, _ = graph.add("loss", flat, *fed, kind="mean_squared_error", reduction="sum")
    grads = add_gradients(graph, loss, also=tuple(inputs))
    clock = graph.input("rate", ()), graph.input("step", (), "int64")
    for weight in layer.trainable_weights:
        parameter = graph.buffers[weight.path]
        graph.update("sgd_update", (parameter, grads[weight.path], *clock), (parameter,))
    graph.outputs = {"output": y.name, "loss": loss.name, **{name: g.name for name, g in grads.items()}}
    return graph, y


def run_warp(case: WarpCase) -> np.ndarray:
    """The training output of a random layer for the draws of the case."""
    layer = getattr(layers, case.layer)(**{**case.arguments, "dtype": "float64"})
    x, draws = case.inputs(), np.array(case.draws)
    layer.ensure_built([(None, *x.shape[1:])])
    graph = ProgramBuilder(training=True, dtype="float64")
    tensor, draw = graph.input("x", (None, *x.shape[1:])), graph.input("draw", (None, draws.shape[1]))
    graph.outputs = {"y": layer.change(graph, tensor, draw).name}
    return prepare(graph.build(), {}, "reference").run({"x": x, "draw": draws})["y"]
