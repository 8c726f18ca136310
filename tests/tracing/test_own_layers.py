"""Layers with a `call` of their own: what they compute, their weights and paths, and what is refused."""

import numpy as np
import pytest

from kernelearn import Input, Model, Sequential, layers, ops
from kernelearn.errors import ArgumentError, KernelearnError, NotBuiltError, ShapeError, TracingError

X = np.random.default_rng(5).normal(size=(6, 4)).astype("float32")


class Gate(layers.Layer):
    """x * relu(dense(x)) * scale, with a penalty on the scale."""

    def __init__(self, units, **options):
        super().__init__(**options)
        self.units = units
        self.dense = layers.Dense(units)

    def build(self, input_shape):
        self.scale = self.add_weight(shape=(input_shape[-1],), initializer="ones", name="scale")

    def call(self, x, training=False):
        self.add_loss(0.1 * self.scale[0] * self.scale[0])
        return x * ops.relu(self.dense(x)) * self.scale


def gate_of(layer, x):
    kernel, bias = layer.dense.kernel.numpy(), layer.dense.bias.numpy()
    return x * np.maximum(x @ kernel + bias, 0) * layer.scale.numpy()


def test_a_layer_on_arrays_tensors_and_in_a_model():
    gate = Gate(4, name="gate")
    np.testing.assert_allclose(gate(X), gate_of(gate, X), rtol=1e-5)
    assert gate.losses == pytest.approx([0.1])
    assert [w.path for w in gate.weights] == ["gate/scale", "gate/dense/kernel", "gate/dense/bias"]
    x = Input((4,))
    model = Model(x, gate(x))
    assert model.output_shape == gate.compute_output_shape((None, 4)) == (None, 4)
    np.testing.assert_allclose(model.predict(X, verbose=0), gate_of(gate, X), rtol=1e-5)
    model.compile("sgd", "mse")
    assert model.evaluate(X, X, verbose=0) == pytest.approx(np.mean((gate(X) - X) ** 2) + 0.1, rel=1e-5)


def test_training_agrees_with_the_same_network_of_library_layers():
    x = Input((4,))
    own = Sequential([x, Gate(4)])
    start = own.get_weights()
    y = Input((4,))
    gated = layers.Multiply()([y, layers.Dense(4, activation="relu")(y)])
    plain = Model(y, gated)
    plain.set_weights(start[1:])
    for model in (own, plain):
        model.compile("sgd", "mse")
        model.fit(X, 0.5 * X, epochs=1, verbose=0, shuffle=False)
    np.testing.assert_allclose(own.get_weights()[1], plain.get_weights()[0], rtol=1e-5)
    assert not np.allclose(own.get_weights()[0], start[0])


class Moving(layers.Layer):
    """Counts its training steps and keeps the last first row."""

    def __init__(self):
        super().__init__()
        self.steps = self.add_weight(shape=(), initializer="zeros", trainable=False)

    def call(self, x, training=None):
        if training:
            self.steps.assign(self.steps + 1)
            return x + self.steps
        return x * 1.0


