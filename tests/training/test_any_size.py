"""Sizes that are known only when a batch comes: models, programs, fit, evaluate and predict."""

import contextlib
import json
import re

import numpy as np
import pytest
from PIL import Image

from kernelearn import Input, Model, Sequential, explain, layers, load_model, ops
from kernelearn.callbacks import BackupAndRestore, Callback
from kernelearn.cli import main
from kernelearn.data import as_dataset, load
from kernelearn.errors import ArgumentError, DataError, NotBuiltError, ShapeError
from kernelearn.explain.gradient.model_factors import factors_of
from kernelearn.layers.core.unknown_sizes import fits, inferred
from kernelearn.recording import Recorder, Run
from kernelearn.training.steps.signature import Signature
from kernelearn.training.steps.step_cache import SIGNATURES_KEPT, StepCache
from tests.layers.examples import EXAMPLES
from tests.told import texts

ANY = (None, None, None, 3)

# layer, input shape, output shape.
SHAPES = [
    (lambda: layers.Conv2D(4, 3), ANY, (None, None, None, 4)),
    (lambda: layers.Conv2D(4, 3, padding="same", strides=2), (None, None, 8, 3), (None, None, 4, 4)),
    (lambda: layers.Conv1D(4, 3, padding="causal"), (None, None, 3), (None, None, 4)),
    (lambda: layers.Conv2D(4, 3, data_format="channels_first"), (None, 3, None, 9), (None, 4, None, 7)),
    (lambda: layers.Conv2DTranspose(4, 3, strides=2), ANY, (None, None, None, 4)),
    (lambda: layers.SeparableConv2D(4, 3), ANY, (None, None, None, 4)),
    (lambda: layers.MaxPooling2D(), ANY, ANY),
    (lambda: layers.GlobalAveragePooling2D(), ANY, (None, 3)),
    (lambda: layers.GlobalMaxPooling1D(keepdims=True), (None, None, 3), (None, 1, 3)),
    (lambda: layers.UpSampling2D(2), ANY, ANY),
    (lambda: layers.ZeroPadding2D(1), ANY, ANY),
    (lambda: layers.Cropping2D(100), ANY, ANY),
    (lambda: layers.BatchNormalization(), ANY, ANY),
    (lambda: layers.GroupNormalization(3), ANY, ANY),
    (lambda: layers.LayerNormalization(), ANY, ANY),
    (lambda: layers.PReLU(shared_axes=(1, 2)), ANY, ANY),
    (lambda: layers.Softmax(axis=(1, 2)), ANY, ANY),
    (lambda: layers.Dense(4), ANY, (None, None, None, 4)),
    (lambda: layers.Flatten(), ANY, (None, None)),
    (lambda: layers.Reshape((-1, 3)), ANY, (None, None, 3)),
    (lambda: layers.Reshape((4, 4)), (None, None), (None, 4, 4)),
    (lambda: layers.Permute((2, 1, 3)), (None, None, 8, 3), (None, 8, None, 3)),
    (lambda: layers.Resizing(8, 9), ANY, (None, 8, 9, 3)),
    (lambda: layers.CenterCrop(8, 9), ANY, (None, 8, 9, 3)),
    (lambda: layers.RandomFlip(), ANY, ANY),
]


@pytest.mark.parametrize(("make", "shape", "wanted"), SHAPES)
def test_shapes_that_are_not_known_yet(make, shape, wanted):
    assert make().compute_output_shape(shape) == wanted


def test_layers_of_several_inputs():
    assert layers.Add().compute_output_shape(ANY, ANY) == ANY
    assert layers.Concatenate().compute_output_shape(ANY, (None, None, None, 2)) == (None, None, None, 5)
    assert layers.Concatenate(1).compute_output_shape((None, None, 4), (None, 2, 4)) == (None, None, 4)


