"""A train_step of one's own in shards: updates are those of means over shards, whoever computes them."""

import threading

import numpy as np
import pytest

import kernelearn as kl
from kernelearn import layers, ops
from kernelearn.errors import ArgumentError
from tests.parallel.threads import as_processes

ROWS = 26
X = np.random.default_rng(0).normal(size=(ROWS, 6, 6, 1)).astype("float32")
Y = np.arange(ROWS) % 3
LOSS = kl.losses.SparseCategoricalCrossentropy(from_logits=True)
lock = threading.Lock()


class Base(kl.Model):
    """A small network, whose step a subclass writes."""

    parts = ()

    def __init__(self):
        super().__init__()
        self.conv, self.flat = layers.Conv2D(3, 3, activation="tanh"), layers.Flatten()
        self.between = [make() for make in self.parts]
        self.head = layers.Dense(3, kernel_regularizer="l2")
        self.seen = kl.metrics.Mean(name="seen")

    def call(self, x):
        x = self.conv(x)
        for layer in self.between:
            x = layer(x)
        return self.head(self.flat(x))

    def loss_of(self, data):
        x, y = data
        return LOSS(y, self(x, training=True)) + ops.sum(self.losses[0])


class Plain(Base):
    def train_step(self, data):
        loss = kl.minimize(self.loss_of(data), self.optimizer, self.trainable_weights)
        return {"loss": loss}


class InParts(Base):
    """Gradients that the code changes: by their whole norm."""

    def train_step(self, data):
        compute = kl.value_and_grad(lambda: self.loss_of(data), variables=self.trainable_weights)
        loss, gradients = compute()
        norm = ops.sqrt(sum(ops.sum(ops.square(g)) for g in gradients))
        scaled = [g / (1.0 + 10.0 * norm) for g in gradients]
        self.optimizer.apply_gradients(zip(scaled, self.trainable_weights))
        return {"loss": loss, "norm": norm}


class Twice(Base):
    """Two updates; the second one sees the weights that the first has made."""

    def train_step(self, data):
        first = kl.minimize(self.loss_of(data), self.optimizer, self.trainable_weights)
        second = kl.minimize(self.loss_of(data), self.optimizer, self.trainable_weights)
        return {"loss": second, "first": first}


class Random(Base):
    """Dropout, statistics of batches, metrics, logs with a row an image."""

    parts = (layers.BatchNormalization, lambda: layers.Dropout(0.4))

    def train_step(self, data):
        x, y = data
        guess = self(x + 0.1 * kl.random.normal(ops.shape(x)), training=True)
        loss = kl.minimize(LOSS(y, guess), self.optimizer, self.trainable_weights)
        self.seen.update_state(ops.mean(guess, axis=-1))
        return {"loss": loss, "seen": self.seen.result(), **self.compute_metrics(x, y, guess)}


class Synchronized(Base):
    parts = (lambda: layers.BatchNormalization(synchronized=True),)
    train_step = Plain.train_step


class Usual(Base):
    """The step that every model has, with the model's own metrics."""

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        self.seen.update_state(ops.mean(y_pred))
        return {"seen": self.seen.result()}


class Adversaries(kl.Model):
    """Two networks with an optimiser each; the second update reads what the first has changed."""

    def __init__(self):
        super().__init__()
        self.critic = kl.Sequential([layers.Flatten(), layers.Dense(4, activation="tanh"), layers.Dense(1)])
        self.maker = kl.Sequential([layers.Dense(36, activation="tanh"), layers.Reshape((6, 6, 1))])
        self.slow = kl.optimizers.Adam(1e-3)

    def call(self, x):
        return self.critic(x)

    def train_step(self, data):
        x, _ = data
        noise = kl.random.normal((ops.shape(x)[0], 5))
        made = self.maker(noise, training=True)

        def smooth(x):
            return ops.mean(ops.square(kl.grad(lambda x: ops.sum(self.critic(x)))(x)))

        critical = ops.mean(self.critic(made)) - ops.mean(self.critic(x)) + 10.0 * smooth(x)
        kl.minimize(critical, self.slow, self.critic)
        loss = kl.minimize(-ops.mean(self.critic(made)), self.optimizer, self.maker)
        return {"loss": loss, "critical": critical}


