"""Feature maps, patches, saliency, Grad-CAM and activation maximisation against formulas and brute force."""

import numpy as np
import pytest

from kernelearn import Input, Model, Sequential, config, layers
from kernelearn.data import as_dataset
from kernelearn.errors import ArgumentError, KernelearnError, NonFiniteError, ShapeError, UnknownNameError
from kernelearn.explain.sight.attributions import _quadrature, integrated_gradients, saliency, smooth_grad
from kernelearn.explain.sight.class_maps import grad_cam
from kernelearn.explain.sight.effective_fields import effective_receptive_field
from kernelearn.explain.sight.fields import receptive_field
from kernelearn.explain.sight.maps import feature_maps
from kernelearn.explain.sight.patches import top_patches
from kernelearn.explain.sight.preferred_images import activation_maximization
from kernelearn.models.zoo import resnet20


@pytest.fixture(autouse=True)
def _doubles():
    config.set_floatx("float64")


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def small_network(activation="tanh", head="softmax"):
    stack = [
        Input((8, 7, 2)),
        layers.Conv2D(3, 3, activation=activation, name="conv1"),
        layers.MaxPooling2D(2, name="pool"),
        layers.Conv2D(4, 2, activation=activation, name="conv2"),
        layers.Flatten(name="flat"),
        layers.Dense(3, activation=head, name="head"),
    ]
    return Sequential(stack)


def logits(model, x):
    """Scores before the softmax, by running the layers."""
    return feature_maps(model, x, "flat")["flat"] @ model.get_layer("head").kernel.value


# --- feature maps


def test_feature_maps_are_what_the_layers_give(rng):
    model, x = small_network(), rng.random((5, 8, 7, 2))
    maps = feature_maps(model, x, ["conv1", "pool", "head"], batch_size=2)
    np.testing.assert_allclose(maps["conv1"], model.get_layer("conv1")(x))
    np.testing.assert_allclose(maps["pool"], model.get_layer("pool")(maps["conv1"]))
    np.testing.assert_allclose(maps["head"], model.predict(x, verbose=0))


def test_feature_maps_of_nested_models_and_data_sets(rng):
    inner = Sequential([Input((6, 6, 1)), layers.Conv2D(2, 3, name="conv")], name="inner")
    x = Input((6, 6, 1))
    model = Model(x, layers.GlobalMaxPooling2D(name="max")(inner(x)))
    images = rng.integers(0, 255, (4, 6, 6, 1)).astype(np.uint8)
    maps = feature_maps(model, as_dataset(images, np.arange(4)))
    assert sorted(maps) == ["inner", "inner/conv"]
    np.testing.assert_allclose(maps["inner/conv"], inner.predict(images / 255, verbose=0))


def test_layers_can_be_given_themselves(rng):
    inner = Sequential([Input((6, 6, 1)), layers.Conv2D(2, 3, name="conv")], name="inner")
    x = Input((6, 6, 1))
    model, images = Model(x, layers.Flatten()(inner(x))), rng.random((2, 6, 6, 1))
    conv = inner.get_layer("conv")
    assert list(feature_maps(model, images, conv)) == ["inner/conv"]
    assert receptive_field(model, conv).layer == "inner/conv"
    assert grad_cam(model, images, conv, target=0).layer == "inner/conv"
    assert top_patches(model, conv, images, k=1).layer == "inner/conv"
    assert activation_maximization(model, conv, steps=1).layer == "inner/conv"
    with pytest.raises(ArgumentError, match="not a layer of model"):
        feature_maps(model, images, layers.Conv2D(1, 1))


def test_feature_maps_of_a_run():
    class Recorded:
        map_layers, map_steps = ("conv",), (0, 5)

        def maps(self, layer, step):
            return np.full((1, 2, 2, 1), step)

        def model(self, step=None):
            return Sequential([Input((3, 3, 1)), layers.Conv2D(1, 2, kernel_initializer="ones", name="conv")])

    assert feature_maps(Recorded())["conv"].max() == 5
    assert feature_maps(Recorded(), layers="conv", step=0)["conv"].max() == 0
    assert feature_maps(Recorded(), np.ones((1, 3, 3, 1)))["conv"].max() == 4


