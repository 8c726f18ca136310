"""Keras's files written and read here: round trips, names of weights, refusals by name, damage."""

import io
import itertools
import json
import zipfile

import h5py
import numpy as np
import pytest

from kernelearn import Model, Sequential, layers, models, ops, optimizers, saving
from kernelearn.callbacks import BackupAndRestore, ModelCheckpoint
from kernelearn.errors import ArgumentError, FormatError, ShapeError, UnknownNameError, UnregisteredError
from kernelearn.saving import load_model
from tests.conversion.keras_zips import changed, config_of, two_dense
from tests.sweeps import some

RNG = np.random.default_rng(0)
X = RNG.normal(size=(6, 8, 8, 2)).astype("float32")
Y = np.eye(3, dtype="float32")[[0, 1, 2, 0, 1, 2]]


def network():
    start = layers.Input((8, 8, 2), name="start")
    shared = layers.Conv2D(2, 3, padding="same", activation=layers.LeakyReLU(0.2), name="shared")
    inner = Sequential(
        [layers.Input((8, 8, 2)), layers.BatchNormalization(), layers.PReLU(shared_axes=[1, 2])], name="inner"
    )
    x = layers.Add()([shared(shared(start)), inner(start)])
    x = ops.mean(x * 2.0, axis=(1, 2)) + 1.0
    return Model(start, layers.Dense(3, activation="softmax", kernel_regularizer="l2")(x))


@pytest.mark.parametrize("ending", [".keras", ".h5"])
def test_a_network_comes_back_and_trains_on(ending, tmp_path):
    model = network()
    model.compile(optimizers.Adam(0.01), "categorical_crossentropy", metrics=["accuracy"])
    model.fit(X, Y, epochs=2, batch_size=3, verbose=0)
    model.metadata = {"by": "me"}
    model.save(tmp_path / f"m{ending}")
    again = load_model(tmp_path / f"m{ending}")
    np.testing.assert_array_equal(again.predict(X, verbose=0), model.predict(X, verbose=0))
    assert again.weight_paths().keys() == model.weight_paths().keys()
    assert int(again.optimizer.iterations) == 4
    for _ in range(3):
        assert again.train_on_batch(X, Y) == model.train_on_batch(X, Y)
    if ending == ".keras":
        assert again.metadata == {"by": "me"}


PADDINGS = [((1, 1), (1, 1)), ((0, 2), (1, 0)), 1, 0, "same"]
# Each padding in one order of axes.
PAIRS = list(zip(itertools.cycle(["channels_last", "channels_first"]), PADDINGS))


@pytest.mark.parametrize(
    ("data_format", "padding"),
    some(itertools.product(["channels_last", "channels_first"], PADDINGS), quick=PAIRS),
)
def test_the_largest_of_windows_beyond_the_borders(padding, data_format, tmp_path):
    """Keras has no such pooling: an operation before it adds borders that never win, in a branch as well."""
    start = layers.Input((8, 8, 2))
    x = layers.Conv2D(3, 3, padding="same", name="below")(start)
    pooled = ops.max_pool(x - 5.0, 3, strides=1, padding=padding, data_format=data_format)
    beside = layers.Conv2D(3, 1, name="beside")(layers.Conv2D(3, 1, name="beside_before")(start))
    y = layers.Concatenate()([layers.GlobalMaxPooling2D()(pooled), layers.GlobalMaxPooling2D()(beside)])
    model = Model(start, layers.Dense(3)(y))
    model.save(tmp_path / "m.keras")
    again = load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(again.predict(X, verbose=0), model.predict(X, verbose=0))


@pytest.mark.parametrize("ending", [".keras", ".h5", ".weights.h5"])
def test_equal_content_gives_equal_bytes(ending, tmp_path):
    model = network()
    for name in ("a", "b"):
        (model.save_weights if "weights" in ending else model.save)(tmp_path / f"{name}{ending}")
    assert (tmp_path / f"a{ending}").read_bytes() == (tmp_path / f"b{ending}").read_bytes()


def test_checkpoints_are_files_of_keras(tmp_path):
    model = network()
    model.compile("adam", "categorical_crossentropy")
    best = ModelCheckpoint(tmp_path / "best.keras", monitor="loss")
    weights = ModelCheckpoint(tmp_path / "w.weights.h5", save_weights_only=True)
    model.fit(X, Y, epochs=2, verbose=0, callbacks=[best, weights, BackupAndRestore(tmp_path / "backup")])
    again = load_model(tmp_path / "best.keras")
    np.testing.assert_array_equal(again.predict(X, verbose=0), model.predict(X, verbose=0))
    again.set_weights([np.zeros_like(w) for w in again.get_weights()])
    again.load_weights(tmp_path / "w.weights.h5")
    np.testing.assert_array_equal(again.predict(X, verbose=0), model.predict(X, verbose=0))


