"""Layers that prepare or change images: statistics, centres, and how far the random ones go."""

import numpy as np
import pytest

from kernelearn import layers as L
from kernelearn.data import as_dataset
from kernelearn.engine.backends import prepare
from kernelearn.engine.program import ProgramBuilder
from kernelearn.errors import ArgumentError, DataError, ShapeError


def in_training(layer, x, step=1):
    """The layer's training output."""
    graph = ProgramBuilder(training=True)
    tensor = graph.input("x", (None, *x.shape[1:]))
    layer.ensure_built([tensor.shape])
    with graph.scope(layer.name):
        graph.outputs = {"y": layer.lower(graph, tensor).name}
    return prepare(graph.build(), graph.variables).run({"x": x, "seed": 1, "step": step})["y"]


@pytest.fixture
def images():
    return np.random.default_rng(0).uniform(0, 1, (40, 6, 5, 3)).astype("float32")


# --- Normalization


def _as_batches(x):
    return [x[:7], x[7:8], x[8:]]


@pytest.mark.parametrize(
    "source",
    [
        lambda x: x,
        _as_batches,
        lambda x: iter(_as_batches(x)),
        lambda x: [(batch, np.zeros(len(batch))) for batch in _as_batches(x)],
        lambda x: as_dataset(x, np.zeros(len(x), int)),
    ],
    ids=["array", "batches", "generator", "tuples", "dataset"],
)
@pytest.mark.parametrize("axis", [-1, None, (1, 3)])
def test_adapt_measures_mean_and_variance(images, source, axis):
    layer = L.Normalization(axis=axis)
    layer.adapt(source(images))
    reduced = {-1: (0, 1, 2), None: (0, 1, 2, 3), (1, 3): (0, 2)}[axis]
    mean, variance, _ = layer.get_weights()
    np.testing.assert_allclose(mean, images.mean(reduced, dtype="float64"), rtol=1e-6)
    np.testing.assert_allclose(variance, images.var(reduced, dtype="float64"), rtol=1e-5)
    y = layer(images)
    np.testing.assert_allclose(y.mean(reduced), 0, atol=1e-5)
    np.testing.assert_allclose(y.std(reduced), 1, rtol=1e-5)


def test_adapt_again_starts_again(images):
    layer = L.Normalization()
    layer.adapt(images + 5)
    layer.adapt(images)
    np.testing.assert_allclose(layer.get_weights()[0], images.mean((0, 1, 2)), rtol=1e-5)


def test_a_constant_channel_is_no_division_by_zero():
    layer = L.Normalization()
    layer.adapt(np.full((4, 2), 3.0))
    np.testing.assert_array_equal(layer(np.full((4, 2), 3.0)), 0)


def test_invert_undoes_it(images):
    statistics = {"mean": [0.1, 0.2, 0.3], "variance": [0.5, 1.0, 2.0]}
    back = L.Normalization(invert=True, **statistics)(L.Normalization(**statistics)(images))
    np.testing.assert_allclose(back, images, atol=1e-6)


def test_adapt_says_what_is_wrong(images):
    with pytest.raises(ArgumentError, match="would overwrite"):
        L.Normalization(mean=0.0, variance=1.0).adapt(images)
    with pytest.raises(DataError, match="got no data"):
        L.Normalization().adapt([])
    with pytest.raises(DataError, match="not finite"):
        L.Normalization().adapt(np.array([[1.0, np.nan]]))
    layer = L.Normalization()
    layer.adapt(images)
    with pytest.raises(ShapeError, match="batch of shape"):
        layer.adapt(images[..., :2])


# --- sizes


def test_center_crop_takes_the_middle():
    x = np.arange(30.0, dtype="float32").reshape(1, 6, 5, 1)
    np.testing.assert_array_equal(L.CenterCrop(2, 3)(x)[0, :, :, 0], x[0, 2:4, 1:4, 0])


def test_resizing_a_ramp_keeps_it_a_ramp():
    x = np.linspace(0, 1, 9, dtype="float32").reshape(1, 1, 9, 1)
    y = L.Resizing(2, 5)(x)[0, :, :, 0]
    np.testing.assert_allclose(y[0], y[1])
    np.testing.assert_allclose(np.diff(y[0]), 9 / 5 / 8, rtol=1e-5)