def test_feature_maps_say_what_is_wrong():
    model = small_network()
    with pytest.raises(ArgumentError, match=r"feature_maps\(model, x\)"):
        feature_maps(model)
    with pytest.raises(ShapeError, match=r"x\[None\]"):
        feature_maps(model, np.zeros((8, 7, 2)))
    with pytest.raises(UnknownNameError, match="conv3"):
        feature_maps(model, np.zeros((1, 8, 7, 2)), "conv3")


# --- patches


def brute_force_patches(maps, k, per_image):
    """(value, image, position) of the k largest of maps (n, h, w), the first of equals first."""
    found = [(-value, n, (p, q)) for (n, p, q), value in np.ndenumerate(maps)]
    if per_image:
        found = [min(one for one in found if one[1] == n) for n in range(len(maps))]
    return [(-value, n, position) for value, n, position in sorted(found)[:k]]


@pytest.mark.parametrize("per_image", [True, False])
def test_patches_are_the_strongest_responses(rng, per_image):
    model, x = small_network("relu"), rng.standard_normal((11, 8, 7, 2))
    maps = feature_maps(model, x, "conv2")["conv2"]
    found = top_patches(model, "conv2", x, k=5, per_image=per_image, batch_size=4)
    assert found.images_seen == 11
    for f in range(4):
        expected = brute_force_patches(maps[..., f], 5, per_image)
        assert [(p.value, p.image, p.position) for p in found[f]] == expected


def test_crops_are_the_receptive_fields(rng):
    stack = [Input((8, 7, 2)), layers.Conv2D(3, 3, padding="same", name="conv")]
    model, x = Sequential(stack), rng.standard_normal((6, 8, 7, 2))
    kernel = model.get_layer("conv").kernel.value
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    for patch in top_patches(model, "conv", x, filters=[2, 0], k=20, per_image=False)[2]:
        p, q = patch.position
        np.testing.assert_array_equal(patch.crop, padded[patch.image, p : p + 3, q : q + 3])
        assert np.isclose((patch.crop * kernel[..., 2]).sum(), patch.value)
        assert (patch.start, patch.stop) == ((p - 1, q - 1), (p + 2, q + 2))


def test_patches_know_images_and_labels(rng):
    model, x = small_network(), rng.random((6, 8, 7, 2))
    data = as_dataset(x, np.arange(6) * 10)
    found = top_patches(model, "pool", data, k=3, ids=np.arange(100, 106))
    for patches in found.patches.values():
        for patch in patches:
            assert patch.label == (patch.image - 100) * 10
            window = tuple(slice(a, b) for a, b in zip(patch.start, patch.stop))
            np.testing.assert_array_equal(patch.crop, x[patch.image - 100][window])
    assert found.crops(0).shape == (3, 4, 4, 2)
    table = found.table()
    assert len(table) == 9
    assert table[0]["value"] == max(table["value"][:3])


def test_patches_of_a_dense_layer_are_whole_images(rng):
    model, x = small_network(), rng.random((4, 8, 7, 2))
    best = top_patches(model, "head", x, filters=[1], k=1, before_activation=True)[1][0]
    assert best.image == logits(model, x)[:, 1].argmax()
    assert best.position == ()
    seen = receptive_field(model, "head").window
    np.testing.assert_array_equal(best.crop, x[best.image][seen])


def test_patches_of_channels_first(rng):
    conv = layers.Conv2D(3, 3, data_format="channels_first", name="conv")
    model, x = Sequential([Input((2, 6, 5)), conv]), rng.standard_normal((3, 2, 6, 5))
    patch = top_patches(model, "conv", x, k=1)[1][0]
    maps = feature_maps(model, x, "conv")["conv"][:, 1]
    assert (patch.image, *patch.position) == np.unravel_index(maps.argmax(), maps.shape)
    p, q = patch.position
    np.testing.assert_array_equal(patch.crop, x[patch.image, :, p : p + 3, q : q + 3].transpose(1, 2, 0))


