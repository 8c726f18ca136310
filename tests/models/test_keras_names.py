"""What code written for Keras finds under Keras's names: attributes, arguments, clones, models as text."""

import copy
import pickle

import numpy as np
import pytest

from kernelearn import Input, Model, Sequential, layers, metrics, models, optimizers
from kernelearn.errors import ArgumentError, FormatError, ShapeError, UnknownNameError


def small(compiled: bool = True) -> Sequential:
    model = Sequential(
        [Input((4, 4, 1)), layers.Conv2D(2, 3), layers.Flatten(), layers.Dense(3, kernel_regularizer="l2")]
    )
    if compiled:
        model.compile("adam", "mse", metrics=["mae"])
    return model


X = np.random.default_rng(0).normal(size=(6, 4, 4)).astype("float32")
Y = np.random.default_rng(1).normal(size=(6, 3)).astype("float32")


def test_variables_are_the_weights() -> None:
    model = Sequential([Input((4,)), layers.Dense(2), layers.BatchNormalization()])
    assert model.variables == model.weights
    assert [v.name for v in model.trainable_variables] == ["kernel", "bias", "gamma", "beta"]
    assert [v.name for v in model.non_trainable_variables] == ["moving_mean", "moving_variance"]
    assert [v.name for v in model.layers[1].variables] == ["gamma", "beta", "moving_mean", "moving_variance"]
    bias = model.trainable_variables[1]
    bias.assign_add([1.0, 2.0])
    bias.assign_sub([0.5, 0.5])
    assert bias.ndim == 1 and bias.numpy().tolist() == [0.5, 1.5]
    assert model.layers[0].compute_dtype == model.layers[0].variable_dtype == "float32"


def test_losses_are_the_penalties_of_weights_that_are_trained() -> None:
    model = small()
    dense = model.layers[-1]
    assert model.layers[0].losses == []
    assert model.losses == dense.losses
    assert dense.losses[0] == pytest.approx(0.01 * np.square(dense.kernel.numpy()).sum(), rel=1e-6)
    dense.trainable = False
    assert model.losses == []


def test_numbers_of_an_optimizer_answer_as_variables() -> None:
    model = small()
    model.train_on_batch(X, Y)
    optimizer = model.optimizer
    assert optimizer.iterations == 1 and optimizer.iterations.numpy() == 1
    assert optimizer.learning_rate.numpy() == pytest.approx(1e-3) and optimizer.learning_rate == 0.001
    optimizer.learning_rate.assign(0.5)
    assert optimizer.learning_rate == 0.5 and optimizer.get_config()["learning_rate"] == 0.5
    names = [v.name for v in optimizer.variables]
    assert names[:2] == ["iterations", "learning_rate"] and len(names) == 2 + 2 * len(model.weights)
    optimizer.variables[0].assign(7)
    optimizer.variables[1].assign(0.25)
    assert (optimizer.iterations, optimizer.learning_rate) == (7, 0.25)
    for twin in (pickle.loads(pickle.dumps(optimizer.learning_rate)), copy.deepcopy(optimizer.iterations)):
        assert type(twin) in (int, float)
    scheduled = optimizers.SGD(optimizers.schedules.ExponentialDecay(0.1, 10, 0.9))
    assert [v.name for v in scheduled.variables] == ["iterations"]
    with pytest.raises(ArgumentError, match="set by a schedule"):
        scheduled.learning_rate.assign(1.0)


def test_an_optimizer_keeps_what_it_carries_and_a_copy_begins_afresh() -> None:
    model = small()
    model.train_on_batch(X, Y)
    carried = dict(model.optimizer.carried)
    assert copy.copy(model.optimizer).carried == {} and carried
    model.compile(model.optimizer, "mae")
    assert model.programs.slots is model.optimizer.carried
    assert all(model.optimizer.carried[name] is slot for name, slot in carried.items())


def test_the_state_of_a_metric_as_variables() -> None:
    mean = metrics.Mean(dtype="float32")
    mean.update_state([1.0, 3.0])
    total, count = mean.variables
    assert (total.name, total.numpy(), count.numpy(), mean.dtype) == ("total", 4.0, 2.0, "float64")
    total.assign(8.0)
    assert mean.result() == 4.0
    with pytest.raises(ShapeError):
        total.assign([1.0, 2.0])


def test_compile_takes_what_changes_no_result() -> None:
    model = small(compiled=False)
    model.compile("sgd", "mse", jit_compile=False, steps_per_execution=4, auto_scale_loss=False)
    assert model.loss == "mse" and model.engine == "cpu"
    model.compile("sgd", "mse", run_eagerly=True)
    assert model.engine == "reference"
    for wrong in ({"run_eagerly": True, "engine": "cpu"}, {"steps_per_execution": 0}, {"jit_compile": "yes"}):
        with pytest.raises(ArgumentError):
            model.compile("sgd", "mse", **wrong)


