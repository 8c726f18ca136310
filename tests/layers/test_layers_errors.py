"""What layers say to arguments and inputs that they cannot take: what was expected, what came, what to do."""

import numpy as np
import pytest

from kernelearn import layers as L
from kernelearn.errors import ArgumentError, KernelearnError, NotBuiltError, ShapeError, UnknownNameError

ARGUMENTS = [
    (lambda: L.Conv2D(0, 3), "filters must be a positive int, got 0"),
    (lambda: L.Conv2D(2.0, 3), "Conv2D: filters must be an integer, got 2.0"),
    (lambda: L.Conv2D(2, 3.5), "kernel_size must be an int or 2 ints"),
    (lambda: L.Conv2D(2, (3, 3, 3)), "kernel_size must be an int or 2 ints"),
    (lambda: L.Conv2D(2, 3, strides=0), "strides must be an int or 2 ints, each at least 1; got 0"),
    (lambda: L.Conv2D(2, 3, padding="full"), r"padding must be one of \('valid', 'same'\), got 'full'"),
    (lambda: L.Conv2D(2, 3, padding="causal"), r"padding must be one of \('valid', 'same'\)"),
    (lambda: L.Conv2D(2, 3, strides=2, dilation_rate=2), "cannot be combined"),
    (lambda: L.Conv2D(3, 3, groups=2), "filters must be divisible by groups; got filters=3, groups=2"),
    (lambda: L.Conv2D(2, 3, data_format="NCHW"), "data_format must be one of"),
    (lambda: L.Conv2D(2, 3, activation="rellu"), "Unknown activation 'rellu'. Did you mean 'relu'"),
    (lambda: L.Conv2D(2, 3, activation=np.tanh), "activation must be a name"),
    (lambda: L.Conv2D(2, 3, kernel_initializer="glorot"), "Unknown initialize?r"),
    (lambda: L.Conv2DTranspose(2, 3, groups=3), "filters must be divisible by groups"),
    (
        lambda: L.Conv2DTranspose(2, 3, strides=2, output_padding=2),
        "output_padding must be smaller than strides",
    ),
    (lambda: L.DepthwiseConv2D(3, depth_multiplier=0), "depth_multiplier must be a positive int"),
    (lambda: L.Dense(-1), "units must be a positive int, got -1"),
    (lambda: L.Dense(3, name="a/b"), "'a/b' contains '/'"),
    (lambda: L.MaxPooling2D(padding="causal"), "padding must be 'valid' or 'same'"),
    (lambda: L.MaxPooling2D(pool_size="2"), "pool_size must be an int or 2 ints"),
    (lambda: L.Reshape((-1, -1)), "At most one size"),
    (lambda: L.Permute((1, 3)), "must be a permutation of 1..2"),
    (lambda: L.ZeroPadding2D((1, 2, 3)), "padding must be an int, 2 ints or 2 pairs"),
    (lambda: L.Cropping2D(-1), "cropping"),
    (lambda: L.UpSampling2D(interpolation="cubic"), "Did you mean 'bicubic'"),
    (lambda: L.ReLU(negative_slope=-1.0), "at least 0"),
    (lambda: L.BatchNormalization(momentum=1.5), r"momentum must lie in \[0, 1\]"),
    (lambda: L.BatchNormalization(epsilon=0), "epsilon must be positive"),
    (lambda: L.Dropout(1.5), r"rate must lie in \[0, 1\], got 1.5"),
    (lambda: L.GaussianNoise(-1), "stddev must be at least 0"),
    (lambda: L.Input((28, 0, 1)), "Input shape must be positive ints"),
    (lambda: L.Rescaling([[1.0]]), "one number per channel"),
    (lambda: L.Normalization(mean=1.0), "mean and variance together"),
    (lambda: L.Normalization(mean=[1.0, 2.0], variance=[1.0]), "must have one shape"),
    (lambda: L.Resizing(4, 4, crop_to_aspect_ratio=True, pad_to_aspect_ratio=True), "not both"),
    (lambda: L.Resizing(4, 4, interpolation="area"), "Unknown interpolation 'area'"),
    (lambda: L.RandomFlip("diagonal"), "Unknown flip mode 'diagonal'"),
    (lambda: L.RandomRotation(2.0), r"factor must be a number or two numbers in \[-1, 1\], got 2.0"),
    (lambda: L.RandomRotation("0.2"), "factor must be a number"),
    (lambda: L.RandomZoom((-1.0, 0.2)), "must be greater than -1"),
    (lambda: L.RandomTranslation(0.1, (0.1,)), "width_factor must be a number or two numbers"),
    (lambda: L.RandomTranslation(0.1, 0.1, fill_mode="mirror"), "Unknown fill_mode 'mirror'"),
    (lambda: L.RandomContrast(-0.1), "factor must be a number"),
    (lambda: L.RandomContrast(0.1, value_range=(1, 0)), "value_range must be"),
    (lambda: L.RandomCrop(0, 3), "height must be a positive int"),
]


@pytest.mark.parametrize(("make", "message"), ARGUMENTS)
def test_arguments(make, message):
    with pytest.raises(KernelearnError, match=message) as caught:
        make()
    assert isinstance(caught.value, ArgumentError | UnknownNameError)