def test_patches_say_what_is_wrong(rng):
    model, x = small_network(), rng.random((2, 8, 7, 2))
    with pytest.raises(ArgumentError, match=r"filters 0..3"):
        top_patches(model, "conv2", x, filters=[4])
    with pytest.raises(ArgumentError, match="one number per image"):
        top_patches(model, "conv2", x, ids=[1])
    with pytest.raises(ArgumentError, match="k must be"):
        top_patches(model, "conv2", x, k=0)
    with pytest.raises(NonFiniteError, match="NaN"):
        top_patches(model, "conv2", np.full_like(x, np.nan))


# --- saliency


def test_the_gradient_is_that_of_the_logit(rng):
    model, x = small_network(), rng.random((3, 8, 7, 2))
    found = saliency(model, x, target=[2, 0, 1])
    np.testing.assert_allclose(found.scores, logits(model, x)[[0, 1, 2], [2, 0, 1]])
    for index in [(4, 3, 1), (0, 0, 0), (7, 2, 1)]:
        bump = np.zeros(x.shape)
        bump[(slice(None), *index)] = 1e-6
        change = logits(model, x + bump) - logits(model, x - bump)
        np.testing.assert_allclose(
            found.values[(slice(None), *index)], change[[0, 1, 2], [2, 0, 1]] / 2e-6, atol=1e-8
        )
    np.testing.assert_array_equal(found.maps(), np.abs(found.values).max(axis=-1))
    np.testing.assert_array_equal(found.maps("sum"), found.values.sum(axis=-1))


def test_without_a_target_the_highest_class_is_explained(rng):
    model, x = small_network(), rng.random((4, 8, 7, 2))
    assert saliency(model, x).targets == logits(model, x).argmax(axis=1).tolist()


def test_probabilities_can_be_explained_too(rng):
    model, x = small_network(), rng.random((2, 8, 7, 2))
    found = saliency(model, x, target=1, before_activation=False)
    np.testing.assert_allclose(found.scores, model.predict(x, verbose=0)[:, 1])


def test_channels_and_units_inside(rng):
    model, x = small_network(), rng.random((2, 8, 7, 2))
    maps = feature_maps(model, x, "conv1")["conv1"]
    channel = saliency(model, x, target=2, layer="conv1", before_activation=False)
    np.testing.assert_allclose(channel.scores, maps[..., 2].mean(axis=(1, 2)))
    unit = saliency(model, x, target=(1, 2, 0), layer="conv1", before_activation=False)
    np.testing.assert_allclose(unit.scores, maps[:, 1, 2, 0])
    seen = receptive_field(model, "conv1", (1, 2, 0)).mask
    np.testing.assert_array_equal((unit.values != 0).any(axis=(0, 3)), seen)
    with pytest.raises(ArgumentError, match="say which channel or unit"):
        saliency(model, x, layer="conv1")


def linear_network(rng):
    return Sequential([Input((4, 4, 1)), layers.Conv2D(2, 3), layers.Flatten(), layers.Dense(2)])


def test_a_linear_network_makes_all_methods_agree(rng):
    model, x = linear_network(rng), rng.standard_normal((3, 4, 4, 1))
    plain = saliency(model, x, target=1)
    times = saliency(model, x, target=1, method="gradient_times_input")
    smooth = smooth_grad(model, x, target=1, samples=3)
    path = integrated_gradients(model, x, target=1, steps=1)
    np.testing.assert_allclose(smooth.values, plain.values)
    np.testing.assert_allclose(times.values, plain.values * x)
    np.testing.assert_allclose(path.values, times.values)
    np.testing.assert_allclose(times.values.sum(axis=(1, 2, 3)), plain.scores, atol=1e-12)