# --- weights into a model


@pytest.mark.parametrize("ending", [".weights.h5", ".h5", ".keras"])
def test_two_layers_of_one_shape_are_told_by_their_names(ending, tmp_path):
    source, path = two_dense("one", "two"), tmp_path / f"w{ending}"
    (source.save if ending == ".keras" else source.save_weights)(path)
    swapped = two_dense("two", "one")
    swapped.load_weights(path)
    for name in ("one", "two"):
        np.testing.assert_array_equal(swapped.get_layer(name).kernel, source.get_layer(name).kernel)
    swapped.load_weights(path, by_position=True)
    np.testing.assert_array_equal(swapped.layers[0].kernel, source.layers[0].kernel)


@pytest.mark.parametrize("ending", [".weights.h5", ".h5", ".keras"])
def test_other_names_need_a_word(ending, tmp_path):
    source, path = two_dense("one", "two"), tmp_path / f"w{ending}"
    (source.save if ending == ".keras" else source.save_weights)(path)
    other = two_dense("one", "three")
    before = other.get_weights()
    with pytest.raises(FormatError, match=r"three/kernel.*by_position=True"):
        other.load_weights(path)
    assert all(np.array_equal(a, b) for a, b in zip(other.get_weights(), before))
    assert other.load_weights(path, by_name=True) == ["one/kernel", "one/bias"]
    assert len(other.load_weights(path, by_position=True)) == 4
    np.testing.assert_array_equal(other.layers[1].kernel, source.layers[1].kernel)


@pytest.mark.parametrize("ending", [".weights.h5", ".h5", ".keras"])
def test_other_shapes_need_a_word(ending, tmp_path):
    source, path = two_dense("one", "two"), tmp_path / f"w{ending}"
    (source.save if ending == ".keras" else source.save_weights)(path)
    other = Sequential([layers.Input((4,)), layers.Dense(4, name="one"), layers.Dense(3, name="two")])
    with pytest.raises(ShapeError, match=r"two/kernel.*\(4, 3\).*\(4, 4\)"):
        other.load_weights(path)
    assert other.load_weights(path, skip_mismatch=True) == ["one/kernel", "one/bias"]
    assert other.load_weights(path, by_name=True, skip_mismatch=True) == ["one/kernel", "one/bias"]


def test_frozen_layers_do_not_change_the_order(tmp_path):
    norm = lambda: Sequential([layers.Input((3,)), layers.BatchNormalization(name="n")])  # noqa: E731
    source, other = norm(), norm()
    source.set_weights(list(RNG.uniform(1, 2, (4, 3)).astype("float32")))
    source.trainable = False
    source.save_weights(tmp_path / "w.h5")
    other.load_weights(tmp_path / "w.h5")
    assert all(np.array_equal(a, b) for a, b in zip(source.get_weights(), other.get_weights()))


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_arguments_that_keras_has_not_are_left_out_where_they_say_nothing(rank, tmp_path):
    layer = getattr(layers, f"Conv{rank}DTranspose")(2, 2)
    model = Sequential([layers.Input((4,) * rank + (1,)), layer])
    model.save(tmp_path / "m.keras")
    with zipfile.ZipFile(tmp_path / "m.keras") as file:
        written = file.read("config.json").decode()
    assert f"Conv{rank}DTranspose" in written and '"groups"' not in written
    assert "learning_rate_multiplier" not in written


# --- refusals by name


def test_what_keras_lacks_is_named_and_nothing_is_written(tmp_path):
    odd = Sequential([layers.Input((4,)), layers.Dense(2, learning_rate_multiplier=0.5, name="slow")])
    split = Sequential([layers.Input((4, 4)), layers.Conv1DTranspose(4, 2, groups=2, name="split")])
    twice = layers.Dense(4, name="twice")
    inner = Sequential([layers.Input((4,)), twice], name="inner")
    start = layers.Input((4,))
    for model, words in (
        (odd, r"'slow' \(Dense\).*learning_rate_multiplier=0.5"),
        (split, r"'split' \(Conv1DTranspose\).*groups=2"),
        (Model(start, inner(twice(start))), r"'twice' \(Dense\).*inner"),
        (
            Model(start, layers.Dropout(0.5, name="drop")(start, training=True)),
            r"'drop' \(Dropout\).*training=True",
        ),
        (
            Model(start, layers.Dense(2, activation=layers.PReLU(), name="bent")(start)),
            r"'bent' \(Dense\).*PReLU",
        ),
        (Model(start, ops.cumsum(start, axis=1)), r"ops.cumsum"),
        (
            Sequential([layers.Input((4,)), layers.Dense(2, activation=lambda x: x * x, name="own")]),
            r"'own' \(Dense\)",
        ),
    ):
        with pytest.raises(ArgumentError, match=words):
            model.save(tmp_path / "m.keras")
    assert not list(tmp_path.iterdir())


