"""Layers called on arrays and tensors: the argument `training`, single images, what attributes then hold."""

import json

import numpy as np
import pytest

from kernelearn import Input, Model, Sequential, activations
from kernelearn import layers as L
from kernelearn.errors import ArgumentError, KernelearnError, ShapeError
from kernelearn.layers.activations import is_constant_softmax
from kernelearn.models.configs import functional_from_config
from kernelearn.utils import set_random_seed

ENGINES = ("cpu", "reference")
AUGMENTATIONS = [
    L.RandomFlip,
    lambda: L.RandomRotation(0.3),
    lambda: L.RandomTranslation((0.5, 0.5), (0.0, 0.0), fill_mode="constant"),
    lambda: L.RandomZoom(0.4),
    lambda: L.RandomContrast(0.9, value_range=(0, 1)),
    lambda: L.RandomCrop(4, 3),
]


@pytest.fixture
def images():
    return np.random.default_rng(0).random((12, 6, 5, 2)).astype("float32")


def unchanged(layer, images):
    """What a layer gives in inference."""
    return images[:, 1:5, 1:4] if isinstance(layer, L.RandomCrop) else images


@pytest.mark.parametrize("make", AUGMENTATIONS)
def test_augmentation_is_seen_when_a_layer_is_called_on_images(make, images):
    layer = make()
    for call in (layer(images), layer(images, training=True), Sequential([make()])(images)):
        assert np.abs(call - unchanged(layer, images)).max() > 0.01
    for call in (layer(images, training=False), Sequential([layer])(images, training=False)):
        np.testing.assert_allclose(call, unchanged(layer, images), atol=1e-6)
    np.testing.assert_allclose(
        Sequential([Input((6, 5, 2)), make()]).predict(images, verbose=0), unchanged(layer, images), atol=1e-6
    )


def test_a_shift_by_half_the_height_moves_every_image_by_it(images):
    layer = L.RandomTranslation((0.5, 0.5), (0.0, 0.0), fill_mode="constant")
    shifted = layer(images)
    np.testing.assert_allclose(shifted[:, 3:], images[:, :3], atol=1e-5)
    assert not shifted[:, :3].any()


def test_calls_draw_anew_and_repeat_with_the_seed_of_the_process(images):
    layer, seen = L.RandomFlip(), []
    for seed in (1, 1, 2):
        set_random_seed(seed)
        seen.append((layer(images), layer(images)))
    np.testing.assert_array_equal(seen[0], seen[1])
    assert not np.array_equal(seen[0][0], seen[0][1]) and not np.array_equal(seen[0][0], seen[2][0])


@pytest.mark.parametrize(
    "make", [lambda: L.Dropout(0.5), lambda: L.SpatialDropout2D(0.5), lambda: L.GaussianNoise(1.0)]
)
def test_dropout_and_noise_act_when_training_is_said(make, images):
    layer = make()
    assert np.abs(layer(images, training=True) - images).max() > 0.01
    np.testing.assert_array_equal(layer(images), images)
    np.testing.assert_array_equal(layer(images, training=False), images)
    model = Sequential([Input((6, 5, 2)), make()])
    assert np.abs(model(images, training=True) - images).max() > 0.01
    np.testing.assert_array_equal(model(images), images)


