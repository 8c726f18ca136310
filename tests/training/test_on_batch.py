"""predict_on_batch and train_on_batch: their short cut for plain arrays gives what `predict` and `fit` do."""

import numpy as np
import pytest

from kernelearn import Input, Model, Sequential, config, layers
from kernelearn.errors import DataError, ShapeError
from kernelearn.models import zoo

RNG = np.random.default_rng(0)
X = RNG.random((6, 12, 12, 1)).astype("float32")
Y = RNG.integers(0, 3, 6)
ENGINES = ("cpu", "reference")

READ_ONLY = X.copy()
READ_ONLY.flags.writeable = False
# Other ways to give the same images. Those that hold other numbers are scaled like all integers: not at all.
SAME = {
    "as it is": X,
    "float64": X.astype("float64"),
    "big endian": X.astype(">f4"),
    "fortran": np.asfortranarray(X),
    "strided": np.repeat(X, 2, axis=0)[::2],
    "read only": READ_ONLY,
    "list of lists": X.tolist(),
    "in a list": [X],
    "subclass": X.view(type("Images", (np.ndarray,), {})),
}


def network(engine="cpu", **more):
    model = zoo.lenet((12, 12, 1), 3)
    model.compile("sgd", "sparse_categorical_crossentropy", engine=engine, **more)
    return model


@pytest.fixture(scope="module", params=ENGINES)
def model(request):
    return network(request.param)


@pytest.mark.parametrize("given", SAME.values(), ids=SAME)
def test_a_prediction_of_arrays_of_any_kind(model, given):
    expected = model.predict(X, batch_size=len(X), verbose=0)
    found = model.predict_on_batch(given)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected)


def test_whole_numbers_are_taken_as_they_are(model):
    whole = (20 * X).astype("uint8")
    np.testing.assert_array_equal(model.predict_on_batch(whole), model.predict_on_batch(whole.astype("f")))


def test_predictions_are_the_callers(model):
    """Neither later predictions nor their inputs share memory with a result."""
    given = X.copy()
    first = model.predict_on_batch(given)
    kept = first.copy()
    second = model.predict_on_batch(2 * X)
    assert not np.shares_memory(first, second)
    np.testing.assert_array_equal(first, kept)
    first[:] = 7
    np.testing.assert_array_equal(model.predict_on_batch(given), kept)
    np.testing.assert_array_equal(given, X)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("method", ["predict_on_batch", "predict"])
def test_a_model_that_only_passes_its_input_on_gives_a_copy(engine, method):
    model = Sequential([Input((2, 3)), layers.Reshape((3, 2))])
    model.compile(engine=engine)
    x = RNG.random((4, 2, 3)).astype("float32")
    found = getattr(model, method)(x)
    assert not np.shares_memory(found, x)
    found[:] = 0
    assert x.all()


def test_several_outputs_and_inputs():
    a, b = Input((3,), name="a"), Input((3,), name="b")
    two = Model([a, b], [layers.Add()([a, b]), layers.Subtract()([a, b])])
    x, y = RNG.random((2, 5, 3)).astype("float32")
    for given in ([x, y], {"a": x, "b": y}):
        total, difference = two.predict_on_batch(given)
        np.testing.assert_allclose(total, x + y)
        np.testing.assert_allclose(difference, x - y)
    halves = Model(a, [layers.Rescaling(0.5)(a), layers.Rescaling(2.0)(a)])
    half, double = halves.predict_on_batch(x)
    np.testing.assert_allclose((half, double), (x / 2, 2 * x))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_none_are_refused(model, bad):
    x = X.copy()
    x[3, 1, 2, 0] = bad
    for act in (model.predict_on_batch, lambda x: model.train_on_batch(x, Y)):
        with pytest.raises(DataError, match="row 3 has"):
            act(x)


def test_large_numbers_are_none_of_these(model):
    """Their squares overflow: the test for finite numbers must not mistake them."""
    assert model.predict_on_batch(np.full_like(X, 1e25)).shape == (6, 3)