def a_layer(class_name, module="keras.layers", **config):
    return {
        "module": module,
        "class_name": class_name,
        "config": {"name": "it", **config},
        "registered_name": None,
    }


REFUSED = {
    "unknown class of Keras": (a_layer("LSTM", units=3), UnknownNameError, r"'it' \(LSTM\)"),
    "unknown code": (a_layer("Evil", "os.path"), UnregisteredError, r"Evil.*custom_objects"),
    "registered elsewhere": (
        {**a_layer("Mine", "mine"), "registered_name": "pack>Mine"},
        UnregisteredError,
        "pack>Mine",
    ),
    "unknown attribute": (a_layer("Dense", units=4, magic=3), FormatError, r"'it' \(Dense\).*magic=3"),
    "a value that changes something": (
        a_layer("BatchNormalization", renorm=True),
        FormatError,
        "renorm=True",
    ),
    "adapters": (a_layer("Dense", units=4, lora_rank=2), FormatError, "lora_rank=2"),
    "a bad value": (a_layer("Dense", units=-4), FormatError, r"'it' \(Dense\)"),
    "a lambda": (
        a_layer("Lambda", function={"class_name": "__lambda__", "config": {"code": "4wAAAA=="}}),
        FormatError,
        r"'it' \(Lambda\).*never run.*custom_objects",
    ),
    "code as an argument": (
        a_layer("Dense", units={"class_name": "__lambda__", "config": {}}),
        FormatError,
        "never run",
    ),
    "an unknown function": (
        a_layer(
            "Activation", activation={"module": "builtins", "class_name": "function", "config": "system"}
        ),
        UnregisteredError,
        "system",
    ),
    "an unknown type": (
        a_layer(
            "Dense",
            units=4,
            dtype={"class_name": "QuantizedDTypePolicy", "config": {"name": "int8_from_float32"}},
        ),
        FormatError,
        "int8_from_float32",
    ),
    "no config": ({**a_layer("Dense"), "config": [1]}, FormatError, "config"),
    "no class": ({"class_name": 3, "config": {}}, FormatError, "layer"),
    "a size that no weights follow": (a_layer("Dense", units=10**9), FormatError, "fewer values"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_layer_is_refused_by_name(case, tmp_path):
    layer, error, words = REFUSED[case]
    path = changed(tmp_path, lambda config: config["config"]["layers"].__setitem__(1, layer))
    with pytest.raises(error, match=words):
        load_model(path)


def test_configs_inside_of_each_other_end_somewhere(tmp_path):
    layer = a_layer("Dense", units=4)
    for _ in range(200):
        layer = a_layer("TimeDistributed", layer=layer)
    with pytest.raises(FormatError, match="deeper"):
        load_model(changed(tmp_path, lambda config: config["config"]["layers"].__setitem__(1, layer)))


def test_a_lambda_is_given_under_the_name_of_its_layer(tmp_path):
    layer = a_layer("Lambda", function={"class_name": "__lambda__", "config": {"code": "4wAAAA=="}})
    path = changed(tmp_path, lambda config: config["config"]["layers"].insert(2, layer))
    model = load_model(path, custom_objects={"it": lambda x: x * 3.0})
    x = np.ones((1, 4), "float32")
    hidden = np.asarray(model.get_layer("one")(x)) * 3.0
    np.testing.assert_allclose(
        model.predict(x, verbose=0), np.asarray(model.get_layer("two")(hidden)), rtol=1e-6
    )


def test_layers_of_ones_own_are_given_by_name(tmp_path):
    class Doubled(layers.Layer):
        def call(self, x):
            return 2 * x

    layer = {**a_layer("Doubled", "theirs"), "registered_name": "theirs>Doubled"}
    path = changed(tmp_path, lambda config: config["config"]["layers"].insert(2, layer))
    assert isinstance(load_model(path, custom_objects={"Doubled": Doubled}).get_layer("it"), Doubled)
    with saving.custom_object_scope({"theirs>Doubled": Doubled}):
        assert isinstance(load_model(path).get_layer("it"), Doubled)


def test_hard_sigmoid_is_that_of_the_version(tmp_path):
    for version, expected in (("2.15.0", 0.6), ("3.1.0", 0.5 + 0.5 / 6)):
        layer = a_layer("Activation", activation="hard_sigmoid")
        path = changed(
            tmp_path, lambda config, layer=layer: config["config"]["layers"].append(layer), version
        )
        activation = load_model(path).get_layer("it")
        np.testing.assert_allclose(
            np.asarray(activation(np.full((1, 4), 0.5, "float32"))), expected, rtol=1e-6
        )
    load_model(path).save(tmp_path / "m.kernelearn")
    load_model(tmp_path / "m.kernelearn")


def test_calls_that_say_training_are_followed_as_their_keras_did(tmp_path):
    start = layers.Input((4,))
    Model(start, layers.BatchNormalization(name="norm")(start, training=False)).save(tmp_path / "m.keras")
    with pytest.warns(UserWarning, match=r"norm.*training=False"):
        load_model(tmp_path / "m.keras")
    Model(start, layers.Dropout(0.5, name="drop")(start, training=False)).save(tmp_path / "m.keras")
    load_model(tmp_path / "m.keras")  # as Keras 3 writes every Dropout


# --- damage


def members(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def packed(path, parts, method=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return path


def test_deflated_zips_are_read(tmp_path):
    model = two_dense("one", "two")
    model.save(tmp_path / "a.keras")
    packed(tmp_path / "b.keras", members(tmp_path / "a.keras"), zipfile.ZIP_DEFLATED)
    assert all(
        np.array_equal(a, b)
        for a, b in zip(load_model(tmp_path / "b.keras").get_weights(), model.get_weights())
    )


@pytest.mark.parametrize("name", ["config.json", "metadata.json", "model.weights.h5"])
@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\x89HDF\r\n\x1a\n", b"[" * 100_000])
def test_damaged_members_are_refused(name, content, tmp_path):
    two_dense("one", "two").save(tmp_path / "a.keras")
    parts = members(tmp_path / "a.keras")
    with pytest.raises(FormatError, match=r"b\.keras"):
        load_model(packed(tmp_path / "b.keras", {**parts, name: content}))


def test_weights_may_not_lie_elsewhere(tmp_path):
    two_dense("one", "two").save(tmp_path / "a.keras")
    parts, buffer = members(tmp_path / "a.keras"), io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file["layers"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/layers")
    with pytest.raises(FormatError, match="link"):
        load_model(packed(tmp_path / "b.keras", {**parts, "model.weights.h5": buffer.getvalue()}))


def test_weights_of_another_model_are_refused(tmp_path):
    two_dense("one", "two").save(tmp_path / "a.keras")
    two_dense("one", "three").save(tmp_path / "c.keras")
    parts = members(tmp_path / "a.keras")
    other = members(tmp_path / "c.keras")["model.weights.h5"]
    with pytest.raises(FormatError, match="two/kernel"):
        load_model(packed(tmp_path / "b.keras", {**parts, "model.weights.h5": other}))


def test_a_graph_that_reads_itself_is_refused(tmp_path):
    start = layers.Input((4,), name="start")
    Model(start, layers.Dense(4, name="b")(layers.Dense(4, name="a")(start))).save(tmp_path / "a.keras")
    parts = members(tmp_path / "a.keras")
    text = json.loads(parts["config.json"])
    by_name = {layer["name"]: layer for layer in text["config"]["layers"]}
    by_name["a"]["inbound_nodes"][0]["args"][0]["config"]["keras_history"] = ["b", 0, 0]
    with pytest.raises(FormatError, match="each other"):
        load_model(packed(tmp_path / "b.keras", {**parts, "config.json": json.dumps(text)}))
    by_name["a"]["inbound_nodes"][0]["args"][0]["config"]["keras_history"] = ["c", 0, 0]
    with pytest.raises(FormatError, match="'c'"):
        load_model(packed(tmp_path / "b.keras", {**parts, "config.json": json.dumps(text)}))


@pytest.mark.parametrize("attribute", [("backend", "theano"), ("keras_version", "1.2.2")])
def test_layouts_of_other_times_are_refused(attribute, tmp_path):
    two_dense("one", "two").save(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file.attrs[attribute[0]] = attribute[1]
    with pytest.raises(FormatError, match=r"Keras 1|Theano"):
        load_model(tmp_path / "a.h5")


def test_the_kinds_of_files_tell_what_they_cannot_do(tmp_path):
    model = two_dense("one", "two")
    with pytest.raises(ArgumentError, match="not possible"):
        model.save(tmp_path / "m.weights.h5")
    with pytest.raises(ArgumentError, match="not possible"):
        model.save_weights(tmp_path / "m.keras")
    model.save_weights(tmp_path / "m.h5")
    with pytest.raises(FormatError, match="no structure"):
        load_model(tmp_path / "m.h5")
    assert config_of(tmp_path, model)["class_name"] == "Sequential"
    assert models.zoo.lenet((16, 16, 1), 3).count_params() > 0