@pytest.mark.parametrize("baseline", [0.0, "image", "images"])
def test_integrated_gradients_add_up(rng, baseline):
    model, x = small_network("softplus"), rng.random((3, 8, 7, 2))
    start = {"image": rng.random(x.shape[1:]), "images": rng.random(x.shape)}.get(baseline, 0.0)
    found = integrated_gradients(model, x, baseline=start, steps=128)
    base = logits(model, np.broadcast_to(start, x.shape))
    expected = found.scores - base[np.arange(3), found.targets]
    np.testing.assert_allclose(found.values.sum(axis=(1, 2, 3)), expected, atol=2e-3)
    np.testing.assert_allclose(found.baseline_scores, base[np.arange(3), found.targets])


def test_smooth_networks_integrate_to_rounding(rng):
    stack = [Input((4, 4, 1)), layers.Conv2D(3, 3, activation="tanh"), layers.Flatten(), layers.Dense(2)]
    found = integrated_gradients(Sequential(stack), rng.standard_normal((3, 4, 4, 1)), steps=32)
    assert np.abs(found.gaps).max() < 1e-10


@pytest.mark.parametrize("steps", [1, 5, 16, 17, 50])
def test_the_quadrature_is_exact_for_polynomials(steps):
    points, weights = _quadrature(steps)
    assert len(points) == steps
    for power in range(1 if steps < 3 else 6):
        assert (weights * points**power).sum() == pytest.approx(1 / (power + 1), rel=1e-13)


def test_an_image_that_misses_the_tolerance_does_not_keep_the_others_from_it(rng):
    """The baseline itself has no change to explain; what is close to it changes the score by rounding."""
    model, x = small_network(), rng.normal(size=(3, 8, 7, 2)).astype("float32")
    x[1] = 1.0
    found = integrated_gradients(model, x, 0, baseline=1.0, steps=2, tolerance=0.01)
    alone = integrated_gradients(model, x[:1], 0, baseline=1.0, steps=2, tolerance=0.01)
    np.testing.assert_allclose(found.values[0], alone.values[0], rtol=1e-4, atol=1e-6)
    assert not found.values[1].any()
    x[1] = np.where(rng.random((8, 7, 2)) < 0.02, 1.0 + 1e-3, 1.0)
    assert integrated_gradients(model, x, 0, baseline=1.0, steps=2, tolerance=0.01).values[1].any()


def test_a_tolerance_takes_as_many_steps_as_needed(rng):
    model, x = small_network("relu"), rng.standard_normal((2, 8, 7, 2))
    found = integrated_gradients(model, x, baseline=1.0, steps=2, tolerance=0.01)
    assert found.steps > 2
    change = np.abs(found.scores - found.baseline_scores)
    assert np.all(np.abs(found.gaps) <= 0.01 * change)
    with pytest.raises(KernelearnError, match="miss the tolerance"):
        integrated_gradients(model, x, baseline=1.0, steps=2048, tolerance=1e-15)


def test_smooth_grad_averages_noisy_gradients(rng):
    model, x = small_network(), rng.random((1, 8, 7, 2))
    found = smooth_grad(model, x, target=0, samples=4, noise=0.3, seed=5)
    draws = np.random.default_rng(5)
    copies = [x + 0.3 * np.ptp(x) * draws.standard_normal(x.shape) for _ in range(4)]
    expected = np.mean([saliency(model, one, target=0).values for one in copies], axis=0)
    np.testing.assert_allclose(found.values, expected)
    again = smooth_grad(model, x, target=0, samples=4, noise=0.3, seed=5)
    np.testing.assert_array_equal(found.values, again.values)


def test_saliency_says_what_is_wrong(rng):
    model, x = small_network(), rng.random((2, 8, 7, 2))
    with pytest.raises(UnknownNameError, match="saliency method"):
        saliency(model, x, method="magic")
    with pytest.raises(ArgumentError, match="target must be"):
        saliency(model, x, target=3)
    with pytest.raises(ArgumentError, match="one for each"):
        saliency(model, x, target=[0, 1, 2])
    with pytest.raises(ArgumentError, match="add up"):
        _ = saliency(model, x).gaps
    two = [Input((3,)), Input((3,))]
    with pytest.raises(ArgumentError, match="2 inputs"):
        saliency(Model(two, layers.Add()(two)), np.zeros((1, 3)))


