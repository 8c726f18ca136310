"""Small parts of the user's own: activations, rules of weights, states, metrics, several outputs."""

from typing import Any

import numpy as np

from tests.parity.programs import classes, normal, pictures, program


@program("Lambda layers and functions as rules", "activation, regulariser, constraint, initialiser", pictures)
def rules(lib: Any) -> Any:
    layers, ops = lib.layers, lib.ops

    def shrink(w):
        return w / ops.maximum(1.0, ops.sqrt(ops.sum(ops.square(w))) / 2)

    model = lib.Sequential(
        [
            lib.Input((8, 8, 2)),
            layers.Lambda(lambda x: x * 0.3 - 0.1),
            layers.Conv2D(
                4,
                3,
                activation=lambda x: x * ops.sigmoid(1.5 * x),
                kernel_regularizer=lambda w: 1e-2 * ops.sum(ops.abs(w) ** 1.5),
                kernel_constraint=shrink,
                bias_initializer=lambda shape, dtype=None: np.full(shape, 0.1),
            ),
            layers.Flatten(),
            layers.Dense(3, activation="softmax"),
        ]
    )
    model.compile(lib.optimizers.SGD(0.05), "sparse_categorical_crossentropy")
    return model


@program("own batch normalisation", "moving averages by `assign`", pictures)
def own_norm(lib: Any) -> Any:
    layers, ops = lib.layers, lib.ops

    class Norm(layers.Layer):
        def build(self, shape):
            n = (shape[-1],)
            self.gamma = self.add_weight(shape=n, initializer="ones", name="gamma")
            self.beta = self.add_weight(shape=n, initializer="zeros", name="beta")
            self.mean = self.add_weight(shape=n, initializer="zeros", trainable=False, name="mean")
            self.variance = self.add_weight(shape=n, initializer="ones", trainable=False, name="variance")

        def call(self, x, training=False):
            mean, variance = self.mean, self.variance
            if training:
                mean, variance = ops.mean(x, axis=(0, 1, 2)), ops.var(x, axis=(0, 1, 2))
                self.mean.assign(0.9 * self.mean + 0.1 * mean)
                self.variance.assign(0.9 * self.variance + 0.1 * variance)
            return (x - mean) * ops.rsqrt(variance + 1e-3) * self.gamma + self.beta

    model = lib.Sequential(
        [
            lib.Input((8, 8, 2)),
            layers.Conv2D(4, 3),
            Norm(),
            layers.Flatten(),
            layers.Dense(3, activation="softmax"),
        ]
    )
    model.compile(lib.optimizers.SGD(0.05), "sparse_categorical_crossentropy")
    return model


@program("own metric", "metric as function beside a loss", lambda: (normal(10, 4), normal(10, 2, seed=1)))
def own_metric(lib: Any) -> Any:
    ops = lib.ops

    def worst(y_true, y_pred):
        return ops.max(ops.abs(y_true - y_pred), axis=-1)

    model = lib.Sequential([lib.Input((4,)), lib.layers.Dense(6, activation="tanh"), lib.layers.Dense(2)])
    model.compile(lib.optimizers.Adam(0.02), lib.losses.Huber(0.7), metrics=[worst])
    return model


@program(
    "radial basis functions", "distances to learned points", lambda: (normal(10, 3), normal(10, 1, seed=1))
)
def radial(lib: Any) -> Any:
    ops = lib.ops

    class Radial(lib.layers.Layer):
        def build(self, shape):
            self.points = self.add_weight(shape=(5, shape[-1]), initializer="zeros", name="points")
            self.width = self.add_weight(shape=(5,), initializer="ones", name="width")

        def call(self, x):
            away = ops.sum(ops.square(x[:, None, :] - self.points[None]), axis=-1)
            return ops.exp(-away * self.width)

    model = lib.Sequential([lib.Input((3,)), Radial(), lib.layers.Dense(1)])
    model.compile(lib.optimizers.SGD(0.2), "mean_squared_error")
    return model


