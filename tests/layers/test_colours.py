"""Colours, blur, rectangles and mixtures: numbers of live Keras 3.15 on jax where chance decides nothing."""

import numpy as np
import pytest

from kernelearn import Input, Sequential, config, layers
from kernelearn.errors import ArgumentError, ShapeError


def wave(*shape):
    return np.abs(np.sin(np.arange(1, 1 + np.prod(shape)) * 1.7)).reshape(shape).astype("float32")


X, UNIT = wave(1, 2, 3, 3), {"value_range": (0, 1)}
FIRST = [0.9917, 0.2555, 0.9258, 0.4941, 0.7985, 0.6999, 0.6181, 0.8592, 0.3967]
KERAS = [
    (
        layers.RandomBrightness((0.2, 0.2), **UNIT),
        [1.0, 0.4555, 1.0, 0.6941, 0.9985, 0.8999, 0.8181, 1.0, 0.5967],
    ),
    (
        layers.RandomSaturation((0.7, 0.7), **UNIT),
        [0.9917, 0.0, 0.903, 0.0883, 0.7985, 0.5684, 0.4113, 0.8592, 0.0],
    ),
    (
        layers.RandomColorDegeneration((0.4, 0.4), **UNIT),
        [0.8158, 0.3741, 0.7763, 0.5749, 0.7576, 0.6984, 0.6646, 0.8092, 0.5318],
    ),
    (
        layers.RandomPosterization((3, 3), **UNIT),
        [0.8784, 0.251, 0.8784, 0.3765, 0.7529, 0.6275, 0.502, 0.7529, 0.3765],
    ),
    (
        layers.RandomGrayscale(1.0),
        [0.552, 0.552, 0.552, 0.6962, 0.6962, 0.6962, 0.7343, 0.7343, 0.7343],
    ),
    (
        layers.RandomSharpness((0.9, 0.9), **UNIT),
        [1.0, 0.2632, 1.0, 0.5183, 1.0, 0.8346, 0.8312, 1.0, 0.4821],
    ),
    (
        layers.RandomGaussianBlur((1.0, 1.0), 3, (0.8, 0.8), **UNIT),
        [0.458, 0.2433, 0.4848, 0.4542, 0.5199, 0.4992, 0.346, 0.4623, 0.3068],
    ),
]


@pytest.mark.parametrize(("layer", "expected"), KERAS, ids=lambda v: getattr(v, "name", ""))
def test_a_change_has_the_numbers_of_keras(layer, expected):
    np.testing.assert_allclose(layer(X).ravel()[:9], expected, atol=2e-4)
    np.testing.assert_array_equal(layer(X, training=False), X)
    np.testing.assert_allclose(layer(X[0]), layer(X)[0], atol=2e-4)  # one image without an axis of images


def test_hues_turn_in_both_directions():
    keras = [0.395, 0.2555, 0.9917, 0.5623, 0.7985, 0.4941, 0.8592, 0.684, 0.3967]
    turned = layers.RandomHue((0.3, 0.3), **UNIT)(np.repeat(X, 20, axis=0)).reshape(20, -1)[:, :9]
    is_keras = np.abs(turned - keras).max(1) < 2e-4
    assert 2 < is_keras.sum() < 18
    other = turned[~is_keras]
    np.testing.assert_allclose(other, np.broadcast_to(other[0], other.shape), atol=1e-5)
    np.testing.assert_allclose(layers.RandomHue((0.0, 0.0), **UNIT)(X), X, atol=1e-6)


def test_negatives_come_with_their_probability():
    many = np.broadcast_to(X, (2000, *X.shape[1:]))
    inverted = layers.RandomInvert((0.25, 0.25), **UNIT)(many)
    is_negative = np.isclose(inverted[:, 0, 0, 0], 1 - X[0, 0, 0, 0])
    assert is_negative.mean() == pytest.approx(0.25, abs=0.04)
    np.testing.assert_allclose(inverted[is_negative], (1 - many)[is_negative], atol=1e-6)
    np.testing.assert_array_equal(inverted[~is_negative], many[~is_negative])