def test_names_of_what_evaluate_gives() -> None:
    model = small()
    values = model.evaluate(X, Y, verbose=0)
    assert model.metrics_names == ["loss", "mae"]
    assert list(model.get_metrics_result().values()) != values  # those of a pass are put aside behind it
    model.test_on_batch(X, Y)
    assert list(model.get_metrics_result().values()) == pytest.approx(values)
    model.reset_metrics()
    assert model.get_metrics_result() == {"loss": 0.0, "mae": 0.0}


def test_grey_images_need_no_last_axis() -> None:
    model, x = small(), X[..., None]
    wanted = model.predict(x, verbose=0)
    for given in (model.predict(X, verbose=0), model(X), model.predict_on_batch(X)):
        np.testing.assert_array_equal(given, wanted)
    assert model.evaluate(X, Y, verbose=0) == model.evaluate(x, Y, verbose=0)
    model.fit(X, Y, verbose=0)
    with pytest.raises(ShapeError):
        model.predict(X[0, 0], verbose=0)


@pytest.mark.parametrize(
    "make",
    [
        lambda: layers.InputLayer(shape=(3,)).output,
        lambda: layers.InputLayer(input_shape=(3,)).output,
        lambda: layers.InputLayer(batch_shape=(None, 3)).output,
        lambda: Input(3, batch_size=8, sparse=False, optional=None, tensor=None),
        lambda: Input(batch_shape=(8, 3)),
    ],
)
def test_every_way_to_begin(make) -> None:
    assert make().shape == (None, 3)


def test_ways_to_begin_that_contradict() -> None:
    for wrong in ({}, {"shape": (3,), "batch_shape": (None, 3)}):
        with pytest.raises(ArgumentError, match="without the batch"):
            Input(**wrong)
    with pytest.raises(ArgumentError, match="sparse"):
        Input((3,), sparse=True)


def branched() -> Model:
    a, b = Input((4,), name="a"), Input((4,), name="b")
    shared = layers.Dense(3, name="shared")
    return Model(
        {"a": a, "b": b}, {"sum": layers.add([shared(a), shared(b)]), "first": shared(a)}, name="two"
    )


@pytest.mark.parametrize("make", [lambda: small(False), branched])
def test_a_model_as_text(make) -> None:
    model = make()
    twin = models.model_from_json(model.to_json(indent=1))
    twin.set_weights(model.get_weights())
    x = {"a": X[:, 0], "b": X[:, 1]} if model.name == "two" else X
    for got, wanted in zip(_arrays(twin.predict(x, verbose=0)), _arrays(model.predict(x, verbose=0))):
        np.testing.assert_array_equal(got, wanted)
    for text in ("[", "{}", '{"class_name": "Dense", "config": {"units": 1}}'):
        with pytest.raises(FormatError):
            models.model_from_json(text)
    with pytest.raises(UnknownNameError):
        models.model_from_json('{"class_name": "Nothing", "config": {}}')


def _arrays(given) -> list:
    return list(given.values()) if isinstance(given, dict) else [given]


def test_a_clone_has_layers_of_its_own() -> None:
    model = branched()
    clone = models.clone_model(model)
    assert clone.input_names == ["a", "b"] and clone.output_names == ["sum", "first"]
    assert len(clone.weights) == 2 and clone.weights[0] is not model.weights[0]
    clone.set_weights(model.get_weights())
    x = {"a": X[:, 0], "b": X[:, 1]}
    for got, wanted in zip(_arrays(clone.predict(x, verbose=0)), _arrays(model.predict(x, verbose=0))):
        np.testing.assert_array_equal(got, wanted)


def test_a_clone_with_other_layers_and_inputs() -> None:
    def wider(layer: layers.Layer) -> layers.Layer:
        return layers.Dense(5, name=layer.name) if isinstance(layer, layers.Dense) else layer

    model = small(compiled=False)
    start = Input((4, 4, 1), name="start")
    clone = models.clone_model(model, input_tensors=start, clone_function=wider)
    assert clone.output_shape == (None, 5) and clone.input_names == ["start"]
    assert clone.layers[0] is model.layers[0]
    with pytest.raises(ArgumentError, match="must give a layer"):
        models.clone_model(model, clone_function=lambda layer: None)
    with pytest.raises(ArgumentError, match="as many tensors"):
        models.clone_model(model, input_tensors=[start, start])
