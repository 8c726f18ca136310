"""What all layers share: names, weights, the switch `trainable`, calls on arrays and on tensors."""

import numpy as np
import pytest

from kernelearn import layers as L
from kernelearn.layers.core.naming import reset_names, snake_case
from kernelearn.utils import set_random_seed

NAMES = {
    "Conv2D": "conv2d",
    "Conv2DTranspose": "conv2d_transpose",
    "DepthwiseConv1D": "depthwise_conv1d",
    "MaxPooling2D": "max_pooling2d",
    "GlobalAveragePooling2D": "global_average_pooling2d",
    "ReLU": "re_lu",
    "LeakyReLU": "leaky_re_lu",
    "PReLU": "p_re_lu",
    "ELU": "elu",
    "BatchNormalization": "batch_normalization",
    "SpatialDropout1D": "spatial_dropout1d",
    "ZeroPadding2D": "zero_padding2d",
    "UpSampling2D": "up_sampling2d",
    "InputLayer": "input_layer",
}


@pytest.mark.parametrize(("name", "expected"), NAMES.items())
def test_automatic_names_are_those_of_keras(name, expected):
    assert snake_case(name) == expected


def test_automatic_names_are_counted():
    reset_names()
    assert [L.Conv2D(2, 3).name for _ in range(3)] == ["conv2d", "conv2d_1", "conv2d_2"]
    assert L.Conv2D(2, 3, name="mine").name == "mine"


def test_other_names_of_keras_are_known():
    assert (
        type(L.LAYERS.get({"class_name": "Conv2D", "config": {"filters": 2, "kernel_size": 3}})) is L.Conv2D
    )
    assert {"MaxPool2D", "Convolution2D", "GlobalAvgPool2D"} <= set(L.LAYERS.names())


def test_the_first_weights_depend_on_the_seed_alone():
    weights = []
    for seed in (1, 1, 2):
        set_random_seed(seed)
        layer = L.Conv2D(2, 3)
        layer.compute_output_shape((None, 8, 8, 3))
        weights.append(layer.get_weights()[0])
    np.testing.assert_array_equal(weights[0], weights[1])
    assert np.abs(weights[0] - weights[2]).max() > 0.01


def test_defaults_are_glorot_uniform_and_zeros():
    layer = L.Conv2D(64, 3)
    layer.compute_output_shape((None, 8, 8, 32))
    kernel, bias = layer.get_weights()
    limit = np.sqrt(6 / (9 * (32 + 64)))
    assert (bias == 0).all() and np.abs(kernel).max() <= limit
    assert kernel.std() == pytest.approx(limit / np.sqrt(3), rel=0.05)


def test_get_weights_gives_copies():
    layer = L.Dense(2)
    layer.compute_output_shape((None, 3))
    layer.get_weights()[0][:] = 9
    assert np.abs(layer.get_weights()[0]).max() < 9


def test_an_array_as_initial_value_is_not_trained_in_place():
    start = np.ones((3, 2), "float32")
    layer = L.Dense(2, kernel_initializer=lambda shape, dtype=None: start)
    layer.compute_output_shape((None, 3))
    layer.weights[0].write_in_place(np.zeros((3, 2)))
    assert (start == 1).all()


def test_trainable_moves_weights_from_one_list_to_the_other():
    layer = L.BatchNormalization()
    layer.compute_output_shape((None, 4))
    assert [w.name for w in layer.trainable_weights] == ["gamma", "beta"]
    assert [w.name for w in layer.non_trainable_weights] == ["moving_mean", "moving_variance"]
    layer.trainable = False
    assert layer.trainable_weights == [] and len(layer.non_trainable_weights) == 4


def test_a_layer_called_twice_shares_its_weights():
    layer = L.Dense(2)
    first, second = layer(L.Input((3,))), layer(L.Input((3,)))
    assert len(layer.weights) == 2 and first is not second and layer.output is first


def test_calls_on_arrays_leave_them_alone_and_do_not_return_them():
    x = np.ones((2, 3), "float32")
    y = L.Dropout(0.5)(x)
    y[:] = 5
    assert (x == 1).all()


@pytest.mark.parametrize("dtype", ["uint8", "float64", "int64", "bool"])
def test_arrays_of_any_type_become_the_float_type_of_the_layer(dtype):
    assert L.ReLU()(np.ones((2, 3), dtype)).dtype == "float32"


def test_tensors_add_subtract_and_multiply():
    a, b = L.Input((3,)), L.Input((3,))
    assert [t.node.layer.function for t in (a + b, a - b, a * b)] == ["add", "subtract", "multiply"]
