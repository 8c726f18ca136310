"""Stored features: the same training as without, each picture once through the frozen part, and refusals."""

import numpy as np
import pytest

from kernelearn import Input, Model, Sequential, layers, utils
from kernelearn.callbacks import BackupAndRestore, EarlyStopping
from kernelearn.data import as_dataset
from kernelearn.errors import ArgumentError, DataError, NotBuiltError
from kernelearn.models import CachedFeatures
from tests.rounding import assert_same_but_for_rounding

RNG = np.random.default_rng(0)
X, Y = RNG.random((40, 8, 8, 1), "float32"), RNG.integers(0, 3, 40)
LOSS = "sparse_categorical_crossentropy"


def plain(*front):
    return Sequential(
        [
            Input((8, 8, 1)),
            *front,
            layers.Conv2D(4, 3, name="conv1"),
            layers.BatchNormalization(name="norm1"),
            layers.Conv2D(4, 3, name="conv2"),
            layers.Flatten(name="flat"),
            layers.Dropout(0.3, name="drop"),
            layers.Dense(3, activation="softmax", name="head"),
        ]
    )


def branched():
    """Three tensors lead from the frozen part to the rest."""
    x = Input((8, 8, 1))
    a = layers.Conv2D(4, 3, padding="same", name="conv1")(x)
    b = layers.Conv2D(4, 3, padding="same", name="conv2")(a)
    c = layers.Conv2D(4, 3, name="conv3")(layers.Add(name="sum")([a, b]))
    rows = [layers.GlobalAveragePooling2D()(part) for part in (a, b, c)]
    return Model(
        x, {"answer": layers.Dense(3, activation="softmax", name="head")(layers.Concatenate()(rows))}
    )


def ready(make, until="conv2", optimizer="adam"):
    utils.set_random_seed(0)
    model = make()
    model.freeze(until=until)
    model.compile(optimizer, LOSS, metrics=["accuracy"])
    return model


def same(a, b):
    for first, second in zip(a.get_weights(), b.get_weights()):
        assert_same_but_for_rounding(first, second, 4000)


@pytest.mark.parametrize("make", [plain, branched])
def test_the_same_training_as_without(make):
    usual, other = ready(make), ready(make)
    labels = {"answer": Y} if make is branched else Y
    expected = usual.fit(X, labels, 8, epochs=3, verbose=0, seed=2, validation_split=0.2)
    cached = CachedFeatures(other)
    found = cached.fit(X, labels, batch_size=8, epochs=3, verbose=0, seed=2, validation_split=0.2)
    same(usual, other)
    assert list(found.history) == list(expected.history)
    np.testing.assert_allclose(found.history["val_loss"], expected.history["val_loss"], rtol=1e-4)
    assert other.optimizer.iterations == usual.optimizer.iterations == 12
    usual.unfreeze(), other.unfreeze()
    for model in (usual, other):  # the optimiser has gone on in both
        model.fit(X, labels, 8, epochs=1, verbose=0, seed=5)
    for a, b in zip(usual.get_weights(), other.get_weights()):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


def test_each_picture_goes_once_through_the_frozen_part():
    model = ready(plain)
    cached = CachedFeatures(model)
    for _ in range(2):
        cached.fit(X, Y, epochs=2, verbose=0, validation_data=(X[:8], Y[:8]))
    assert cached.runs == 2, "training and validation data"
    assert [layer.name for layer in cached.head.layers if layer.weights] == ["head"]
    assert not [op for op in cached.head.program("train").operations if op.operator == "conv"]


def test_other_data_and_other_weights_are_computed_anew():
    model = ready(plain)
    cached = CachedFeatures(model)
    first = cached.dataset(X, Y).arrays()[0]
    changed = X.copy()
    changed[3, 0, 0, 0] += 1
    second = cached.dataset(changed, Y).arrays()[0]
    assert cached.runs == 2 and not np.array_equal(first[3], second[3])
    model.get_layer("conv1").set_weights([w + 1 for w in model.get_layer("conv1").get_weights()])
    third = cached.dataset(X, Y).arrays()[0]
    assert cached.runs == 3 and not np.array_equal(first, third)
    np.testing.assert_allclose(
        cached.head.predict(cached.dataset(X), verbose=0), model.predict(X, verbose=0), rtol=1e-5
    )


def test_files_where_memory_is_too_small_and_they_go_with_it():
    model = ready(plain)
    cached = CachedFeatures(model, max_bytes=100)
    kept = cached.dataset(X, Y)
    assert isinstance(kept._store.x, np.memmap)
    np.testing.assert_array_equal(kept.arrays()[0], CachedFeatures(model).dataset(X, Y).arrays()[0])
    from pathlib import Path

    place = Path(kept._store.x.filename).parents[1]
    assert place.is_dir()
    cached.clear()
    assert not place.exists()