# --- Grad-CAM


def test_grad_cam_is_its_formula_by_finite_differences(rng):
    model, x = small_network(), rng.random((2, 8, 7, 2))
    found = grad_cam(model, x, "pool", target=[1, 2], signed=True)
    maps = feature_maps(model, x, "pool")["pool"]
    start = Input(maps.shape[1:])
    rest = Model(start, model.get_layer("flat")(model.get_layer("conv2")(start)))
    head = model.get_layer("head").kernel.value

    def score(values):
        return (rest.predict(values, verbose=0) @ head)[[0, 1], [1, 2]]

    alpha = np.zeros((2, 3))
    for p, q, k in np.ndindex(*maps.shape[1:]):
        bump = np.zeros(maps.shape)
        bump[:, p, q, k] = 1e-6
        alpha[:, k] += (score(maps + bump) - score(maps - bump)) / 2e-6 / (3 * 2)
    np.testing.assert_allclose(found.weights, alpha, atol=1e-8)
    np.testing.assert_allclose(found.maps, np.einsum("npqk,nk->npq", maps, alpha), atol=1e-8)
    np.testing.assert_allclose(found.scores, score(maps))
    assert found.heatmaps.shape == (2, 8, 7)


def test_grad_cam_cuts_off_what_speaks_against(rng):
    model, x = small_network(), rng.random((3, 8, 7, 2))
    plain, signed = grad_cam(model, x, "conv2"), grad_cam(model, x, "conv2", signed=True)
    np.testing.assert_array_equal(plain.maps, np.maximum(signed.maps, 0))
    assert plain.heatmaps.min() >= 0


def test_grad_cam_finds_its_layer(rng):
    assert grad_cam(small_network(), rng.random((1, 8, 7, 2))).layer == "conv2"
    assert grad_cam(resnet20((16, 16, 3), 4), rng.random((1, 16, 16, 3))).layer == "stage3_block3_relu2"
    with pytest.raises(ArgumentError, match="layer with positions"):
        grad_cam(small_network(), rng.random((1, 8, 7, 2)), "flat")
    with pytest.raises(ArgumentError, match="no convolution"):
        grad_cam(Sequential([Input((3,)), layers.Dense(2)]), rng.random((1, 3)))


def test_grad_cam_in_one_dimension_and_channels_first(rng):
    line = [Input((9, 2)), layers.Conv1D(3, 3, name="c"), layers.GlobalAveragePooling1D(), layers.Dense(2)]
    model, x = Sequential(line), rng.random((2, 9, 2))
    found = grad_cam(model, x, target=0)
    # With a mean and a dense layer on top, alpha is the dense weight over the number of positions.
    np.testing.assert_allclose(found.weights, np.tile(model.layers[-1].kernel.value[:, 0] / 7, (2, 1)))
    assert found.heatmaps.shape == (2, 9)
    first = {"data_format": "channels_first"}
    stack = [Input((2, 6, 5)), layers.Conv2D(3, 3, **first), layers.GlobalAveragePooling2D(**first)]
    found = grad_cam(Sequential(stack), rng.random((2, 2, 6, 5)), target=1)
    np.testing.assert_allclose(found.weights, [[0, 1 / 12, 0]] * 2)
    assert found.heatmaps.shape == (2, 6, 5)


# --- effective receptive field


def test_the_effective_field_of_a_linear_unit_is_its_kernel(rng):
    model = Sequential([Input((7, 7, 2)), layers.Conv2D(1, 3, name="conv")])
    found = effective_receptive_field(model, "conv", unit=(2, 3))
    kernel = np.abs(model.get_layer("conv").kernel.value[..., 0]).sum(axis=-1)
    np.testing.assert_allclose(found.influence[2:5, 3:6], kernel)
    assert found.influence.sum() == pytest.approx(kernel.sum())
    assert found.theoretical.start == (2, 3)


