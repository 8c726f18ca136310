"""Sizes that are known only when a batch comes: models, programs, fit, evaluate and predict."""

import numpy as np
import pytest

from kernelearn import Input, Model, Sequential, layers, load_model
from kernelearn.errors import NotBuiltError, ShapeError
from kernelearn.layers.unknown_sizes import fits, inferred
from kernelearn.training.signature import Signature
from kernelearn.training.step_cache import SIGNATURES_KEPT, StepCache

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
        if shape[1] > 50 and shape[1] % 7:
            raise ShapeError("too long")
        return [((None, shape[1] // 2, 5), dtype)]

    assert inferred(table, [((None, None, 5), "float32")]) == [((None, None, 5), "float32")]
    with pytest.raises(ShapeError, match=r"never .*\(None, None, 5\); 192 and 320 were tried.*GlobalAverage"):
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
    with pytest.warns(UserWarning, match=f"more than {SIGNATURES_KEPT} sizes.*pad_to_multiple_of") as found:
        for size in (100, 101):
            cache.step(Signature(((None, size),)), "train", object)
    assert len(found) == 1 and len(cache) == SIGNATURES_KEPT
    assert cache.step(signatures[0], "train", object) is first and signatures[1] not in cache
    assert cache.latest() == signatures[0]


def test_kernels_of_a_dropped_size_are_unloaded(monkeypatch):
    import gc
    import weakref

    monkeypatch.setattr("kernelearn.training.step_cache.SIGNATURES_KEPT", 1)
    net = Sequential([Input((None, 2)), layers.Conv1D(2, 3), layers.GlobalMaxPooling1D()])
    net.predict(np.ones((1, 5, 2), "float32"), verbose=0)
    held = weakref.ref(net.step("predict").executable)
    with pytest.warns(UserWarning, match="more than"):
        assert net.predict(np.ones((1, 6, 2), "float32"), verbose=0).shape == (1, 2)
    gc.collect()
    assert held() is None


def test_fits():
    assert fits((4, 8, 8, 3), ANY) and not fits((4, 8, 8, 1), ANY) and not fits((8, 8, 3), ANY)
