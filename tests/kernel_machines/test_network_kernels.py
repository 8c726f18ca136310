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


def tiny_cnn(dtype="float64"):
    """Convolution, frozen scale, pooling, two logits: (5, 5, 2) -> 2."""
    from kernelearn import layers
    from kernelearn.models import Sequential

    options = {"dtype": dtype}
    model = Sequential(
        [
            layers.Input((5, 5, 2), dtype=dtype),
            layers.Conv2D(3, 3, activation="tanh", name="conv", **options),
            layers.BatchNormalization(name="norm", **options),
            layers.GlobalAveragePooling2D(name="pool", **options),
            layers.Dense(2, name="top", **options),
        ]
    )
    rng = np.random.default_rng(1)
    # Positive variances, anything else.
    model.set_weights(
        [rng.uniform(0.2 if "variance" in w.name else -1.0, 1.0, w.shape) for w in model.weights]
    )
    model.get_layer("norm").trainable = False
    return model


def numeric_jacobian(model, x, step=1e-6):
    """(n, outputs, parameters) by central differences in every trainable number."""
    columns = []
    for weight in model.trainable_weights:
        base = weight.numpy()
        for place in np.ndindex(base.shape):
            ends = []
            for sign in (1, -1):
                moved = base.copy()
                moved[place] += sign * step
                weight.assign(moved)
                ends.append(model.predict(x, verbose=0))
            columns.append((ends[0] - ends[1]) / (2 * step))
        weight.assign(base)
    return np.stack(columns, axis=-1)


def test_tangent_kernel_of_a_model_matches_central_differences():
    from kernelearn.models.jacobian import OutputGradients

    # Rounded, because `predict` reads float64 images as float32.
    model, x = tiny_cnn(), RNG.standard_normal((4, 5, 5, 2)).astype(np.float32)
    numeric = numeric_jacobian(model, x)
    exact = OutputGradients(model)(x)
    assert exact.dtype == np.float64
    assert exact.shape == (4, 2, 3 * 3 * 2 * 3 + 3 + 3 * 2 + 2)
    np.testing.assert_allclose(exact, numeric, atol=1e-8)
    gram = empirical_ntk(model, x, batch_size=3)
    np.testing.assert_allclose(gram, np.einsum("iop,jop->ij", numeric, numeric) / 2, rtol=1e-7)
    np.testing.assert_array_equal(gram, gram.T)
    assert np.linalg.eigvalsh(gram)[0] > -1e-12 * np.trace(gram)
    np.testing.assert_allclose(empirical_ntk(model, x, x[:2]), gram[:, :2])


def test_tangent_kernel_of_a_linear_model_is_its_gram_matrix():
    from kernelearn import layers
    from kernelearn.models import Sequential

    model = Sequential([layers.Input((3,)), layers.Dense(4, name="linear")])
    x = RNG.standard_normal((6, 3))
    np.testing.assert_allclose(empirical_ntk(model, x), x @ x.T + 1.0, rtol=1e-5, atol=1e-6)


def test_tangent_kernel_follows_what_is_trainable_and_the_weights():
    from kernelearn.models.jacobian import OutputGradients

    model, x = tiny_cnn("float32"), RNG.standard_normal((3, 5, 5, 2))
    model.get_layer("conv").trainable = False
    gradients = OutputGradients(model)
    before = gradients(x)
    assert before.dtype == np.float32
    assert [w.name for w in gradients.weights] == ["kernel", "bias"]
    pooled = FeatureKernels(model, ["pool"], center=False).fit(x)
    expected = pooled.transform(x) / pooled.scales_[0]
    np.testing.assert_allclose(before[:, 0, :6].reshape(3, 3, 2)[:, :, 0], expected, atol=1e-6)
    model.get_layer("conv").weights[0].assign(np.zeros((3, 3, 2, 3)))
    assert np.abs(gradients(x) - before).max() > 1e-3


def test_tangent_kernel_is_a_precomputed_kernel():
    model = tiny_cnn("float32")
    x = np.concatenate([RNG.standard_normal((10, 5, 5, 2)), RNG.standard_normal((10, 5, 5, 2)) + 1.0])
    y = np.repeat([0, 1], 10)
    numbers = np.arange(20)[:, None]
    machine = MultipleKernelClassifier([empirical_ntk(model, x)]).fit(numbers[::2], y[::2])
    assert machine.score(numbers[1::2], y[1::2]) > 0.8


def test_models_without_a_tangent_kernel_are_explained():
    model = tiny_cnn()
    model.freeze()
    with pytest.raises(ArgumentError, match="no trainable weights"):
        empirical_ntk(model, np.zeros((1, 5, 5, 2)))
    with pytest.raises(ArgumentError, match="got NoneType"):
        empirical_ntk(None, np.zeros((1, 5, 5, 2)))
    with pytest.raises(ShapeError, match="takes arrays of shape"):
        empirical_ntk(tiny_cnn(), np.zeros((1, 4, 4, 2)))
