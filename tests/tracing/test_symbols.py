"""Functions of `ops` and Python's operators on symbolic tensors: nodes of a functional model."""

import numpy as np
import pytest

from kernelearn import Input, Model, load_model, ops
from kernelearn.errors import ArgumentError, TracingError, UnknownNameError
from kernelearn.layers import LAYERS, Dense

X = np.random.default_rng(3).normal(size=(2, 6, 5, 4)).astype("float32")
WEIGHTS = np.arange(4.0)

# What a model says -> the same in NumPy.
EXPRESSIONS = {
    "scale": (lambda x: 2 * x - 1, lambda x: 2 * x - 1),
    "reflected": (lambda x: 1 - x, lambda x: 1 - x),
    "negative": (lambda x: -x + x * x, lambda x: -x + x * x),
    "array": (lambda x: WEIGHTS * x + WEIGHTS, lambda x: WEIGHTS * x + WEIGHTS),
    "number of NumPy": (lambda x: np.float32(3) * x, lambda x: 3 * x),
    "rows": (lambda x: x[:, 1:3], lambda x: x[:, 1:3]),
    "key": (lambda x: x[..., 0, None, :], lambda x: x[..., 0, None, :]),
    "negative place": (lambda x: x[:, -1], lambda x: x[:, -1]),
    "function": (
        lambda x: ops.max_pool(ops.maximum(x, 0.5), 2, strides=(1, 2)),
        lambda x: (
            np.maximum(x, 0.5)[:, :, :4].reshape(2, 6, 2, 2, 4).max(3)[:, [range(5), range(1, 6)]].max(1)
        ),
    ),
    "keywords": (lambda x: ops.add(x1=x, x2=x), lambda x: x + x),
}


def test_a_model_of_expressions_gives_what_numpy_gives(tmp_path):
    x = Input((6, 5, 4))
    model = Model(x, {name: symbolic(x) for name, (symbolic, _) in EXPRESSIONS.items()})
    model.save(tmp_path / "m.kernelearn")
    for made in (model, model.clone(), load_model(tmp_path / "m.kernelearn")):
        got = made.predict(X, verbose=0)
        for name, (_, expected) in EXPRESSIONS.items():
            np.testing.assert_allclose(got[name], expected(X), rtol=1e-6, err_msg=name)
            assert got[name].dtype == np.float32, name


def test_operators_train(tmp_path):
    x = Input((3,))
    h = Dense(2)(x)
    model = Model(x, h * h - 0.5 * h)
    model.compile("sgd", "mse")
    before = model.get_weights()[0]
    inputs, targets = np.ones((4, 3)), np.zeros((4, 2))
    y = inputs @ before
    model.optimizer.learning_rate = 0.1
    model.fit(inputs, targets, verbose=0)
    slope = 2 * (y * y - 0.5 * y) * (2 * y - 0.5) / y.size
    np.testing.assert_allclose(model.get_weights()[0], before - 0.1 * inputs.T @ slope, rtol=1e-4)


def test_the_node_is_named_after_the_function_and_listed():
    x = Input((3,))
    y = ops.relu(x)
    assert y.node.layer.name.startswith("relu")
    config = LAYERS.serialize(y.node.layer)
    assert config["config"]["function"] == "relu" and config["config"]["arguments"] == [{"input": 0}]


def test_what_a_file_cannot_hold_is_refused():
    x = Input((3,))
    model = Model(x, ops.activation(x, "relu", None, max_value=Model))
    with pytest.raises(ArgumentError, match=r"ops\.activation was given <class"):
        model.get_config()
    with pytest.raises(UnknownNameError, match=r"function of kernelearn\.ops 'eval'"):
        LAYERS.get({"class_name": "OperationLayer", "config": {"function": "eval", "arguments": ["1"]}})


ASKED = [
    (lambda x: bool(x), r"test_symbols\.py, line \d+ .* is true.*ops\.where"),
    (lambda x: np.maximum(x, 1), r"calls np\.maximum.*Use ops\.maximum there"),
    (lambda x: np.mean(x), r"calls np\.mean on"),
    (lambda x: np.asarray(x), "makes a NumPy array of"),
    (lambda x: float(x), "one number of type float"),
    (lambda x: range(x), "one number of type int"),
    (lambda x: len(x), r"sizes are in its \.shape"),
    (lambda x: list(x), "one by one"),
    (lambda x: x.numpy(), "makes a NumPy array of"),
]


@pytest.mark.parametrize(("ask", "message"), ASKED)
def test_code_that_asks_for_numbers_is_told_its_line(ask, message):
    with pytest.raises(TracingError, match=message):
        ask(Input((6, 5, 4)))