@program("maxout", "largest of several pieces", pictures)
def maxout(lib: Any) -> Any:
    layers, ops = lib.layers, lib.ops

    class Maxout(layers.Layer):
        def __init__(self, units, pieces, **options):
            super().__init__(**options)
            self.units, self.pieces = units, pieces
            self.all = layers.Dense(units * pieces)

        def call(self, x):
            return ops.max(ops.reshape(self.all(x), (-1, self.units, self.pieces)), axis=-1)

    model = lib.Sequential(
        [lib.Input((8, 8, 2)), layers.Flatten(), Maxout(6, 3), layers.Dense(3, activation="softmax")]
    )
    model.compile(lib.optimizers.SGD(0.05, nesterov=True, momentum=0.9), "sparse_categorical_crossentropy")
    return model


@program(
    "hypernetwork",
    "weights of one layer made by another",
    lambda: ([normal(6, 4), normal(6, 3, seed=2)], normal(6, 2, seed=1)),
)
def hypernetwork(lib: Any) -> Any:
    layers, ops = lib.layers, lib.ops
    x, task = lib.Input((4,)), lib.Input((3,))
    kernels = ops.reshape(layers.Dense(8)(task), (-1, 4, 2))
    y = ops.tanh(ops.squeeze(ops.matmul(x[:, None, :], kernels), axis=1)) + layers.Dense(2)(x)
    model = lib.Model([x, task], y)
    model.compile(lib.optimizers.Adam(0.02), "mean_squared_error")
    return model


def _two_targets() -> tuple[np.ndarray, list[np.ndarray]]:
    return normal(6, 8, 8, 2), [classes(6, 3), normal(6, 1, seed=2)]


@program("two heads", "several outputs, losses and weights of losses", _two_targets)
def two_heads(lib: Any) -> Any:
    layers, ops = lib.layers, lib.ops
    x = lib.Input((8, 8, 2))
    body = layers.Flatten()(layers.Conv2D(4, 3, strides=2, activation="elu")(x))
    kind = layers.Dense(3, activation="softmax", name="kind")(body)
    size = layers.Dense(1, name="size")(ops.square(body))
    model = lib.Model(x, [kind, size])
    model.compile(
        lib.optimizers.Adam(0.01),
        loss=["sparse_categorical_crossentropy", lambda a, b: ops.mean(ops.log(ops.cosh(a - b)), axis=-1)],
        loss_weights=[1.0, 0.3],
    )
    return model


@program("learning rate from a function", "schedule class of the user's own", pictures)
def schedule(lib: Any) -> Any:
    layers, ops = lib.layers, lib.ops

    class Warm(lib.optimizers.schedules.LearningRateSchedule):
        def __init__(self, high):
            self.high = high

        def __call__(self, step):
            return self.high * ops.minimum(1.0, (ops.cast(step, "float64") + 1.0) / 4.0)

        def get_config(self):
            return {"high": self.high}

    model = lib.Sequential([lib.Input((8, 8, 2)), layers.Flatten(), layers.Dense(3, activation="softmax")])
    model.compile(lib.optimizers.SGD(Warm(0.05)), "sparse_categorical_crossentropy")
    return model


@program("capsules", "squash and routing by agreement", pictures)
def capsules(lib: Any) -> Any:
    ops = lib.ops

    def squash(v):
        size = ops.sum(ops.square(v), axis=-1, keepdims=True)
        return v * size / (1 + size) / ops.sqrt(size + 1e-7)

    class Route(lib.layers.Layer):
        def build(self, shape):
            self.kernel = self.add_weight(shape=(shape[1], 3, shape[2], 4), initializer="ones", name="kernel")

        def call(self, x):
            votes = ops.einsum("bid,ijdk->bijk", x, self.kernel)
            logits = ops.zeros_like(votes[..., 0])
            for _ in range(2):
                share = ops.softmax(logits, axis=2)
                out = squash(ops.einsum("bij,bijk->bjk", share, votes))
                logits = logits + ops.einsum("bijk,bjk->bij", votes, out)
            return ops.norm(out + 1e-4, axis=-1)

    layers = lib.layers
    model = lib.Sequential(
        [lib.Input((8, 8, 2)), layers.Conv2D(4, 4, strides=4), layers.Reshape((4, 4)), Route()]
    )
    model.compile(
        lib.optimizers.Adam(0.01), lambda y, p: ops.mean(ops.square(ops.one_hot(y, 3) - p), axis=-1)
    )
    return model
