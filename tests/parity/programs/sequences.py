"""Text and signals."""

from typing import Any

import numpy as np

from tests.parity.programs import classes, normal, program


def _text() -> tuple[np.ndarray, np.ndarray]:
    return np.random.default_rng(0).integers(0, 20, (6, 10)), classes(6, 3)


def _signal() -> tuple[np.ndarray, np.ndarray]:
    x = normal(4, 12, 2)
    return x, np.cumsum(x[..., :1], axis=1) * 0.3


@program("text CNN", "embedding, filters of several lengths", _text)
def text_cnn(lib: Any) -> Any:
    layers = lib.layers

    class TextCnn(lib.Model):
        def __init__(self):
            super().__init__()
            self.look_up = layers.Embedding(20, 5)
            self.filters = [layers.Conv1D(3, k, activation="relu") for k in (2, 3, 4)]
            self.head = layers.Dense(3, activation="softmax")

        def call(self, tokens):
            x = self.look_up(tokens)
            return self.head(lib.ops.concatenate([lib.ops.max(f(x), axis=1) for f in self.filters], axis=-1))

    model = TextCnn()
    model.compile(lib.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    return model


@program("transformer for text", "sinusoids, causal attention by hand", _text)
def transformer(lib: Any) -> Any:
    layers, ops = lib.layers, lib.ops
    places = np.arange(10)[:, None] / 10 ** (np.arange(6) / 3)
    waves = np.where(np.arange(6) % 2, np.cos(places), np.sin(places))
    allowed = np.tril(np.ones((10, 10)))

    class Attention(layers.Layer):
        def __init__(self, width, **options):
            super().__init__(**options)
            self.parts, self.out = layers.Dense(3 * width), layers.Dense(width)

        def call(self, x):
            q, k, v = ops.split(self.parts(x), 3, axis=-1)
            scores = ops.einsum("bqd,bkd->bqk", q, k) / np.sqrt(6)
            shares = ops.softmax(ops.where(allowed > 0, scores, -1e9))
            return self.out(ops.matmul(shares, v))

    x = lib.Input((10,), dtype="int64")
    y = layers.Embedding(20, 6)(x) + waves
    y = layers.LayerNormalization()(y + Attention(6)(y))
    y = layers.LayerNormalization()(y + layers.Dense(6)(layers.Dense(12, activation="relu")(y)))
    model = lib.Model(x, layers.Dense(3, activation="softmax")(ops.mean(y, axis=1)))
    model.compile(lib.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    return model


@program("WaveNet", "gated causal convolutions with skips", _signal)
def wavenet(lib: Any) -> Any:
    layers, ops = lib.layers, lib.ops

    class Gated(layers.Layer):
        def __init__(self, width, dilation, **options):
            super().__init__(**options)
            self.pair = layers.Conv1D(2 * width, 2, padding="causal", dilation_rate=dilation)
            self.mix = layers.Conv1D(2 * width, 1)

        def call(self, x):
            wave, gate = ops.split(self.pair(x), 2, axis=-1)
            stay, skip = ops.split(self.mix(ops.tanh(wave) * ops.sigmoid(gate)), 2, axis=-1)
            return x + stay, skip

    class WaveNet(lib.Model):
        def __init__(self):
            super().__init__()
            self.first, self.last = layers.Conv1D(4, 1), layers.Conv1D(1, 1)
            self.gates = [Gated(4, 2**i) for i in range(3)]

        def call(self, x):
            x, skips = self.first(x), []
            for gate in self.gates:
                x, skip = gate(x)
                skips.append(skip)
            return self.last(ops.relu(sum(skips)))

    model = WaveNet()
    model.compile(lib.optimizers.Adam(0.01), "mean_squared_error")
    return model


@program("recurrent cell by hand", "a loop over `unstack`", _signal)
def recurrent(lib: Any) -> Any:
    layers, ops = lib.layers, lib.ops

    class Gru(layers.Layer):
        def __init__(self, units, **options):
            super().__init__(**options)
            self.units, self.gates, self.new = (
                units,
                layers.Dense(2 * units, activation="sigmoid"),
                layers.Dense(units),
            )

        def call(self, x):
            state, states = ops.zeros_like(x[:, 0, :1]) * ops.ones((1, self.units)), []
            for now in ops.unstack(x, axis=1):
                keep, reset = ops.split(self.gates(ops.concatenate([now, state], axis=-1)), 2, axis=-1)
                fresh = ops.tanh(self.new(ops.concatenate([now, reset * state], axis=-1)))
                state = keep * state + (1 - keep) * fresh
                states.append(state)
            return ops.stack(states, axis=1)

    model = lib.Sequential([lib.Input((12, 2)), Gru(3), layers.Dense(1)])
    model.compile(lib.optimizers.RMSprop(0.01), "mean_absolute_error")
    return model


@program("neural ODE", "one block, many steps", lambda: (normal(8, 2), normal(8, 2, seed=1)))
def ode(lib: Any) -> Any:
    layers = lib.layers

    class Euler(layers.Layer):
        def __init__(self, **options):
            super().__init__(**options)
            self.field = lib.Sequential([layers.Dense(8, activation="tanh"), layers.Dense(2)])

        def call(self, x):
            for _ in range(5):
                middle = x + 0.1 * self.field(x)
                x = x + 0.2 * self.field(middle)
            return x

    model = lib.Sequential([lib.Input((2,)), Euler()])
    model.compile(lib.optimizers.SGD(0.1), "mean_squared_error")
    return model


@program(
    "quantile regression", "several losses in one function", lambda: (normal(10, 3), normal(10, 1, seed=1))
)
def quantiles(lib: Any) -> Any:
    ops = lib.ops
    wanted = np.array([0.1, 0.5, 0.9])

    def pinball(y_true, y_pred):
        off = y_true - y_pred
        return ops.sum(ops.maximum(wanted * off, (wanted - 1) * off), axis=-1)

    model = lib.Sequential([lib.Input((3,)), lib.layers.Dense(8, activation="softplus"), lib.layers.Dense(3)])
    model.compile(lib.optimizers.Adam(0.02), pinball)
    return model