def test_a_state_is_assigned_at_the_end_of_a_step_and_read_at_once():
    layer = Moving()
    model = Sequential([Input((4,)), layer, layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(X, X[:, :1], batch_size=2, epochs=2, verbose=0)
    assert float(layer.steps) == 6
    model.predict(X, verbose=0)
    assert float(layer.steps) == 6
    assert layer.steps.name == "steps" and not model.layers[0].trainable_weights
    np.testing.assert_allclose(layer(X, training=True), X + 7, rtol=1e-6)


class Nested(layers.Layer):
    """Layers in lists and dicts, a weight used beside its layer, one layer twice, a functional model."""

    def __init__(self):
        super().__init__()
        self.parts = [layers.Dense(3), {"left": layers.Dense(3), "right": [layers.Dense(3)]}]
        inner = Input((3,))
        self.head = Model(inner, layers.Dense(2, name="last")(inner), name="functional")

    def call(self, inputs):
        a, b = inputs["a"], inputs["b"]
        first, rest = self.parts
        h = first(a) + first(b) + rest["left"](a) * rest["right"][0](b)
        return [self.head(h + first.bias), h]


def test_layers_are_found_wherever_they_are_kept():
    nested = Nested()
    left, h = nested({"a": X, "b": 2 * X})
    assert left.shape == (6, 2) and h.shape == (6, 3)
    kernels = [path for path in nested.weight_paths() if path.endswith("kernel")]
    inside = ["parts/0/kernel", "parts/1/left/kernel", "parts/1/right/0/kernel", "head/last/kernel"]
    assert kernels == inside and len(nested.weights) == 8
    nested.trainable = False
    assert nested.trainable_weights == [] and not nested.parts[1]["left"].trainable
    nested.trainable = True
    nested.parts[0].trainable = False
    a, b = Input((4,)), Input((4,))
    model = Model([a, b], nested({"a": a, "b": b}))
    model.compile("sgd", "mse")
    before = dict(zip(model.weight_paths(), model.get_weights()))
    model.fit([X, X], [np.zeros((6, 2)), np.zeros((6, 3))], verbose=0)
    stays = [p for p, w in model.weight_paths().items() if np.array_equal(w.numpy(), before[p])]
    assert [p.partition("/")[2] for p in stays] == ["parts/0/kernel", "parts/0/bias"]


class Several(layers.Layer):
    """Arguments one by one, one of them a number, one a keyword."""

    def build(self, x_shape, y_shape):
        self.w = self.add_weight(shape=(x_shape[-1], y_shape[-1]))

    def call(self, x, y, factor=1.0, *, extra=None):
        z = x * factor + y
        return (z, z - extra) if extra is not None else z


def test_arguments_are_those_of_call():
    layer = Several()
    np.testing.assert_allclose(layer(X, X, 3.0), 4 * X, rtol=1e-6)
    first, second = layer(X, X, extra=X)
    np.testing.assert_allclose((first, second), (2 * X, X), rtol=1e-6)
    x, y = Input((4,)), Input((4,))
    model = Model([x, y], layer(x, y, factor=2.0, extra=y))
    np.testing.assert_allclose(model.predict([X, X], verbose=0)[1], 2 * X, rtol=1e-6)


def test_a_subclass_of_a_layer_of_the_library_may_call_it():
    class Twice(layers.Dense):
        def call(self, x):
            return 2 * super().call(x)

    layer = Twice(3, use_bias=False)
    np.testing.assert_allclose(layer(X), 2 * X @ layer.kernel.numpy(), rtol=1e-5)


def test_weights_compute_like_arrays_outside_of_calls():
    gate = Gate(4)
    gate.build((None, 4))
    np.testing.assert_array_equal(2 * gate.scale - 1, np.ones(4))
    np.testing.assert_array_equal(np.exp(gate.scale) / np.ones(4), np.exp(np.ones(4, "float32")))
    np.testing.assert_array_equal(ops.relu(gate.scale[1:]), np.ones(3))


# --- refused


def _with(call, **methods):
    return type("Mine", (layers.Layer,), {"call": call, **methods})()


def _forgets_super():
    class Forgets(Model):
        def __init__(self):
            self.parts = [layers.Dense(2)]

        def call(self, x):
            return self.parts[0](x)

    return Forgets()


def _begins_late():
    class Late(Model):
        def __init__(self):
            self.dense = layers.Dense(2)
            super().__init__()

    return Late()


def _late(self, x):
    return x * self.add_weight(shape=(4,))


def _compares(self, x):
    if x[0, 0] * 1.0:
        return x
    return -x


def _makes_layers(self, x):
    return layers.Dense(3)(layers.Activation("relu")(x))


REFUSED = [
    (_begins_late, NotBuiltError, r"Late\.__init__ \(test_own_layers\.py, line \d+\).*first line"),
    (
        _forgets_super,
        NotBuiltError,
        r"Forgets\.__init__ \(test_own_layers\.py, line \d+\).*super\(\).__init__",
    ),
    (lambda: _with(lambda self, x: None), ArgumentError, r"Mine\.call .* returns None"),
    (lambda: _with(_makes_layers), ArgumentError, r"line \d+ .*Mine\.call makes a Dense, whose weights"),
    (lambda: _with(_late), ArgumentError, r"line \d+.*makes the weight 'weight' inside of Mine\.call"),
    (lambda: _with(_compares), TracingError, r"'mine.*line \d+.*called with \(n, 4\).*ops\.where"),
    (lambda: _with(lambda self, x: np.tanh(x)), TracingError, r"np\.tanh.*Use ops\.tanh there"),
    (lambda: _with(lambda self, x: x + np.ones(3)), ShapeError, r"\(n, 4\)"),
    (lambda: _with(lambda self, x: "text"), ArgumentError, "gives no tensor"),
]


@pytest.mark.parametrize(("make", "kind", "message"), REFUSED)
def test_mistakes_are_named_with_their_line(make, kind, message):
    with pytest.raises(kind, match=message):
        make()(X)
    with pytest.raises(KernelearnError, match=message):
        make()(Input((4,)))


def test_an_error_of_the_users_own_is_kept_and_located():
    with pytest.raises(KeyError) as caught:
        _with(lambda self, x: {}["missing"])(X)
    assert "called with (n, 4)" in caught.value.__notes__[0]
