"""Layers written with functions of `ops`: numbers of live Keras 3.15 on jax, and what noise layers keep."""

import numpy as np
import pytest

from kernelearn import Input, Model, Sequential, layers, ops, optimizers
from kernelearn.errors import ArgumentError, ShapeError
from kernelearn.explain.sight.fields import receptive_field


def wave(*shape):
    return np.sin(np.arange(1, 1 + np.prod(shape)) * 1.7).reshape(shape).astype("float32")


KERAS = [
    (layers.UnitNormalization, {}, (2, 3), [0.71833, -0.18511, -0.67063, 0.42191, 0.68181, -0.5976]),
    (layers.UnitNormalization, {"axis": (1, 2)}, (2, 2), [0.67631, -0.17428, -0.6314, 0.33698]),
    (layers.RMSNormalization, {}, (2, 3), [1.8559, -0.07838, 0.49461, 1.09006, 0.28869, 0.44075]),
    (layers.Masking, {}, (2, 2), [0.99166, -0.25554, -0.92581, 0.49411]),
    (layers.RepeatVector, {"n": 2}, (2,), [0.99166, -0.25554, 0.99166, -0.25554]),
    (layers.AdaptiveAveragePooling1D, {"output_size": 3}, (5, 1), [0.36806, -0.22908, 0.6463]),
    (
        layers.AdaptiveAveragePooling2D,
        {"output_size": (2, 3)},
        (3, 4, 1),
        [0.20868, -0.62484, -0.04767, -0.11651, -0.6071, 0.27295],
    ),
    (layers.AdaptiveAveragePooling3D, {"output_size": (1, 2, 1)}, (2, 3, 2, 1), [-0.0024, -0.00587]),
    (layers.AdaptiveMaxPooling1D, {"output_size": 3}, (7, 1), [0.99166, 0.79849, 0.79849]),
    (
        layers.AdaptiveMaxPooling2D,
        {"output_size": (3, 2), "data_format": "channels_first"},
        (1, 4, 3),
        [0.99166, 0.79849, 0.85916, 0.85916, 0.85916, 0.99979],
    ),
]


@pytest.mark.parametrize(("make", "arguments", "shape", "expected"), KERAS)
def test_a_layer_gives_the_numbers_of_keras(make, arguments, shape, expected):
    layer, x = make(**arguments), wave(1, *shape)
    layer.build(x.shape)
    layer.set_weights([wave(*w.shape) + 0.5 for w in layer.get_weights()])
    np.testing.assert_allclose(np.ravel(layer(x)), expected, atol=2e-5)


def test_an_embedding_looks_up_rows():
    table = wave(3, 2)
    layer = layers.Embedding(3, 2, weights=table)
    np.testing.assert_array_equal(layer(np.array([[2, 0, 1]])), table[[[2, 0, 1]]])
    assert layers.Embedding.from_config(layer.get_config()).get_config() == layer.get_config()


def test_the_steps_of_a_sequence_share_a_layer():
    layer, x = layers.TimeDistributed(layers.Conv1D(1, 2)), wave(1, 2, 3, 1)
    layer.build(x.shape)
    layer.layer.set_weights([wave(2, 1, 1), wave(1)])
    np.testing.assert_allclose(np.ravel(layer(x)), [2.04037, 0.97484, 1.27761, 1.96234], atol=2e-5)
    with pytest.raises(ShapeError, match="steps"):
        layers.TimeDistributed(layers.Dense(2))(np.ones((2, 3)))
    with pytest.raises(ArgumentError, match="takes a layer"):
        layers.TimeDistributed("dense")


def test_a_wrapper_of_ones_own_trains_what_it_holds():
    class Doubled(layers.Wrapper):
        def call(self, x):
            return 2 * self.layer(x)

    model = Sequential([Input((3,)), Doubled(layers.Dense(2))])
    x = wave(4, 3)
    np.testing.assert_allclose(model(x), 2 * model.layers[-1].layer(x), rtol=1e-6)
    model.compile("sgd", "mse")
    before = model.get_weights()
    model.fit(x, wave(4, 2), verbose=0)
    assert not np.array_equal(before[0], model.get_weights()[0])


