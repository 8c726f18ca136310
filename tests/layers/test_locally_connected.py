"""LocallyConnected2D: the sum written out, equal to a convolution while its kernels are equal, counts."""

import numpy as np
import pytest

from kernelearn import Sequential
from kernelearn.errors import ArgumentError, ShapeError
from kernelearn.layers import Conv2D, Input, LocallyConnected2D

GEOMETRIES = [
    {"kernel_size": 3},
    {"kernel_size": 3, "padding": "same"},
    {"kernel_size": (2, 3), "strides": 2},
    {"kernel_size": (3, 2), "strides": (2, 1), "padding": "same"},
]
SHAPE = (6, 7, 2)


def images(count=3):
    return np.random.default_rng(0).normal(size=(count, *SHAPE))


@pytest.mark.parametrize("options", GEOMETRIES)
def test_with_equal_kernels_it_is_the_convolution(options):
    x = images()
    conv = Conv2D(4, **options, dtype="float64", bias_initializer="he_normal")
    expected = conv(x)
    kernel, bias = conv.get_weights()
    untied = LocallyConnected2D(4, **options, dtype="float64", kernel_initializer=kernel)
    untied.build((None, *SHAPE))
    positions = int(np.prod(expected.shape[1:3]))
    untied.bias.assign(np.tile(bias, positions))
    np.testing.assert_allclose(untied(x), expected, rtol=1e-13, atol=1e-13)


def test_every_position_has_its_own_kernel():
    x = images()
    layer = LocallyConnected2D(3, 3, strides=2, dtype="float64", bias_initializer="he_normal")
    y = layer(x)
    _, oh, ow, filters = y.shape
    kernel = layer.kernel.numpy().reshape(3, 3, 2, oh, ow, filters)
    bias = layer.bias.numpy().reshape(oh, ow, filters)
    expected = np.empty_like(y)
    for p in range(oh):
        for q in range(ow):
            window = x[:, 2 * p : 2 * p + 3, 2 * q : 2 * q + 3, :]
            expected[:, p, q] = np.einsum("nijc,ijcf->nf", window, kernel[..., p, q, :]) + bias[p, q]
    np.testing.assert_allclose(y, expected, rtol=1e-13, atol=1e-13)


def test_one_position_moves_one_output():
    x = images(1)
    layer = LocallyConnected2D(2, 3, dtype="float64")
    before = layer(x)
    kernel = layer.kernel.numpy()
    kernel.reshape(3, 3, 2, *before.shape[1:])[..., 2, 1, 0] += 1.0
    layer.kernel.assign(kernel)
    changed = np.argwhere(layer(x) != before)
    assert changed.tolist() == [[0, 2, 1, 0]]


def test_positions_are_drawn_apart_and_with_the_spread_of_a_convolution():
    untied, tied = LocallyConnected2D(8, 3), Conv2D(8, 3)
    for layer in (untied, tied):
        layer.build((None, 20, 20, 4))
    kernels = untied.kernel.numpy().reshape(3, 3, 4, 18 * 18, 8)
    assert not np.array_equal(kernels[..., 0, :], kernels[..., 1, :])
    limit = np.sqrt(6 / (9 * 4 + 9 * 8))  # glorot_uniform of one position
    assert 0.99 * limit < np.abs(kernels).max() <= limit
    assert untied.count_params() == 18 * 18 * tied.count_params()


def test_a_seed_or_an_array_ties_the_start():
    from kernelearn.initializers import HeNormal

    layer = LocallyConnected2D(2, 3, kernel_initializer=HeNormal(seed=1))
    layer.build((None, 5, 5, 1))
    kernels = layer.kernel.numpy().reshape(3, 3, 1, 9, 2)
    np.testing.assert_array_equal(kernels, np.repeat(kernels[..., :1, :], 9, axis=3))


def test_it_is_saved_and_trained_like_any_layer(tmp_path):
    from kernelearn import load_model

    model = Sequential([Input(SHAPE), LocallyConnected2D(2, 3, activation="relu")])
    model.compile("sgd", "mse")
    x = images(4).astype("float32")
    model.fit(x, np.ones((4, 4, 5, 2), "float32"), epochs=2, verbose=0)
    model.save(tmp_path / "model.kernelearn")
    again = load_model(tmp_path / "model.kernelearn")
    np.testing.assert_array_equal(again.predict(x, verbose=0), model.predict(x, verbose=0))


def test_frozen_weights_stay():
    layer = LocallyConnected2D(2, 3, trainable=False)
    model = Sequential([Input(SHAPE), layer, Conv2D(1, 2)])
    before = layer.get_weights()
    model.compile("sgd", "mse")
    model.fit(images(4), np.ones((4, 3, 4, 1)), verbose=0)
    for old, new in zip(before, layer.get_weights()):
        np.testing.assert_array_equal(old, new)


def test_what_it_refuses():
    with pytest.raises(ShapeError, match="local kernel spanning"):
        LocallyConnected2D(2, 9).build((None, *SHAPE))
    with pytest.raises(ArgumentError, match="filters"):
        LocallyConnected2D(0, 3)
    with pytest.raises(ShapeError, match="4 axes"):
        LocallyConnected2D(1, 3).build((None, 5, 5))
