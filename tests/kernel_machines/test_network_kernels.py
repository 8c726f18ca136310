"""Layer kernels, few-shot heads and tangent kernels on networks written in a few lines of NumPy."""

import numpy as np
import pytest
from sklearn.base import clone

from kernelearn.errors import ArgumentError, NonFiniteError, ShapeError
from kernelearn.kernel_machines import FeatureKernels, KernelHead, MultipleKernelClassifier, empirical_ntk

RNG = np.random.default_rng(0)
FILTERS = RNG.standard_normal((3, 5))
IMAGES = RNG.standard_normal((50, 4, 4, 3)).astype(np.float32) + 2.0
LABELS = (IMAGES.mean(axis=(1, 2))[:, 0] > 2.0).astype(int)


class TinyNetwork:
    """As a function: a 1x1 convolution with ReLU, and a layer that ignores the image's content."""

    def __init__(self):
        self.batches = []

    def __call__(self, x, layers=None):
        self.batches.append(len(x))
        hidden = np.maximum(x @ FILTERS, 0.0)
        maps = {"input": x, "conv": hidden, "noise": np.sin(1e4 * x.sum(axis=(1, 2, 3)))[:, None]}
        return {name: maps[name] for name in layers or maps if name in maps}


def test_features_are_centred_and_have_trace_n():
    features = FeatureKernels(TinyNetwork()).fit(IMAGES)
    values = features.transform(IMAGES)
    assert features.layers_ == ["input", "conv", "noise"]
    assert values.shape == (50, 3 + 5 + 1)
    np.testing.assert_allclose(values.mean(axis=0), 0.0, atol=1e-12)
    np.testing.assert_allclose(np.trace(features.grams(IMAGES), axis1=1, axis2=2), 50.0)


@pytest.mark.parametrize("pooling", ["mean", "max", "flatten"])
def test_pooling(pooling):
    features = FeatureKernels(TinyNetwork(), ["conv"], pooling=pooling, center=False).fit(IMAGES)
    maps = np.maximum(IMAGES.astype(float) @ FILTERS, 0.0)
    expected = {
        "mean": maps.mean(axis=(1, 2)),
        "max": maps.max(axis=(1, 2)),
        "flatten": maps.reshape(50, -1),
    }[pooling]
    np.testing.assert_allclose(features.transform(IMAGES) / features.scales_[0], expected, rtol=1e-5)


def test_batches_do_not_change_the_result():
    network = TinyNetwork()
    small = FeatureKernels(network, batch_size=16).fit(IMAGES)
    large = FeatureKernels(TinyNetwork()).fit(IMAGES)
    np.testing.assert_allclose(small.transform(IMAGES), large.transform(IMAGES), rtol=1e-6)
    assert network.batches == [16, 16, 16, 2] * 2


def test_kernels_are_the_grams_of_the_blocks():
    features = FeatureKernels(TinyNetwork()).fit(IMAGES)
    values = features.transform(IMAGES)
    for kernel, gram in zip(features.kernels(), features.grams(IMAGES)):
        np.testing.assert_allclose(kernel(values, values), gram)
    assert [kernel.name for kernel in features.kernels("rbf")] == ["input", "conv", "noise"]


def test_head_finds_the_layers_that_matter():
    head = KernelHead(TinyNetwork(), C=10.0).fit(IMAGES, LABELS)
    assert list(head.layer_importance_) == ["input", "conv", "noise"]
    assert sum(head.layer_importance_.values()) == pytest.approx(1.0)
    assert head.layer_importance_["noise"] < 0.1
    assert head.gap_ <= 1e-3
    assert head.score(IMAGES, LABELS) > 0.9


def test_head_is_the_multiple_kernel_machine_on_the_features():
    head = KernelHead(TinyNetwork(), weights="uniform").fit(IMAGES, LABELS)
    features = FeatureKernels(TinyNetwork()).fit(IMAGES)
    machine = MultipleKernelClassifier(features.kernels(), weights="uniform", normalize="trace")
    values = features.transform(IMAGES)
    expected = machine.fit(values, LABELS).decision_function(values)
    np.testing.assert_allclose(head.decision_function(IMAGES), expected)