INPUTS = [
    (
        lambda: L.Conv2D(2, 3),
        (3, 28, 28),
        r"Conv2D expects inputs with 4 axes .*last axis of size 1: x\[..., None\]",
    ),
    (lambda: L.Conv2D(2, 3), (3, 2, 28, 1), "does not fit into an input of"),
    (lambda: L.Conv2D(2, 3, groups=2), (3, 8, 8, 3), "has 3 channels, which groups=2 does not divide"),
    (lambda: L.Conv3D(2, 3), (3, 8, 8, 3), "Conv3D expects inputs with 5 axes"),
    (lambda: L.MaxPooling2D(4), (3, 3, 3, 1), "pooling window .* does not fit"),
    (lambda: L.GlobalAveragePooling2D(), (3, 8, 3), "expects inputs with 4 axes"),
    (lambda: L.Reshape((7, -1)), (3, 8), "8 numbers do not fit target_shape"),
    (lambda: L.Permute((2, 1)), (3, 8), "Permute expects inputs with 3 axes"),
    (lambda: L.Cropping2D(4), (3, 8, 8, 1), "leaves nothing"),
    (lambda: L.GroupNormalization(3), (3, 8, 8, 4), "must divide the number of channels, 4"),
    (lambda: L.LayerNormalization(axis=1), (3, 8, 4), "works over the last axes"),
    (lambda: L.SpatialDropout2D(0.5), (3, 8), "SpatialDropout2D expects inputs with 4 axes"),
    (lambda: L.RandomFlip(), (3, 8), "RandomFlip expects inputs with 4 axes"),
    (lambda: L.BatchNormalization(axis=5), (3, 8, 4), "axis=5"),
    (lambda: L.Normalization(axis=5), (3, 8), "lies outside of inputs"),
    (lambda: L.Normalization(mean=[1.0, 2.0], variance=[1.0, 1.0]), (3, 8), "does not fit axes"),
    (lambda: L.Softmax(axis=7), (3, 8), "axis=7"),
    (lambda: L.Concatenate(axis=7), (3, 8), "at least two tensors"),
]


@pytest.mark.parametrize(("make", "shape", "message"), INPUTS)
def test_inputs(make, shape, message):
    with pytest.raises(KernelearnError, match=message):
        make()(np.zeros(shape, "float32"))
    with pytest.raises(KernelearnError, match=message):
        make().compute_output_shape((None, *shape[1:]))


def test_weights_for_an_unknown_size_are_refused():
    with pytest.raises(
        ShapeError, match=r"Dense has weights for sizes .* \(None, 8, None\).*GlobalAveragePooling2D"
    ):
        L.Dense(2).compute_output_shape((None, 8, None))


def test_a_second_input_of_another_size_is_refused():
    layer = L.Conv2D(2, 3)
    layer(np.zeros((1, 8, 8, 3), "float32"))
    with pytest.raises(ShapeError, match="takes 3 input channels"):
        layer(np.zeros((1, 8, 8, 4), "float32"))
    assert layer(np.zeros((1, 9, 9, 3), "float32")).shape == (1, 7, 7, 2)


@pytest.mark.parametrize(
    ("make", "shapes", "message"),
    [
        (lambda: L.Add(), [(3, 4)], "at least two tensors, got 1"),
        (lambda: L.Subtract(), [(3, 4)] * 3, "exactly two tensors, got 3"),
        (lambda: L.Add(), [(3, 4), (3, 5)], "cannot be combined entry by entry"),
        (lambda: L.Concatenate(), [(3, 4, 2), (3, 5, 2)], "must agree on all other axes"),
        (lambda: L.Concatenate(axis=0), [(3, 4), (3, 4)], "cannot join along the batch axis"),
        (lambda: L.Concatenate(axis=2), [(3, 4), (3, 4)], "axis=2"),
    ],
)
def test_merging(make, shapes, message):
    with pytest.raises(KernelearnError, match=message):
        make()([np.zeros(shape, "float32") for shape in shapes])


def test_a_list_counts_as_several_inputs():
    with pytest.raises(ShapeError, match=r"takes 1 input\(s\), got 2"):
        L.ReLU()([[1.0, 2.0], [3.0, 4.0]])


def test_inputs_must_have_the_same_number_of_images():
    with pytest.raises(ShapeError, match="same number of images"):
        L.Add()([np.zeros((2, 3)), np.zeros((4, 3))])


def test_set_weights_checks_every_shape_before_changing_anything():
    layer = L.Dense(2)
    layer(np.zeros((1, 3), "float32"))
    before = layer.get_weights()
    with pytest.raises(ShapeError, match=r"has weights of shapes \[\(3, 2\), \(2,\)\]"):
        layer.set_weights([np.ones((3, 2)), np.ones(3)])
    np.testing.assert_array_equal(layer.get_weights()[0], before[0])


def test_a_layer_without_a_call_has_no_output():
    with pytest.raises(NotBuiltError, match="has not been called"):
        _ = L.Dense(2).output
