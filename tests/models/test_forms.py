"""Inputs are counted and found by name, outputs keep the form they were given in, models copy themselves."""

import copy
import json
import pickle

import numpy as np
import pytest

from kernelearn import Input, Model, Sequential, layers, optimizers
from kernelearn.callbacks import Callback
from kernelearn.errors import ArgumentError, ShapeError
from kernelearn.layers.core.base import LAYERS
from kernelearn.models import load_model

RNG = np.random.default_rng(8)
X = RNG.random((5, 3)).astype("float32")


def two_inputs():
    a, b = Input((3,), name="a"), Input((3,), name="b")
    return Model([a, b], layers.Subtract()([a, b]))


def test_a_model_counts_its_inputs():
    one = Sequential([Input((3,)), layers.Dense(2)])
    with pytest.raises(ShapeError, match=r"takes 1 input.*got 2"):
        one([X, X])
    with pytest.raises(ShapeError, match=r"takes 2 input.*got 1"):
        two_inputs()([X])
    with pytest.raises(ShapeError, match=r"takes 2 input.*got 1"):
        two_inputs()(X)
    with pytest.raises(ShapeError, match=r"takes 1 input.*got 2"):
        one([Input((3,)), Input((3,))])
    np.testing.assert_array_equal(one([X]), one(X))


def test_a_dict_gives_inputs_by_name():
    model = two_inputs()
    found = model({"b": X, "a": 3 * X})
    np.testing.assert_array_equal(found, 3 * X - X)
    with pytest.raises(ShapeError, match=r"lacks \['b'\]"):
        model({"a": X, "c": X})
    p, q = Input((3,)), Input((3,))
    outer = Model([p, q], model({"b": p, "a": q}))
    np.testing.assert_array_equal(outer.predict([X, 3 * X], verbose=0), 3 * X - X)


def with_outputs(form):
    i = Input((3,))
    first, second = layers.Dense(1)(i), layers.Dense(2)(i)
    return Model(
        i, {"list": [first, second], "tuple": (first, second), "dict": {"p": first, "q": second}}[form]
    )


@pytest.mark.parametrize("form", [list, tuple, dict])
def test_outputs_keep_their_form(tmp_path, form):
    model = with_outputs(form.__name__)
    model.save(tmp_path / "m.kernelearn")
    config = json.loads(json.dumps(LAYERS.serialize(model)))
    twins = [LAYERS.get(config), load_model(tmp_path / "m.kernelearn"), model.clone(), copy.deepcopy(model)]
    for made in (model, *twins):
        for found in (made.predict(X, verbose=0), made.predict_on_batch(X), made(X), made(Input((3,)))):
            assert type(found) is form and len(found) == 2
            parts = list(found.values()) if form is dict else found
            assert [part.shape[1:] for part in parts] == [(1,), (2,)]
    i = Input((3,))
    nested = Model(i, model(i))
    assert type(nested.predict(X, verbose=0)) is form
    assert type(LAYERS.get(LAYERS.serialize(nested)).predict(X, verbose=0)) is form


def test_a_dict_of_one_output_is_a_dict():
    i = Input((3,))
    assert list(Model(i, {"p": layers.Dense(1)(i)}).predict(X, verbose=0)) == ["p"]


def test_a_model_that_is_nothing_but_its_input():
    inner = Sequential([Input((3,))])
    np.testing.assert_array_equal(Sequential([inner]).predict(X, verbose=0), X)
    model = Sequential([inner, layers.Dense(2)])
    assert model.predict(X, verbose=0).shape == (5, 2)


# --- copies


def trained(**compile):
    model = Sequential([Input((3,)), layers.Dense(4, "relu"), layers.BatchNormalization(), layers.Dense(1)])
    options = {"optimizer": optimizers.Adam(0.01), "loss": "mse", "metrics": ["mae"], **compile}
    model.compile(engine="reference", **options)
    model.fit(X, X[:, :1], verbose=0)
    model.metadata["note"] = [1, 2]
    return model


COPIES = {
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
    "deepcopy": copy.deepcopy,
}


@pytest.mark.parametrize("way", COPIES)
def test_a_copy_trains_on_as_its_model(way):
    model = trained()
    twin = COPIES[way](model)
    assert twin.metadata == {"note": [1, 2]} and twin.engine == "reference"
    results = [m.fit(X, X[:, :1], epochs=2, seed=1, verbose=0).history for m in (model, twin)]
    assert results[0] == results[1] and model.optimizer.iterations == twin.optimizer.iterations == 3
    for a, b in zip(model.get_weights(), twin.get_weights(), strict=True):
        assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize("way", COPIES)
