"""Models as files: what comes back is what was saved, training goes on, and damage never passes."""

import json
import zipfile

import numpy as np
import pytest

from kernelearn import Input, Model, Sequential, layers, losses, models, optimizers, utils
from kernelearn.errors import ArgumentError, FormatError, KernelearnError, ShapeError
from kernelearn.initializers import FromLayer
from kernelearn.layers import LAYERS
from kernelearn.models import load_model, zoo
from tests.sweeps import some

RNG = np.random.default_rng(2)
X = RNG.random((24, 8, 8, 1), "float32")
Y = RNG.integers(0, 3, 24)


def network(**conv):
    return Sequential(
        [
            Input((8, 8, 1)),
            layers.Conv2D(4, 3, name="conv", **conv),
            layers.BatchNormalization(name="norm"),
            layers.ReLU(),
            layers.Dropout(0.3),
            layers.Flatten(),
            layers.Dense(3, activation="softmax", name="head"),
        ]
    )


def assert_same_weights(a, b):
    for one, other in zip(a.get_weights(), b.get_weights(), strict=True):
        assert one.dtype == other.dtype and one.tobytes() == other.tobytes()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "m.kernelearn"


OPTIMIZERS = [
    optimizers.SGD(0.05, momentum=0.9, nesterov=True),
    optimizers.Adam(0.01, weight_decay=0.01, global_clipnorm=1.0),
    optimizers.RMSprop(optimizers.schedules.ExponentialDecay(0.01, 3, 0.5), momentum=0.5, centered=True),
    optimizers.Nadam(0.01),
]


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda o: o.name)
def test_training_goes_on_bitwise_after_loading(path, optimizer):
    utils.set_random_seed(1)
    whole = network()
    stopped = whole.clone()
    for model in (whole, stopped):
        model.compile(optimizers.get(optimizers.serialize(optimizer)), losses.SparseCategoricalCrossentropy())
    whole.fit(X, Y, 10, epochs=4, verbose=0, seed=7)
    stopped.fit(X, Y, 10, epochs=2, verbose=0, seed=7)
    stopped.save(path)
    loaded = load_model(path)
    assert_same_weights(stopped, loaded)
    assert loaded.optimizer.iterations == 6
    loaded.fit(X, Y, 10, epochs=4, initial_epoch=2, verbose=0, seed=7)
    assert_same_weights(whole, loaded)
    with pytest.raises(AssertionError):
        assert_same_weights(stopped, loaded)


def test_weights_without_decay_stay_without_it(path):
    model = network()
    optimizer = optimizers.AdamW(0.01, weight_decay=5.0)
    optimizer.exclude_from_weight_decay([model.get_layer("conv").kernel], ["bias"])
    model.compile(optimizer, "sparse_categorical_crossentropy")
    model.save(path)
    loaded = load_model(path)
    for one in (model, loaded):
        one.fit(X, Y, verbose=0, seed=1)
    assert_same_weights(model, loaded)


def test_a_loaded_model_predicts_and_measures_the_same(path):
    model = network()
    model.compile(
        "adam", "sparse_categorical_crossentropy", metrics=["accuracy"], weighted_metrics=["accuracy"]
    )
    model.metadata = {"class_names": ["a", "b", "c"]}
    model.fit(X, Y, verbose=0)
    model.save(path)
    loaded = load_model(path)
    np.testing.assert_array_equal(loaded.predict(X, verbose=0), model.predict(X, verbose=0))
    assert loaded.evaluate(X, Y, verbose=0, return_dict=True) == model.evaluate(
        X, Y, verbose=0, return_dict=True
    )
    assert loaded.metadata == model.metadata and loaded.get_config() == model.get_config()


def test_compile_false_and_a_model_never_compiled(path):
    model = network()
    model.save(path)
    assert not load_model(path).compiled
    model.compile("adam", "sparse_categorical_crossentropy")
    model.save(path)
    assert load_model(path).compiled and not load_model(path, compile=False).compiled