def test_trial_sizes_suit_the_layer():
    def table(specs):
        ((shape, dtype),) = specs
        if shape[1] > 60 and shape[1] % 7:
            raise ShapeError("too long")
        return [((None, shape[1] // 2, 5), dtype)]

    assert inferred(table, [((None, None, 5), "float32")]) == [((None, None, 5), "float32")]
    with pytest.raises(ShapeError, match=r"never .*\(None, None, 5\); 88 and 104 were tried.*GlobalAverage"):
        inferred(lambda _: (_ for _ in ()).throw(ShapeError("never")), [((None, None, 5), "float32")])


def fully_convolutional(shape=(None, None, 2)):
    return Sequential(
        [
            Input(shape),
            layers.Conv2D(3, 3, padding="same", name="conv"),
            layers.MaxPooling2D(name="pool"),
            layers.GlobalAveragePooling2D(name="mean"),
            layers.Dense(3, activation="softmax", name="head"),
        ],
        name="net",
    )


def pictures(size, n=5, seed=0):
    rng = np.random.default_rng(seed)
    return rng.random((n, *size, 2)).astype("float32"), rng.integers(0, 3, n)


def test_a_model_of_any_size_is_the_fixed_one_bit_for_bit():
    net = fully_convolutional()
    assert net.input_shape == (None, None, None, 2) and net.output_shape == (None, 3)
    net.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    twins = {}
    for size in ((8, 8), (9, 12), (14, 7)):
        twins[size] = fully_convolutional((*size, 2))
        twins[size].compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    arrays = net.get_weights()
    for number, size in enumerate([*twins, (8, 8)]):
        twin = twins[size]
        twin.set_weights(net.get_weights() if number else arrays)
        x, y = pictures(size, seed=number)
        np.testing.assert_array_equal(net.predict(x, verbose=0), twin.predict(x, verbose=0))
        np.testing.assert_array_equal(net(x), twin(x))
        before = net.get_weights()
        assert net.train_on_batch(x, y) == twin.train_on_batch(x, y)
        assert any(not np.array_equal(a, b) for a, b in zip(before, net.get_weights()))
    assert net.optimizer.iterations == 4 and len(net.programs._steps) == 3


def test_weights_and_slots_are_shared_between_the_programs():
    net = fully_convolutional()
    net.compile("adam", "sparse_categorical_crossentropy")
    x, y = pictures((8, 8))
    net.train_on_batch(x, y)
    slots = dict(net.programs.slots)
    small = net.step("train")
    net.train_on_batch(*pictures((9, 9)))
    large = net.step("train")
    assert small is not large and net.programs.slots == slots
    assert all(small.variables[name] is variable for name, variable in large.variables.items())
    assert net.program("train", input_shape=(8, 8, 2)) is small.program


def segmentation():
    x = Input((None, None, 2))
    skip = layers.Conv2D(3, 3, padding="same", activation="relu")(x)
    deep = layers.Conv2D(4, 3, padding="same")(layers.MaxPooling2D()(skip))
    both = layers.Concatenate()([skip, layers.UpSampling2D()(deep)])
    return Model(x, layers.Conv2D(2, 1, activation="softmax")(both), name="unet")


def test_a_segmentation_network():
    net = segmentation()
    assert net.output_shape == (None, None, None, 2)
    nested = Sequential([Input((None, None, 2)), net, layers.ReLU()])
    assert nested.output_shape == (None, None, None, 2)
    net.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    for size in ((8, 8), (4, 6)):
        x, _ = pictures(size)
        history = net.fit(x, (x[..., 0] > 0.5).astype(int), epochs=2, batch_size=2, verbose=0).history
        assert np.isfinite(history["loss"]).all()
        assert net.predict(x, verbose=0).shape == (5, *size, 2)
    with pytest.raises(ShapeError, match=r"'n', 8, 8\); got \(1, 8, 9\)"):
        net.fit(pictures((8, 8))[0], np.zeros((5, 8, 9), int), verbose=0)
    with pytest.raises(ShapeError, match="given images of 9 x 9 x 2"):
        net.predict(pictures((9, 9))[0], verbose=0)
    with pytest.raises(ShapeError, match="'any', 'any', 2"):
        net.predict(np.zeros((2, 8, 8, 3)), verbose=0)


def test_saving_cloning_and_summary(tmp_path, capsys):
    net = segmentation()
    net.compile("adam", "sparse_categorical_crossentropy")
    x, _ = pictures((8, 6))
    net.train_on_batch(x, np.zeros((5, 8, 6), int))
    net.save(tmp_path / "net.kernelearn")
    wanted = net.predict(x, verbose=0)
    for twin in (load_model(tmp_path / "net.kernelearn"), net.clone(), Model.from_config(net.get_config())):
        assert twin.input_shape == (None, None, None, 2) and twin.output_shape == net.output_shape
        twin.set_weights(net.get_weights())
        np.testing.assert_array_equal(twin.predict(x, verbose=0), wanted)
    net.summary(print_fn=print)
    assert "(None, None, None, 4)" in capsys.readouterr().out


def test_a_step_needs_a_size():
    net = fully_convolutional()
    net.compile("adam", "sparse_categorical_crossentropy")
    with pytest.raises(NotBuiltError, match=r"samples of shape \(None, None, 2\).*input_shape=\(64, 64, 3\)"):
        net.step("train")
    assert net.program("predict", input_shape=(8, 9, 2)).buffers["x_0"].shape == (None, 8, 9, 2)
    with pytest.raises(ShapeError, match=r"takes samples of shape \(None, None, 2\); got \(8, 9, 3\)"):
        net.step("predict", input_shape=(8, 9, 3))


def test_the_cache_of_programs_is_bounded():
    cache = StepCache()
    signatures = [Signature(((None, size),)) for size in range(SIGNATURES_KEPT)]
    for signature in signatures:
        cache.step(signature, "train", object)
    first = cache.step(signatures[0], "train", object)
    with pytest.warns(UserWarning, match=f"more than {SIGNATURES_KEPT} sizes.*multiple_of=32") as found:
        for size in (100, 101):
            cache.step(Signature(((None, size),)), "train", object)
    assert len(texts(found)) == 1 and len(cache) == SIGNATURES_KEPT
    assert cache.step(signatures[0], "train", object) is first and signatures[1] not in cache
    assert cache.latest() == signatures[0]


def test_large_programs_are_kept_in_smaller_number(monkeypatch):
    class Step:
        class executable:
            arena_bytes = 400

    monkeypatch.setattr("kernelearn.training.steps.step_cache.BYTES_KEPT", 1000)
    cache = StepCache()
    with pytest.warns(UserWarning, match="more than 3 sizes"):
        for size in range(5):
            cache.step(Signature(((None, size),)), "train", Step)
    assert [signature.shapes[0][1] for signature in cache] == [2, 3, 4]


def test_kernels_of_a_dropped_size_are_unloaded(monkeypatch, earlier_objects_left_out):
    import gc
    import weakref

    monkeypatch.setattr("kernelearn.training.steps.step_cache.SIGNATURES_KEPT", 1)
    net = Sequential([Input((None, 2)), layers.Conv1D(2, 3), layers.GlobalMaxPooling1D()])
    net.predict(np.ones((1, 5, 2), "float32"), verbose=0)
    held = weakref.ref(net.step("predict").executable)
    with pytest.warns(UserWarning, match="more than"):
        assert net.predict(np.ones((1, 6, 2), "float32"), verbose=0).shape == (1, 2)
    gc.collect()
    assert held() is None


def test_a_size_that_only_the_first_data_told_opens_when_another_comes():
    class Own(Model):
        def __init__(self):
            super().__init__()
            self.conv, self.head = layers.Conv2D(2, 3), layers.Dense(2)

        def call(self, x):
            return self.head(ops.mean(self.conv(x), axis=(1, 2)))

    chain = [layers.Conv2D(2, 3), layers.GlobalAveragePooling2D(), layers.Dense(2)]
    flat = Sequential([layers.Conv2D(2, 3), layers.Flatten(), layers.Dense(2)])
    first, other = pictures((8, 8))[0], pictures((8, 9))[0]
    for net in (Sequential(chain), Own()):
        net.compile("sgd", "mse")
        net.fit(first, np.zeros((5, 2)), verbose=0)
        before = net.get_weights(), net.predict(first, verbose=0)
        assert net.input_shape == (None, 8, 8, 2) and net.predict(other, verbose=0).shape == (5, 2)
        lines = []
        net.summary(print_fn=lines.append)
        assert net.input_shape == (None, 8, None, 2) and "(None, 6, None, 2)" in lines[0]
        np.testing.assert_array_equal(net.predict(first, verbose=0), before[1])
        assert all(np.array_equal(a, b) for a, b in zip(before[0], net.get_weights()))
    flat.predict(first, verbose=0)
    with pytest.raises(ShapeError, match=r"shape \('n', 8, 8, 2\).*Input\(\(None, None, 2\)\)"):
        flat.predict(other, verbose=0)
    assert flat.predict(first, verbose=0).shape == (5, 2)


def test_fits():
    assert fits((4, 8, 8, 3), ANY) and not fits((4, 8, 8, 1), ANY) and not fits((8, 8, 3), ANY)


# --- data of several sizes

SIZES = [(8, 8), (8, 12), (8, 8), (12, 8), (8, 12), (8, 8), (8, 8)]


def several(seed=0, sizes=SIZES):
    rng = np.random.default_rng(seed)
    images = [rng.random((*size, 2)).astype("float32") for size in sizes]
    return images, [(image[..., 0] > 0.5).astype(int) for image in images], rng.integers(0, 3, len(images))


def small(**layer):
    net = Sequential([Input((None, None, 2)), layers.Conv2D(2, 3, padding="same", name="conv", **layer)])
    net.compile("adam", "sparse_categorical_crossentropy")
    return net


def test_batches_by_size_hold_every_image_once_in_an_order_that_follows_from_the_seed():
    images, masks, _ = several()
    data = as_dataset(images, masks)
    assert data.x_shape == (None, None, 2) and data.has_several_sizes and data.steps(2) == 4
    for epoch in (0, 1):
        rows = data.batch_rows(2, shuffle=True, seed=5, epoch=epoch)
        assert sorted(np.concatenate(rows).tolist()) == list(range(7)) and len(rows) == 4
        assert all(len({SIZES[i] for i in batch}) == 1 for batch in rows)
        batches = list(data.batches(2, shuffle=True, seed=5, epoch=epoch))
        for batch, (x, y, _) in zip(rows, batches, strict=True):
            np.testing.assert_array_equal(x, np.stack([images[i] for i in batch]))
            np.testing.assert_array_equal(y, np.stack([masks[i] for i in batch]))
        later = next(iter(data.batches(2, shuffle=True, seed=5, epoch=epoch, start=3)))
        np.testing.assert_array_equal(later[0], batches[3][0])
    orders = [np.concatenate(data.batch_rows(2, True, seed, 0)).tolist() for seed in range(4)]
    assert len(set(map(tuple, orders))) > 1
    assert [batch.tolist() for batch in data.batch_rows(2)] == [[0, 2], [1, 4], [3], [5, 6]]
    part = data.subset([0, 2])
    assert part.x_shape == (8, 8, 2) and not part.has_several_sizes
    assert data.fingerprint != as_dataset(images[::-1], masks[::-1]).fingerprint
    assert data.fingerprint == as_dataset([i.copy() for i in images], masks).fingerprint
    assert len(data.arrays()[0]) == 7 and data.example(3)[0].shape == (12, 8, 2)


def test_training_on_several_sizes_is_the_same_steps_one_after_another():
    images, masks, _ = several()
    weights = np.linspace(0.5, 1.5, 7)
    net, by_hand = small(activation="softmax"), small(activation="softmax")
    by_hand.set_weights(net.get_weights())
    history = net.fit(
        images,
        masks,
        batch_size=2,
        epochs=2,
        seed=3,
        verbose=0,
        sample_weight=weights,
        validation_split=1 / 7,
    )
    data = as_dataset(images[:6], masks[:6], weights[:6])
    losses = []
    for epoch in (0, 1):
        for x, y, w in data.batches(2, shuffle=True, seed=3, epoch=epoch):
            losses.append((len(x), by_hand.train_on_batch(x, y, w)))
    for ours, theirs in zip(net.get_weights(), by_hand.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    rows, values = np.array(losses[len(losses) // 2 :]).T
    np.testing.assert_allclose(history.history["loss"][1], (rows * values).sum() / 6, rtol=1e-6)
    assert len(history.history["val_loss"]) == 2


def test_predictions_come_in_the_order_of_the_images():
    images, masks, _ = several()
    net = small(activation="softmax")
    maps = net.predict(images, batch_size=2, verbose=0)
    assert isinstance(maps, list)
    for image, found in zip(images, maps, strict=True):
        np.testing.assert_allclose(found, net.predict(image[None], verbose=0)[0], rtol=1e-5, atol=1e-6)
    objects = np.empty(7, object)
    objects[:] = images
    for one, other in zip(maps, net.predict(objects, batch_size=2, verbose=0), strict=True):
        np.testing.assert_array_equal(one, other)
    assert net.predict([images[0], images[2]], verbose=0).shape == (2, 8, 8, 2)
    padded = net.predict(as_dataset(images).padded(), batch_size=3, verbose=0)
    for one, other in zip(maps, padded, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    classes = fully_convolutional()
    found = classes.predict(images, batch_size=3, verbose=0)
    assert found.shape == (7, 3)
    np.testing.assert_allclose(found[3], classes.predict(images[3][None], verbose=0)[0], rtol=1e-5)
    loss = net.evaluate(images, masks, verbose=0, batch_size=2)
    alone = [net.evaluate(x[None], y[None], verbose=0) for x, y in zip(images, masks)]
    np.testing.assert_allclose(loss, np.mean(alone), rtol=1e-5)


def test_padded_batches_have_no_weight_outside_of_the_images():
    images, masks, labels = several()
    data = as_dataset(images, masks).padded(multiple_of=5)
    (x, y, w), *_ = data.batches(3)
    assert x.shape == (3, 10, 15, 2) and y.shape == w.shape == (3, 10, 15) and data.steps(3) == 3
    np.testing.assert_array_equal(x[1, :8, :12], images[1])
    np.testing.assert_array_equal(w[1, :8, :12], 1)
    assert not x[1, 8:].any() and not x[1, :, 12:].any() and w[1].sum() == 8 * 12 and y[0, 8:].max() == 0
    given = next(iter(as_dataset(images, masks, np.arange(7.0)).padded().batches(3)))[2]
    np.testing.assert_array_equal(given.sum((1, 2)), [0, 96, 128])
    by_size = as_dataset(images, masks).padded(multiple_of=10, by_size=True)
    assert sorted({x.shape[1:3] for x, _, _ in by_size.batches(3)}) == [(10, 10), (10, 20), (20, 10)]
    plain = next(iter(as_dataset(images, labels).padded().batches(3)))
    assert plain[1].shape == (3,) and plain[2] is None
    assert data.fingerprint != as_dataset(images, masks).fingerprint == data.padded(None).fingerprint
    with pytest.raises(ShapeError, match="maps with the sizes of their images"):
        next(iter(as_dataset(images, [m[::2] for m in masks]).padded().batches(3)))
    with pytest.raises(ArgumentError, match="multiple_of"):
        data.padded(0)
    net = small(activation="softmax")
    net.compile("sgd", "sparse_categorical_crossentropy")
    assert np.isfinite(net.fit(data, epochs=1, batch_size=3, verbose=0).history["loss"]).all()


class Stop(Callback):
    def on_train_batch_end(self, batch, logs=None):
        if self.model.fit_state.pass_batch == 3:
            raise InterruptedError


def test_a_training_that_was_interrupted_goes_on_to_the_same_bits(tmp_path):
    images, masks, _ = several()
    whole, cut = small(activation="softmax"), small(activation="softmax")
    start = whole.get_weights()
    how = {"batch_size": 2, "epochs": 3, "seed": 7, "verbose": 0}
    whole.fit(images, masks, **how)
    cut.set_weights(start)
    with pytest.raises(InterruptedError):
        cut.fit(images, masks, callbacks=[BackupAndRestore(tmp_path, save_freq=1), Stop()], **how)
    again = small(activation="softmax")
    again.fit(images, masks, callbacks=[BackupAndRestore(tmp_path, save_freq=1)], **how)
    for one, other in zip(whole.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_streams_whose_batches_differ_in_size():
    images, masks, labels = several()

    def batches():
        for x, y in zip(images, masks):
            yield x[None], y[None]

    net = small(activation="softmax")
    assert len(net.fit(batches, epochs=2, verbose=0).history["loss"]) == 2
    assert net.evaluate(batches, verbose=0) > 0
    found = net.predict(lambda: (x[None] for x in images), verbose=0)
    assert [one.shape[:2] for one in found] == SIZES
    singles = as_dataset(lambda: iter(list(zip(images, labels))))
    assert [x.shape for x, _, _ in singles.batches()] == [(1, *s, 2) for s in SIZES[:5]] + [(2, 8, 8, 2)]
    assert [len(x) for x, _, _ in as_dataset(batches).batches(4)] == [1, 1, 1, 1, 1, 2]
    with pytest.raises(ShapeError, match=r"differ in shape.*batch_size=None"):
        list(as_dataset(batches, size=7).batches(4))


def test_sequences_of_several_lengths():
    rng = np.random.default_rng(0)
    words = [rng.random((length, 3)).astype("float32") for length in (5, 9, 5)]
    net = Sequential([layers.Conv1D(2, 3, padding="causal"), layers.GlobalMaxPooling1D(), layers.Dense(1)])
    net.compile("sgd", "mse", metrics=["mae"])
    net.fit(words, [0.0, 1.0, 2.0], epochs=1, verbose=0)
    assert net.input_shape == (None, None, 3) and net.predict(words, verbose=0).shape == (3, 1)


def test_what_cannot_be_is_said_before_the_first_step():
    images, masks, labels = several()
    net = small(activation="softmax")
    before = net.get_weights()
    wrong = [*masks[:-3], masks[-3].T, *masks[-2:]]
    with pytest.raises(ShapeError, match=r"must have shape \('n', 8, 12\); got \(1, 12, 8\)"):
        net.fit(images, wrong, verbose=0)
    with pytest.raises(ShapeError, match=r"one size; these are \(None, None, 2\).*padded"):
        net.train_on_batch(images, masks)
    np.testing.assert_array_equal(before[0], net.get_weights()[0])
    fixed = Sequential([Input((8, 8, 2)), layers.Flatten(), layers.Dense(3)])
    for call in (fixed.predict, lambda x: fixed.evaluate(x, labels)):
        fixed.compile("sgd", "mse")
        with pytest.raises(ShapeError, match=r"samples of shape \(8, 8, 2\).*several sizes.*Input\(\(None"):
            call(images)
    halving = segmentation()
    halving.compile("sgd", "sparse_categorical_crossentropy")
    with pytest.raises(ShapeError, match=r"agree on all other axes.*given images of 9 x 8 x 2"):
        halving.fit(*several(sizes=[(8, 8), (9, 8)])[:2], verbose=0)


# --- pictures, recordings, explanations, commands


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A folder of pictures of two classes in three sizes."""
    rng, folder = np.random.default_rng(0), tmp_path_factory.mktemp("photos")
    for name, level in (("dark", 40), ("light", 180)):
        (folder / name).mkdir()
        for number, size in enumerate([(8, 8), (8, 12), (12, 8), (8, 8)] * 2):
            pixels = (level + rng.integers(0, 40, (*size, 3))).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


def test_pictures_keep_their_sizes(photos):
    with pytest.raises(DataError, match=r"3 different sizes.*resize='keep'"):
        load(photos)
    kept = load(photos, resize="keep", test=4)
    assert kept.input_shape == (None, None, 3) and "(any, any, 3)" in repr(kept)
    lazy = load(photos, resize="keep", test=4, cache_bytes=0)
    assert lazy.train.is_lazy and kept.fingerprint == lazy.fingerprint
    for (x, y, _), (x2, y2, _) in zip(kept.train.batches(3), lazy.train.batches(3), strict=True):
        np.testing.assert_array_equal(x, x2)
        np.testing.assert_array_equal(y, y2)
    for data in (kept, lazy):
        padded = data.padded(multiple_of=16)
        assert {x.shape[1:] for x, _, _ in padded.train.batches(5)} == {(16, 16, 3)}
    np.testing.assert_array_equal(
        next(iter(kept.padded(16).train.batches(12)))[0], next(iter(lazy.padded(16).train.batches(12)))[0]
    )
    assert kept.describe().rows()[0][1].startswith("any x any x 3")
    images, labels = kept.sample(2)
    assert len(images) == len(labels) == 4
    arrays = [np.zeros((8, 8, 1)), np.zeros((9, 8, 1)), np.ones((8, 8, 1)), np.ones((9, 8, 1))]
    assert load((arrays, [0, 0, 1, 1]), resize="keep", test=False).train.x_shape == (None, 8, 1)
    assert load((arrays, [0, 0, 1, 1]), resize=4, test=False).train.x_shape == (4, 4, 1)
    with pytest.raises(DataError, match="several sizes"):
        load((arrays, [0, 0, 1, 1]))


def test_a_recording_has_ledgers_of_the_commonest_size(tmp_path):
    images, masks, _ = several()
    net = small(activation="softmax")
    net.fit(
        images,
        masks,
        batch_size=2,
        epochs=3,
        seed=1,
        verbose=0,
        callbacks=[Recorder(tmp_path, ledger_every=2, kernels_every=3, maps_every=4)],
    )
    run = Run(tmp_path)
    steps = run.ledger_steps_of("conv", "kernel").tolist()
    assert len(run.steps) == 13 and len(steps) > 3
    for step in steps:
        found = explain.ledger(run, layer="conv", step=step, weight=(0, 0, 0, 0))
        assert found.factors.parts[0].x.shape[1:] == (8, 8, 2)
        assert {SIZES[i] for i in found.images} == {(8, 8)}
        assert abs(found.residual) <= 1e-4
        change = run.kernels("conv", step) - run.kernels("conv", step - 1)
        np.testing.assert_allclose(run.update("conv", step), change, atol=1e-6)
    assert run.probe_images.shape == (4, 8, 8, 2) and run.maps("conv", 4).shape == (4, 8, 8, 2)
    assert run.model().input_shape == (None, None, None, 2)


def test_explanations_say_or_take_a_size():
    images, masks, _ = several()
    net = small(activation="softmax")
    for find in (explain.receptive_field, explain.effective_receptive_field, explain.receptive_fields):
        with pytest.raises(NotBuiltError, match=r"images of any size.*input_shape=\(64, 64, 3\)"):
            find(net)
    assert explain.receptive_field(net, "conv", input_shape=(8, 12, 2)).image_size == (8, 12)
    assert explain.effective_receptive_field(net, "conv", images[1][None]).influence.shape == (8, 12)
    assert explain.feature_maps(net, images[3][None])["conv"].shape == (1, 12, 8, 2)
    assert explain.saliency(net, images[1][None], target=(0, 0, 0)).values.shape == (1, 8, 12, 2)
    preferred = explain.activation_maximization(net, "conv", steps=1, input_shape=(6, 7, 2))
    assert preferred.images.shape == (1, 6, 7, 2)
    patches = explain.top_patches(net, "conv", as_dataset(images).of_most_common_size(), [0], 1)
    assert patches.patches[0][0].crop.shape[-1] == 2
    book = explain.ledger(factors_of(net, images[1][None], masks[1][None], "conv"), weight=(0, 0, 0, 0))
    assert len(book.terms) == 8 * 12
    with pytest.raises(ShapeError, match="several sizes"):
        explain.feature_maps(net, as_dataset(images))
    with pytest.raises(ShapeError, match=r"depends on the size.*\(28, 28, 3\)"):
        explain.dense_equivalent(net.get_layer("conv"), (None, None, 2))


NET = """
from kernelearn import Sequential
from kernelearn.layers import Conv2D, Dense, GlobalAveragePooling2D, Input


def build(shape, classes):
    return Sequential([Input(shape), Conv2D(2, 3, name="conv"), GlobalAveragePooling2D(), Dense(classes)])
"""


def test_commands(photos, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(NET)

    def run(*words):
        with contextlib.suppress(SystemExit):
            main([str(word) for word in words])
        return capsys.readouterr()

    words = (
        "--resize",
        "keep",
        "--pad",
        16,
        "--model",
        "net.py",
        "--epochs",
        1,
        "--run",
        "a",
        "--val",
        "none",
    )
    assert "Test loss" in run("train", photos, *words).out
    assert "16 examples" in run("evaluate", "a", photos).out
    together = run("predict", "a", photos, "--json").out
    alone = run("predict", "a", photos / "dark" / "1.png", "--json").out
    scores = [one["probabilities"] for one in json.loads(together) if one["image"].endswith("dark/1.png")]
    assert scores == [json.loads(alone)[0]["probabilities"]]
    assert "(None, None, None, 2)" in run("summary", "a").out
    assert "conv" in run("explain", "field", "a", "--input-shape", "9x9x3").out
    assert "--input-shape" in run("explain", "field", "a").err
    assert "resnet20" in run("train", photos, "--resize", "keep", "--run", "c").err
    Sequential([Input((None, None, 3)), layers.Conv2D(2, 3)]).save("maps.kernelearn")
    assert (
        "gives maps, of shape (6, 6, 2)" in run("predict", "maps.kernelearn", photos / "dark" / "0.png").err
    )


def test_estimators():
    from kernelearn import CNNClassifier

    rng, labels = np.random.default_rng(0), np.repeat(["dark", "light"], 8)
    images = [rng.random((8 + i % 2, 8)) * (1 + 9 * (y == "light")) for i, y in enumerate(labels)]

    def network(shape, outputs):
        chain = [layers.Conv2D(2, 3), layers.GlobalAveragePooling2D(), layers.Dense(outputs, "softmax")]
        return Sequential([Input(shape), *chain])

    found = CNNClassifier(network, epochs=60, learning_rate=0.05, class_weight="balanced", random_state=0)
    assert found.fit(images, labels).score(images, labels) == 1
    assert found.image_shape_ == (None, None, 1)
    alone = found.predict_proba(np.stack(images[::2]))
    np.testing.assert_allclose(found.predict_proba(images)[::2], alone, rtol=1e-5)
    with pytest.raises(ShapeError, match="lenet has a dense layer"):
        CNNClassifier("lenet").fit(images, labels)
    with pytest.raises(ShapeError, match="fitted to"):
        CNNClassifier(network, epochs=1).fit(np.stack(images[::2]), labels[::2]).predict(images)


# What a layer says whose weights or arguments depend on a size.
NEEDS_A_SIZE = re.compile(
    r"not known|must be known|must have a known size|needs equal sizes; got \[88, 3\]|entry by entry: 88"
)


def test_every_layer_gives_what_it_knows_of_its_shape():
    wrong = []
    for example in EXAMPLES:
        shapes = [(None, *shape) for shape in example.shapes]
        is_first = getattr(example.make(), "data_format", None) == "channels_first"
        places = slice(2, None) if is_first else slice(1, -1)
        opened = [tuple(None if i in range(len(s))[places] else n for i, n in enumerate(s)) for s in shapes]
        if example.name in ("Attention", "AdditiveAttention"):  # takes its tensors in a list
            shapes, opened = [shapes], [opened]
        try:
            found = example.make().compute_output_shape(*opened)
        except (ShapeError, ArgumentError) as error:
            wrong += [] if NEEDS_A_SIZE.search(str(error)) else [(str(example), str(error))]
            continue
        wanted = example.make().compute_output_shape(*shapes)
        wrong += [] if isinstance(found, list) or fits(wanted, found) else [(example.name, wanted, found)]
    assert wrong == []
