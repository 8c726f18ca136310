"""Initialisers: statistics, fans and seeds; the filters of every bank; messages."""

import json
from math import pi, sqrt

import numpy as np
import pytest

from kernelearn import config, initializers
from kernelearn.errors import ArgumentError, NotBuiltError, ShapeError, UnknownNameError
from kernelearn.initializers import (
    Constant,
    FromLayer,
    GaborBank,
    GaussianBank,
    Identity,
    Laplacian,
    Orthogonal,
    PrewittBank,
    SobelBank,
)

SHAPE = (5, 5, 40, 60)
FAN_IN, FAN_OUT = 1000, 1500
VARIANCES = {
    "glorot_uniform": 2 / (FAN_IN + FAN_OUT),
    "glorot_normal": 2 / (FAN_IN + FAN_OUT),
    "he_uniform": 2 / FAN_IN,
    "he_normal": 2 / FAN_IN,
    "lecun_uniform": 1 / FAN_IN,
    "lecun_normal": 1 / FAN_IN,
    "random_normal": 0.05**2,
    "random_uniform": 0.1**2 / 12,
    "truncated_normal": (0.05 * 0.87962566) ** 2,
    "variance_scaling": 1 / FAN_IN,
}


def kurtosis(x):
    """Kurtosis: 1.8 for uniform, 3 for normal numbers."""
    return np.mean(x**4) / np.mean(x**2) ** 2


@pytest.mark.parametrize("name", VARIANCES)
def test_mean_and_variance(name):
    values = type(initializers.get(name))(seed=1)(SHAPE, "float64")
    n = values.size
    assert abs(values.mean()) < 5 * sqrt(VARIANCES[name] / n)
    assert values.var() == pytest.approx(VARIANCES[name], rel=5 * sqrt(2 / n))


@pytest.mark.parametrize("name", [n for n in VARIANCES if "uniform" in n])
def test_uniform_numbers_fill_their_interval(name):
    values = initializers.get(name)(SHAPE, "float64")
    limit = sqrt(3 * VARIANCES[name])
    assert 0.999 * limit < np.abs(values).max() <= limit
    assert kurtosis(values) == pytest.approx(1.8, rel=0.02)


@pytest.mark.parametrize("name", ["glorot_normal", "he_normal", "lecun_normal", "truncated_normal"])
def test_truncated_numbers_stop_at_two_deviations(name):
    values = initializers.get(name)(SHAPE, "float64")
    limit = 2 * sqrt(VARIANCES[name]) / 0.87962566
    assert 0.999 * limit < np.abs(values).max() <= limit


@pytest.mark.parametrize("mode", ["fan_in", "fan_out", "fan_avg"])
@pytest.mark.parametrize("distribution", ["truncated_normal", "normal", "untruncated_normal", "uniform"])
def test_variance_scaling(mode, distribution):
    fan = {"fan_in": FAN_IN, "fan_out": FAN_OUT, "fan_avg": (FAN_IN + FAN_OUT) / 2}[mode]
    values = initializers.VarianceScaling(3.0, mode, distribution, seed=4)(SHAPE, "float64")
    assert values.var() == pytest.approx(3.0 / fan, rel=5 * sqrt(2 / values.size))


@pytest.mark.parametrize(
    ("shape", "fans"),
    [((), (1, 1)), ((7,), (7, 7)), ((3, 4), (3, 4)), ((5, 2, 8), (10, 40)), ((3, 3, 16, 32), (144, 288))],
)
def test_fans(shape, fans):
    assert initializers.compute_fans(shape) == fans


def test_fans_of_named_axes():
    assert initializers.compute_fans((3, 4, 5), input_axes=[0, 1], output_axes=[2]) == (12, 5)
    values = initializers.HeNormal(seed=1, input_axes=[0], output_axes=[1])((40, 2000), "float64")
    assert values.var() == pytest.approx(2 / 40, rel=0.03)
    swapped = initializers.HeNormal(seed=1, input_axes=[1], output_axes=[0])((40, 2000), "float64")
    assert swapped.var() == pytest.approx(2 / 2000, rel=0.03)


@pytest.mark.parametrize("name", [*VARIANCES, "orthogonal"])
def test_integer_seeds_repeat_and_no_seed_follows_the_process(name):
    cls = type(initializers.get(name))
    fixed = cls(seed=3)
    np.testing.assert_array_equal(fixed((4, 6)), fixed((4, 6)))
    free = cls()
    config.set_random_seed(11)
    first, second = free((4, 6)), free((4, 6))
    config.set_random_seed(11)
    np.testing.assert_array_equal(free((4, 6)), first)
    assert not np.array_equal(first, second)
    assert first.dtype == np.float32


