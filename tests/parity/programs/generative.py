"""Models that make their input again: autoencoders, and losses from inside."""

from typing import Any

import numpy as np

from tests.parity.programs import normal, program


def _images() -> np.ndarray:
    return 1 / (1 + np.exp(-normal(6, 8, 8, 1)))


@program("autoencoder", "`Model` with `compute_loss` and no targets", lambda: (_images(), None))
def autoencoder(lib: Any) -> Any:
    layers, ops = lib.layers, lib.ops

    class Autoencoder(lib.Model):
        def __init__(self):
            super().__init__()
            self.down = [layers.Conv2D(4, 3, strides=2, padding="same", activation="relu") for _ in range(2)]
            self.up = [
                layers.Conv2DTranspose(4, 3, strides=2, padding="same", activation="relu") for _ in range(2)
            ]
            self.last = layers.Conv2D(1, 3, padding="same", activation="sigmoid")

        def call(self, x):
            for layer in (*self.down, *self.up):
                x = layer(x)
            return self.last(x)

        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            return ops.mean(ops.square(x - y_pred))

    model = Autoencoder()
    model.compile(lib.optimizers.Adam(0.01))
    return model


@program(
    "denoising autoencoder", "loss of pixels as function", lambda: (_images() + normal(6, 8, 8, 1), _images())
)
def denoising(lib: Any) -> Any:
    layers, ops = lib.layers, lib.ops
    model = lib.Sequential(
        [
            lib.Input((8, 8, 1)),
            layers.Conv2D(4, 3, padding="same", activation=lambda x: ops.maximum(x, 0.1 * x)),
            layers.Conv2D(1, 3, padding="same"),
        ]
    )

    def charbonnier(y_true, y_pred):
        return ops.mean(ops.sqrt(ops.square(y_true - y_pred) + 1e-3), axis=(1, 2, 3))

    model.compile(lib.optimizers.Nadam(0.01), charbonnier)
    return model


@program(
    "VAE",
    "`add_loss` of the divergence, noise as input",
    lambda: ([_images(), normal(6, 3, seed=5)], _images()),
)
def vae(lib: Any) -> Any:
    layers, ops = lib.layers, lib.ops

    class Sample(layers.Layer):
        def call(self, mean, spread, noise):
            divergence = -0.5 * ops.sum(1 + spread - ops.square(mean) - ops.exp(spread), axis=-1)
            self.add_loss(0.01 * ops.mean(divergence))
            return mean + ops.exp(0.5 * spread) * noise

    x, noise = lib.Input((8, 8, 1)), lib.Input((3,))
    hidden = layers.Dense(16, activation="relu")(layers.Flatten()(x))
    z = Sample()(layers.Dense(3)(hidden), layers.Dense(3)(hidden), noise)
    y = layers.Reshape((8, 8, 1))(layers.Dense(64, activation="sigmoid")(z))
    model = lib.Model([x, noise], y)
    model.compile(lib.optimizers.Adam(0.005), "binary_crossentropy")
    return model


@program("masked autoencoder", "choice of patches with `where`", lambda: (_images(), None))
def masked(lib: Any) -> Any:
    layers, ops = lib.layers, lib.ops
    hidden = (np.indices((8, 8)).sum(0) % 2).reshape(8, 8, 1).astype("float64")  # every second pixel

    class Masked(lib.Model):
        def __init__(self):
            super().__init__()
            self.net = lib.Sequential(
                [layers.Conv2D(4, 3, padding="same", activation="relu"), layers.Conv2D(1, 3, padding="same")]
            )

        def build(self, shape):
            self.token = self.add_weight(shape=(1,), initializer="zeros", name="token")

        def call(self, x):
            return self.net(ops.where(hidden > 0, 1.0 * self.token, x))

        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            return ops.mean(ops.where(hidden > 0, ops.square(x - y_pred), 0.0))

    model = Masked()
    model.compile(lib.optimizers.SGD(0.1))
    return model


@program("normalising flow", "coupling layers and logarithm of a determinant", lambda: (normal(8, 4), None))
def flow(lib: Any) -> Any:
    layers, ops = lib.layers, lib.ops

    class Coupling(layers.Layer):
        def __init__(self, flip, **options):
            super().__init__(**options)
            self.flip, self.scale, self.shift = flip, layers.Dense(2, activation="tanh"), layers.Dense(2)

        def call(self, x):
            kept, changed = ops.split(ops.flip(x, axis=-1) if self.flip else x, 2, axis=-1)
            scale = self.scale(kept)
            return ops.concatenate([kept, changed * ops.exp(scale) + self.shift(kept)], -1), ops.sum(
                scale, -1
            )

    class Flow(lib.Model):
        def __init__(self):
            super().__init__()
            self.couplings = [Coupling(i % 2 == 1) for i in range(3)]

        def call(self, x):
            total = 0.0
            for coupling in self.couplings:
                x, volume = coupling(x)
                total = total + volume
            return ops.concatenate([x, total[:, None]], axis=-1)

        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            z, volume = y_pred[:, :-1], y_pred[:, -1]
            return ops.mean(0.5 * ops.sum(ops.square(z), axis=-1) - volume)

    model = Flow()
    model.compile(lib.optimizers.Adam(0.01))
    return model


@program(
    "diffusion",
    "noise schedule and time embedding",
    lambda: ([_images(), normal(6, 8, 8, 1, seed=3), np.arange(6.0)], None),
)
def diffusion(lib: Any) -> Any:
    layers, ops = lib.layers, lib.ops

    class Denoiser(lib.Model):
        def __init__(self):
            super().__init__()
            self.first, self.last = layers.Conv2D(4, 3, padding="same"), layers.Conv2D(1, 3, padding="same")
            self.time = layers.Dense(4)

        def mixed(self, image, noise, time):
            angle = (0.1 + 0.2 * time)[:, None, None, None]
            return ops.cos(angle) * image + ops.sin(angle) * noise

        def call(self, inputs):
            image, noise, time = inputs
            phases = time[:, None] * ops.exp(-ops.arange(4, dtype="float64"))
            embedded = self.time(ops.concatenate([ops.sin(phases), ops.cos(phases)], axis=-1))
            y = ops.silu(self.first(self.mixed(image, noise, time)) + embedded[:, None, None, :])
            return self.last(y)

        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            return ops.mean(ops.square(x[1] - y_pred))

    model = Denoiser()
    model.compile(lib.optimizers.Adam(0.01))
    return model
