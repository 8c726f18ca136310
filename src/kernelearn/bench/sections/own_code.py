"""Section "own-code": what a layer or loss costs that is written with `ops`, beside the built-in one.

Each row trains the same small network twice, once with the part of the library and once with the user's own
version of it, in turn. The last row is the time in which a LeNet with a `call` of the user's own is traced
and made ready, without compiling: what a new signature costs before its kernels.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np

import kernelearn as kl
from kernelearn import layers, ops
from kernelearn.bench.bursts import in_turn
from kernelearn.bench.suite import Bench

BATCH, CLASSES = 32, 10
# How often LeNet is traced.
TRACES = 9


class OwnBatchNorm(layers.Layer):
    """Batch normalisation as a user writes it."""

    def build(self, shape: tuple[int, ...]) -> None:
        """Scale, offset and the moving averages."""
        size = (shape[-1],)
        self.gamma = self.add_weight("gamma", size, "ones")
        self.beta = self.add_weight("beta", size, "zeros")
        self.mean = self.add_weight("mean", size, "zeros", trainable=False)
        self.variance = self.add_weight("variance", size, "ones", trainable=False)

    def call(self, x: Any, training: bool = False) -> Any:
        """Normalised by the batch in training, by the moving averages otherwise."""
        mean, variance = self.mean, self.variance
        if training:
            mean, variance = ops.mean(x, axis=(0, 1, 2)), ops.var(x, axis=(0, 1, 2))
            self.mean.assign(0.99 * self.mean + 0.01 * mean)
            self.variance.assign(0.99 * self.variance + 0.01 * variance)
        return (x - mean) * ops.rsqrt(variance + 1e-3) * self.gamma + self.beta


class OwnAttention(layers.Layer):
    """Attention of several heads through `matmul`, for rows (n, steps, width)."""

    def __init__(self, heads: int, size: int, **options: Any) -> None:
        super().__init__(**options)
        self.heads, self.size = heads, size
        self.parts = [layers.Dense(heads * size) for _ in range(3)]
        self.out = layers.Dense(heads * size)

    def _split(self, x: Any) -> Any:
        """(n, steps, heads * size) -> (n, heads, steps, size)."""
        return ops.transpose(ops.reshape(x, (-1, x.shape[1], self.heads, self.size)), (0, 2, 1, 3))

    def call(self, x: Any) -> Any:
        """Attention of x to itself."""
        q, k, v = (self._split(part(x)) for part in self.parts)
        shares = ops.softmax(ops.matmul(q, ops.swapaxes(k, -1, -2)) * self.size**-0.5)
        joined = ops.transpose(ops.matmul(shares, v), (0, 2, 1, 3))
        return self.out(ops.reshape(joined, (-1, x.shape[1], self.heads * self.size)))


class BuiltInAttention(layers.Layer):
    """The library's, of x to itself."""

    def __init__(self, heads: int, size: int, **options: Any) -> None:
        super().__init__(**options)
        self.attention = layers.MultiHeadAttention(heads, size)

    def call(self, x: Any) -> Any:
        """Attention of x to itself."""
        return self.attention(x, x)


class OwnLeNet(kl.Model):
    """LeNet with a `call` of the user's own."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = [layers.Conv2D(n, 5, padding="same") for n in (6, 16)]
        self.dense = [layers.Dense(n) for n in (120, 84, CLASSES)]

    def call(self, x: Any) -> Any:
        """Class probabilities of images."""
        for conv in self.convs:
            x = ops.max_pool(ops.tanh(conv(x)), 2)
        x = ops.reshape(x, (-1, int(np.prod(x.shape[1:]))))
        for dense in self.dense[:-1]:
            x = ops.tanh(dense(x))
        return ops.softmax(self.dense[-1](x))


def own_gelu(x: Any) -> Any:
    """x times the share of normal numbers below it."""
    return 0.5 * x * (1.0 + ops.erf(x * 0.5**0.5))


def own_crossentropy(labels: Any, logits: Any) -> Any:
    """The loss of class numbers, by logits."""
    own = ops.one_hot(ops.cast(labels, "int32"), logits.shape[-1])
    return -ops.sum(own * ops.log_softmax(logits), axis=-1)


def _images(*middle: Any, loss: Any = None) -> Any:
    """A network for 32 x 32 x 3 with a part in its middle."""
    parts = [layers.Input((32, 32, 3)), layers.Conv2D(32, 3, padding="same"), *middle]
    model = kl.Sequential([*parts, layers.GlobalAveragePooling2D(), layers.Dense(CLASSES)])
    model.compile("sgd", loss or kl.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def _classifier(loss: Any) -> Any:
    """Dense rows of 1000 classes, where the loss is a good part of a step."""
    model = kl.Sequential([layers.Input((64,)), layers.Dense(1000)])
    model.compile("sgd", loss)
    return model


def _rows(attention: Any) -> Any:
    model = kl.Sequential([layers.Input((64, 64)), attention, layers.Flatten(), layers.Dense(CLASSES)])
    model.compile("sgd", kl.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


# What is compared -> (the built-in one, one's own), each a maker of a compiled model.
PAIRS: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    "batch normalisation": (
        lambda: _images(layers.BatchNormalization()),
        lambda: _images(OwnBatchNorm()),
    ),
    "GELU": (
        lambda: _images(layers.Activation("gelu")),
        lambda: _images(layers.Activation(own_gelu)),
    ),
    "softmax cross-entropy": (
        lambda: _classifier(kl.losses.SparseCategoricalCrossentropy(from_logits=True)),
        lambda: _classifier(own_crossentropy),
    ),
    "attention": (
        lambda: _rows(BuiltInAttention(4, 16)),
        lambda: _rows(OwnAttention(4, 16)),
    ),
}


def run(bench: Bench) -> list[dict[str, Any]]:
    """Rows {"what", "built_in", "own", "ratio"} in seconds a step, and {"what", "trace"} for LeNet."""
    kl.set_num_threads(bench.settings.threads)
    try:
        rows = [_compare(bench, name) for name in PAIRS]
        bench.say("own code: tracing LeNet")
        return [*rows, {"what": "tracing of LeNet's own-code twin", "trace": median(traced_lenet())}]
    finally:
        kl.set_num_threads(None)


def _compare(bench: Bench, name: str) -> dict[str, Any]:
    bench.say(f"own code: {name}")
    steps = [_step_of(make()) for make in PAIRS[name]]
    times = in_turn(steps, bench.settings.plan.rounds)
    built_in, own = (median(row[i] for row in times) for i in (0, 1))
    return {
        "what": name,
        "built_in": built_in,
        "own": own,
        "ratio": median(b / a for a, b in times),
    }


def _step_of(model: Any) -> Callable[[], Any]:
    """One training step on random data, made ready."""
    rng = np.random.default_rng(0)
    shape = model.input_shape[1:]
    x = rng.normal(size=(BATCH, *shape)).astype("float32")
    y = rng.integers(0, CLASSES, BATCH)
    model.train_on_batch(x, y)
    return lambda: model.train_on_batch(x, y)


def traced_lenet() -> list[float]:
    """Seconds in which the training step of `OwnLeNet` is traced, several times."""
    times = []
    for _ in range(TRACES):
        model = OwnLeNet()
        # NOTE: the reference engine runs a program as it is, so nothing is compiled here.
        model.compile("sgd", "sparse_categorical_crossentropy", engine="reference")
        model.build((None, 28, 28, 1))
        start = time.perf_counter()
        model.step("train")
        times.append(time.perf_counter() - start)
    return times