@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (3, 3, 2, 5), (3, 3, 2, 30)])
def test_orthogonal(shape):
    matrix = Orthogonal(gain=2.0, seed=0)(shape, "float64").reshape(-1, shape[-1])
    product = matrix.T @ matrix if len(matrix) >= shape[-1] else matrix @ matrix.T
    np.testing.assert_allclose(product, 4 * np.eye(len(product)), atol=1e-13)
    with pytest.raises(ShapeError, match="at least two axes"):
        Orthogonal()((4,))


def test_constants():
    np.testing.assert_array_equal(initializers.get("zeros")((2, 3)), np.zeros((2, 3)))
    np.testing.assert_array_equal(initializers.get("ones")((2, 3)), np.ones((2, 3)))
    np.testing.assert_array_equal(Constant(2.5)((2,)), [2.5, 2.5])
    values = np.arange(6.0).reshape(2, 3)
    made = initializers.get(values)((2, 3))
    np.testing.assert_array_equal(made, values)
    made[0, 0] = 9
    assert values[0, 0] == 0
    with pytest.raises(ShapeError, match=r"shape \(2, 3\), the variable has shape \(3, 2\)"):
        initializers.get(values)((3, 2))


def test_functions_are_initialisers_too():
    function = initializers.get(lambda shape, dtype=None: np.full(shape, 7.0, dtype))
    np.testing.assert_array_equal(function((2,), dtype="float32"), [7, 7])


# --- filters


def correlate(image, kernel):
    """Valid correlation of (h, w, c) with (kh, kw, c, f), the plain definition."""
    kh, kw = kernel.shape[:2]
    windows = np.lib.stride_tricks.sliding_window_view(image, (kh, kw), axis=(0, 1))
    return np.einsum("pqcij,ijcf->pqf", windows, kernel)


def ramp(slope_down, slope_right, size=9):
    rows, columns = np.mgrid[:size, :size]
    return (slope_down * rows + slope_right * columns)[..., None].astype(float)


def test_identity_matrix_and_kernels():
    np.testing.assert_array_equal(Identity(2.0)((2, 3)), [[2, 0, 0], [0, 2, 0]])
    image = np.random.default_rng(0).normal(size=(6, 7, 3))
    padded = np.pad(image, ((1, 2), (1, 1), (0, 0)))  # "same" for a 4 x 3 kernel
    np.testing.assert_array_equal(correlate(padded, Identity()((4, 3, 3, 3), "float64")), image)
    wide = Identity()((3, 3, 2, 4))
    assert wide[1, 1].tolist() == [[1, 0, 0, 0], [0, 1, 0, 0]]
    assert wide.sum() == 2


def test_identity_of_grouped_and_depthwise_kernels():
    grouped = Identity(groups=2)((3, 2, 4))  # 4 channels in 2 groups to 4 filters
    assert grouped[1].tolist() == [[1, 0, 1, 0], [0, 1, 0, 1]]
    depthwise = Identity(per_channel=True)((3, 3, 5, 1))
    assert depthwise[1, 1].ravel().tolist() == [1] * 5
    assert depthwise.sum() == 5


