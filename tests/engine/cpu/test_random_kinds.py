"""Random networks of other kinds: sequences, volumes, groups, holes, long windows, rows, dense, U-Nets.

Each has an optimiser of its own, and four steps; predictions and steps are compared with the float64
reference, and the weights of 1 and 3 threads bit by bit. KERNELEARN_SWEEP raises the number of networks.
"""

import functools
import os
from collections.abc import Callable

import numpy as np
import pytest

import kernelearn
from kernelearn import Input, Model, layers
from kernelearn.optimizers import SGD, Adam, AdamW, RMSprop
from tests.engine.cpu.training import Trained, check_training, trained_steps

Rng = np.random.Generator
SEEDS = max(1, int(os.environ.get("KERNELEARN_SWEEP", "0")) // 8)
FILTERS = (3, 5, 8, 16, 17, 24, 33, 40, 64)
OPTIMIZERS: tuple[Callable[[], kernelearn.optimizers.Optimizer], ...] = (
    lambda: SGD(0.01, momentum=0.9, nesterov=True),
    lambda: SGD(0.01, momentum=0.9, global_clipnorm=1.0),
    lambda: Adam(1e-3, epsilon=1e-3, clipnorm=0.5),
    lambda: AdamW(1e-3, epsilon=1e-3, weight_decay=0.1, use_ema=True),
    lambda: RMSprop(1e-3, epsilon=1e-3, gradient_accumulation_steps=2),
)


def pick(rng: Rng, values):
    return values[int(rng.integers(len(values)))]


def behind(rng: Rng, y):
    """A normalisation and an activation, or none of them."""
    norm = pick(rng, (layers.BatchNormalization, layers.LayerNormalization, layers.RMSNormalization, None))
    y = y if norm is None else norm()(y)
    return layers.Activation(pick(rng, ("relu", "gelu", "tanh", "silu", "leaky_relu", "linear")))(y)


def sequence(rng: Rng):
    x = inputs = Input((pick(rng, (7, 33, 100)), pick(rng, (1, 3, 16, 40))))
    for _ in range(2):
        taps, step = pick(rng, (2, 3, 5, 7, 8, 11, 15)), pick(rng, (1, 1, 2, 3))
        holes = pick(rng, (1, 2, 3)) if step == 1 else 1
        padding = pick(rng, ("same", "causal") if x.shape[1] <= taps * holes else ("same", "causal", "valid"))
        kept = x.shape[-1] if rng.random() < 0.4 else pick(rng, FILTERS)
        y = layers.Conv1D(kept, taps, step, padding, dilation_rate=holes)(x)
        x = layers.Add()([x, y]) if x.shape == y.shape else behind(rng, y)
    return inputs, x


def volume(rng: Rng):
    x = inputs = Input((*(pick(rng, (1, 2, 4, 7)) for _ in range(3)), pick(rng, (1, 3, 16))))
    for _ in range(2):
        taps, step = pick(rng, (1, 2, 3, 3, (1, 3, 3))), pick(rng, (1, 1, 2))
        holes = pick(rng, (1, 1, 2)) if step == 1 else 1
        x = behind(rng, layers.Conv3D(pick(rng, FILTERS), taps, step, "same", dilation_rate=holes)(x))
    return inputs, layers.MaxPooling3D(2, padding="same")(x)


def groups(rng: Rng):
    count = pick(rng, (2, 3, 4, 8))
    x = inputs = Input((pick(rng, (1, 5, 14)), 9, 3))
    x = layers.Conv2D(count * pick(rng, (1, 2, 4, 5)), 3, padding="same")(x)
    for _ in range(2):
        y = layers.Conv2D(x.shape[-1], pick(rng, (1, 3, 5)), padding="same", groups=count)(x)
        x = layers.Add()([x, behind(rng, y)])
    return inputs, x


def holes(rng: Rng):
    x = inputs = Input((13, pick(rng, (2, 9, 20)), pick(rng, (3, 16))))
    for _ in range(2):
        window, rate = pick(rng, (2, 3, 3, 5, (1, 3))), pick(rng, (2, 3, (1, 2), 4))
        x = behind(rng, layers.Conv2D(pick(rng, FILTERS), window, padding="same", dilation_rate=rate)(x))
    return inputs, x


def long_windows(rng: Rng):
    x = inputs = Input((int(rng.integers(24, 40)), int(rng.integers(24, 40)), pick(rng, (1, 3, 4))))
    for window, step in (pick(rng, ((11, 4), (7, 2), (5, 2), (9, 3))), pick(rng, ((5, 1), (7, 1), (3, 2)))):
        y = layers.Conv2D(
            pick(rng, FILTERS), window, step, pick(rng, ("same", "valid" if step > 1 else "same"))
        )(x)
        x = behind(rng, y)
    return inputs, layers.MaxPooling2D(3, 2, "same")(x)


def rows(rng: Rng):
    """A block with a depthwise convolution, a normalisation of rows, and two dense layers, and a shortcut."""
    width = pick(rng, (8, 17, 24, 33))
    inputs = Input((pick(rng, (7, 14)), 8, 3))
    x = layers.LayerNormalization()(layers.Conv2D(width, 2, 2, "same")(inputs))
    for _ in range(2):
        y = layers.LayerNormalization()(layers.DepthwiseConv2D(pick(rng, (3, 7)), padding="same")(x))
        x = layers.Add()([x, layers.Dense(width)(layers.Dense(4 * width, activation="gelu")(y))])
    return inputs, x


def dense(rng: Rng):
    x = inputs = Input((pick(rng, (3, 100, 784)),))
    for _ in range(2):
        x = behind(rng, layers.Dense(pick(rng, (5, 33, 256, 700)))(x))
    return inputs, x


def back_up(rng: Rng):
    """Down, and up again by a transposed convolution, beside what came before."""
    inputs = Input((4 * int(rng.integers(1, 5)), 8, 3))
    first = behind(rng, layers.Conv2D(pick(rng, FILTERS[:6]), 3, padding="same")(inputs))
    low = behind(rng, layers.Conv2D(pick(rng, FILTERS[:6]), 3, padding="same")(layers.MaxPooling2D(2)(first)))
    high = layers.Conv2DTranspose(pick(rng, FILTERS[:6]), pick(rng, (2, 3, 4)), 2, "same")(low)
    return inputs, layers.Conv2D(5, 3, padding="same")(layers.Concatenate()([high, first]))


KINDS = (sequence, volume, groups, holes, long_windows, rows, dense, back_up)


def trained(kind, seed: int, engine: str) -> Trained:
    """Predictions, and what four steps add to the weights."""
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    inputs, x = kind(rng)
    model = Model(inputs, layers.Dense(3)(layers.Flatten()(x)))
    images = pick(rng, (1, 2, 7, 11))
    x, y = rng.normal(size=(images, *model.input_shape[1:])), rng.normal(size=(images, 3))
    for weight in model.weights:
        drawn = rng.normal(size=weight.shape) / np.sqrt(max(1, np.prod(weight.shape[:-1])))
        weight.assign(np.float32(np.abs(drawn) + 0.5 if "variance" in weight.path else drawn))
    model.compile(pick(rng, OPTIMIZERS)(), "mse", engine=engine)
    return trained_steps(model, x, y, 4)


@pytest.mark.parametrize("seed", range(SEEDS))
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_random_network_of_a_kind_trains_as_the_reference(kind, seed):
    check_training(functools.partial(trained, kind, seed))
