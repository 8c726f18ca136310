"""Models with a `call` of their own: everything that one does with a model."""

import numpy as np
import pytest

from kernelearn import Input, Model, Sequential, layers, ops
from kernelearn.errors import ArgumentError, NotBuiltError, UnknownNameError
from tests.told import texts
from tests.tracing.test_own_layers import Gate

RNG = np.random.default_rng(2)
X = RNG.normal(size=(12, 4)).astype("float32")
Y = RNG.normal(size=(12, 3)).astype("float32")


class Net(Model):
    """Gates in a list, dropout while training, a head."""

    def __init__(self, units=3):
        super().__init__()
        self.units = units
        self.blocks = [Gate(4) for _ in range(2)]
        self.drop = layers.Dropout(0.5)
        self.head = layers.Dense(units, kernel_regularizer="l2")

    def call(self, x, training=None):
        for block in self.blocks:
            x = block(x, training=training)
        return self.head(self.drop(x, training=training))


PATHS = [
    *(f"blocks/{i}/{weight}" for i in range(2) for weight in ("scale", "dense/kernel", "dense/bias")),
    "head/kernel",
    "head/bias",
]


def test_fit_builds_the_model_and_trains_all_of_it(capsys):
    net = Net()
    net.compile("sgd", "mse", metrics=["mae"], engine="reference")
    with pytest.raises(NotBuiltError, match="no shapes yet"):
        net.step("predict")
    history = net.fit(X, Y, epochs=2, verbose=0, validation_data=(X, Y), seed=3)
    assert set(history.history) == {"loss", "mae", "val_loss", "val_mae"}
    assert list(net.weight_paths()) == PATHS
    assert net.input_shape == (None, 4) and net.output_shape == (None, 3)
    names = {b.name for b in net.program("train").weights() if b.role == "parameter"}
    assert names == set(PATHS)
    net.summary()
    table = capsys.readouterr().out
    assert "blocks/1 (Gate)" in table and "head (Dense)" in table and "(None, 3)" in table
    np.testing.assert_allclose(net.predict(X, verbose=0), net(X), rtol=1e-6)
    assert not np.allclose(net(X, training=True), net(X))
    assert net.train_on_batch(X, Y) and net.test_on_batch(X, Y)


def test_layers_are_reached_by_path_and_frozen():
    net = Net()
    net.build((None, 4))
    net.compile("sgd", "mse", engine="reference")
    assert net.get_layer("blocks/1/dense") is net.blocks[1].dense
    assert net.get_layer(f"{net.name}/blocks/0") is net.blocks[0] is net.get_layer(index=0)
    assert net.get_layer(net.head.name) is net.head
    with pytest.raises(UnknownNameError, match="'blocks/1/dense'"):
        net.get_layer("blocks/1/dance")
    net.freeze(until="blocks/0")
    before = net.get_weights()
    net.fit(X, Y, verbose=0)
    changed = [not np.array_equal(a, b) for a, b in zip(before, net.get_weights())]
    assert changed == [False] * 3 + [True] * 5


class Pair(Model):
    """Two inputs in a list, two outputs in a dict."""

    def __init__(self):
        super().__init__()
        self.a, self.b = layers.Dense(3), layers.Dense(3)

    def call(self, inputs):
        x, y = inputs
        return {"sum": self.a(x) + self.b(y), "difference": self.a(x) - self.b(y)}


def test_several_inputs_and_outputs():
    pair = Pair()
    pair.compile("sgd", {"sum": "mse", "difference": "mae"}, engine="reference")
    pair.fit([X, 2 * X], {"sum": Y, "difference": Y}, verbose=0)
    got = pair.predict([X, 2 * X], verbose=0)
    kernel, other = pair.a.kernel.numpy(), pair.b.kernel.numpy()
    expected = X @ kernel + pair.a.bias.numpy() - (2 * X @ other + pair.b.bias.numpy())
    np.testing.assert_allclose(got["difference"], expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(pair([X, 2 * X])["difference"], expected, rtol=1e-4, atol=1e-5)


class Outer(Model):
    """A model of one's own and a functional one inside, one layer shared with another model."""

    def __init__(self, shared):
        super().__init__()
        self.net, self.shared = Net(4), shared
        self.tail = Sequential([layers.Dense(3)])

    def call(self, x):
        return self.tail(self.shared(self.net(x)))


def test_own_models_in_models():
    shared = layers.Dense(4)
    outer = Outer(shared)
    x = Input((4,))
    model = Model(x, outer(shared(x)))
    model.compile("sgd", "mse", engine="reference")
    model.fit(X, Y, verbose=0)
    assert len(model.weights) == 8 + 2 + 2
    np.testing.assert_allclose(
        model.predict(X, verbose=0), outer.predict(shared(X), verbose=0), rtol=1e-4, atol=1e-6
    )
    assert model.get_layer(f"{outer.name}/net/blocks/0/dense") is outer.net.blocks[0].dense


def test_what_is_said_of_a_model_without_call():
    class Empty(Model):
        def __init__(self):
            super().__init__()

    empty = Empty()
    empty.compile("sgd", "mse")
    with pytest.raises(ArgumentError, match=r"Empty .* define call"):
        empty.fit(X, Y, verbose=0)


class Joined(Model):
    """Two batches as one, through layers that know only images; the batch against itself."""

    def __init__(self):
        super().__init__()
        conv = layers.Conv2D(3, 3, padding="same", activation="relu", kernel_initializer="he_normal")
        self.net = Sequential([conv, layers.BatchNormalization(), layers.Flatten(), layers.Dense(2)])

    def call(self, x):
        both = self.net(ops.concatenate([x, -2 * x], axis=0))
        n = ops.shape(x)[0]
        likeness = ops.matmul(both[:n], ops.transpose(both[n:]))
        self.add_loss(ops.mean(ops.square(likeness - ops.eye(n))))
        return ops.reshape(both[:n] + both[n:], (-1, 2))


def test_code_that_needs_the_number_of_images():
    images = RNG.normal(size=(6, 4, 5, 2)).astype("float32")
    first = Joined()
    first.build((None, 4, 5, 2))
    assert first.output_shape == (None, 2)
    losses = []
    for engine in ("cpu", "reference"):
        model = first.clone()
        model.compile("sgd", "mse", engine=engine)
        history = model.fit(images, np.zeros((6, 2)), batch_size=3, epochs=2, verbose=0, shuffle=False)
        losses.append(history.history["loss"])
        assert model.predict(images, batch_size=3, verbose=0).shape == (6, 2)
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)


