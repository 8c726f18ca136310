"""Gradients of cross-entropies and normalisations, and what is said of wrong arguments."""

import numpy as np
import pytest

from kernelearn import ops
from kernelearn.engine.backends import prepare
from kernelearn.engine.gradients import add_gradients
from kernelearn.engine.program import ProgramBuilder
from kernelearn.errors import ArgumentError, ShapeError
from kernelearn.tracing import Traced, tracing
from tests.ops.examples_networks import NETWORKS


@pytest.mark.parametrize("example", [e for e in NETWORKS if e.arrays[-1].dtype == "float32"], ids=str)
def test_gradients_are_differences(example):
    """Of a weighted sum of the results by the last array."""
    function = getattr(ops, example.name)
    *others, x = [a.astype("float64") if a.dtype.kind == "f" else a for a in example.arrays]
    graph = ProgramBuilder(dtype="float64")
    with tracing(graph):
        given = [graph.input(f"x{i}", (None, *a.shape[1:]), a.dtype.name) for i, a in enumerate((*others, x))]
        buffer = given[-1]
        y = example.call(function, *[Traced(graph, one) for one in given])
        weights = np.random.default_rng(1).normal(size=(1, *y.shape[1:]))
        loss = ops.sum(y * weights)
    graph.outputs = {"g": add_gradients(graph, loss.buffer, (buffer,))[buffer.name].name}
    inputs = {f"x{i}": a for i, a in enumerate((*others, x))}
    slope = prepare(graph.build(), graph.variables, "reference").run(inputs)["g"]
    direction, step = np.random.default_rng(2).normal(size=x.shape), 1e-7
    ends = [(example.call(function, *others, x + s * direction) * weights).sum() for s in (step, -step)]
    np.testing.assert_allclose((slope * direction).sum(), (ends[0] - ends[1]) / (2 * step), rtol=1e-5)


def test_saturated_probabilities_stay_finite():
    target, output = np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])
    largest = -np.log(1e-7)
    np.testing.assert_allclose(ops.categorical_crossentropy(target, output), [largest])
    np.testing.assert_allclose(ops.sparse_categorical_crossentropy([0], output), [largest])
    np.testing.assert_allclose(ops.binary_crossentropy(target, output), [[largest, largest]], rtol=1e-6)
    np.testing.assert_array_equal(ops.binary_crossentropy([1.0], [1000.0], from_logits=True), [0.0])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: ops.categorical_crossentropy(np.ones(3), np.ones((2, 3))), ShapeError, "one shape"),
        (lambda: ops.binary_crossentropy(np.ones(3), np.ones(2)), ShapeError, "one shape"),
        (lambda: ops.sparse_categorical_crossentropy([[0, 1, 1]], np.ones((1, 3))), ShapeError, "do not fit"),
        (lambda: ops.sparse_categorical_crossentropy([3], np.ones((1, 3))), ArgumentError, "Index 3 is out"),
        (lambda: ops.depth_to_space(np.ones((1, 2, 2, 6)), 2), ShapeError, "multiple of 4 channels"),
        (lambda: ops.space_to_depth(np.ones((1, 3, 2, 6)), 2), ShapeError, "that 2 divides"),
        (lambda: ops.depth_to_space(np.ones((2, 2, 4)), 2), ShapeError, "four axes"),
        (lambda: ops.normalize([1.0], order=0), ArgumentError, "order must be"),
        (lambda: ops.glu([1.0, 2.0, 3.0]), ShapeError, "2 equal parts"),
    ],
)
def test_messages(call, error, message):
    with pytest.raises(error, match=message):
        call()
