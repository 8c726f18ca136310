"""Transfer learning: what is frozen stays as it is, costs no gradient, and counts from the next step on."""

import numpy as np
import pytest

from kernelearn import Input, Model, Sequential, layers, optimizers
from kernelearn.callbacks import Callback
from kernelearn.errors import ArgumentError, UnknownNameError
from kernelearn.initializers import FromLayer, SobelBank
from kernelearn.training.steps.step import Clock

RNG = np.random.default_rng(4)
X = RNG.random((20, 8, 8, 1), "float32")
Y = RNG.integers(0, 3, 20)
LOSS = "sparse_categorical_crossentropy"


def network():
    return Sequential(
        [
            Input((8, 8, 1)),
            layers.Conv2D(4, 3, name="conv1"),
            layers.BatchNormalization(name="norm1"),
            layers.ReLU(name="relu1"),
            layers.Conv2D(4, 3, name="conv2"),
            layers.BatchNormalization(name="norm2"),
            layers.Flatten(name="flat"),
            layers.Dense(3, activation="softmax", name="head"),
        ]
    )


def train(model, **options):
    model.compile("adam", LOSS, **options)
    model.fit(X, Y, 8, epochs=2, verbose=0, seed=1)


def changed(model, before):
    """Paths of the weights that differ from `before`."""
    after = {name: w.numpy() for name, w in model.weight_paths().items()}
    return [name for name in after if after[name].tobytes() != before[name].tobytes()]


def weights(model):
    return {name: w.numpy() for name, w in model.weight_paths().items()}


def operations(model, phase):
    return [op for op in model.program("train").operations if op.phase == phase]


def test_freeze_until_a_layer():
    model = network()
    model.freeze(until="norm1")
    assert [layer.name for layer in model.layers if not layer.trainable] == ["conv1", "norm1"]
    before = weights(model)
    train(model)
    expected = [name for name in before if name.split("/")[0] not in ("conv1", "norm1")]
    assert sorted(changed(model, before)) == sorted(expected)


def test_frozen_layers_cost_no_gradient_work():
    model = network()
    model.freeze(until="relu1")
    model.compile("adam", LOSS)
    backward, update = operations(model, "backward"), operations(model, "update")
    assert {op.layer for op in backward} == {"conv2", "norm2", "flat", "head", ""}
    assert {op.layer for op in update} == {"conv2", "norm2", "head"}
    assert not [op for op in backward if op.operator == "conv_grad_input"], "nothing below conv2 is trained"
    model.unfreeze()
    model.compile("adam", LOSS)
    assert {"conv1", "norm1", "relu1"} < {op.layer for op in operations(model, "backward")}


def test_a_frozen_layer_between_trained_ones_passes_the_gradient_on():
    model = network()
    model.get_layer("conv2").trainable = False
    before = weights(model)
    train(model)
    names = changed(model, before)
    assert "conv1/kernel" in names and not [n for n in names if n.startswith("conv2")]


def test_what_is_frozen_is_frozen_in_a_clone_too():
    inner = Sequential([layers.Conv2D(2, 3, name="conv", input_shape=(8, 8, 1))], name="inner")
    x = Input((8, 8, 1))
    for outer in (Sequential([inner, layers.Flatten(), layers.Dense(3)]), Model(x, inner(x))):
        outer.trainable = False
        inner.get_layer("conv").trainable = True
        twin = outer.clone()
        assert not twin.trainable and not twin.get_layer("inner").trainable
        assert [w.path for w in twin.trainable_weights] == ["conv/kernel", "conv/bias"]


def test_a_layer_added_to_a_frozen_model_is_frozen():
    model = Sequential([Input((4,)), layers.Dense(3)], trainable=False)
    model.add(layers.Dense(2))
    assert model.trainable_weights == []


def test_unfreeze_until_and_altogether():
    model = network()
    model.freeze()
    assert model.trainable_weights == [] and not model.trainable
    model.unfreeze(until="norm1")
    assert [w.path for w in model.trainable_weights][:2] == ["conv1/kernel", "conv1/bias"]
    assert not model.get_layer("head").trainable
    model.unfreeze()
    assert len(model.trainable_weights) == 10 and len(model.non_trainable_weights) == 4


def test_freezing_until_a_layer_that_is_not_there_changes_nothing():
    model = network()
    with pytest.raises(UnknownNameError, match="Did you mean 'conv2'"):
        model.freeze(until="conv3")
    assert all(layer.trainable for layer in model.layers)


