"""Layers of attention and products against what Keras gave: outputs and all gradients, in float64."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from kernelearn import layers, ops
from kernelearn.engine.backends import prepare
from kernelearn.engine.gradients import add_gradients
from kernelearn.engine.program import ProgramBuilder
from kernelearn.tracing import Traced, tracing
from tests.parity.attention_cases import BATCH, CASES


@cache
def golden() -> dict[str, np.ndarray]:
    with np.load(Path(__file__).with_name("golden_attention.npz")) as file:
        return dict(file)


@pytest.mark.parametrize("number", range(len(CASES)), ids=lambda n: f"{n}-{CASES[n].layer}")
def test_attention_agrees_with_keras(number):
    case = CASES[number]
    layer = getattr(layers, case.layer)(**{**case.arguments, "dtype": "float64"})
    inputs = case.inputs()
    layer(*([inputs] if case.is_list else inputs), **case.keywords())
    layer.set_weights(case.weights([w.shape for w in layer.weights]))
    graph = ProgramBuilder(dtype="float64", batch=BATCH)
    with tracing(graph):
        given = [Traced(graph, graph.input(f"x{i}", (None, *x.shape[1:]))) for i, x in enumerate(inputs)]
        result = layer(*([given] if case.is_list else given), **case.keywords())
        outputs = result if isinstance(result, list | tuple) else [result]
        target = case.target((len(inputs[0]), *outputs[0].shape[1:]))
        wanted = Traced(graph, graph.input("target", (None, *target.shape[1:])))
        loss = ops.sum(ops.square(outputs[0] - wanted))
    grads = add_gradients(graph, loss.buffer, also=tuple(x.buffer for x in given))
    names = {id(v): name for name, v in graph.variables.items()}
    buffers = [*(f"x{i}" for i in range(len(inputs))), *(names[id(w)] for w in layer.weights)]
    graph.outputs = {f"y{i}": y.buffer.name for i, y in enumerate(outputs)}
    graph.outputs |= {name: grads[name].name for name in buffers}
    feed = {f"x{i}": x for i, x in enumerate(inputs)} | {"target": target}
    found = prepare(graph.build(), graph.variables).run(feed)
    for i, (name, value) in enumerate(found.items()):
        expected = golden()[f"{number}/{i}"]
        size = max(1.0, np.abs(expected).max())
        # NOTE: Keras on JAX takes a softmax in float32 where nobody wants the weights.
        tolerance = 2e-4 if "num_heads" in case.arguments and not case.call else 1e-11
        message = f"{case.label}: {name}"
        np.testing.assert_allclose(value, expected, rtol=tolerance, atol=tolerance * size, err_msg=message)