def test_batch_statistics_are_used_and_followed_in_training_alone(images):
    layer = L.BatchNormalization(momentum=0.5)
    out = layer(images, training=True)
    np.testing.assert_allclose(out.mean((0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(layer.moving_mean.numpy(), images.mean((0, 1, 2)) / 2, rtol=1e-5)
    before = layer.moving_mean.numpy()
    layer(images)
    np.testing.assert_array_equal(layer.moving_mean.numpy(), before)


@pytest.mark.parametrize("make", [*AUGMENTATIONS, lambda: L.CenterCrop(4, 3), lambda: L.Resizing(3, 4)])
def test_one_image_may_come_without_a_batch(make, images):
    layer = make()
    one = layer(images[0], training=False)
    np.testing.assert_array_equal(one, layer(images[:1], training=False)[0])
    assert layer(images[0]).shape == one.shape
    with pytest.raises(ShapeError):
        layer(images[0, 0])


# --- a mode that belongs to a call


def frozen_statistics(engine):
    x = Input((3,))
    norm = L.BatchNormalization()
    model = Model(x, L.Dense(1)(norm(x, training=False)))
    model.compile("sgd", "mse", engine=engine)
    return model, norm


@pytest.mark.parametrize("engine", ENGINES)
def test_a_layer_called_for_inference_stays_in_it_while_the_model_trains(engine):
    x = np.random.default_rng(0).normal(5, 2, (16, 3)).astype("float32")
    model, norm = frozen_statistics(engine)
    model.fit(x, x[:, :1], verbose=0)
    np.testing.assert_array_equal(norm.moving_mean.numpy(), np.zeros(3))
    again = functional_from_config(json.loads(json.dumps(model.get_config())))
    assert [call.training for call in again.calls] == [False, None]


@pytest.mark.parametrize("engine", ENGINES)
def test_dropout_called_with_training_drops_in_predict(engine):
    i = Input((50,))
    model = Model(i, L.Dropout(0.5)(i, training=True))
    model.compile("sgd", "mse", engine=engine)
    x = np.ones((20, 50), "float32")
    first, second = model.predict(x, verbose=0), model.predict(x, verbose=0)
    assert set(np.unique(first)) == {0.0, 2.0} and 0.3 < (first == 0).mean() < 0.7
    assert not np.array_equal(first, second)
    assert np.isfinite(model.evaluate(x, x, verbose=0))


# --- softmax


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("axis", [(1, 2), [2, 1], (-1, 1), (2,), (1, 2, 3)])
def test_softmax_over_several_axes(axis, engine):
    x = np.random.default_rng(0).normal(size=(4, 3, 5, 2)).astype("float32")
    model = Sequential([Input((3, 5, 2)), L.Softmax(axis=axis)])
    model.compile("sgd", "mse", engine=engine)
    e = np.exp(x.astype(float))
    np.testing.assert_allclose(
        model.predict(x, verbose=0), e / e.sum(tuple(axis), keepdims=True), rtol=2e-6, atol=1e-7
    )
    assert model.layers[0].get_config()["axis"] == list(axis)


@pytest.mark.parametrize("axis", [(0, 1), (1, 1), (1, 7), ()])
def test_softmax_over_axes_that_it_cannot_take(axis):
    with pytest.raises(KernelearnError, match="Softmax"):
        L.Softmax(axis=axis)(np.zeros((2, 3, 4), "float32"))


@pytest.mark.parametrize(
    ("layer", "shape", "is_constant"),
    [
        (L.Dense(1, activation="softmax"), (None, 1), True),
        (L.Dense(1, activation="log_softmax"), (None, 1), True),
        (L.Conv2D(1, 1, activation="softmax"), (None, 4, 4, 1), True),
        (L.Activation("softmax"), (None, 1), True),
        (L.Softmax(), (None, 1), True),
        (L.Softmax(axis=(1, 2)), (None, 1, 1, 3), True),
        (L.Softmax(axis=1), (None, 4, 1), False),
        (L.Dense(2, activation="softmax"), (None, 2), False),
        (L.Dense(1, activation="sigmoid"), (None, 1), False),
        (L.Flatten(), (None, 1), False),
    ],
)
def test_a_softmax_over_one_number_is_recognised(layer, shape, is_constant):
    assert is_constant_softmax(layer, shape) is is_constant


# --- attributes


@pytest.mark.parametrize(
    "layer", [L.Activation("relu"), L.ReLU(), L.Rescaling(2.0), L.Dropout(0.1), L.Dense(2)]
)
def test_build_marks_every_layer_as_built(layer):
    assert not layer.built
    layer.build((None, 3))
    assert layer.built


def test_an_activation_may_be_taken_away_and_given_as_a_function():
    x = np.array([[-1.0, 2.0]], "float32")
    layer = L.Dense(2, activation=activations.relu, kernel_initializer="identity")
    np.testing.assert_array_equal(layer(x), [[0.0, 2.0]])
    layer.activation = None
    np.testing.assert_array_equal(layer(x), x)
    assert layer.get_config()["activation"] == "linear"
    with pytest.raises(ArgumentError, match="activation must be a name"):
        L.Dense(2, activation=np.tanh)


def test_every_activation_has_a_function_that_a_layer_takes():
    for name in set(activations.__all__) - {"get"}:
        function = activations.get(name)
        assert L.Activation(function).activation == L.Activation(name).activation
    assert activations.get(None)(3.0) == 3.0


def test_statistics_of_normalization_broadcast_with_the_inputs():
    layer = L.Normalization()
    assert layer.mean is None and layer.variance is None
    layer.adapt(np.array([[0.0, 7.0], [2.0, 9.0]]))
    np.testing.assert_array_equal(layer.mean, [[1.0, 8.0]])
    np.testing.assert_array_equal(layer.variance, [[1.0, 1.0]])
    assert layer.get_config()["mean"] is None
    given = L.Normalization(mean=[1.0, 2.0], variance=[1.0, 4.0])
    given.build((None, 4, 2))
    np.testing.assert_array_equal(given.mean, [[[1.0, 2.0]]])
    assert given.get_config()["variance"] == [1.0, 4.0]


# --- names and inputs


def test_inputs_may_be_given_with_the_batch():
    assert Input(batch_shape=(None, 8, 8, 1)).shape == Input((8, 8, 1), batch_size=4).shape == (None, 8, 8, 1)
    assert Input(shape=3).shape == (None, 3)
    with pytest.raises(ArgumentError, match="a shape without the batch"):
        Input()


@pytest.mark.parametrize(
    ("function", "cls"),
    [
        (L.add, L.Add),
        (L.subtract, L.Subtract),
        (L.multiply, L.Multiply),
        (L.maximum, L.Maximum),
        (L.minimum, L.Minimum),
        (L.average, L.Average),
        (L.concatenate, L.Concatenate),
    ],
)
def test_functions_that_join_are_calls_of_their_layers(function, cls):
    a, b = Input((3,)), Input((3,))
    joined = function([a, b], name="joined")
    assert type(joined.node.layer) is cls and joined.node.layer.name == "joined"
    assert L.concatenate([Input((2, 3)), Input((2, 3))], axis=1).shape == (None, 4, 3)


def test_other_names_are_the_same_classes():
    assert L.MaxPool2D is L.MaxPooling2D and L.AvgPool1D is L.AveragePooling1D
    assert L.GlobalAvgPool2D is L.GlobalAveragePooling2D and L.Convolution2D is L.Conv2D