def test_memory_is_bounded_for_all_data_together_and_old_files_go():
    model = ready(plain)
    size = 40 * 16 * 4 * 4  # features of all pictures, float32
    cached = CachedFeatures(model, max_bytes=size + 1)
    assert not isinstance(cached.dataset(X, Y)._store.x, np.memmap)
    assert isinstance(cached.dataset(X + 1, Y)._store.x, np.memmap)
    for shift in range(2, 8):
        cached.dataset(X + shift, Y)
    from pathlib import Path

    assert len(list(Path(cached._temporary).iterdir())) <= 4


def test_a_folder_serves_the_next_program_and_half_written_files_do_not(tmp_path):
    model = ready(plain)
    first = CachedFeatures(model, folder=tmp_path)
    expected = first.dataset(X, Y).arrays()[0].copy()
    again = CachedFeatures(model, folder=tmp_path)
    np.testing.assert_array_equal(again.dataset(X, Y).arrays()[0], expected)
    assert (first.runs, again.runs) == (1, 0)
    (place,) = tmp_path.glob("features-*")
    file = place / "0.npy"
    file.write_bytes(file.read_bytes()[:-8])
    mended = CachedFeatures(model, folder=tmp_path)
    np.testing.assert_array_equal(mended.dataset(X, Y).arrays()[0], expected)
    assert mended.runs == 1
    (place / "features.json").unlink()
    third = CachedFeatures(model, folder=tmp_path)
    third.dataset(X, Y)
    assert third.runs == 1


def test_callbacks_classes_and_weights_go_along(tmp_path):
    model = ready(plain)
    data = as_dataset(X, Y, np.linspace(0, 1, 40), class_names=["a", "b", "c"])
    cached = CachedFeatures(model)
    kept = cached.dataset(data)
    assert kept.class_names == ["a", "b", "c"]
    np.testing.assert_array_equal(kept.sample_weight, data.sample_weight)
    callbacks = [
        EarlyStopping("loss", patience=0, restore_best_weights=True),
        BackupAndRestore(tmp_path / "b"),
    ]
    cached.fit(data, epochs=3, verbose=0, class_weight={0: 2.0, 1: 1.0, 2: 1.0}, callbacks=callbacks)


def test_what_stands_in_front_decides():
    with pytest.raises(ArgumentError, match=r"'random_flip' .*at random.*Train without it"):
        CachedFeatures(ready(lambda: plain(layers.RandomFlip(name="random_flip"))))
    model = plain()
    model.compile("sgd", LOSS)
    with pytest.raises(ArgumentError, match=r"'conv1' is trained. Freeze it: model.freeze\(until='conv1'\)"):
        CachedFeatures(model)
    model.freeze()
    with pytest.raises(ArgumentError, match="nothing to train"):
        CachedFeatures(model)


def test_random_layers_behind_frozen_ones_act_in_the_head():
    model = ready(lambda: plain(), until="flat")
    cached = CachedFeatures(model)
    assert cached.names == ["flat"] and "drop" in [layer.name for layer in cached.head.layers]
    model.get_layer("norm1").trainable = True  # uses batch statistics again
    assert CachedFeatures(model).names == ["conv1"]


def test_what_changes_from_pass_to_pass_is_refused():
    cached = CachedFeatures(ready(plain))
    with pytest.raises(ArgumentError, match="same each time"):
        cached.fit(lambda: iter([(X, Y)]), epochs=1, verbose=0)
    open_model = Sequential(
        [
            Input((None, None, 1)),
            layers.Conv2D(2, 3, name="c"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(3),
        ]
    )
    open_model.freeze(until="c")
    open_model.compile("sgd", "mse")
    with pytest.raises(DataError, match="one size"):
        CachedFeatures(open_model).dataset(
            as_dataset([np.zeros((5, 7, 1)), np.zeros((6, 4, 1))], ragged=True)
        )


def test_released_layers_end_it():
    model = ready(plain)
    cached = CachedFeatures(model)
    model.unfreeze()
    with pytest.raises(ArgumentError, match="trained by now"):
        cached.fit(X, Y, verbose=0)
    fresh = plain()
    fresh.freeze(until="conv2")
    with pytest.raises(NotBuiltError, match="compile"):
        CachedFeatures(fresh).fit(X, Y, verbose=0)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"max_bytes": -1}, "max_bytes"),
        ({"max_bytes": "1 GB"}, "max_bytes"),
        ({"batch_size": 0}, "batch_size"),
        ({"batch_size": 1.5}, "batch_size"),
        ({"folder": 3}, "folder"),
    ],
)
def test_what_is_no_number_or_folder_is_refused(options, words):
    with pytest.raises(ArgumentError, match=words):
        CachedFeatures(ready(plain), **options)
    with pytest.raises(ArgumentError, match="expected a model, got str"):
        CachedFeatures("model.kernelearn", **options)