def test_losses_and_metrics_of_several_outputs_come_back(path):
    x = Input((3,), name="x")
    model = Model(x, [layers.Dense(2, name="p")(x), layers.Dense(1, name="q")(x)])
    model.compile(
        "sgd", {"p": losses.Huber(0.5), "q": "mse"}, loss_weights={"p": 0.3}, metrics={"q": ["mae", "mse"]}
    )
    data, p, q = RNG.random((6, 3), "float32"), RNG.random((6, 2)), RNG.random((6, 1))
    model.save(path)
    loaded = load_model(path)
    assert loaded.evaluate(data, [p, q], verbose=0, return_dict=True) == model.evaluate(
        data, [p, q], verbose=0, return_dict=True
    )


@pytest.mark.parametrize("name", some(sorted(zoo.MODELS), quick=("lenet", "resnet20")))
def test_models_of_the_zoo_come_back_from_json(name):
    model = zoo.get(name)((32, 32, 3), 5)
    twin = LAYERS.get(json.loads(json.dumps(LAYERS.serialize(model))))
    assert list(twin.weight_paths()) == list(model.weight_paths())
    assert [w.shape for w in twin.weights] == [w.shape for w in model.weights]
    assert twin.get_config() == model.get_config()
    if name != "resnet18":  # eleven million weights: the structure says it all
        twin.set_weights(model.get_weights())
        x = RNG.random((1, 32, 32, 3), "float32")
        np.testing.assert_array_equal(twin.predict(x, verbose=0), model.predict(x, verbose=0))


def test_a_model_with_regularizers_constraints_and_frozen_layers(path):
    model = network(
        kernel_regularizer="l2",
        kernel_constraint="max_norm",
        bias_constraint="non_neg",
        activity_regularizer="l1",
        learning_rate_multiplier=0.5,
    )
    model.get_layer("norm").trainable = False
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.save(path)
    loaded = load_model(path)
    assert loaded.get_config() == model.get_config()
    for one in (model, loaded):
        one.fit(X, Y, 10, verbose=0, seed=3)
    assert_same_weights(model, loaded)


def test_a_model_that_took_kernels_from_another(path):
    teacher = network()
    model = network(kernel_initializer=FromLayer(teacher, "conv"))
    np.testing.assert_array_equal(model.get_weights()[0], teacher.get_weights()[0])
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(X, Y, verbose=0)
    model.save(path)
    assert_same_weights(model, load_model(path))
    assert_same_weights(model, model.clone())
    assert load_model(path).get_config() == model.get_config()


def test_a_float64_model_stays_one(path):
    model = Sequential([Input((3,), dtype="float64"), layers.Dense(2, dtype="float64")])
    model.save(path)
    assert load_model(path).get_weights()[0].dtype == "float64"
    assert_same_weights(model, load_model(path))


def test_a_nested_and_shared_model(path):
    inner = Sequential([layers.Dense(3, name="d", input_shape=(3,))], name="inner")
    a, b = Input((3,), name="a"), Input((3,), name="b")
    model = Model([a, b], layers.Add()([inner(a), inner(inner(b))]))
    model.save(path)
    loaded = load_model(path)
    assert len(loaded.weights) == 2
    data = [RNG.random((2, 3), "float32"), RNG.random((2, 3), "float32")]
    np.testing.assert_array_equal(loaded.predict(data, verbose=0), model.predict(data, verbose=0))


class OwnLoss(losses.Loss):
    def call(self, y_true, y_pred):
        return ((y_true - y_pred) ** 2).mean(-1)

    def gradient(self, y_true, y_pred):
        return 2 * (y_pred - y_true) / y_pred.shape[-1]