def test_padding_keeps_the_whole_image():
    y = L.Resizing(6, 6, interpolation="nearest", pad_to_aspect_ratio=True, fill_value=7)(
        np.ones((1, 2, 6, 1))
    )
    np.testing.assert_array_equal(y[0, :, 0, 0], [7, 7, 1, 1, 7, 7])


# --- random changes


@pytest.mark.parametrize(
    ("mode", "kinds"), [("horizontal", 2), ("vertical", 2), ("horizontal_and_vertical", 4)]
)
def test_flips_are_all_seen_and_equally_often(mode, kinds):
    x = np.tile(np.arange(4.0, dtype="float32").reshape(1, 2, 2, 1), (2000, 1, 1, 1))
    corners, counts = np.unique(in_training(L.RandomFlip(mode), x)[:, 0, 0, 0], return_counts=True)
    assert len(corners) == kinds
    np.testing.assert_allclose(counts / 2000, 1 / kinds, atol=5 * np.sqrt(0.25 / 2000))


def test_crops_start_everywhere_equally_often():
    x = np.tile(np.arange(20.0, dtype="float32").reshape(1, 4, 5, 1), (3000, 1, 1, 1))
    y = in_training(L.RandomCrop(3, 3), x)
    starts, counts = np.unique(y[:, 0, 0, 0], return_counts=True)
    assert starts.tolist() == [0, 1, 2, 5, 6, 7]
    np.testing.assert_allclose(counts / 3000, 1 / 6, atol=5 * np.sqrt(5 / 36 / 3000))
    np.testing.assert_array_equal(y[:, 1, 1, 0] - y[:, 0, 0, 0], 6)


def test_a_crop_in_inference_is_the_central_one(images):
    np.testing.assert_array_equal(L.RandomCrop(4, 3)(images, training=False), images[:, 1:5, 1:4])


def test_half_a_turn_is_a_flip_of_both_axes(images):
    y = in_training(L.RandomRotation((0.5, 0.5)), images)
    np.testing.assert_allclose(y, images[:, ::-1, ::-1], atol=1e-5)


def test_a_quarter_turn_is_counter_clockwise():
    x = np.random.default_rng(0).uniform(size=(2, 5, 5, 1)).astype("float32")
    y = in_training(L.RandomRotation((0.25, 0.25)), x)
    np.testing.assert_allclose(y, np.rot90(x, 1, axes=(1, 2)), atol=1e-5)


def test_a_whole_translation_is_a_roll(images):
    y = in_training(L.RandomTranslation((0.5, 0.5), (-0.2, -0.2), fill_mode="wrap"), images)
    np.testing.assert_allclose(y, np.roll(images, (3, -1), axis=(1, 2)), atol=1e-5)


def test_zooming_out_shrinks_the_image():
    x = np.ones((3, 9, 9, 1), "float32")
    y = in_training(L.RandomZoom((1.0, 1.0), fill_mode="constant"), x)
    assert y.sum() == pytest.approx(3 * 25, rel=0.2)
    assert y[0, 4, 4, 0] == 1 and y[0, 0, 0, 0] == 0


def test_contrast_keeps_the_mean_and_the_range(images):
    wide = in_training(L.RandomContrast(0.5, value_range=(-9, 9)), images)
    np.testing.assert_allclose(wide.mean((1, 2)), images.mean((1, 2)), rtol=1e-4)
    factors = wide.std((1, 2)) / images.std((1, 2))
    np.testing.assert_allclose(factors, factors[:, :1] * np.ones(3), rtol=1e-4)
    assert 0.5 <= factors.min() < 0.7 and 1.3 < factors.max() <= 1.5
    narrow = in_training(L.RandomContrast(0.9, value_range=(0.2, 0.8)), images)
    assert (narrow.min(), narrow.max()) == pytest.approx((0.2, 0.8))


def test_every_step_and_every_layer_draws_anew(images):
    layer = L.RandomTranslation(0.5, 0.5)
    first, second = in_training(layer, images, 1), in_training(layer, images, 2)
    assert np.abs(first - second).max() > 0.1
    other = in_training(L.RandomTranslation(0.5, 0.5, seed=7), images, 1)
    assert np.abs(first - other).max() > 0.1