def test_a_frozen_normalization_keeps_and_uses_its_moving_statistics():
    model = network()
    train(model)
    norm = model.get_layer("norm1")
    norm.trainable = False
    model.compile("sgd", LOSS)
    assert "normalize" not in [op.operator for op in operations(model, "forward") if op.layer == "norm1"]
    before = norm.get_weights()
    model.fit(X, Y, 8, verbose=0)
    for old, new in zip(before, norm.get_weights()):
        np.testing.assert_array_equal(old, new)
    moving = model.get_layer("norm2").get_weights()[2]
    model.fit(X, Y, 8, verbose=0)
    assert not np.array_equal(moving, model.get_layer("norm2").get_weights()[2])


def test_a_wholly_frozen_network_trains_in_inference_mode():
    """With everything below the head frozen, the training loss is that of `evaluate`."""
    model = network()
    train(model)
    model.freeze(until="flat")
    model.compile("sgd", LOSS)
    expected = model.evaluate(X, Y, verbose=0)
    assert model.fit(X, Y, 20, verbose=0).history["loss"][0] == pytest.approx(expected, rel=1e-6)


STEPS = {
    "fit": lambda model: model.fit(X, Y, 8, verbose=0),
    "train_on_batch": lambda model: model.train_on_batch(X, Y),
    "step": lambda model: model.step("train").run(model.batch(X, Y), Clock.of(model.optimizer, 0)),
}


@pytest.mark.parametrize("step", STEPS)
def test_what_is_frozen_after_compile_counts_at_the_next_step(step):
    model = network()
    model.compile("adam", LOSS)
    STEPS[step](model)
    model.freeze(until="flat")
    before = weights(model)
    STEPS[step](model)
    assert sorted(changed(model, before)) == ["head/bias", "head/kernel"]
    model.unfreeze()
    before = weights(model)
    STEPS[step](model)
    assert {"conv1/kernel", "head/kernel"} <= set(changed(model, before))
    model.get_layer("head").kernel.trainable = False
    before = weights(model)
    STEPS[step](model)
    assert "head/bias" in changed(model, before) and "head/kernel" not in changed(model, before)


