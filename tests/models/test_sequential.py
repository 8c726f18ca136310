"""`Sequential`: when its weights are made, how it grows and shrinks, and what it refuses."""

import contextlib
import io

import numpy as np
import pytest

from kernelearn import Input, Model, Sequential, layers, utils
from kernelearn.errors import ArgumentError, NotBuiltError, ShapeError
from tests.rounding import assert_same_but_for_rounding

ISSUE = """
from kernelearn import Sequential
from kernelearn.layers import Conv2D
model = Sequential()
model.add(Conv2D(12, kernel_size=3, input_shape=(25, 25, 1)))
weights = model.get_weights()
print(weights[0].shape)
print(weights[1])
"""


def test_the_first_lines_of_a_new_user():
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(ISSUE, {})
    assert out.getvalue() == "(3, 3, 1, 12)\n[0. 0. 0. 0. 0. 0. 0. 0. 0. 0. 0. 0.]\n"


def small(first=()):
    return Sequential([*first, layers.Conv2D(2, 3), layers.Flatten(), layers.Dense(3)])


@pytest.mark.parametrize("first", [Input((6, 6, 1)), Input((6, 6, 1)).node.layer], ids=["tensor", "layer"])
def test_an_input_first_gives_the_shape(first):
    model = small([first])
    assert model.built and model.input_shape == (None, 6, 6, 1) and model.output_shape == (None, 3)
    assert [w.shape for w in model.get_weights()] == [(3, 3, 1, 2), (2,), (32, 3), (3,)]
    assert [type(layer).__name__ for layer in model.layers] == ["Conv2D", "Flatten", "Dense"]


def test_a_model_without_a_shape_waits_for_build():
    model = small()
    assert not model.built and model.get_weights() == []
    with pytest.raises(NotBuiltError, match=r"input_shape or call build"):
        _ = model.output
    model.build((None, 6, 6, 1))
    assert model.output_shape == (None, 3) and len(model.get_weights()) == 4
    model.build((None, 9, 9, 1))
    assert model.input_shape == (None, 6, 6, 1), "a model that has a shape keeps it"


def test_the_first_data_give_the_shape():
    x, y = np.ones((4, 6, 6, 1), "float32"), np.zeros((4, 3), "float32")
    fitted, predicted = small(), small()
    fitted.compile("sgd", "mse")
    fitted.fit(x, y, verbose=0)
    assert fitted.input_shape == (None, 6, 6, 1) and fitted.optimizer.iterations == 1
    assert predicted.predict(x, verbose=0).shape == (4, 3)