def test_a_copy_is_a_model_of_its_own(way):
    model = trained()
    twin = COPIES[way](model)
    before = model.get_weights()
    twin.fit(X, X[:, :1], verbose=0)
    twin.optimizer.learning_rate = 0.5
    twin.metadata["note"].append(3)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights()))
    assert model.optimizer.iterations == 1 and model.optimizer.learning_rate == 0.01
    assert model.metadata == {"note": [1, 2]}


@pytest.mark.parametrize("way", COPIES)
def test_weights_without_decay_stay_without(way):
    optimizer = optimizers.SGD(0.0, weight_decay=0.5)
    model = Sequential([Input((3,)), layers.Dense(1, bias_initializer="ones")])
    optimizer.exclude_from_weight_decay([model.layers[0].bias])
    model.compile(optimizer, "mse", engine="reference")
    twin = COPIES[way](model)
    assert not twin.optimizer.uses_weight_decay(twin.layers[0].bias)
    assert twin.optimizer.uses_weight_decay(twin.layers[0].kernel)


def test_models_that_are_not_compiled_copy_too():
    model = Sequential([layers.Dense(2)])
    assert not copy.deepcopy(model).compiled and not copy.deepcopy(model).outputs
    model.build((None, 3))
    np.testing.assert_array_equal(
        pickle.loads(pickle.dumps(model)).predict(X, verbose=0), model.predict(X, verbose=0)
    )


# --- one optimizer, one model


@pytest.mark.parametrize("rate", [0.01, lambda step: 0.01])
def test_an_optimizer_counts_the_steps_of_one_model(rate):
    def line():
        return Sequential([Input((1,)), layers.Dense(1, use_bias=False, kernel_initializer="zeros")])

    one, goal = np.ones((1, 1)), np.full((1, 1), 1000.0)
    optimizer = optimizers.Adam(rate)
    first, second = line(), line()
    first.compile(optimizer, "mae", engine="reference")
    first.fit(one, goal, epochs=3, verbose=0)
    with pytest.warns(UserWarning, match="already belongs to another model"):
        second.compile(optimizer, "mae", engine="reference")
    second.fit(one, goal, verbose=0)
    assert second.get_weights()[0].item() == pytest.approx(0.01, rel=1e-4)
    assert (first.optimizer.iterations, second.optimizer.iterations) == (3, 1)
    assert first.optimizer is optimizer and second.optimizer is not optimizer


def test_the_same_model_compiles_again_with_its_optimizer():
    model = trained()
    optimizer = model.optimizer
    model.compile(optimizer, "mae", engine="reference")
    assert model.optimizer is optimizer and optimizer.iterations == 1


# --- small things


@pytest.mark.parametrize("name", ["..", ".", "a\\b", "a\0", "a/b", "x" * 960, "\udc80"])
def test_names_that_no_file_could_hold(name):
    for make in (
        lambda: layers.Dense(1, name=name),
        lambda: Input((3,), name=name),
        lambda: Sequential(name=name),
    ):
        with pytest.raises(ArgumentError, match="name of a layer"):
            make()


def test_the_short_names_of_batch_hooks():
    class Counts(Callback):
        def __init__(self):
            super().__init__()
            self.begun = self.ended = 0

        def on_batch_begin(self, batch, logs=None):
            self.begun += 1

        def on_batch_end(self, batch, logs=None):
            self.ended += 1

    counts = Counts()
    trained().fit(X, X[:, :1], batch_size=2, verbose=0, callbacks=[counts])
    assert counts.begun == counts.ended == 3


@pytest.mark.parametrize("last", [[layers.Dense(1, "softmax")], [layers.Dense(1), layers.Softmax()]])
def test_a_softmax_over_one_unit_is_told(last):
    model = Sequential([Input((3,)), *last])
    with pytest.warns(UserWarning, match="always 1"):
        model.compile("sgd", "binary_crossentropy", engine="reference")


def test_weights_are_paired_by_name_where_the_names_are_the_same(tmp_path):
    def pair(*names):
        return Sequential([Input((4,)), *[layers.Dense(4, name=name) for name in names]])

    first, crossed, other = pair("p", "q"), pair("q", "p"), pair("r", "s")
    first.save_weights(tmp_path / "w.kernelearn")
    assert crossed.load_weights(tmp_path / "w.kernelearn") == ["q/kernel", "q/bias", "p/kernel", "p/bias"]
    other.load_weights(tmp_path / "w.kernelearn")
    for name in "pq":
        np.testing.assert_array_equal(
            crossed.get_layer(name).get_weights()[0], first.get_layer(name).get_weights()[0]
        )
    np.testing.assert_array_equal(other.layers[0].get_weights()[0], first.layers[0].get_weights()[0])