@pytest.mark.parametrize(
    ("x", "error", "says"),
    [
        (X[:, :5], ShapeError, r"takes arrays of shape \('n', 12, 12, 1\); got \(6, 5, 12, 1\)"),
        (X[:0], DataError, "x is empty"),
        (np.array([["a"]]), DataError, "must hold numbers"),
    ],
    ids=["height", "empty", "strings"],
)
def test_wrong_arrays_are_refused_as_by_predict(model, x, error, says):
    for act in (model.predict_on_batch, lambda x: model.train_on_batch(x, Y[: len(x)])):
        with pytest.raises(error, match=says):
            act(x)


def test_a_number_is_no_batch(model):
    with pytest.raises((ShapeError, TypeError)):
        model.predict_on_batch(np.float32(1).reshape(()))


def test_weights_that_change_change_the_prediction(model):
    before = model.predict_on_batch(X)
    weights = model.get_weights()
    model.set_weights([w + 0.1 for w in weights])
    assert not np.array_equal(model.predict_on_batch(X), before)
    model.set_weights(weights)
    np.testing.assert_array_equal(model.predict_on_batch(X), before)


def test_in_another_float_type():
    config.set_floatx("float64")
    model = Sequential([Input((3,)), layers.Dense(2)])
    x = RNG.random((4, 3))
    kernel, bias = model.get_weights()
    for given in (x, x.astype("float32")):
        found = model.predict_on_batch(given)
        assert found.dtype == np.float64
        np.testing.assert_allclose(found, given @ kernel + bias, rtol=1e-14)


# --- training


def stepped(x, y, engine="cpu", **more):
    """Weights and results after two steps from the same start."""
    model = network(engine, metrics=["accuracy"])
    model.set_weights([np.full(w.shape, 0.01) + 0.1 * np.sin(np.arange(w.size)).reshape(w.shape)
                       for w in model.get_weights()])  # fmt: skip
    results = [model.train_on_batch(x, y, **more) for _ in range(2)]
    return [*model.get_weights(), np.array(results)]


def assert_same(found, expected):
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    "labels", ["int64", "int32", "uint8", "bool", "float32", "float64", "column", "list"]
)
def test_labels_of_any_kind(engine, labels):
    """`ones` as weights go the long way round and change nothing."""
    y = (Y % 2).astype("int64")
    given = {"column": y[:, None], "list": y.tolist()}.get(labels)
    given = y.astype(labels) if given is None else given
    ones = np.ones(len(y), np.float32)
    assert_same(stepped(X, given, engine), stepped(X.tolist(), y, engine, sample_weight=ones))


def test_class_weights_count():
    weights = {0: 1.0, 1: 2.0, 2: 0.5}
    by_sample = np.array([weights[label] for label in Y], np.float32)
    found = stepped(X, Y, class_weight=weights)
    assert_same(found[:-1], stepped(X, Y, sample_weight=by_sample)[:-1])
    assert not np.array_equal(found[0], stepped(X, Y)[0])


def test_targets_that_are_no_numbers_or_too_few_are_refused():
    model = network()
    with pytest.raises(ShapeError, match="one row per example: x has 6 rows"):
        model.train_on_batch(X, Y[:5])
    with pytest.raises(DataError, match="labels must be 0 to 2; got labels from 0 to 3"):
        model.train_on_batch(X, np.array([0, 1, 2, 3, 0, 0]))
    bad = np.full((6, 3), np.nan, np.float32)
    regression = zoo.lenet((12, 12, 1), 3)
    regression.compile("sgd", "mse", engine="cpu")
    with pytest.raises(DataError, match="row 0 has nan"):
        regression.train_on_batch(X, bad)


def test_what_metrics_get_cannot_be_written():
    """A metric that writes into its targets would change the user's data."""
    from kernelearn.metrics import Metric

    class Careless(Metric):
        def reset_state(self):
            self.tried = 0

        def update_state(self, y_true, y_pred, sample_weight=None):
            with pytest.raises(ValueError, match="read-only"):
                y_true[0] = 9
            self.tried += 1

        def result(self):
            return self.tried

    model = Sequential([Input((3,)), layers.Dense(2)])
    model.compile("sgd", "mse", metrics=[Careless(name="careless")])
    y = np.zeros((4, 2), np.float32)
    assert model.train_on_batch(np.ones((4, 3), np.float32), y)[1] == 1
    assert not y.any()
