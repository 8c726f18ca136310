"""Random networks of functions of `ops` between convolutions and dense layers: a step changes the weights
as the reference engine does. Groups of operations, and what they compute again, are of every form here.
"""

import numpy as np
import pytest

from kernelearn import Input, Model, config, layers, ops, optimizers, utils

FEW, MANY = range(8), range(8, 120)


def centred(x):
    return x - ops.mean(x, axis=-1, keepdims=True)


def standardised(x):
    axes = tuple(range(len(x.shape) - 1))
    return (x - ops.mean(x, axis=axes)) * ops.rsqrt(ops.var(x, axis=axes) + 1e-3)


def squeezed(x):
    return x * (ops.mean(ops.sigmoid(x), axis=(1, 2), keepdims=True) if len(x.shape) == 4 else ops.sigmoid(x))


ONE = (
    lambda x: x * ops.sigmoid(1.7 * x),
    ops.tanh,
    ops.square,
    lambda x: x / (1 + ops.abs(x)),
    lambda x: ops.exp(-ops.square(x)),
    lambda x: ops.where(x > 0, x, 0.1 * x * x),
    centred,
    standardised,
    ops.softplus,
    lambda x: ops.relu(x) * ops.sigmoid(x),
    lambda x: ops.sin(x) + 0.3 * x,
    lambda x: ops.log1p(ops.square(x)),
    squeezed,
    ops.silu,
    ops.gelu,
    lambda x: ops.maximum(x, 0.5 * x) - ops.minimum(x, -1.0),
)
TWO = (
    lambda a, b: a + b,
    lambda a, b: a * b,
    lambda a, b: a * ops.sigmoid(b),
    ops.maximum,
    lambda a, b: a - ops.tanh(b),
    lambda a, b: a / (1 + ops.square(b)),
)


def network(generator):
    """Two branches, then convolutions, functions, sums, normalisations and dense layers at random."""

    def one_of(things):
        return things[generator.integers(len(things))]

    def convolution(size):
        activation = one_of(ONE) if generator.random() < 0.4 else None
        return layers.Conv2D(5, size, padding="same", activation=activation)

    x = Input((6, 6, 3))
    made = [convolution(3)(x), convolution(1)(x)]
    for _ in range(generator.integers(2, 7)):
        kind, given = generator.integers(4), one_of(made)
        if kind == 0:
            made.append(convolution(int(one_of((1, 3))))(given))
        elif kind == 1:
            made.append(layers.Lambda(one_of(ONE))(given))
        elif kind == 2:
            made.append(one_of(TWO)(given, one_of(made)))
        else:
            made.append((layers.BatchNormalization() if generator.random() < 0.5 else layers.Dense(5))(given))
    joined = made[-1] + one_of(made)
    flat = (layers.Flatten() if generator.random() < 0.5 else layers.GlobalAveragePooling2D())(joined)
    hidden = one_of(ONE)(layers.Dense(7, activation=one_of(ONE))(flat))
    return Model(x, layers.Dense(4)(hidden))


def step_of(seed, engine):
    """(loss, change of every weight) of one step with a learning rate of 1: minus the gradients."""
    utils.clear_session()
    config.set_random_seed(seed)
    model = network(np.random.default_rng(seed))
    model.compile(optimizers.SGD(1.0), "mse", engine=engine)
    data = np.random.default_rng([seed, 1])
    before = model.get_weights()
    loss = model.train_on_batch(
        data.normal(size=(5, 6, 6, 3)).astype("float32"), data.normal(size=(5, 4)).astype("float32")
    )
    return float(np.ravel(loss)[0]), [new - old for old, new in zip(before, model.get_weights())]


def compare(seed):
    (expected, gradients), (loss, found) = step_of(seed, "reference"), step_of(seed, "cpu")
    assert loss == pytest.approx(expected, rel=1e-3, abs=1e-3)
    # A weight without influence, such as a bias before a normalisation, has rounding for a gradient.
    floor = 1e-4 * max(float(np.abs(gradient).max()) for gradient in gradients)
    for one, other in zip(gradients, found):
        assert np.abs(one - other).max() <= 1e-2 * np.abs(one).max() + floor


@pytest.mark.parametrize("seed", FEW)
def test_a_step_is_that_of_the_reference(seed):
    compare(seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", MANY)
def test_more_steps_are_those_of_the_reference(seed):
    compare(seed)
