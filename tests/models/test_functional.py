"""The functional `Model`: branches, several inputs and outputs, shared layers, nesting, feature maps."""

import json

import numpy as np
import pytest

from kernelearn import Input, Model, Sequential, layers
from kernelearn.errors import ArgumentError, FormatError, ShapeError, UnknownNameError
from kernelearn.layers import LAYERS
from tests.rounding import assert_same_but_for_rounding

RNG = np.random.default_rng(5)
X = RNG.random((4, 6, 6, 2), "float32")


def same_after_json(model, *x):
    """The model rebuilt from its config as JSON, with its weights, gives the same outputs."""
    twin = LAYERS.get(json.loads(json.dumps(LAYERS.serialize(model))))
    twin.set_weights(model.get_weights())
    data = list(x) if len(x) > 1 else x[0]
    expected, got = model.predict(data, verbose=0), twin.predict(data, verbose=0)
    assert type(got) is type(expected)
    for a, b in zip(parts_of(expected), parts_of(got), strict=True):
        np.testing.assert_array_equal(a, b)
    return twin


def parts_of(outputs):
    if isinstance(outputs, dict):
        return list(outputs.values())
    return list(outputs) if isinstance(outputs, list | tuple) else [outputs]


def test_branches_and_a_residual():
    x = Input((6, 6, 2))
    one, three = layers.Conv2D(3, 1, name="one"), layers.Conv2D(3, 3, padding="same", name="three")
    joined = layers.Concatenate()([one(x), three(x)])
    out = layers.Add()([layers.Conv2D(6, 1, name="mix")(joined), joined])
    model = Model(x, out)
    assert model.output_shape == (None, 6, 6, 6)
    both = np.concatenate([one(X), three(X)], -1)
    np.testing.assert_allclose(
        model.predict(X, verbose=0), model.get_layer("mix")(both) + both, rtol=1e-6, atol=1e-6
    )
    same_after_json(model, X)


def two_by_two():
    a, b = Input((3,), name="a"), Input((2,), name="b")
    hidden = layers.Concatenate()([a, b])
    p, q = layers.Dense(2, name="p")(hidden), layers.Dense(1, name="q")(hidden)
    return Model([a, b], [p, q])


def test_several_inputs_and_outputs_by_list_and_by_name():
    model = two_by_two()
    a, b = RNG.random((5, 3), "float32"), RNG.random((5, 2), "float32")
    assert (model.input_names, model.output_names) == (["a", "b"], ["p", "q"])
    assert model.input_shape == [(None, 3), (None, 2)] and model.output_shape == [(None, 2), (None, 1)]
    by_list = model.predict([a, b], verbose=0)
    by_name = model.predict({"b": b, "a": a}, verbose=0)
    assert [p.shape for p in by_list] == [(5, 2), (5, 1)]
    for one, other in zip(by_list, by_name):
        np.testing.assert_array_equal(one, other)
    same_after_json(model, a, b)


def test_training_by_list_and_by_name_is_the_same():
    a, b = RNG.random((5, 3), "float32"), RNG.random((5, 2), "float32")
    p, q = RNG.random((5, 2), "float32"), RNG.random((5, 1), "float32")
    first, second = two_by_two(), two_by_two()
    second.set_weights(first.get_weights())
    first.compile("sgd", ["mse", "mae"], loss_weights=[1.0, 0.5], metrics=[["mae"], ["mse"]])
    second.compile(
        "sgd",
        {"q": "mae", "p": "mse"},
        loss_weights={"p": 1.0, "q": 0.5},
        metrics={"q": ["mse"], "p": ["mae"]},
    )
    by_list = first.fit([a, b], [p, q], epochs=2, verbose=0, seed=1).history
    by_name = second.fit({"a": a, "b": b}, {"q": q, "p": p}, epochs=2, verbose=0, seed=1).history
    assert by_list == by_name
    assert set(by_list) == {"loss", "p_loss", "q_loss", "p_mae", "q_mse"}
    np.testing.assert_allclose(
        by_list["loss"], np.array(by_list["p_loss"]) + 0.5 * np.array(by_list["q_loss"]), rtol=1e-6
    )
    for one, other in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_dict_names_inputs_and_outputs():
    a, b = Input((3,)), Input((3,))
    outs = {"sum": layers.Add()([a, b]), "product": layers.Multiply()([a, b])}
    model = Model({"left": a, "right": b}, outs)
    assert (model.input_names, model.output_names) == (["left", "right"], ["sum", "product"])
    left, right = RNG.random((4, 3), "float32"), RNG.random((4, 3), "float32")
    data = {"right": right, "left": left}
    for found in (
        model.predict(data, verbose=0),
        model.predict_on_batch(data),
        model(data),
        model([left, right]),
    ):
        assert list(found) == ["sum", "product"]
        np.testing.assert_array_equal(found["product"], left * right)
    model.compile("sgd", {"sum": "mse"})
    assert model.evaluate(data, {"sum": left + right}, verbose=0) == [0.0, 0.0]
    assert same_after_json(model, left, right).input_names == ["left", "right"]