def test_a_deferred_model_equals_one_that_was_told_its_shape():
    utils.set_random_seed(3)
    told = small([Input((6, 6, 1))])
    utils.set_random_seed(3)
    deferred = small()
    deferred.build((None, 6, 6, 1))
    for a, b in zip(told.get_weights(), deferred.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_sequential_starts_another_one():
    inner = Sequential([layers.Conv2D(2, 3, input_shape=(6, 6, 1))])
    outer = Sequential([inner, layers.Flatten(), layers.Dense(3)])
    assert outer.output_shape == (None, 3) and outer.weights[0] is inner.weights[0]
    deferred = Sequential([Sequential([layers.Conv2D(2, 3)]), layers.Flatten()])
    deferred.build((None, 6, 6, 1))
    assert deferred.output_shape == (None, 32)
    x = np.random.default_rng(0).random((2, 6, 6, 1), "float32")
    one_by_one = outer.layers[2](outer.layers[1](inner(x)))
    assert_same_but_for_rounding(outer.predict(x, verbose=0), one_by_one, 200)


def test_pop_takes_the_last_layer_and_another_may_follow():
    model = small([Input((6, 6, 1))])
    x = np.random.default_rng(0).random((2, 6, 6, 1), "float32")
    model.compile("sgd", "mse")
    before = model.predict(x, verbose=0)
    dense = model.pop()
    assert isinstance(dense, layers.Dense) and model.output_shape == (None, 32)
    assert model.predict(x, verbose=0).shape == (2, 32)
    model.add(dense)
    np.testing.assert_array_equal(model.predict(x, verbose=0), before)
    model.pop()
    model.add(layers.Dense(5))
    model.fit(x, np.zeros((2, 5)), verbose=0)
    assert model.output_shape == (None, 5)


def test_pop_down_to_nothing_and_begin_again():
    model = small([Input((6, 6, 1))])
    for _ in range(3):
        model.pop()
    assert model.layers == [] and model.get_weights() == []
    with pytest.raises(ArgumentError, match="no layer to remove"):
        model.pop()
    model.add(layers.Flatten())
    assert model.output_shape == (None, 36)


def test_names_are_unique():
    model = Sequential([layers.Dense(2, name="a")])
    with pytest.raises(ArgumentError, match="'a' is already used"):
        model.add(layers.Dense(2, name="a"))
    same = layers.Dense(2)
    with pytest.raises(ArgumentError, match="must be unique"):
        Sequential([same, same])
    assert len(model.layers) == 1


def test_automatic_names_are_those_of_keras():
    utils.clear_session()
    made = [layers.Conv2D(2, 3), layers.Conv2D(2, 3), layers.ReLU(), layers.MaxPooling2D(), layers.Flatten()]
    assert [layer.name for layer in Sequential([Input((9, 9, 1)), *made]).layers] == [
        "conv2d",
        "conv2d_1",
        "re_lu",
        "max_pooling2d",
        "flatten",
    ]


@pytest.mark.parametrize("wrong", [3, "dense", layers.Dense, None])
def test_only_layers_are_added(wrong):
    with pytest.raises(ArgumentError, match="takes a layer"):
        Sequential().add(wrong)


def test_an_input_comes_first_and_once():
    with pytest.raises(ArgumentError, match="already given"):
        Sequential([Input((4,)), Input((4,))])
    model = Sequential([layers.Dense(2)])
    with pytest.raises(ArgumentError, match=r"Input must be added before"):
        model.add(Input((4,)))


def test_a_layer_that_does_not_fit_is_named_and_not_added():
    model = Sequential([Input((4, 4, 1)), layers.Flatten()])
    with pytest.raises(ShapeError, match="wrong"):
        model.add(layers.Conv2D(2, 3, name="wrong"))
    assert [type(layer).__name__ for layer in model.layers] == ["Flatten"]
    model.add(layers.Dense(2, name="right"))
    assert model.output_shape == (None, 2)


def test_a_config_makes_an_equal_model():
    for model in (small(), small([Input((6, 6, 1))]), small([Input((6, 6, 1))]).clone()):
        twin = Sequential.from_config(model.get_config())
        assert twin.get_config() == model.get_config()
        assert [w.shape for w in twin.weights] == [w.shape for w in model.weights]


def test_a_clone_has_its_own_weights():
    model = small([Input((6, 6, 1))])
    twin = model.clone()
    for a, b in zip(model.weights, twin.weights, strict=True):
        np.testing.assert_array_equal(a, b)
        assert a is not b
    twin.set_weights([w + 1 for w in twin.get_weights()])
    assert not np.array_equal(twin.get_weights()[0], model.get_weights()[0])


def test_layers_by_name_and_index():
    model = small([Input((6, 6, 1))])
    assert model.get_layer(index=-1) is model.layers[2]
    assert model.get_layer(model.layers[0].name) is model.layers[0]
    with pytest.raises(ArgumentError, match="none at index 3"):
        model.get_layer(index=3)
    with pytest.raises(ValueError, match="Unknown layer 'nothing'"):
        model.get_layer("nothing")
    with pytest.raises(ArgumentError, match="either a name or an index"):
        model.get_layer()


def test_a_model_between_layers_of_a_sequential():
    model = small([Input((6, 6, 1))])
    features = Model(model.inputs, model.layers[1].output)
    x = np.random.default_rng(0).random((2, 6, 6, 1), "float32")
    flat, (kernel, bias) = features.predict(x, verbose=0), model.get_weights()[2:]
    magnitude = np.abs(flat) @ np.abs(kernel) + np.abs(bias)
    assert_same_but_for_rounding(
        flat @ kernel + bias, model.predict(x, verbose=0), len(kernel) + 1, magnitude
    )