def test_values_above_a_threshold_are_turned():
    solar = layers.Solarization(0.0, (0.5, 0.5), **UNIT)(X)
    np.testing.assert_allclose(solar, np.where(X < 0.5, X, 1 - X), atol=1e-6)


def test_jitter_is_its_parts_one_after_the_other():
    jitter = layers.RandomColorJitter((0, 1), brightness_factor=(0.2, 0.2), saturation_factor=(0.7, 0.7))
    bright = layers.RandomBrightness((0.2, 0.2), **UNIT)(X)
    expected = layers.RandomSaturation((0.7, 0.7), **UNIT)(bright)
    np.testing.assert_allclose(jitter(X), expected, atol=1e-5)


def test_one_rectangle_of_each_image_is_covered():
    x = np.full((50, 12, 10, 2), 0.5, "float32")
    y = layers.RandomErasing(scale=(0.1, 0.3), factor=(1.0, 1.0), fill_value=[0.25, 1.0], **UNIT)(x)
    for image in y:
        is_covered = image[..., 1] == 1.0
        rows, columns = is_covered.any(1), is_covered.any(0)
        np.testing.assert_array_equal(is_covered, np.outer(rows, columns))
        assert 2 <= rows.sum() <= 8 and 2 <= columns.sum() <= 7
        np.testing.assert_array_equal(np.diff(np.flatnonzero(rows)), 1)
        np.testing.assert_array_equal(image[..., 0][is_covered], 0.25)
    noise = layers.RandomErasing(scale=(0.5, 0.5), factor=(1.0, 1.0), **UNIT)(x)
    assert noise.min() == 0 and noise.max() == 1 and (noise == 0.5).any()


ONES = np.eye(4, dtype="float32")[np.arange(40) % 4]
IMAGES = np.broadcast_to(ONES[:, None, None], (40, 8, 6, 4)).copy()  # an image shows its label in every pixel


@pytest.mark.parametrize("layer", [layers.MixUp(0.8), layers.CutMix()], ids=["mix", "cut"])
def test_labels_are_mixed_as_images_are(layer):
    mixed = layer({"images": IMAGES, "labels": ONES}, training=True)
    shares = mixed["images"].mean((1, 2))
    tolerance = 1e-5 if isinstance(layer, layers.MixUp) else 0.35  # rectangles end at whole pixels
    np.testing.assert_allclose(mixed["labels"], shares, atol=tolerance)
    np.testing.assert_allclose(mixed["labels"].sum(-1), 1, atol=1e-5)
    assert ((mixed["labels"] > 0.05) & (mixed["labels"] < 0.95)).any()
    if isinstance(layer, layers.CutMix):
        assert set(np.unique(mixed["images"])) == {0.0, 1.0}
    np.testing.assert_array_equal(layer(IMAGES, training=False), IMAGES)


def test_changes_do_not_depend_on_the_number_of_threads_nor_on_the_batch_before():
    stack = [layers.RandomHue(0.5, **UNIT), layers.RandomErasing(**UNIT), layers.MixUp()]

    def trained():
        config.set_random_seed(5)
        model = Sequential([Input((8, 6, 3)), *stack, layers.Flatten(), layers.Dense(2)])
        model.compile("sgd", "mse")
        model.fit(IMAGES[..., :3], ONES[:, :2], batch_size=16, epochs=2, verbose=0, seed=2)
        return model.get_weights()

    for a, b in zip(trained(), trained()):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: layers.RandomBrightness(1.5), ArgumentError),
        (lambda: layers.RandomSaturation(0.5, value_range=(1, 0)), ArgumentError),
        (lambda: layers.RandomGaussianBlur(kernel_size=4), ArgumentError),
        (lambda: layers.MixUp(alpha=0.0), ArgumentError),
        (lambda: layers.RandomHue(0.5)(np.zeros((2, 3, 3, 1))), ShapeError),
        (lambda: layers.MixUp()({"images": IMAGES, "labels": np.arange(40)}, training=True), ShapeError),
    ],
)
def test_what_these_layers_cannot_be_given(make, error):
    with pytest.raises(error, match="got"):
        make()
