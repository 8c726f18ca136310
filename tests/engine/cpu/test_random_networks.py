"""Random networks: predictions and a training step against the float64 reference, for 1 and 3 threads.

Single kernels are tested elsewhere; here rewrites meet each other. KERNELEARN_SWEEP raises the number of
networks.
"""

import functools
import os

import numpy as np
import pytest

from kernelearn import Input, Model, layers
from kernelearn.optimizers import SGD
from tests.engine.cpu.training import Trained, check_training, trained_steps

NETWORKS = max(8, int(os.environ.get("KERNELEARN_SWEEP", "0")))


def convolution(rng: np.random.Generator, x):
    """Some layer with kernels; those that have few pixels left are padded."""
    filters, size = int(rng.choice([5, 16, 19, 32])), int(rng.choice([1, 2, 3, 3, 3, 5]))
    stride = int(rng.choice([1, 1, 1, 2]))
    padding = "same" if min(x.shape[1:3]) <= size else str(rng.choice(["same", "valid"]))
    kind = rng.random()
    if kind < 0.1:
        return layers.DepthwiseConv2D(size, strides=stride, padding=padding)(x)
    if kind < 0.2:
        return layers.Conv2DTranspose(filters, size, strides=stride, padding=padding)(x)
    if kind < 0.3:
        return layers.Concatenate()([x, layers.Conv2D(filters, size, padding="same")(x)])
    return layers.Conv2D(filters, size, strides=stride, padding=padding, use_bias=bool(rng.integers(2)))(x)


def block(rng: np.random.Generator, x):
    """A convolution and what may follow it."""
    y = convolution(rng, x)
    choices = (layers.BatchNormalization, layers.LayerNormalization, layers.PReLU, layers.ReLU, None)
    for kind in rng.choice(len(choices), 2):
        if choices[kind] is not None:
            y = choices[kind]()(y)
    if y.shape == x.shape:
        y = layers.Add()([x, y])
    if rng.random() < 0.6 and min(y.shape[1:3]) >= 4:
        pooling = layers.MaxPooling2D if rng.random() < 0.7 else layers.AveragePooling2D
        y = pooling(int(rng.choice([2, 2, 3])), strides=2, padding=str(rng.choice(["valid", "same"])))(y)
    return y


def network(seed: int) -> Model:
    rng = np.random.default_rng(seed)
    x = inputs = Input((int(rng.integers(6, 20)), int(rng.integers(6, 20)), int(rng.choice([1, 3, 16]))))
    for _ in range(rng.integers(1, 4)):
        x = block(rng, x)
    x = layers.Flatten()(x) if rng.random() < 0.5 else layers.GlobalAveragePooling2D()(x)
    return Model(inputs, layers.Dense(3)(x))


def trained(seed: int, engine: str) -> Trained:
    """Predictions, and what one step adds to the weights."""
    model = network(seed)
    rng = np.random.default_rng(seed + 1)
    images = int(rng.integers(1, 12))
    x, y = rng.normal(size=(images, *model.input_shape[1:])), rng.normal(size=(images, 3))
    for weight in model.weights:
        drawn = rng.normal(size=weight.shape)
        weight.assign(np.float32(np.abs(drawn) + 0.5 if "variance" in weight.path else 0.3 * drawn))
    model.compile(SGD(0.02), "mse", engine=engine)
    return trained_steps(model, x, y, 1)


@pytest.mark.parametrize("seed", range(NETWORKS))
def test_a_random_network_trains_as_the_reference(seed):
    check_training(functools.partial(trained, seed))
