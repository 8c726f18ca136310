"""The filter bank: similarities by brute force, honest p-values, and the properties of known filters."""

import csv
import doctest
import importlib
import io
import json

import numpy as np
import pytest

from kernelearn import Input, Model, Sequential, initializers, layers
from kernelearn.errors import ArgumentError, NonFiniteError, NotBuiltError, ShapeError, UnknownNameError
from kernelearn.explain.kernel.filter_banks import filter_bank, filter_bank_history
from kernelearn.explain.kernel.filter_families import FAMILIES, templates_for
from kernelearn.explain.kernel.shapes import frequency_response, kernel_shape
from kernelearn.explain.kernel.source import as_filters, kernels_of


@pytest.fixture
def rng():
    return np.random.default_rng(2)


def turned(family, size, angle):
    """A filter of a gradient family turned by an angle in degrees."""
    right, down = templates_for(size, [family])[0][family][0].filters
    return np.cos(np.radians(angle)) * right + np.sin(np.radians(angle)) * down


# --- similarity


@pytest.mark.parametrize("angle", [0.0, 17.0, 45.0, 90.0, 133.0])
@pytest.mark.parametrize("family", ["sobel", "prewitt"])
def test_turned_gradients_are_found_with_their_angle(family, angle):
    kernel = -2.5 * turned(family, (5, 5), angle)[..., None, None]
    found = filter_bank(kernel, samples=99)
    assert found.best == [family]
    assert found.of(0, family) == pytest.approx(1.0)
    assert found.settings[0][family]["angle"] == pytest.approx(angle)
    assert found.settings[0][family]["size"] == (5, 5)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("size", [(3, 3), (5, 5), (4, 4)])