def test_an_own_loss_trains_but_is_not_saved(path):
    model = Sequential([layers.Dense(2, input_shape=(3,))])
    model.compile("sgd", OwnLoss())
    data = RNG.random((6, 3), "float32")
    before = model.get_weights()[0]
    model.fit(data, np.zeros((6, 2)), verbose=0)
    assert not np.array_equal(before, model.get_weights()[0])
    with pytest.raises(KernelearnError, match="loss of type OwnLoss cannot be saved"):
        model.save(path)
    assert not path.exists(), "nothing may be left of a file that was refused"
    model.save_weights(path)


def test_overwrite_false_keeps_the_old_file(path):
    network().save(path)
    before = path.read_bytes()
    for save in (network().save, network().save_weights):
        with pytest.raises(ArgumentError, match=r"exists; choose another name or pass overwrite=True"):
            save(path, overwrite=False)
    assert path.read_bytes() == before


def test_damaged_and_foreign_files(path, tmp_path):
    network().save(path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "flipped").write_bytes(content)
    (tmp_path / "short").write_bytes(content[: len(content) // 2])
    (tmp_path / "text").write_text("no model")
    with zipfile.ZipFile(tmp_path / "zip", "w") as archive:
        archive.writestr("a", "b")
    for name in ("flipped", "short", "text", "zip"):
        with pytest.raises(FormatError, match=name):
            load_model(tmp_path / name)


def test_a_weights_file_is_not_a_model(path):
    network().save_weights(path)
    with pytest.raises(FormatError, match=r"holds 'weights', not a model"):
        load_model(path)


# Weights alone


def test_weights_by_order(path):
    model, twin = network(), network()
    model.save_weights(path)
    assert twin.load_weights(path) == list(twin.weight_paths())
    assert_same_weights(model, twin)
    with pytest.raises(ShapeError, match=r"Use by_name=True"):
        Sequential([layers.Dense(2, input_shape=(3,))]).load_weights(path)


def test_weights_by_order_need_no_equal_names(path):
    model = Sequential([layers.Dense(2, name="b", input_shape=(3,)), layers.Dense(4, name="a")])
    twin = Sequential([layers.Dense(2, name="x", input_shape=(3,)), layers.Dense(4, name="y")])
    model.save_weights(path)
    twin.load_weights(path)
    assert_same_weights(model, twin)


def test_weights_by_name(path):
    model = network()
    model.save(path)
    other = Sequential(
        [Input((8, 8, 1)), layers.Conv2D(4, 3, name="conv"), layers.Flatten(), layers.Dense(7, name="new")]
    )
    before = other.get_weights()
    assert other.load_weights(path, by_name=True) == ["conv/kernel", "conv/bias"]
    np.testing.assert_array_equal(other.get_weights()[0], model.get_weights()[0])
    np.testing.assert_array_equal(other.get_weights()[2], before[2])


def test_weights_by_name_that_do_not_fit(path):
    network().save_weights(path)
    other = Sequential(
        [Input((8, 8, 1)), layers.Conv2D(4, 3, name="conv"), layers.Flatten(), layers.Dense(7, name="head")]
    )
    before = other.get_weights()
    with pytest.raises(ShapeError, match=r"'head/kernel' has shape \(144, 3\) in the file and \(144, 7\)"):
        other.load_weights(path, by_name=True)
    for old, new in zip(before, other.get_weights()):
        np.testing.assert_array_equal(old, new)
    assert other.load_weights(path, by_name=True, skip_mismatch=True) == ["conv/kernel", "conv/bias"]
    with pytest.raises(ArgumentError, match="No weight in"):
        Sequential([layers.Dense(2, name="z", input_shape=(3,))]).load_weights(path, by_name=True)


def test_a_model_without_shape_says_so_before_loading_weights(path):
    network().save_weights(path)
    with pytest.raises(KernelearnError, match=r"build\(input_shape\)"):
        Sequential([layers.Dense(2)]).load_weights(path)


def test_load_model_is_where_users_look():
    assert models.load_model is load_model