def test_a_callback_may_freeze_between_epochs():
    class Freeze(Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                self.model.get_layer("conv1").trainable = False
                self.kept = self.model.get_layer("conv1").get_weights()[0]

    model, freeze = network(), Freeze()
    model.compile("adam", LOSS)
    before = weights(model)
    model.fit(X, Y, 8, epochs=2, verbose=0, callbacks=[freeze])
    assert "conv1/kernel" in changed(model, before)
    assert np.array_equal(model.get_layer("conv1").get_weights()[0], freeze.kept)


def test_other_changes_after_compile_count_too():
    model = Sequential([Input((4,)), layers.Dropout(0.0), layers.Dense(1, kernel_initializer="ones")])
    model.compile(optimizers.SGD(0.1), "mse", engine="reference")
    x, y = np.ones((64, 4)), np.zeros((64, 1))
    assert model.train_on_batch(x, y) == 16.0
    model.set_weights([np.ones((4, 1)), np.zeros(1)])
    model.layers[0].rate = 0.5
    assert model.train_on_batch(x, y) != 16.0
    model.layers[0].rate, model.optimizer.clipvalue = 0.0, 1e-3
    model.set_weights([np.ones((4, 1)), np.zeros(1)])
    model.train_on_batch(x, y)
    np.testing.assert_allclose(model.get_weights()[0], 1 - 1e-4, rtol=1e-6)


def test_a_frozen_nested_model():
    base = Sequential([Input((4,)), layers.Dense(3)])
    model = Sequential([Input((4,)), base, layers.Dense(1)])
    model.compile("sgd", "mse", engine="reference")
    base.trainable = False
    before = base.get_weights()
    model.train_on_batch(np.ones((2, 4)), np.ones((2, 1)))
    assert all(np.array_equal(a, b) for a, b in zip(before, base.get_weights()))


def test_a_model_with_nothing_to_train_still_measures_its_loss():
    model = network()
    model.freeze()
    model.compile("adam", LOSS)
    before = weights(model)
    history = model.fit(X, Y, 8, verbose=0).history
    assert np.isfinite(history["loss"][0]) and changed(model, before) == []


def test_replace_head():
    model = network()
    train(model)
    new = model.replace_head(5)
    assert new.output_shape == (None, 5) and model.output_shape == (None, 3)
    assert new.get_layer("conv1") is model.get_layer("conv1")
    np.testing.assert_allclose(new.predict(X, verbose=0).sum(-1), 1, rtol=1e-5)
    new.freeze(until="flat")
    new.compile("adam", LOSS)
    before = weights(new)
    new.fit(X, RNG.integers(0, 5, 20), 8, verbose=0)
    names = changed(new, before)
    assert len(names) == 2 and all(n.split("/")[0] == new.layers[-1].name for n in names)
    assert new.replace_head(2, activation=None, name="logits").layers[-1].name == "logits"


def test_replace_head_before_an_activation_layer():
    model = Sequential([Input((4,)), layers.Dense(3), layers.Softmax()])
    new = model.replace_head(2, name="mine")
    assert new.output_shape == (None, 2) and len(new.layers) == 2
    assert new.get_layer("mine").get_config()["activation"] == "softmax"


def test_replace_head_needs_a_dense_end():
    with pytest.raises(ArgumentError, match="ends in a Dense layer"):
        Sequential([Input((4, 4, 1)), layers.Conv2D(2, 3), layers.Flatten()]).replace_head(3)
    x = Input((4,))
    with pytest.raises(ArgumentError, match="one output"):
        Model(x, [layers.Dense(2)(x), layers.Dense(2)(x)]).replace_head(3)


def test_a_sobel_bank_that_is_not_trained_stays_one():
    bank = layers.Conv2D(2, 3, kernel_initializer=SobelBank(), use_bias=False, trainable=False, name="sobel")
    model = Sequential([Input((8, 8, 1)), bank, layers.Flatten(), layers.Dense(3, activation="softmax")])
    kernel = bank.get_weights()[0]
    np.testing.assert_array_equal(kernel, SobelBank()((3, 3, 1, 2)))
    train(model)
    np.testing.assert_array_equal(bank.get_weights()[0], kernel)
    ramp = np.broadcast_to(np.arange(8.0)[None, None, :, None], (1, 8, 8, 1)).astype("float32")
    answers = np.abs(bank(ramp)).max((0, 1, 2))
    assert answers.min() < 1e-5 < 0.1 < answers.max(), "one filter sees a horizontal ramp, the other does not"


def test_a_layer_that_starts_from_another_model_trains_apart_from_it():
    teacher = network()
    student = Sequential(
        [
            Input((8, 8, 1)),
            layers.Conv2D(4, 3, kernel_initializer=FromLayer(teacher, "conv1"), name="conv1"),
            layers.Flatten(),
            layers.Dense(3, activation="softmax"),
        ]
    )
    start = teacher.get_weights()[0]
    np.testing.assert_array_equal(student.get_weights()[0], start)
    train(student)
    assert not np.array_equal(student.get_weights()[0], start)
    np.testing.assert_array_equal(teacher.get_weights()[0], start)


def test_a_frozen_model_within_a_model():
    base = Model(*_ends(network()), name="base")
    x = Input((8, 8, 1))
    model = Model(x, layers.Dense(3, activation="softmax", name="top")(base(x)))
    base.trainable = False
    before = weights(model)
    train(model)
    assert sorted(changed(model, before)) == ["top/bias", "top/kernel"]
    assert {op.layer for op in operations(model, "backward")} <= {"top", ""}


def _ends(model):
    return model.inputs, model.get_layer("flat").output


# Heads of networks from elsewhere


def test_freezing_until_a_layer_of_a_nested_model():
    inner = Sequential(
        [Input((8, 8, 1)), layers.Conv2D(2, 3, name="a"), layers.Conv2D(2, 3, name="b")], name="base"
    )
    model = Sequential([Input((8, 8, 1)), inner, layers.Flatten(), layers.Dense(3, name="head")])
    model.freeze(until="base/a")
    assert [w.path for w in model.trainable_weights] == ["b/kernel", "b/bias", "head/kernel", "head/bias"]
    model.unfreeze()
    model.freeze(until="base")
    assert [w.path for w in model.trainable_weights] == ["head/kernel", "head/bias"]


HEADS = {
    "pooling, Dense": [layers.GlobalAveragePooling2D, lambda: layers.Dense(3, name="old")],
    "Flatten, Dense, Softmax": [layers.Flatten, lambda: layers.Dense(3, name="old"), layers.Softmax],
    "Dense, Dropout, Activation": [
        layers.Flatten,
        lambda: layers.Dense(3, name="old"),
        lambda: layers.Dropout(0.5),
        lambda: layers.Activation("softmax"),
    ],
    "Conv 1 x 1, ReLU, pooling, Activation": [
        lambda: layers.Conv2D(3, 1, activation="relu", name="old"),
        layers.GlobalAveragePooling2D,
        lambda: layers.Activation("softmax"),
    ],
    "Conv 1 x 1 as a map, Flatten": [
        layers.GlobalAveragePooling2D,
        lambda: layers.Reshape((1, 1, 4)),
        lambda: layers.Conv2D(3, 1, name="old"),
        layers.Flatten,
    ],
}


@pytest.mark.parametrize("kind", HEADS)
def test_replace_head_of_each_kind(kind):
    model = Sequential(
        [Input((8, 8, 1)), layers.Conv2D(4, 3, name="conv"), *(make() for make in HEADS[kind])]
    )
    new = model.replace_head(5)
    assert new.output_shape == (None, 5)
    np.testing.assert_allclose(new.predict(X, verbose=0).sum(-1), 1, rtol=1e-5)
    assert new.get_layer("conv") is model.get_layer("conv")
    weights_of = [layer.name for layer in new.layers if layer.weights]
    assert weights_of[0] == "conv" and len(weights_of) == 2 and "old" not in weights_of
    assert model.output_shape == (None, 3), "the model itself stays"
    new.compile("adam", LOSS)
    new.fit(X, RNG.integers(0, 5, 20), 8, verbose=0)


def test_replace_head_of_a_model_within_a_model_and_of_maps():
    inner = network()
    x = Input((8, 8, 1))
    model = Model(x, inner(layers.RandomFlip(name="flip")(x)))
    new = model.replace_head(7)
    assert new.output_shape == (None, 7) and inner.output_shape == (None, 3)
    maps = Sequential([Input((8, 8, 1)), layers.Conv2D(3, 3, padding="same", name="old")])
    assert maps.replace_head(6).output_shape == (None, 8, 8, 6)


def test_add_head_to_a_network_without_one():
    base = Sequential([Input((8, 8, 1)), layers.Conv2D(4, 3, name="conv"), layers.BatchNormalization()])
    with pytest.raises(ArgumentError, match="add_head"):
        Sequential([Input((8, 8, 1)), *base.layers, layers.GlobalAveragePooling2D()]).replace_head(3)
    assert base.add_head(5).output_shape == (None, 5)
    assert base.add_head(5, pooling="flatten").layers[-1].kernel.shape == (144, 5)
    assert base.add_head(1, activation=None, name="value").layers[-1].name == "value"
    with pytest.raises(ArgumentError, match="'avg', 'max', 'flatten'"):
        base.add_head(5, pooling="mean")


def test_layers_in_front_keep_paths_and_results():
    from kernelearn.models.transfer import in_front

    x = Input((8, 8, 1), name="pixels")
    functional = Model({"pixels": x}, {"out": layers.Dense(2, name="d")(layers.Flatten(name="f")(x))})
    for model in (network(), functional):
        made = in_front(model, [layers.Rescaling(255.0, name="scale")])
        assert list(made.weight_paths()) == list(model.weight_paths())
        given = {"pixels": X} if model is functional else X
        found = made.predict(given, verbose=0)
        expected = model.predict({"pixels": 255 * X} if model is functional else 255 * X, verbose=0)
        for a, b in zip(*(list(r.values()) if isinstance(r, dict) else [r] for r in (found, expected))):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_an_open_input_shape_is_fixed():
    from kernelearn.errors import ShapeError
    from kernelearn.models.transfer import with_input_shape

    x = Input((None, None, 1))
    body = [layers.Conv2D(2, 3, name="c"), layers.GlobalAveragePooling2D()]
    for model in (Sequential([x, *body]), Model(x, body[1](body[0](x)))):
        fixed = with_input_shape(model, (8, 8, 1))
        assert fixed.input_shape == (None, 8, 8, 1)
        np.testing.assert_array_equal(fixed.predict(X, verbose=0), model.predict(X, verbose=0))
        with pytest.raises(ShapeError, match="does not fit"):
            with_input_shape(model, (8, 8, 3))


def test_first_values_from_a_file_of_another_program(tmp_path, monkeypatch):
    from kernelearn import load_model
    from tests import fake_format

    fake_format.enter(monkeypatch)
    teacher = network()
    for name in ("teacher.fake", "teacher.kernelearn"):
        teacher.save(tmp_path / name)
        start = FromLayer(load_model(tmp_path / name), "conv1")
        student = Sequential([Input((8, 8, 1)), layers.Conv2D(4, 3, kernel_initializer=start)])
        np.testing.assert_array_equal(student.get_weights()[0], teacher.get_weights()[0])


def test_first_values_from_a_model_of_keras():
    """As far as `FromLayer` sees one: layers whose weights give arrays by `numpy()` alone."""

    class Weight:
        value = None

        def numpy(self):
            return np.ones((3, 3, 1, 4))

    class Foreign:
        def get_layer(self, name):
            return type("Layer", (), {"kernel": Weight()})()

    np.testing.assert_array_equal(FromLayer(Foreign(), "conv")((3, 3, 1, 4)), np.ones((3, 3, 1, 4)))


def test_until_takes_a_module_of_a_network_from_pytorch():
    names = ["conv1", "layer1.0.conv1", "layer1.1.conv1", "layer10.conv1", "fc"]
    model = Sequential([Input((4,)), *(layers.Dense(4, name=name) for name in names)])
    model.freeze(until="layer1")
    assert [layer.trainable for layer in model.layers if layer.weights] == [False] * 3 + [True] * 2
    with pytest.raises(UnknownNameError, match="layer2"):
        model.freeze(until="layer2")