def test_every_template_is_recognised(family, size, rng):
    found, left_out = templates_for(size)
    if family in left_out:
        assert "size" in left_out[family]
        return
    for template in found[family][:: max(1, len(found[family]) // 12)]:
        mix = rng.standard_normal(template.basis.shape[1])
        kernel = (template.basis @ mix).reshape(*size, 1, 1)
        assert filter_bank(kernel, families=[family], samples=19).of(0, family) == pytest.approx(1.0)


def test_the_best_angle_is_better_than_all_others(rng):
    kernel = rng.standard_normal((3, 3))
    found = filter_bank(kernel[..., None, None], families=["sobel"], samples=19)
    angles = np.arange(0, 180, 0.25)
    cosines = []
    for angle in angles:
        filter = turned("sobel", (3, 3), angle)
        cosines.append(abs((kernel * filter).sum()) / np.linalg.norm(kernel) / np.linalg.norm(filter))
    assert found.of(0, "sobel") == pytest.approx(max(cosines), abs=1e-4)
    assert found.of(0, "sobel") >= max(cosines)
    assert found.settings[0]["sobel"]["angle"] == pytest.approx(angles[np.argmax(cosines)], abs=0.25)


def test_one_filter_families_by_brute_force(rng):
    kernels = rng.standard_normal((5, 5, 1, 4))
    found = filter_bank(kernels, families=["dct", "gaussian", "laplacian"], samples=19)
    for family, templates in templates_for((5, 5), ["dct", "gaussian", "laplacian"])[0].items():
        flat = np.stack([t.filters.ravel() / np.linalg.norm(t.filters) for t in templates])
        cosines = np.abs(flat @ kernels.reshape(25, 4)) / np.linalg.norm(kernels.reshape(25, 4), axis=0)
        np.testing.assert_allclose(
            found.similarity[:, found.families.index(family)], cosines.max(axis=0), rtol=1e-12
        )


def test_the_best_mix_of_channels_is_found(rng):
    mix = np.array([0.5, -2.0, 0.0])
    pattern = turned("sobel", (3, 3), 30.0)
    kernel = (pattern[..., None] * mix)[..., None]
    joint = filter_bank(kernel, families=["sobel"], samples=19)
    assert joint.of(0, "sobel") == pytest.approx(1.0)
    assert joint.settings[0]["sobel"]["angle"] == pytest.approx(30.0)
    each = filter_bank(kernel, families=["sobel"], channels="each", samples=19)
    assert each.labels == [(0, 0), (0, 1), (0, 2)]
    np.testing.assert_allclose(each.similarity[:, 0], [1, 1, 0], atol=1e-12)


def test_several_channels_by_brute_force_over_angles(rng):
    kernel = rng.standard_normal((3, 3, 4))
    best = 0.0
    for angle in np.arange(0, 180, 0.5):
        filter = turned("sobel", (3, 3), angle)
        projection = np.tensordot(filter, kernel, axes=((0, 1), (0, 1))) / np.linalg.norm(filter)
        best = max(best, np.linalg.norm(projection) / np.linalg.norm(kernel))
    found = filter_bank(kernel[..., None], families=["sobel"], samples=19)
    assert found.of(0, "sobel") == pytest.approx(best, abs=1e-4)


@pytest.mark.parametrize(
    ("bank", "family"),
    [
        (initializers.SobelBank(4), "sobel"),
        (initializers.Laplacian(), "laplacian"),
        (initializers.GaborBank(4, (0.25,)), "gabor"),
    ],
)
def test_the_library_s_banks_are_recognised(bank, family):
    kernel = bank((5, 5, 1, 2))
    found = filter_bank(kernel, samples=199)
    assert found.best == [family] * 2
    assert (found.p_best < 0.05).all()


def test_gabor_settings_are_recovered():
    kernel = initializers.GaborBank(4, (0.2,), sigma=2.8)((7, 7, 1, 8))
    found = filter_bank(kernel, families=["gabor"], samples=19)
    settings = [row["gabor"] for row in found.settings]
    assert [row["angle"] for row in settings] == [0, 0, 45, 45, 90, 90, 135, 135]
    assert {row["frequency"] for row in settings} == {0.2}
    assert [round(row["phase"]) % 180 for row in settings] == [0, 90] * 4


def test_own_filters_can_be_added():
    cross = np.eye(3) + np.eye(3)[::-1]
    found = filter_bank(cross[..., None, None], families={"dct": None, "cross": cross[None]}, samples=99)
    assert found.families == ("dct", "cross")
    assert found.best == ["cross"]
    with pytest.raises(ShapeError, match="must have the shape"):
        filter_bank(cross[..., None, None], families={"cross": np.ones((1, 5, 5))})
    with pytest.raises(ArgumentError, match="not all zero"):
        filter_bank(cross[..., None, None], families={"none": np.zeros((1, 3, 3))})


# --- the baseline


def test_random_kernels_get_uniform_p_values(rng):
    found = filter_bank(rng.standard_normal((3, 3, 1, 600)), samples=399)
    for column in found.p_values.T:
        assert abs(column.mean() - 0.5) < 0.06
        assert abs((column <= 0.1).mean() - 0.1) < 0.05
    assert abs(found.p_best.mean() - 0.5) < 0.08
    assert (found.p_best <= 0.05).mean() < 0.09


def test_the_baseline_is_the_search_over_random_kernels():
    found = filter_bank(np.ones((3, 3, 2, 1)), families=["sobel"], samples=199, seed=7)
    random = np.random.default_rng(7).standard_normal((199, 9, 2))
    kernels = np.moveaxis(random, 0, -1).reshape(3, 3, 2, 199)
    again = filter_bank(kernels, families=["sobel"], samples=199, seed=7)
    assert found.baseline[0] == pytest.approx(np.median(again.similarity[:, 0]))
    assert sorted(again.p_values[:, 0]) == pytest.approx(np.arange(2, 201) / 200)


def test_a_large_family_fits_small_kernels_by_chance():
    found = filter_bank(np.ones((3, 3, 1, 1)), samples=199)
    baseline = dict(zip(found.families, found.baseline))
    assert baseline["gabor"] > baseline["sobel"] > baseline["laplacian"]


def test_a_kernel_of_zeros_resembles_nothing():
    found = filter_bank(np.zeros((3, 3, 1, 1)), samples=19)
    assert (found.best, found.p_best.tolist(), found.similarity.max()) == ([""], [1.0], 0.0)
    assert "-" in str(found)


def test_other_dimensions_say_what_they_leave_out(rng):
    line = filter_bank(rng.standard_normal((5, 2, 3)), samples=19)
    assert set(line.left_out) == {"sobel", "prewitt", "gabor"}
    cube = filter_bank(initializers.Laplacian()((3, 3, 3, 1, 1)), samples=99)
    assert cube.best == ["laplacian"]
    assert np.isnan(cube.shape.angle).all()
    with pytest.raises(ShapeError, match="only mix channels"):
        filter_bank(np.ones((1, 1, 8, 8)))


# --- sources


class Recorded:
    """A run of three steps from random kernels to a Sobel bank."""

    layers = ("dense", "conv")
    steps = np.arange(3)

    def __init__(self):
        self.start = np.random.default_rng(0).standard_normal((3, 3, 1, 4))

    def kernels(self, layer, step, weight="kernel"):
        if layer == "dense":
            return np.ones((3, 2))
        return self.start * (1 - step / 2) + initializers.SobelBank(4)((3, 3, 1, 4)) * step / 2

    def weights(self, layer):
        return ["kernel", "bias"]

    def shape_of(self, layer, weight="kernel"):
        return self.kernels(layer, 0, weight).shape

    def weight_steps(self, layer, weight="kernel"):
        return self.steps

    def model(self, step=None):
        raise ArgumentError("no model")


def test_a_run_is_followed_over_its_steps():
    history = filter_bank_history(Recorded(), samples=99)
    assert (history.layer, history.similarity.shape) == ("conv", (3, 4, 7))
    sobel = history.similarity[..., history.families.index("sobel")]
    assert sobel[2].min() == pytest.approx(1.0)
    assert np.all(np.diff(sobel.mean(axis=1)) > 0)
    for step in (0, 2):
        single = filter_bank(Recorded(), "conv", step, samples=99)
        np.testing.assert_allclose(single.similarity, history.similarity[step])
        np.testing.assert_allclose(single.p_values, history.p_values[step])
    assert history.table()["step"] == [0, 1, 2]
    with pytest.raises(ArgumentError, match="takes a recorded run"):
        filter_bank_history(np.ones((3, 3, 1, 1)))


def test_kernels_come_from_layers_models_and_runs():
    model = Sequential([Input((8, 8, 2)), layers.Conv2D(3, 3, name="a"), layers.Conv2D(4, 2, name="b")])
    assert kernels_of(model).layer == "a"
    assert kernels_of(model, "b").values.shape == (2, 2, 3, 4)
    assert kernels_of(model.get_layer("b")).name == "b"
    assert kernels_of(Recorded(), step=1).name == "conv, step 1"
    outer = Model(x := Input((8, 8, 2)), model(x))
    assert kernels_of(outer).layer == f"{model.name}/a"


def test_kernels_are_brought_into_one_order(rng):
    model = Sequential(
        [
            Input((8, 8, 2)),
            layers.DepthwiseConv2D(3, depth_multiplier=3, name="depthwise"),
            layers.Conv2DTranspose(5, 3, name="transposed"),
            layers.SeparableConv2D(4, 3, name="separable"),
        ]
    )
    stored = model.get_layer("depthwise").kernel.value
    found = kernels_of(model, "depthwise").values
    np.testing.assert_array_equal(
        found[..., 0, 4], stored[..., 1, 1]
    )  # output channel 4: channel 1, kernel 1
    assert kernels_of(model, "transposed").values.shape == (3, 3, 6, 5)
    assert kernels_of(model, "separable", weight="depthwise_kernel").values.shape == (3, 3, 1, 5)
    assert as_filters(np.ones((2, 3, 4)), "Conv1D").shape == (2, 3, 4)


def test_sources_say_what_is_wrong():
    with pytest.raises(NotBuiltError, match="no weights yet"):
        filter_bank(layers.Conv2D(2, 3))
    with pytest.raises(ArgumentError, match="has no weight 'kernel'"):
        filter_bank(Sequential([Input((4, 4, 1)), layers.Flatten(name="flat")]), "flat")
    with pytest.raises(NonFiniteError, match="NaN or infinity"):
        filter_bank(np.full((3, 3, 1, 1), np.nan))
    with pytest.raises(ShapeError, match="channels, filters"):
        filter_bank(np.ones((3, 3)))
    with pytest.raises(ArgumentError, match="no convolution kernel"):
        filter_bank(Sequential([Input((3,)), layers.Dense(2)]))
    with pytest.raises(UnknownNameError, match="family of filters 'sobell'"):
        filter_bank(np.ones((3, 3, 1, 1)), families=["sobell"])
    with pytest.raises(ArgumentError, match="samples must be"):
        filter_bank(np.ones((3, 3, 1, 1)), samples=5)
    with pytest.raises(ArgumentError, match="channels must be"):
        filter_bank(np.ones((3, 3, 1, 1)), channels="all")


# --- properties


def test_properties_of_known_filters():
    bank = initializers.SobelBank(8)((5, 5, 1, 8))
    shape = kernel_shape(bank)
    np.testing.assert_allclose(shape.angle[::2], 45 * np.arange(4), atol=1e-6)
    np.testing.assert_allclose(shape.angle[1::2], 22.5 + 45 * np.arange(4), atol=2)  # pixels are square
    np.testing.assert_allclose(shape.even, 0, atol=1e-12)
    np.testing.assert_allclose(shape.mean_share, 0, atol=1e-12)
    assert shape.separability[0] == pytest.approx(1.0)
    assert shape.rank[[0, 2]].tolist() == [1, 2]
    np.testing.assert_allclose(shape.norm, np.linalg.norm(bank.reshape(25, 8), axis=0), rtol=1e-6)


def test_rings_have_no_orientation():
    shape = kernel_shape(initializers.Laplacian()((3, 3, 1, 2)))
    assert np.isnan(shape.angle).all()
    np.testing.assert_allclose(shape.coherence, 0, atol=1e-9)
    np.testing.assert_allclose(shape.even, 1)
    np.testing.assert_allclose(shape.mirror_rows, 1)


def test_blurs_pass_low_frequencies_and_waves_their_own():
    assert kernel_shape(np.ones((3, 3, 1, 1))).frequency[0] == 0
    assert kernel_shape(np.ones((3, 3, 1, 1))).mean_share[0] == pytest.approx(1.0)
    wave = np.cos(2 * np.pi * 0.25 * np.arange(16))[None, :, None, None] * np.ones((16, 1, 1, 1))
    shape = kernel_shape(wave)
    assert shape.frequency[0] == pytest.approx(0.25)
    assert shape.angle[0] == pytest.approx(0.0, abs=0.5)


def test_the_frequency_response_is_the_transform(rng):
    kernel = rng.standard_normal((3, 4, 2, 3))
    response = frequency_response(kernel, 8)
    p, q = 6, 1  # frequencies 2/8 and -3/8
    wave = np.exp(-2j * np.pi * (np.arange(3)[:, None] * (p - 4) + np.arange(4)[None] * (q - 4)) / 8)
    direct = np.tensordot(wave, kernel, axes=((0, 1), (0, 1)))
    np.testing.assert_allclose(response[p, q], np.sqrt((np.abs(direct) ** 2).mean(axis=0)))
    with pytest.raises(ArgumentError, match="at least 4"):
        frequency_response(kernel, 3)


def test_shares_are_weighted_by_energy(rng):
    edge, blur = turned("sobel", (3, 3), 0.0), np.ones((3, 3))
    kernel = np.stack([edge / np.linalg.norm(edge), 2 * blur / 3], axis=-1)[..., None]
    shape = kernel_shape(kernel)
    assert shape.even[0] == pytest.approx(0.8)
    assert shape.mean_share[0] == pytest.approx(0.8)
    assert shape.separability[0] == pytest.approx(1.0)
    assert shape.channel_rank1[0] == pytest.approx(0.8)


def test_rank_by_svd(rng):
    kernel = sum(np.outer(rng.standard_normal(5), rng.standard_normal(5)) for _ in range(2))
    assert kernel_shape(kernel[..., None, None]).rank[0] == 2
    assert np.isnan(kernel_shape(np.zeros((3, 3, 1, 1))).rank[0])


# --- the table


def test_the_table_turns_into_text_html_csv_and_json(tmp_path):
    found = filter_bank(initializers.SobelBank(2)((3, 3, 1, 2)), samples=19)
    assert str(found).splitlines()[0] == "Filter bank of kernel"
    assert "<th>similarity</th>" in found._repr_html_()
    text = found.to_csv(tmp_path / "bank.csv")
    assert (tmp_path / "bank.csv").read_text() == text
    rows = list(csv.DictReader(io.StringIO(text)))
    assert rows[1]["best"] == "sobel"
    assert float(rows[1]["sobel"]) == found.of(1, "sobel")
    assert float(rows[1]["angle"]) == 90
    assert json.loads(json.dumps(found.to_dict()))["filter"] == [0, 1]
    table = found.table()
    assert table[0]["settings"] == "size 3 x 3, angle 0"
    with pytest.raises(UnknownNameError, match="column 'angel'"):
        table["angel"]


WITH_EXAMPLES = [
    "sight.maps",
    "kernel.filter_banks",
    "kernel.filter_families",
    "kernel.health",
    "kernel.shapes",
    "kernel.curves",
    "sight.fields",
    "sight.attributions",
    "table",
]


@pytest.mark.parametrize("module", WITH_EXAMPLES)
def test_the_examples_of_docstrings_run(module):
    results = doctest.testmod(importlib.import_module(f"kernelearn.explain.{module}"))
    assert results.attempted > 0
    assert results.failed == 0
