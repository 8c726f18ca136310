"""The ready-made networks: layers as published, counts derived by hand, training lowers the loss."""

import numpy as np
import pytest

from kernelearn.errors import ArgumentError, ShapeError, UnknownNameError
from kernelearn.models import zoo
from tests.sweeps import some


def conv(size, channels, filters, bias=True):
    return size * size * channels * filters + (filters if bias else 0)


def trained_params(model):
    return sum(int(np.prod(w.shape)) for w in model.trainable_weights)


def test_lenet_counts():
    flat = 5 * 5 * 64  # 28 -> 26 -> 13 -> 11 -> 5
    expected = conv(3, 1, 32) + conv(3, 32, 64) + (flat + 1) * 128 + 129 * 10
    assert zoo.lenet((28, 28, 1), 10).count_params() == expected == 225_034


def test_lenet_keeps_the_size_of_small_images():
    model = zoo.lenet((8, 8, 1), 10)
    assert model.get_layer("conv1").padding == "same"
    assert model.get_layer("conv2").output.shape == (None, 4, 4, 64)
    assert zoo.lenet((16, 16, 1), 10).get_layer("conv1").padding == "valid"


def test_vgg_small_is_six_convolutions_and_three_poolings():
    model = zoo.vgg_small((32, 32, 3), 10)
    kinds = [type(layer).__name__ for layer in model.layers]
    filters = [layer.filters for layer in model.layers if type(layer).__name__ == "Conv2D"]
    assert filters == [32, 32, 64, 64, 128, 128]
    assert kinds.count("MaxPooling2D") == 3
    pairs = [(3, 32), (32, 32), (32, 64), (64, 64), (64, 128), (128, 128)]
    expected = sum(conv(3, *pair, bias=False) + 2 * pair[1] for pair in pairs) + 129 * 10
    assert trained_params(model) == expected


def test_resnet20_has_the_paper_s_layers_and_projections():
    model = zoo.resnet20((32, 32, 3), 10)
    convolutions = [layer for layer in model.layers if type(layer).__name__ == "Conv2D"]
    on_the_main_path = [layer for layer in convolutions if not layer.name.endswith("shortcut")]
    assert len(on_the_main_path) + 1 == 20  # with the dense layer
    # 269,722 with zero-padded shortcuts (He et al., table 6: 0.27 M), plus two projections with their scales.
    assert trained_params(model) == 269_722 + (16 * 32 + 2 * 32) + (32 * 64 + 2 * 64)
    assert model.get_layer("stage3_block3_relu2").output.shape == (None, 8, 8, 64)


def test_resnet18_has_the_known_size():
    model = zoo.resnet18((32, 32, 3), 10)
    # 11,173,962: the 32 x 32 form that CIFAR implementations agree on.
    assert trained_params(model) == 11_173_962
    assert model.get_layer("stem").kernel_size == (3, 3)


@pytest.mark.parametrize("name", some(["lenet", "vgg_small", "resnet20"], quick=["vgg_small"]))
def test_training_lowers_the_loss(name):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(16, 8, 8, 1)).astype(np.float32)
    y = np.arange(16) % 2
    model = zoo.get(name)((8, 8, 1), 2)
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy")
    losses = [model.train_on_batch(x, y) for _ in range(6)]
    assert losses[-1] < losses[0]
    np.testing.assert_allclose(model.predict(x, verbose=0).sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("name", zoo.MODELS)
def test_config_round_trip(name):
    model = zoo.get(name)((32, 32, 3), 7)
    twin = type(model).from_config(model.get_config())
    assert [w.shape for w in twin.weights] == [w.shape for w in model.weights]
    assert [layer.name for layer in twin.layers] == [layer.name for layer in model.layers]


def test_logits_for_regression():
    assert zoo.lenet((8, 8, 1), 1, classifier_activation=None).layers[-1].activation in (None, "linear")


@pytest.mark.parametrize(
    ("name", "shape", "classes", "error", "says"),
    [
        ("lenet", (28, 28), 10, ShapeError, "height, width, channels"),
        ("lenet", (3, 3, 1), 10, ShapeError, "at least 4 x 4"),
        ("vgg_small", (4, 4, 3), 10, ShapeError, "at least 8 x 8"),
        ("resnet20", (32, 32, 3), 0, ArgumentError, "classes must be a positive int"),
        ("resnet18", (32, 32.0, 3), 10, ShapeError, "positive ints"),
    ],
)
def test_refusals(name, shape, classes, error, says):
    with pytest.raises(error, match=says):
        zoo.get(name)(shape, classes)


def test_unknown_name_lists_the_known():
    with pytest.raises(UnknownNameError, match="Did you mean 'resnet"):
        zoo.get("resnet21")