def test_a_deep_stack_uses_a_blob_of_the_theoretical_field():
    ones = {"kernel_initializer": "ones", "use_bias": False, "padding": "same"}
    model = Sequential([Input((41, 1)), *(layers.Conv1D(1, 3, **ones) for _ in range(12))])
    found = effective_receptive_field(model, samples=1)
    assert found.theoretical.size == (25,)
    assert found.centre == (pytest.approx(20.0),)
    # Twelve uniform kernels of 3 convolve to a variance of 12 * 2 / 3.
    assert found.deviation == (pytest.approx(np.sqrt(8.0)),)
    assert 0.4 < found.share < 0.7
    assert found.size == found.pixels


# --- activation maximisation


def test_ascent_finds_the_corner_that_a_linear_unit_likes(rng):
    model = Sequential([Input((5, 5, 1)), layers.Conv2D(2, 5, name="conv")])
    found = activation_maximization(model, "conv", [0, 1], steps=200, learning_rate=1.0)
    for f in (0, 1):
        kernel = model.get_layer("conv").kernel.value[..., f]
        np.testing.assert_array_equal(found.images[f], (kernel > 0).astype(float))
        assert found.scores[f] == pytest.approx(kernel[kernel > 0].sum())
    assert found.history.shape == (201, 2)


def test_a_penalty_on_the_size_gives_the_kernel_itself():
    model = Sequential([Input((4, 4, 1)), layers.Conv2D(1, 4, name="conv")])
    found = activation_maximization(
        model, "conv", l2=2.0, bounds=None, steps=800, learning_rate=0.005, noise=0.1
    )
    kernel = model.get_layer("conv").kernel.value[..., 0]
    np.testing.assert_allclose(found.images[0], kernel * 16 / 4, atol=0.05)  # x = w * pixels / (2 * l2)


def roughness(image):
    return np.square(np.diff(image, axis=0)).sum() + np.square(np.diff(image, axis=1)).sum()


def test_total_variation_makes_images_smoother():
    model = small_network("relu")
    rough, smooth = (
        activation_maximization(model, "conv2", 1, steps=30, total_variation=v).images[0] for v in (0.0, 50.0)
    )
    assert roughness(smooth) < 0.2 * roughness(rough)


def test_a_class_becomes_likely_and_runs_repeat():
    model = small_network()
    found = activation_maximization(model, targets=[0, 1, 2], steps=40, jitter=1, seed=4)
    again = activation_maximization(model, targets=[0, 1, 2], steps=40, jitter=1, seed=4)
    np.testing.assert_array_equal(found.images, again.images)
    assert model.predict(found.images, verbose=0).argmax(axis=1).tolist() == [0, 1, 2]
    assert np.all(found.scores > found.history[0])
    assert found.images.min() >= 0
    assert found.images.max() <= 1
    np.testing.assert_allclose(found.scores, np.diag(logits(model, found.images)))


def test_start_images_are_kept_apart():
    model, start = small_network(), np.full((8, 7, 2), 0.25)
    found = activation_maximization(model, "conv1", (2, 2, 1), steps=1, start=start, noise=0.0)
    moved = (found.images[0] != 0.25).any(axis=-1)
    np.testing.assert_array_equal(moved, receptive_field(model, "conv1", (2, 2)).mask)


def test_ascent_says_what_is_wrong():
    model = small_network()
    with pytest.raises(ShapeError, match="start must have the shape"):
        activation_maximization(model, start=np.zeros((3, 3)))
    with pytest.raises(ArgumentError, match="bounds must be"):
        activation_maximization(model, bounds=(1.0, 0.0))
    with pytest.raises(ArgumentError, match="learning_rate above 0"):
        activation_maximization(model, learning_rate=0.0)
    with pytest.raises(ArgumentError, match="target must be"):
        activation_maximization(model, targets=9)