def test_responses_of_whole_maps_by_hand():
    x = wave(2, 3, 2, 4)
    layer = layers.GlobalResponseNormalization()
    np.testing.assert_array_equal(layer(x), x)  # both weights begin at zero
    layer.set_weights([wave(4), wave(4) + 1])
    lengths = np.sqrt((x**2).sum((1, 2), keepdims=True))
    shares = lengths / (lengths.mean(-1, keepdims=True) + 1e-6)
    np.testing.assert_allclose(layer(x), x + wave(4) + 1 + wave(4) * x * shares, rtol=1e-5, atol=1e-6)


def test_a_penalty_on_what_passes():
    x = wave(4, 3)
    model = Sequential([Input((3,)), layers.ActivityRegularization(l1=0.5, l2=0.25)])
    model.compile("sgd", "mse")
    expected = (0.5 * np.abs(x).sum() + 0.25 * (x**2).sum()) / 4
    assert model.evaluate(x, x, verbose=0) == pytest.approx(expected, rel=1e-5)


MANY = np.random.default_rng(0).normal(0.3, 1.0, (40000, 2)).astype("float32")


def test_noise_that_multiplies_has_mean_one_and_the_deviation_of_dropout():
    noise = layers.GaussianDropout(0.2)(np.ones((40000, 2), "float32"), training=True)
    assert noise.mean() == pytest.approx(1, abs=0.01) and noise.std() == pytest.approx(0.5, abs=0.01)


def test_dropout_for_selu_keeps_mean_and_variance():
    x = (MANY - MANY.mean()) / MANY.std()
    y = layers.AlphaDropout(0.3)(x, training=True)
    assert y.mean() == pytest.approx(0, abs=0.02) and y.std() == pytest.approx(1, abs=0.02)
    low, scale = -1.0507009873554805 * 1.6732632423543772, (0.7 * (1 + 0.3 * 1.7580993408473766**2)) ** -0.5
    dropped = np.isclose(y, scale * low * 0.7, atol=1e-5)
    assert dropped.mean() == pytest.approx(0.3, abs=0.01)
    np.testing.assert_allclose(y[~dropped], (scale * (x - 0.3 * low))[~dropped], rtol=1e-4, atol=1e-5)


def test_a_branch_is_dropped_image_by_image():
    ones = np.ones((4000, 2, 2, 1), "float32")
    y = layers.StochasticDepth(0.25)([ones, ones], training=True)
    assert (y == y[:, :1, :1]).all() and set(np.unique(y.round(4))) == {1.0, np.float32(2.3333)}
    assert (y[:, 0, 0, 0] == 1).mean() == pytest.approx(0.25, abs=0.03)
    np.testing.assert_array_equal(layers.StochasticDepth(0.25)([ones, ones]), 2 * ones)