def test_wrong_inputs_and_outputs_are_named():
    model = two_by_two()
    model.compile("sgd", "mse")
    a, b = np.ones((5, 3), "float32"), np.ones((5, 2), "float32")
    with pytest.raises(ShapeError, match=r"lacks \['b'\]"):
        model.predict({"a": a}, verbose=0)
    with pytest.raises(ShapeError, match=r"2 inputs .*got 1"):
        model.predict(a, verbose=0)
    with pytest.raises(ShapeError, match=r"2 outputs; y has 1"):
        model.fit([a, b], np.ones((5, 2)), verbose=0)
    with pytest.raises(ShapeError, match=r"y lacks outputs \['q'\]"):
        model.fit([a, b], {"p": np.ones((5, 2))}, verbose=0)
    with pytest.raises(ArgumentError, match=r"\['r'\] that the model does not have"):
        model.compile("sgd", {"r": "mse"})
    with pytest.raises(ArgumentError, match="has 3 entries, the model has 2 outputs"):
        model.compile("sgd", ["mse", "mse", "mse"])


def test_the_gradients_of_a_shared_layer_add_up():
    a, b = Input((3,)), Input((3,))
    shared = layers.Dense(2, use_bias=False, name="shared")
    model = Model([a, b], layers.Add()([shared(a), shared(b)]))
    assert len(model.weights) == 1 and [layer.name for layer in model.layers].count("shared") == 1
    kernel = model.get_weights()[0].astype("float64")
    xa, xb, y = RNG.random((4, 3)), RNG.random((4, 3)), RNG.random((4, 2))
    model.compile("sgd", "mse")
    model.optimizer.learning_rate = 1.0
    model.train_on_batch([xa.astype("float32"), xb.astype("float32")], y.astype("float32"))
    error = 2 * ((xa + xb) @ kernel - y) / y.size
    np.testing.assert_allclose(
        model.get_weights()[0], kernel - xa.T @ error - xb.T @ error, rtol=1e-5, atol=1e-6
    )
    same_after_json(model, xa.astype("float32"), xb.astype("float32"))


def nested():
    inner_x = Input((6, 6, 2))
    inner = Model(inner_x, layers.Conv2D(3, 3, name="conv")(inner_x), name="inner")
    x = Input((6, 6, 2))
    features = layers.Flatten(name="flat")(inner(x))
    return Model(x, layers.Dense(2, name="head")(features), name="outer"), inner


def test_a_nested_model_is_a_layer():
    outer, inner = nested()
    assert outer.get_layer("inner") is inner
    assert outer.get_layer("inner/conv") is inner.get_layer("conv")
    assert list(outer.weight_paths()) == ["inner/conv/kernel", "inner/conv/bias", "head/kernel", "head/bias"]
    names = [layer.name for layer in outer.flat_layers() if not isinstance(layer, layers.InputLayer)]
    assert names == ["conv", "flat", "head"]
    with pytest.raises(UnknownNameError, match="head/conv"):
        outer.get_layer("head/conv")
    expected = outer.get_layer("head")(inner(X).reshape(4, -1))
    np.testing.assert_allclose(outer.predict(X, verbose=0), expected, rtol=1e-5, atol=1e-6)
    before = inner.get_weights()[0]
    outer.compile("sgd", "mse")
    outer.fit(X, np.ones((4, 2)), verbose=0)
    assert not np.array_equal(inner.get_weights()[0], before)
    same_after_json(outer, X)


def test_two_nested_models_may_have_layers_of_the_same_name():
    x = Input((6, 6, 2))
    branches = [
        Sequential([layers.Conv2D(2, 3, name="conv", input_shape=(6, 6, 2))], name=name) for name in "ab"
    ]
    out = layers.Flatten()(layers.Add()([branch(x) for branch in branches]))
    model = Model(x, layers.Dense(1)(out))
    assert list(model.weight_paths())[:4] == ["a/conv/kernel", "a/conv/bias", "b/conv/kernel", "b/conv/bias"]
    model.compile("adam", "mse")
    before = [branch.get_weights()[0] for branch in branches]
    model.fit(X, np.ones((4, 1)), verbose=0)
    assert all(not np.array_equal(b.get_weights()[0], old) for b, old in zip(branches, before))
    same_after_json(model, X)


def test_a_model_may_end_at_a_layer_of_another():
    x = Input((6, 6, 2))
    conv = layers.Conv2D(3, 3, name="conv")
    whole = Model(x, layers.GlobalAveragePooling2D()(conv(x)))
    part = Model(whole.inputs, whole.get_layer("conv").output)
    assert_same_but_for_rounding(part.predict(X, verbose=0), conv(X), 40)
    assert part.weights[0] is conv.weights[0]