MODELS = [Plain, InParts, Twice, Random, Synchronized, Usual, Adversaries]


def built(kind, shards, optimizer="adam", **options):
    """A compiled model whose weights are there: threads would draw from one seed in any order."""
    with lock:
        kl.set_random_seed(1)
        model = kind()
        model.build((None, 6, 6, 1))
        if kind is Adversaries:
            model.maker.build((None, 5))
        model.compile(optimizer, LOSS, metrics=["accuracy"], shards=shards, **options)
    return model


def trained(kind, shards, rows=ROWS, optimizer="adam", **options):
    """(weights, history) after two epochs, the last batch of which is short."""
    model = built(kind, shards, optimizer, **options)
    history = model.fit(X[:rows], Y[:rows], batch_size=8, epochs=2, seed=3, verbose=0)
    return model.get_weights(), history.history


def bits(found):
    weights, history = found
    return b"".join(w.tobytes() for w in weights), sorted(history.items())


@pytest.mark.parametrize("kind", MODELS)
def test_any_number_of_processes_gives_the_same_bits(kind):
    alone = bits(trained(kind, 6))
    assert as_processes(2, lambda: bits(trained(kind, 6))) == [alone] * 2
    assert as_processes(3, lambda: bits(trained(kind, 6))) == [alone] * 3


@pytest.mark.parametrize("kind", [Plain, InParts, Twice, Synchronized, Usual])
def test_shards_give_what_the_whole_batch_gives(kind):
    """But for rounding: nothing in these steps depends on which images are together."""
    for shards in (2, 5):
        found, whole = trained(kind, shards, optimizer="sgd"), trained(kind, None, optimizer="sgd")
        for one, other in zip(found[0], whole[0]):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
        assert found[1].keys() == whole[1].keys()
        for name in whole[1].keys() - {"seen"}:
            np.testing.assert_allclose(found[1][name], whole[1][name], rtol=1e-4)


def test_a_step_of_ones_own_does_what_the_usual_one_does():
    """The same network in shards, by the two ways that a step in shards goes."""

    class Compiled(Base):
        pass

    ours, usual = trained(Plain, 4), trained(Compiled, 4)
    for one, other in zip(ours[0], usual[0]):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_a_loss_that_is_no_number_changes_nothing():
    class Broken(Base):
        def train_step(self, data):
            x, y = data
            loss = LOSS(y, self(x, training=True)) + ops.mean(ops.log(x - x - 1.0))
            return {"loss": kl.minimize(loss, self.optimizer, self.trainable_weights)}

    model = built(Broken, 4)
    before = model.get_weights()
    logs = model.train_on_batch(X[:8], Y[:8], return_dict=True)
    assert not np.isfinite(logs["loss"])
    assert int(model.optimizer.iterations) == 0
    for one, other in zip(before, model.get_weights()):
        np.testing.assert_array_equal(one, other)


class ByImage(Base):
    """Updates from gradients that are multiplied with something of the images."""

    def train_step(self, data):
        x, _ = data
        loss, gradients = kl.value_and_grad(lambda: self.loss_of(data), variables=self.trainable_weights)()
        factor = ops.sum(ops.mean(x, axis=(1, 2, 3)) * ops.mean(gradients[-1]))
        self.optimizer.apply_gradients(zip([g * factor for g in gradients], self.trainable_weights))
        return {"loss": loss}


class Counting(Base):
    def train_step(self, data):
        x, _ = data
        loss = kl.minimize(self.loss_of(data), self.optimizer, self.trainable_weights)
        return {"loss": loss, "bright": ops.sum(ops.cast(ops.mean(x, axis=(1, 2, 3)) > 0, "int32"))}


def test_what_has_no_mean_is_refused():
    with pytest.raises(ArgumentError, match="differ between shards, which have no mean"):
        trained(Counting, 4)


def test_rounded_transport_is_refused():
    with pytest.raises(ArgumentError, match="train_step of its own, whose gradients transport"):
        trained(Plain, 4, transport="bfloat16")


def test_an_inner_step_is_that_of_the_shard():
    """A gradient from which images are computed stays inside of the shard; the outer one is whole."""
    alone = bits(trained(ByImage, 6))
    assert as_processes(2, lambda: bits(trained(ByImage, 6))) == [alone] * 2