class Recurrent(layers.Layer):
    """A state that begins with zeros for each image, and what is trained on added by the layer itself."""

    def __init__(self):
        super().__init__()
        self.step = layers.Dense(3, activation="tanh")

    def call(self, x):
        state, doubled = ops.zeros((x.shape[0], 3)), ops.zeros((2 * x.shape[0], 1))
        for t in range(x.shape[1]):
            state = self.step(ops.concatenate([x[:, t], state], axis=-1))
        self.add_loss(ops.mean(ops.square(state)) + ops.sum(doubled))
        return state


def test_the_number_of_images_from_the_shape_and_training_on_add_loss_alone():
    sequences = RNG.normal(size=(6, 3, 2)).astype("float32")
    model = Sequential([Input((3, 2)), Recurrent()])
    model.compile("adam", engine="reference")
    before = np.mean(model.predict(sequences, verbose=0) ** 2)
    history = model.fit(sequences, epochs=2, batch_size=6, verbose=0)
    assert history.history["loss"][0] == pytest.approx(before, rel=1e-4)
    assert history.history["loss"][1] < before
    nothing = Sequential([Input((3, 2)), layers.Flatten()])
    nothing.compile("adam")
    with pytest.raises(NotBuiltError, match="no layer adds one with add_loss"):
        nothing.fit(sequences, verbose=0)


class Remembering(layers.Layer):
    """Counts how often it is traced, and keeps what it saw."""

    def __init__(self):
        super().__init__()
        self.traced, self.factor = 0, 1.0

    def call(self, x):
        self.traced += 1
        self.seen = x
        return self.factor * x


def test_a_call_is_traced_once_for_each_program_and_a_setting_that_changes_is_noticed():
    layer = Remembering()
    model = Sequential([Input((4,)), layer, layers.Dense(3, use_bias=False, kernel_initializer="ones")])
    model.compile("sgd", "mse", engine="reference")
    model.fit(X, Y, batch_size=4, epochs=3, verbose=0)
    before = layer.traced
    for _ in range(3):
        model.train_on_batch(X, Y)
    assert layer.traced == before
    layer.factor = 3.0
    expected = 3 * X @ model.get_weights()[0]
    np.testing.assert_allclose(model.predict_on_batch(X), expected, rtol=1e-5)
    with pytest.warns(UserWarning, match=r"attribute 'factor' of 'remembering.*add_weight") as said:
        for number in range(12):
            layer.factor = float(number)
            model.train_on_batch(X, Y)
    assert len(texts(said)) == 1


def test_a_number_that_a_model_keeps_may_change():
    class Scaled(Model):
        def __init__(self):
            super().__init__()
            self.factor = 2.0

        def call(self, x):
            return self.factor * x

    model = Scaled()
    model.compile("sgd", "mse", engine="reference")
    assert model.evaluate(X, 2 * X, verbose=0) == 0
    model.factor = 1.0
    assert model.evaluate(X, X, verbose=0) == 0


class Bag(Model):
    """Whole numbers that choose rows of a table, beside numbers that a layer of the library takes."""

    def __init__(self):
        super().__init__()
        self.table = self.add_weight(shape=(9, 3), initializer="random_normal", name="table")
        self.dense = layers.Dense(3)

    def call(self, inputs):
        return ops.mean(ops.take(self.table, inputs["words"], axis=0), axis=1) + self.dense(inputs["words"])


def test_whole_numbers_stay_whole_numbers(tmp_path):
    words = RNG.integers(0, 9, (12, 5))
    bag = Bag()
    bag.compile("sgd", "mse", engine="reference")
    bag.fit({"words": words}, Y, verbose=0)
    assert [tensor.dtype for tensor in bag.inputs] == ["int32"] == [t.dtype for t in bag.clone().inputs]
    kernel, bias = bag.dense.kernel.numpy(), bag.dense.bias.numpy()
    expected = bag.table.numpy()[words].mean(axis=1) + words @ kernel + bias
    np.testing.assert_allclose(bag({"words": words}), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(bag.predict({"words": words}, verbose=0), expected, rtol=1e-4, atol=1e-5)