def test_a_model_may_begin_in_the_middle():
    x = Input((6, 6, 2))
    middle = layers.Conv2D(3, 3, name="conv")(x)
    whole = Model(x, layers.GlobalAveragePooling2D()(middle))
    tail = Model(middle, whole.output)
    maps = Model(x, middle).predict(X, verbose=0)
    assert_same_but_for_rounding(tail.predict(maps, verbose=0), whole.predict(X, verbose=0), 80)
    same_after_json(tail, maps)


def test_feature_maps_of_own_and_nested_layers():
    outer, inner = nested()
    flat, conv = outer.feature_maps(X, ["flat", "inner/conv"])
    np.testing.assert_array_equal(conv, inner(X))
    np.testing.assert_array_equal(flat, conv.reshape(4, -1))
    assert outer.feature_maps(X, ["head"])[0].shape == (4, 2)
    assert outer.feature_maps(X, ["inner"])[0].shape == (4, 4, 4, 3)


def test_feature_maps_of_a_layer_that_belongs_to_two_models():
    first = Sequential([layers.Conv2D(3, 3, name="conv", input_shape=(6, 6, 2)), layers.Flatten()])
    second = Sequential([layers.ReLU(input_shape=(6, 6, 2)), *first.layers])
    np.testing.assert_array_equal(
        second.feature_maps(X - 0.5, ["conv"])[0], first.layers[0](np.maximum(X - 0.5, 0))
    )


def test_tensors_can_be_added_and_multiplied():
    x = Input((3,))
    model = Model(x, (x + x) * x - x)
    data = RNG.random((4, 3), "float32")
    np.testing.assert_allclose(model.predict(data, verbose=0), 2 * data * data - data, rtol=1e-6)


def test_what_a_model_refuses():
    x, other = Input((3,)), Input((3,), name="forgotten")
    with pytest.raises(ArgumentError, match="'forgotten', which is not among the inputs"):
        Model(x, layers.Add()([x, other]))
    with pytest.raises(ArgumentError, match=r"\['twin'\] are used more than once"):
        Model(x, layers.Dense(2, name="twin")(layers.Dense(2, name="twin")(x)))
    with pytest.raises(ArgumentError, match="outputs must be tensors"):
        Model(x, 3)
    with pytest.raises(ArgumentError, match="takes tensors made by Input"):
        Model()
    with pytest.raises(FormatError, match="not the config of a functional model"):
        Model.from_config({"name": "m"})


def test_a_deep_chain_needs_no_deep_recursion():
    x = tensor = Input((2,))
    for _ in range(1200):
        tensor = layers.Activation("relu")(tensor)
    model = Model(x, tensor)
    assert len(model.calls) == 1200
    np.testing.assert_array_equal(model.predict(np.ones((1, 2), "float32"), verbose=0), [[1, 1]])


@pytest.mark.parametrize("engine", ["cpu", "reference"])
def test_calling_a_model_on_arrays_predicts(engine):
    a, b = Input((3,)), Input((3,))
    model = Model([a, b], [layers.Dense(4)(layers.Add()([a, b])), layers.Subtract()([a, b])])
    model.compile(engine=engine)
    x, y = np.random.default_rng(0).random((2, 5, 3)).astype("float32")
    for _ in range(2):
        for found, expected in zip(model([x, y]), model.predict([x, y], verbose=0), strict=True):
            np.testing.assert_array_equal(found, expected)
        model.set_weights([w + 1 for w in model.get_weights()])
    with pytest.raises(ShapeError, match="same number of images"):
        model([x, y[:2]])
    with pytest.raises(ShapeError):
        model([x, y[:, :2]])


def test_calling_a_model_makes_its_program_once(monkeypatch):
    from kernelearn.training.steps import building

    made = []
    real = building.build_prediction
    monkeypatch.setattr(building, "build_prediction", lambda m, *a: made.append(m) or real(m, *a))
    model = Sequential([Input((4, 4, 1)), layers.Conv2D(2, 3)])
    x = np.ones((2, 4, 4, 1), "float32")
    first = model(x)
    kept = first.copy()
    np.testing.assert_array_equal(model(x.astype("float64")), kept)
    assert made == [model] and not np.shares_memory(model(2 * x), first)
    np.testing.assert_array_equal(first, kept)
    model.add(layers.ReLU())
    np.testing.assert_array_equal(model(x), np.maximum(kept, 0))


def test_a_model_of_convolutions_takes_images_of_other_sizes():
    model = Sequential([Input((4, 4, 1)), layers.Conv2D(2, 3), layers.GlobalAveragePooling2D()])
    assert model(np.ones((3, 9, 7, 1))).shape == (3, 2)
    assert model(np.ones((3, 4, 4, 1))).shape == (3, 2)