def test_sobel_and_prewitt_of_size_three_are_the_classical_ones():
    sobel = SobelBank()((3, 3, 1, 2), "float64")[:, :, 0]
    np.testing.assert_array_equal(sobel[..., 0], [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    np.testing.assert_array_equal(sobel[..., 1], sobel[..., 0].T)
    prewitt = PrewittBank()((3, 3, 1, 2), "float64")[:, :, 0]
    np.testing.assert_array_equal(prewitt[..., 0], [[-1, 0, 1], [-1, 0, 1], [-1, 0, 1]])
    np.testing.assert_array_equal(prewitt[..., 1], prewitt[..., 0].T)
    five = SobelBank()((5, 5, 1, 1), "float64")[:, :, 0, 0]
    np.testing.assert_array_equal(five, np.outer([1, 4, 6, 4, 1], [-1, -2, 0, 2, 1]))


@pytest.mark.parametrize("bank", [SobelBank, PrewittBank])
@pytest.mark.parametrize("size", [(3, 3), (5, 5), (3, 7)])
def test_gradient_filters_measure_slopes_in_their_direction(bank, size):
    kernel = bank(orientations=4)((*size, 1, 4), "float64")
    right, down = correlate(ramp(0, 1), kernel)[0, 0], correlate(ramp(1, 0), kernel)[0, 0]
    unit_right, unit_down = right[0], down[2]
    angles = np.arange(4) * pi / 4
    np.testing.assert_allclose(right, unit_right * np.cos(angles), atol=1e-12)
    np.testing.assert_allclose(down, unit_down * np.sin(angles), atol=1e-12)
    assert unit_right > 0 and unit_down > 0


def test_channels_are_averaged_or_filtered_each():
    image = np.random.default_rng(0).normal(size=(5, 5, 3))
    mean = correlate(image.mean(-1, keepdims=True), SobelBank()((3, 3, 1, 2), "float64"))
    np.testing.assert_allclose(correlate(image, SobelBank()((3, 3, 3, 2), "float64")), mean, atol=1e-12)
    each = SobelBank(per_channel=True)((3, 3, 3, 2))
    for channel in range(3):
        np.testing.assert_array_equal(each[:, :, channel], SobelBank()((3, 3, 1, 2))[:, :, 0])


def test_laplacian():
    kernel = Laplacian()((3, 3, 1, 2), "float64")[:, :, 0]
    np.testing.assert_array_equal(kernel[..., 0], [[0, 1, 0], [1, -4, 1], [0, 1, 0]])
    np.testing.assert_array_equal(kernel[..., 1], [[1, 1, 1], [1, -8, 1], [1, 1, 1]])
    np.testing.assert_array_equal(Laplacian()((3, 1, 1)).ravel(), [1, -2, 1])
    assert Laplacian()((3, 3, 3, 1, 1))[1, 1, 1, 0, 0] == -6
    wide = Laplacian(gain=2.0)((5, 7, 1, 1), "float64")
    rows, columns = np.mgrid[:9, :9]
    np.testing.assert_allclose(correlate((rows**2 + 3 * columns**2)[..., None] * 1.0, wide), 2 * 8)


@pytest.mark.parametrize("size", [(3, 3), (4, 4), (5,), (3, 4, 5)])
def test_gaussians_sum_to_one_and_widen(size):
    kernel = GaussianBank(sigmas=(0.2, 1.0, 3.0))((*size, 1, 3), "float64")
    flat = kernel.reshape(-1, 3)
    np.testing.assert_allclose(flat.sum(0), 1)
    assert np.all(np.diff(flat.max(0)) < 0)
    np.testing.assert_allclose(kernel, np.flip(kernel, axis=tuple(range(len(size)))), atol=1e-15)


def test_gabor_filters_prefer_their_own_wave():
    bank = GaborBank(orientations=4, frequencies=(0.125, 0.25), phases=(0, pi / 2))
    kernel = bank((15, 15, 1, 16), "float64")[:, :, 0]
    np.testing.assert_allclose(kernel.sum((0, 1)), 0, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(kernel, axis=(0, 1)), 1)
    y, x = np.mgrid[:15, :15] - 7.0
    for f, frequency in enumerate((0.125, 0.25)):
        for o, angle in enumerate(np.arange(4) * pi / 4):
            for p, phase in enumerate((0, pi / 2)):
                wave = np.cos(2 * pi * frequency * (np.cos(angle) * x + np.sin(angle) * y) + phase)
                answers = np.abs(np.einsum("ij,ijf->f", wave, kernel))
                assert answers.argmax() == (f * 4 + o) * 2 + p


@pytest.mark.parametrize("size", [(2, 2), (3, 3), (4, 6)])
def test_gabor_of_small_and_even_sizes(size):
    kernel = GaborBank(orientations=2, phases=(pi / 2,))((*size, 1, 2), "float64")
    assert np.isfinite(kernel).all()


BANKS = [(SobelBank, 2), (PrewittBank, 2), (Laplacian, 2), (GaussianBank, 3), (GaborBank, 8)]


@pytest.mark.parametrize(("bank", "count"), BANKS)
def test_number_of_filters(bank, count):
    full = bank()((3, 3, 1, count))
    np.testing.assert_array_equal(bank()((3, 3, 1, 1))[..., 0], full[..., 0])
    with pytest.raises(ArgumentError, match=f"has {count} filters and the layer asks for {count + 1}"):
        bank()((3, 3, 1, count + 1))
    cycled = bank(cycle=True)((3, 3, 1, 2 * count + 1))
    np.testing.assert_array_equal(cycled, np.concatenate([full, full, full[..., :1]], axis=-1))


@pytest.mark.parametrize(
    ("bank", "shape"),
    [
        (SobelBank, (4, 4, 1, 1)),
        (SobelBank, (1, 1, 1, 1)),
        (SobelBank, (3, 1, 1)),
        (PrewittBank, (1, 3, 1, 1)),
        (Laplacian, (2, 2, 1, 1)),
        (Laplacian, (3, 1, 1, 1)),
        (GaborBank, (1, 1, 1, 1)),
        (GaborBank, (3, 3, 3, 1, 1)),
        (GaussianBank, (4, 2)),
    ],
)
def test_kernels_for_which_a_bank_is_not_defined(bank, shape):
    with pytest.raises(ShapeError, match="got"):
        bank()(shape)


# --- from another model


class Weight:
    def __init__(self, value):
        self.value = value


class OtherModel:
    """A stand-in with the one method that `FromLayer` uses."""

    def get_layer(self, name):
        layer = type("Layer", (), {})()
        layer.kernel = Weight(np.arange(12.0).reshape(2, 2, 1, 3))
        layer.bias = np.ones(3)
        layer.gamma = None
        return layer


def test_from_layer_copies_and_checks():
    initializer = FromLayer(OtherModel(), "conv")
    np.testing.assert_array_equal(initializer((2, 2, 1, 3)).ravel(), np.arange(12))
    np.testing.assert_array_equal(FromLayer(OtherModel(), "conv", "bias")((3,)), [1, 1, 1])
    with pytest.raises(ShapeError, match=r"kernel of layer 'conv' has shape \(2, 2, 1, 3\)"):
        initializer((2, 2, 3, 3))
    with pytest.raises(NotBuiltError, match="has no weight 'gamma'"):
        FromLayer(OtherModel(), "conv", "gamma")((3,))
    with pytest.raises(ArgumentError, match="get_layer"):
        FromLayer("resnet", "conv")


def test_from_layer_saved_is_a_placeholder():
    saved = json.loads(json.dumps(initializers.serialize(FromLayer(OtherModel(), "conv"))))
    again = initializers.deserialize(saved)
    assert again.is_placeholder
    with pytest.raises(NotBuiltError, match="does not hold the other model"):
        again((2, 2, 1, 3))


# --- names and configs

EXAMPLES = [
    Constant(3.0),
    Constant([1.0, 2.0]),
    Identity(gain=2.0, groups=2),
    initializers.RandomNormal(0.1, 0.2, seed=1),
    initializers.RandomUniform(-1, 2, seed=1),
    initializers.TruncatedNormal(0.1, 0.2, seed=1),
    initializers.VarianceScaling(2.0, "fan_out", "uniform", seed=1),
    initializers.GlorotUniform(seed=5),
    initializers.Orthogonal(0.5, seed=2),
    SobelBank(4, gain=0.25, per_channel=True, cycle=True),
    Laplacian(cycle=True),
    GaussianBank((1.5,), cycle=True),
    GaborBank(3, (0.1, 0.3), phases=0.5, sigma=2.0, cycle=True),
]


@pytest.mark.parametrize("initializer", EXAMPLES, ids=lambda i: type(i).__name__)
def test_config_round_trip_through_json(initializer):
    again = initializers.deserialize(json.loads(json.dumps(initializers.serialize(initializer))))
    np.testing.assert_array_equal(again((3, 3, 2, 2)), initializer((3, 3, 2, 2)))
    assert repr(again) == repr(initializer)


@pytest.mark.parametrize(
    ("name", "class_name"),
    [
        ("zero", "Zeros"), ("one", "Ones"), ("normal", "RandomNormal"), ("uniform", "RandomUniform"),
        ("GlorotUniform", "GlorotUniform"), ("glorot_uniform", "GlorotUniform"), ("he_normal", "HeNormal"),
        ("IdentityInitializer", "Identity"), ("OrthogonalInitializer", "Orthogonal"),
    ],
)  # fmt: skip
def test_names_of_keras(name, class_name):
    assert type(initializers.get(name)).__name__ == class_name


@pytest.mark.parametrize(
    "make",
    [
        lambda: initializers.RandomNormal(seed=-1),
        lambda: initializers.RandomNormal(seed="now"),
        lambda: initializers.VarianceScaling(scale=0),
        lambda: initializers.VarianceScaling(mode="fan_max"),
        lambda: initializers.VarianceScaling(distribution="cauchy"),
        lambda: SobelBank(orientations=0),
        lambda: GaussianBank(sigmas=[1.0, 0.0]),
        lambda: GaborBank(frequencies=[0.7]),
        lambda: initializers.get(3),
    ],
)
def test_bad_arguments_are_refused(make):
    with pytest.raises(ArgumentError, match="got"):
        make()


def test_unknown_names_suggest_known_ones():
    with pytest.raises(UnknownNameError, match="Did you mean 'glorot_uniform'"):
        initializers.get("glorot_unifrom")