@pytest.mark.parametrize("size", [(5, 7), (3, 4), (8, 2)])
def test_adaptive_pools_are_windows_in_numpy(size):
    x = wave(2, 5, 6, 3).astype("float64")

    def windows(n, k):
        return [slice(i * n // k, -(-(i + 1) * n // k)) for i in range(k)]

    for pool, reduce in ((ops.adaptive_average_pool, np.mean), (ops.adaptive_max_pool, np.max)):
        rows = [[reduce(x[:, r, c], (1, 2)) for c in windows(6, size[1])] for r in windows(5, size[0])]
        np.testing.assert_allclose(pool(x, size), np.moveaxis(np.array(rows), 2, 0), rtol=1e-12)


def test_a_kernel_is_divided_by_its_largest_singular_value():
    x = wave(1, 4, 2)
    layer = layers.SpectralNormalization(layers.Dense(3), power_iterations=2)
    layer.build(x.shape)
    layer.set_weights([wave(*w.shape) for w in layer.get_weights()])
    keras = [1.5227, -0.539, -1.3838, 0.5741, 0.1355, -0.609]  # with training=True, on jax
    np.testing.assert_allclose(np.ravel(layer(x, training=True))[:6], keras, atol=2e-4)
    model = Sequential([Input((2,)), layers.SpectralNormalization(layers.Dense(3, use_bias=False))])
    model.compile(optimizers.SGD(0.1), "mse")
    model.fit(wave(8, 2), wave(8, 3), epochs=20, verbose=0)
    kernel = model.layers[-1].layer.kernel.numpy()
    largest = np.linalg.svd(kernel, compute_uv=False)[0]
    np.testing.assert_allclose(model(np.eye(2)), kernel / largest, rtol=1e-3, atol=1e-5)
    with pytest.raises(ArgumentError, match="neither"):
        layers.SpectralNormalization(layers.ReLU())(x)


def test_the_gradient_of_a_divided_kernel_counts_the_division():
    """The length of a kernel does not matter to what it gives, so no gradient goes along it."""
    model = Sequential([Input((2,)), layers.SpectralNormalization(layers.Dense(3, use_bias=False), 30)])
    model.compile(optimizers.SGD(1.0), "mse")
    before = model.layers[-1].layer.kernel.numpy()
    model.fit(wave(8, 2), wave(8, 3), batch_size=8, verbose=0)
    moved = model.layers[-1].layer.kernel.numpy() - before
    assert np.abs(moved).max() > 1e-3
    assert abs((moved * before).sum()) < 1e-4 * np.linalg.norm(moved) * np.linalg.norm(before)


NORMED = [
    (
        lambda: layers.GroupNormalization(2, axis=1),
        [wave(4), wave(4) * 0.5],
        [1.7398, 0.0452, 0.223, -0.2741, -1.3491, 0.5118, -0.2189, 0.7603],
    ),
    (
        lambda: layers.LayerNormalization(rms_scaling=True),
        [wave(2)],
        [1.5749, 0.1046, -1.292, -0.1777, 1.056, 0.2385, -0.8291, -0.297],
    ),
]


@pytest.mark.parametrize(("make", "weights", "expected"), NORMED, ids=["group", "rms"])
def test_normalisations_along_other_axes_are_those_of_keras(make, weights, expected):
    layer, x = make(), wave(1, 4, 2)
    layer.build(x.shape)
    layer.set_weights(weights)
    np.testing.assert_allclose(np.ravel(layer(x)), expected, atol=2e-4)


def test_functional_models_of_these_layers_come_back_from_files(tmp_path):
    words = Input((4,))
    x = layers.TimeDistributed(layers.Dense(3))(layers.Embedding(9, 5)(words))
    model = Model(words, layers.Identity()(layers.RMSNormalization()(x)))
    model.save(tmp_path / "m.klm")
    from kernelearn import load_model

    numbers = np.array([[1, 2, 0, 8]])
    np.testing.assert_array_equal(load_model(tmp_path / "m.klm")(numbers), model(numbers))


@pytest.mark.parametrize(
    "stack",
    [
        [layers.AdaptiveAveragePooling1D(3), layers.Conv1D(1, 1)],
        [layers.AdaptiveMaxPooling1D(4), layers.Conv1D(1, 2)],
        [layers.UnitNormalization(), layers.Conv1D(2, 2)],
    ],
    ids=["average", "max", "unit"],
)
def test_what_changes_a_unit_is_in_its_receptive_field(stack):
    model = Sequential([Input((7, 2)), *stack])
    x, unit = wave(1, 7, 2), (1, 0)
    seen = receptive_field(model, stack[-1].name, unit).mask
    for place in range(7):
        other = x.copy()
        other[0, place] = 9.0 + place, -9.0
        assert seen[place] or not (model(other) != model(x))[(0, *unit)]
    assert seen.any()
