"""Random networks: predictions and a training step against the float64 reference, for 1 and 3 threads.

Single kernels are tested elsewhere; here rewrites meet each other. KERNELEARN_SWEEP raises the number of
networks.
"""

import os

import numpy as np
import pytest

import kernelearn
from kernelearn import Input, Model, config, layers
from kernelearn.optimizers import SGD

NETWORKS = max(8, int(os.environ.get("KERNELEARN_SWEEP", "0")))
# A ReLU or the winner of a pooling that is a tie up to rounding changes a gradient by this much.
TOLERANCE = 2e-2


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


def trained(seed: int, dtype: str, engine: str) -> tuple[np.ndarray, list[np.ndarray]]:
    """Predictions in batches of five, and what one step adds to the weights."""
    config.set_floatx(dtype)
    model = network(seed)
    rng = np.random.default_rng(seed + 1)
    images = int(rng.integers(1, 12))
    x, y = rng.normal(size=(images, *model.input_shape[1:])), rng.normal(size=(images, 3))
    for weight in model.weights:
        drawn = rng.normal(size=weight.shape)
        weight.assign(np.float32(np.abs(drawn) + 0.5 if "variance" in weight.path else 0.3 * drawn))
    model.compile(SGD(0.02), "mse", engine=engine)
    before = model.get_weights()
    predicted = model.predict(x.astype(dtype), batch_size=5, verbose=0)
    model.train_on_batch(x.astype(dtype), y.astype(dtype))
    return predicted, [after - b for after, b in zip(model.get_weights(), before)]


@pytest.fixture(autouse=True)
def _settings():
    dtype = config.floatx()
    yield
    config.set_floatx(dtype)
    kernelearn.set_num_threads(None)


@pytest.mark.parametrize("seed", range(NETWORKS))
def test_a_random_network_trains_as_the_reference(seed):
    predicted, steps = trained(seed, "float64", "reference")
    found = []
    for threads in (1, 3):
        kernelearn.set_num_threads(threads)
        found.append(trained(seed, "float32", "cpu"))
    for one, three in zip(found[0][1], found[1][1]):
        np.testing.assert_array_equal(one, three)
    np.testing.assert_allclose(found[0][0], predicted, rtol=1e-4, atol=1e-4 * np.abs(predicted).max())
    largest = max(np.sqrt(np.mean(step**2)) for step in steps)
    for step, own in zip(steps, found[0][1]):
        error = np.sqrt(np.mean((own - step) ** 2))
        assert error <= TOLERANCE * max(np.sqrt(np.mean(step**2)), 0.01 * largest)
