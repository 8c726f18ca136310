"""Saving own layers and models: registered names, derived configs, what is refused before writing."""

import copy
import json
import pickle

import numpy as np
import pytest

from kernelearn import Input, Model, Sequential, layers, load_model, ops, saving
from kernelearn.errors import ArgumentError, FormatError, UnknownNameError
from kernelearn.layers import LAYERS

X = np.random.default_rng(1).normal(size=(5, 4)).astype("float32")


@saving.register(package="tests")
def bend(x):
    return ops.relu(x) - 0.1 * x


@saving.register(package="tests")
class Bent(layers.Layer):
    """Its arguments are a number, a function, a layer, an array; none is kept under its name."""

    def __init__(self, units, function, then=None, offset=None, **options):
        super().__init__(**options)
        self.dense = layers.Dense(units)
        self.apply, self.last, self.shift = function, then, offset

    def call(self, x, factor=1.0):
        y = factor * self.apply(self.dense(x)) + self.shift
        return self.last(y) if self.last is not None else y


@saving.register(package="tests")
class Net(Model):
    """Its constructor hands on what a model takes."""

    def __init__(self, units=3, **options):
        super().__init__(**options)
        self.bent = Bent(units, bend, layers.Dense(2, kernel_regularizer="l2"), np.arange(float(units)))

    def call(self, inputs):
        return {"out": self.bent(inputs["x"]), "twice": 2 * inputs["x"]}


def functional():
    x = Input((4,))
    return Model(x, layers.Dense(1)(Bent(3, bend, offset=np.ones(3), name="bent")(x, factor=2.0)))


def own():
    net = Net(units=4, name="net")
    net.build({"x": (None, 4)})
    return net


@pytest.mark.parametrize(("make", "x"), [(functional, X), (own, {"x": X})])
def test_a_model_comes_back_from_a_file_a_clone_a_pickle_and_a_copy(make, x, tmp_path):
    model = make()
    model.compile("adam", "mse")
    targets = np.zeros((5, 1)) if make is functional else {"out": np.zeros((5, 2)), "twice": X}
    model.fit(x, targets, verbose=0)
    model.save(tmp_path / "model.kernelearn")
    loaded = load_model(tmp_path / "model.kernelearn")
    twins = [loaded, model.clone(), pickle.loads(pickle.dumps(model)), copy.deepcopy(model)]
    for twin in twins:
        assert twin.name == model.name and list(twin.weight_paths()) == list(model.weight_paths())
        for got, expected in zip(_parts(twin.predict(x, verbose=0)), _parts(model.predict(x, verbose=0))):
            np.testing.assert_array_equal(got, expected)
    model.fit(x, targets, verbose=0, seed=1)
    loaded.fit(x, targets, verbose=0, seed=1)
    for got, expected in zip(loaded.get_weights(), model.get_weights()):
        np.testing.assert_array_equal(got, expected)


def _parts(value):
    return list(value.values()) if isinstance(value, dict) else [value]


def test_the_config_says_how_the_constructor_was_called():
    made = Bent(3, bend, offset=np.ones(2), name="mine", trainable=False)
    config = json.loads(json.dumps(LAYERS.serialize(made)))
    assert config["class_name"] == "tests>Bent"
    assert config["config"]["units"] == 3 and config["config"]["function"] == {"function": "tests>bend"}
    again = LAYERS.get(config)
    assert again.name == "mine" and not again.trainable and again.apply is bend
    np.testing.assert_array_equal(again.shift, np.ones(2))


class Unknown(layers.Layer):
    def call(self, x):
        return x + 1


def test_what_is_not_registered_is_refused_before_anything_is_written(tmp_path):
    model = Sequential([Input((4,)), Unknown(), layers.Dense(2)])
    path = tmp_path / "model.kernelearn"
    with pytest.raises(ArgumentError, match=r"Unknown is not registered.*save_weights\(path\)"):
        model.save(path)
    assert list(tmp_path.iterdir()) == []
    model.save_weights(path)
    twin = model.clone()
    twin.set_weights([np.zeros_like(w) for w in twin.get_weights()])
    twin.load_weights(path)
    np.testing.assert_array_equal(twin.predict(X, verbose=0), model.predict(X, verbose=0))
    assert pickle.loads(pickle.dumps(model)).predict(X, verbose=0).shape == (5, 2)


def test_an_unregistered_name_in_a_file_runs_nothing(tmp_path):
    model, path = Sequential([Input((4,)), Unknown()]), tmp_path / "model.kernelearn"
    with saving.custom_object_scope({"far>Unknown": Unknown}):
        model.save(path)
    with pytest.raises(UnknownNameError, match=r"'far>Unknown' is not registered.*package='far'"):
        load_model(path)
    loaded = load_model(path, custom_objects={"Unknown": Unknown})
    np.testing.assert_array_equal(loaded.predict(X, verbose=0), X + 1)


def test_arguments_that_no_file_can_hold_are_named(tmp_path):
    model = Sequential([Input((4,)), Bent(3, lambda x: x, offset=np.ones(3))])
    with pytest.raises(ArgumentError, match=r"Bent\(\.\.\.\), as function, was given <function"):
        model.save(tmp_path / "model.kernelearn")
    assert list(tmp_path.iterdir()) == []


def test_a_config_of_ones_own():
    @saving.register("tests")
    class Configured(layers.Layer):
        def __init__(self, inner, **options):
            super().__init__(**options)
            self.inner = inner

        def call(self, x):
            return self.inner(x)

        def get_config(self):
            return {**super().get_config(), "inner": saving.serialize_keras_object(self.inner)}

        @classmethod
        def from_config(cls, config):
            return cls(saving.deserialize_keras_object(config.pop("inner")), **config)

    made = LAYERS.get(json.loads(json.dumps(LAYERS.serialize(Configured(layers.Dense(3), name="c")))))
    assert made.name == "c" and made.inner.units == 3


def test_registering():
    assert saving.get_registered_name(Bent) == "tests>Bent"
    assert saving.get_registered_object("tests>Bent") is Bent is saving.get_custom_objects()["tests>Bent"]
    assert saving.get_registered_name(Unknown) == "Unknown"
    with pytest.raises(ArgumentError, match="is registered as 'tests>Bent' already"):
        saving.register("tests", "Bent")(Unknown)
    with pytest.raises(ArgumentError, match="parentheses"):
        saving.register(Unknown)


def test_a_crafted_given_is_a_format_error():
    config = functional().get_config()
    config["calls"][0]["given"] = {"arguments": [{"input": 7}], "keywords": {}}
    with pytest.raises(FormatError, match="not the config of a functional model"):
        Model.from_config(config)
