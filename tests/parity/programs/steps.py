"""Trainings with a step of the user's own: `kernelearn.function` here, pure functions of JAX with Keras.

Networks and losses are written once; only the loop around them differs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.parity.programs import STEPS, normal, same_weights


@dataclass(frozen=True)
class Loop:
    """A training that is its own loop.

    Attributes:
        name, shows: as in the table.
        ours: kernelearn -> the loss of each step.
        theirs: keras, on JAX -> the same.
    """

    name: str
    shows: str
    ours: Callable[[Any], list[float]]
    theirs: Callable[[Any], list[float]]


def _generator(lib: Any) -> Any:
    layers = lib.layers
    return lib.Sequential(
        [lib.Input((3,)), layers.Dense(16, activation="relu"), layers.Dense(64), layers.Reshape((8, 8, 1))]
    )


def _critic(lib: Any) -> Any:
    layers = lib.layers
    return lib.Sequential(
        [
            lib.Input((8, 8, 1)),
            layers.Conv2D(4, 3, strides=2, activation="tanh"),
            layers.Flatten(),
            layers.Dense(1),
        ]
    )


REAL = normal(6, 8, 8, 1)
NOISE = [normal(6, 3, seed=10 + step) for step in range(STEPS)]
MIX = [np.random.default_rng(step).random((6, 1, 1, 1)) for step in range(STEPS)]


def _soft(lib: Any, logits: Any, is_real: bool) -> Any:
    return lib.ops.mean(lib.ops.softplus(-logits if is_real else logits))


class _Pure:
    """A Keras model as a function of its weights, with an optimiser, for JAX."""

    def __init__(self, model: Any, optimizer: Any) -> None:
        self.model, self.optimizer = model, optimizer
        optimizer.build(model.trainable_variables)
        self.weights = [v.value for v in model.trainable_variables]
        self.fixed = [v.value for v in model.non_trainable_variables]
        self.state = [v.value for v in optimizer.variables]

    def __call__(self, weights: Any, x: Any) -> Any:
        return self.model.stateless_call(weights, self.fixed, x, training=True)[0]

    def step(self, loss: Callable[[Any], Any]) -> float:
        import jax

        value, grads = jax.value_and_grad(loss)(self.weights)
        self.weights, self.state = self.optimizer.stateless_apply(self.state, grads, self.weights)
        return float(value)


# --- GAN


def _gan_ours(kl: Any) -> list[float]:
    generator, judge = _generator(kl), _critic(kl)
    same_weights(generator, judge)
    makes, judges = kl.optimizers.Adam(0.01), kl.optimizers.Adam(0.01)

    @kl.function
    def step(real, noise):
        fake = generator(noise, training=True)
        seen = _soft(kl, judge(real), True) + _soft(kl, judge(fake), False)
        kl.minimize(seen, optimizer=judges, variables=judge.trainable_weights)
        fooled = _soft(kl, judge(generator(noise, training=True)), True)
        kl.minimize(fooled, optimizer=makes, variables=generator.trainable_weights)
        return seen + fooled

    return [float(step(REAL, noise)) for noise in NOISE]


def _gan_theirs(keras: Any) -> list[float]:
    generator, judge = _generator(keras), _critic(keras)
    same_weights(generator, judge)
    makes = _Pure(generator, keras.optimizers.Adam(0.01))
    judges = _Pure(judge, keras.optimizers.Adam(0.01))
    found = []
    for noise in NOISE:
        fake = makes(makes.weights, noise)
        seen = judges.step(
            lambda w, fake=fake: _soft(keras, judges(w, REAL), True) + _soft(keras, judges(w, fake), False)
        )
        fooled = makes.step(lambda w, z=noise: _soft(keras, judges(judges.weights, makes(w, z)), True))
        found.append(seen + fooled)
    return found


# --- WGAN-GP: the penalty is a gradient by the images inside of the loss


def _penalty(lib: Any, slope: Any) -> Any:
    ops = lib.ops
    return ops.mean(ops.square(ops.sqrt(ops.sum(ops.square(slope), axis=(1, 2, 3)) + 1e-9) - 1))


def _wgan_ours(kl: Any) -> list[float]:
    generator, critic = _generator(kl), _critic(kl)
    same_weights(generator, critic)
    makes, judges = kl.optimizers.RMSprop(0.01), kl.optimizers.RMSprop(0.01)

    @kl.function
    def step(real, noise, mix):
        fake = generator(noise, training=True)
        between = mix * real + (1 - mix) * fake
        _, slope = kl.value_and_grad(lambda x: kl.ops.sum(critic(x)))(between)
        loss = kl.ops.mean(critic(fake)) - kl.ops.mean(critic(real)) + 10 * _penalty(kl, slope)
        kl.minimize(loss, optimizer=judges, variables=critic.trainable_weights)
        kl.minimize(
            -kl.ops.mean(critic(generator(noise, training=True))),
            optimizer=makes,
            variables=generator.trainable_weights,
        )
        return loss

    return [float(step(REAL, noise, mix)) for noise, mix in zip(NOISE, MIX)]


def _wgan_theirs(keras: Any) -> list[float]:
    import jax

    ops, generator, critic = keras.ops, _generator(keras), _critic(keras)
    same_weights(generator, critic)
    makes = _Pure(generator, keras.optimizers.RMSprop(0.01))
    judges = _Pure(critic, keras.optimizers.RMSprop(0.01))
    found = []
    for noise, mix in zip(NOISE, MIX):
        fake = makes(makes.weights, noise)
        between = mix * REAL + (1 - mix) * fake

        def loss(w, fake=fake, between=between):
            slope = jax.grad(lambda x: ops.sum(judges(w, x)))(between)
            return ops.mean(judges(w, fake)) - ops.mean(judges(w, REAL)) + 10 * _penalty(keras, slope)

        found.append(judges.step(loss))
        makes.step(lambda w, z=noise: -ops.mean(judges(judges.weights, makes(w, z))))
    return found


# --- a network that obeys a differential equation: y' = -y, y(0) = 1


TIMES = np.linspace(0, 1, 9)[:, None]


def _smooth(lib: Any) -> Any:
    return lib.Sequential([lib.Input((1,)), lib.layers.Dense(8, activation="tanh"), lib.layers.Dense(1)])


def _physics(lib: Any, y: Any, slope: Any, start: Any) -> Any:
    return lib.ops.mean(lib.ops.square(slope + y)) + lib.ops.mean(lib.ops.square(start - 1))


def _physics_ours(kl: Any) -> list[float]:
    model, optimizer = _smooth(kl), kl.optimizers.Adam(0.02)
    same_weights(model)

    @kl.function
    def step(times):
        _, slope = kl.value_and_grad(lambda t: kl.ops.sum(model(t)))(times)
        loss = _physics(kl, model(times), slope, model(0 * times))
        kl.minimize(loss, optimizer=optimizer, variables=model.trainable_weights)
        return loss

    return [float(step(TIMES)) for _ in range(STEPS)]


def _physics_theirs(keras: Any) -> list[float]:
    import jax

    model = _smooth(keras)
    same_weights(model)
    net = _Pure(model, keras.optimizers.Adam(0.02))

    def loss(w):
        slope = jax.grad(lambda t: keras.ops.sum(net(w, t)))(TIMES)
        return _physics(keras, net(w, TIMES), slope, net(w, 0 * TIMES))

    return [net.step(loss) for _ in range(STEPS)]


# --- a loop of one's own that looks for a learning rate


RATES = [0.001 * 2.0**step for step in range(STEPS)]


def _finder(lib: Any) -> list[float]:
    model = _critic(lib)
    model.compile(lib.optimizers.SGD(0.001), "mean_squared_error")
    same_weights(model)
    found = []
    for rate in RATES:
        model.optimizer.learning_rate = rate
        history = model.fit(REAL, NOISE[0][:, :1], batch_size=6, epochs=1, shuffle=False, verbose=0)
        found.append(float(history.history["loss"][0]))
    return found


# --- pictures from a network: the input is what is trained


def _dream_ours(kl: Any) -> list[float]:
    model, found, x = _critic(kl), [], REAL
    same_weights(model)
    rise = kl.value_and_grad(lambda x: kl.ops.mean(kl.ops.square(model(x))))
    for _ in range(STEPS):
        value, slope = rise(x)
        x = x + 0.5 * slope / (np.abs(slope).mean() + 1e-9)
        found.append(float(value))
    return found


def _dream_theirs(keras: Any) -> list[float]:
    import jax

    model, found, x = _critic(keras), [], REAL
    same_weights(model)
    rise = jax.value_and_grad(lambda x: keras.ops.mean(keras.ops.square(model(x))))
    for _ in range(STEPS):
        value, slope = rise(x)
        x = x + 0.5 * slope / (np.abs(slope).mean() + 1e-9)
        found.append(float(value))
    return found


LOOPS = {
    loop.name: loop
    for loop in (
        Loop("GAN", "two optimisers in one step", _gan_ours, _gan_theirs),
        Loop("WGAN-GP", "gradient of a gradient: a penalty on the slope", _wgan_ours, _wgan_theirs),
        Loop("physics", "derivative by the input in the loss", _physics_ours, _physics_theirs),
        Loop("learning rate finder", "loop around `fit`, rate set each step", _finder, _finder),
        Loop("dreaming", "gradient by the image, weights fixed", _dream_ours, _dream_theirs),
    )
}
