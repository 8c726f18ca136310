"""A few random functions: gradients against central differences, and the CPU engine against the reference.

`make parity` runs ten thousand of them beside Keras; see compositions_live.py.
"""

import numpy as np
import pytest

from kernelearn import ops
from tests.parity import own_gradients
from tests.parity.compositions import compose, missing
from tests.sweeps import some

COUNT, TOGETHER = 48, 12
STEP = 1e-6


def slope(function, inputs, direction) -> float:
    """The derivative of a function of arrays along a direction, by central differences."""
    high, low = (function(*[x + s * STEP * d for x, d in zip(inputs, direction)]) for s in (1, -1))
    return float(high - low) / (2 * STEP)


@pytest.mark.parametrize("first", some(range(0, COUNT, TOGETHER), quick=[0]))
def test_gradients_are_slopes_on_both_engines(first):
    for seed in range(first, first + TOGETHER):
        made = compose(seed, ops)
        function = made.function(ops)
        graph = own_gradients.program_of(function, made.inputs, made.batched)
        value, grads = own_gradients.run(graph, made.inputs, "reference")
        native_value, native_grads = own_gradients.run(graph, made.inputs, "cpu")
        for expected, found in [(value, native_value), *zip(grads, native_grads)]:
            np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9, err_msg=made.text)
        assert value == pytest.approx(float(function(*made.inputs)), rel=1e-12, abs=1e-12), made.text
        direction = [np.random.default_rng(seed).normal(size=x.shape) for x in made.inputs]
        along = sum(float(np.sum(g * d)) for g, d in zip(grads, direction))
        is_cut = made.names & {"stop_gradient"}  # a difference sees through it
        if not is_cut:
            assert along == pytest.approx(slope(function, made.inputs, direction), rel=1e-5, abs=1e-5), (
                made.text
            )


def test_a_seed_gives_the_same_function_again():
    first, again, other = (compose(seed, ops) for seed in (7, 7, 8))
    assert first.text == again.text != other.text
    assert all(np.array_equal(a, b) for a, b in zip(first.inputs, again.inputs))


def test_every_function_of_the_table_is_there():
    assert missing(ops) == []


X = np.random.default_rng(0).normal(size=(3, 4))
PLACES, IDS = np.array([[3, 0], [1, 1], [2, 0]]), np.array([0, 1, 0])
NEED_THE_NUMBER = {
    "a number divided by": lambda x: ops.sum(ops.square(x), axis=0) / ops.shape(x)[0],
    "numbers of segments": lambda x: ops.segment_sum(ops.transpose(ops.transpose(x)), IDS, num_segments=2),
    "places for each image": lambda x: ops.take_along_axis(x, PLACES, axis=1),
}


@pytest.mark.parametrize("name", NEED_THE_NUMBER)
def test_what_needs_the_number_of_images_gets_a_program_for_it(name):
    def function(x):
        return ops.sum(ops.exp(NEED_THE_NUMBER[name](x)))

    graph = own_gradients.program_of(function, [X], batched=True)
    assert graph.batch == 3
    value, (grad,) = own_gradients.run(graph, [X], "cpu")
    assert value == pytest.approx(float(function(X)), rel=1e-12)
    direction = np.random.default_rng(1).normal(size=X.shape)
    assert np.sum(grad * direction) == pytest.approx(slope(function, [X], [direction]), rel=1e-6)