def test_head_takes_functions_many_classes_and_clones():
    def network(x, layers):
        return {"raw": x, "square": x**2}

    x = RNG.standard_normal((60, 2))
    y = np.digitize((x**2).sum(axis=1), [1.0, 2.5])
    head = clone(KernelHead(network, C=10.0)).fit(x, y)
    assert head.decision_function(x).shape == (60, 3)
    assert head.layer_importance_["square"] > 0.5


def test_head_reads_the_layers_of_a_model():
    from kernelearn import layers
    from kernelearn.models import Sequential

    model = Sequential(
        [
            layers.Input((4, 4, 3)),
            layers.Conv2D(6, 3, activation="relu", name="conv"),
            layers.Flatten(name="flat"),
            layers.Dense(2, name="top"),
        ]
    )
    before = [np.array(weights) for weights in model.get_weights()]
    head = KernelHead(model, C=10.0, batch_size=20).fit(IMAGES, LABELS)
    assert list(head.layer_importance_) == ["conv", "flat", "top"]
    assert head.score(IMAGES, LABELS) > 0.7
    features = FeatureKernels(model, ["conv"], center=False).fit(IMAGES)
    kernel, bias = before[:2]
    patches = np.lib.stride_tricks.sliding_window_view(IMAGES, (3, 3), axis=(1, 2))
    maps = np.maximum(np.einsum("nhwcij,ijck->nhwk", patches, kernel) + bias, 0.0)
    np.testing.assert_allclose(
        features.transform(IMAGES) / features.scales_[0], maps.mean(axis=(1, 2)), atol=1e-5
    )
    for old, new in zip(before, model.get_weights()):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize(
    ("model", "layers", "error", "message"),
    [
        (None, None, ArgumentError, "feature_maps"),
        (TinyNetwork(), ["dense"], ArgumentError, "No layer 'dense'"),
        (lambda x, layers: {"a": x[:1]}, None, ShapeError, "1 activations for a batch of 50"),
        (lambda x, layers: {"a": x * np.nan}, None, NonFiniteError, "NaN"),
        (lambda x, layers: {"a": np.ones((len(x), 2))}, None, ArgumentError, "same features"),
    ],
)
def test_broken_networks_are_explained(model, layers, error, message):
    with pytest.raises(error, match=message):
        FeatureKernels(model, layers).fit(IMAGES)


def two_layer_jacobian(first, second):
    """Derivatives of f(x) = second' relu(first x) by all parameters."""

    def jacobian(x):
        hidden = np.maximum(x @ first.T, 0.0)
        by_first = (second * (hidden > 0))[:, :, None] * x[:, None, :]
        return np.concatenate([hidden, by_first.reshape(len(x), -1)], axis=1)[:, None, :]

    return jacobian


def test_tangent_kernel_matches_finite_differences():
    first, second, x = RNG.standard_normal((4, 3)), RNG.standard_normal(4), RNG.standard_normal((5, 3))

    def output(parameters):
        return np.maximum(x @ parameters[4:].reshape(4, 3).T, 0.0) @ parameters[:4]

    base = np.concatenate([second, first.ravel()])
    steps = 1e-6 * np.eye(len(base))
    numeric = np.stack([(output(base + s) - output(base - s)) / 2e-6 for s in steps], axis=1)
    np.testing.assert_allclose(
        empirical_ntk(two_layer_jacobian(first, second), x), numeric @ numeric.T, rtol=1e-6
    )


def test_tangent_kernel_in_batches_is_a_kernel():
    first, second = RNG.standard_normal((4, 3)), RNG.standard_normal(4)
    x, z = RNG.standard_normal((11, 3)), RNG.standard_normal((5, 3))
    jacobian = two_layer_jacobian(first, second)
    whole = empirical_ntk(jacobian, x)
    np.testing.assert_allclose(empirical_ntk(jacobian, x, batch_size=4), whole)
    np.testing.assert_allclose(empirical_ntk(jacobian, x, z, batch_size=4), empirical_ntk(jacobian, z, x).T)
    assert np.linalg.eigvalsh(whole)[0] > -1e-9
    with pytest.raises(ShapeError, match="Jacobian"):
        empirical_ntk(lambda batch: batch, x)
