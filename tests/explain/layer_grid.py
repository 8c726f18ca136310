"""Every kind of layer that has kernels, with what sets them apart, for the tests of ledger and matrix."""

import numpy as np

from kernelearn import Input, Sequential, config, explain
from kernelearn import layers as L

# Every layer that has a ledger: the layer, the shape of an image, the weights that have one.
KERNEL = ("kernel",)
SEPARABLE = ("depthwise_kernel", "pointwise_kernel")
GRID = {
    "conv1d": (lambda: L.Conv1D(3, 3), (7, 2), KERNEL),
    "conv1d-causal-dilated": (lambda: L.Conv1D(2, 3, padding="causal", dilation_rate=2), (8, 2), KERNEL),
    "conv1d-causal-stride": (lambda: L.Conv1D(2, 3, padding="causal", strides=2), (8, 2), KERNEL),
    "conv2d": (lambda: L.Conv2D(3, 3), (6, 5, 2), KERNEL),
    "conv2d-same": (lambda: L.Conv2D(3, (3, 2), padding="same"), (6, 5, 2), KERNEL),
    "conv2d-same-stride": (lambda: L.Conv2D(2, 3, strides=(2, 3), padding="same"), (7, 8, 2), KERNEL),
    "conv2d-stride": (lambda: L.Conv2D(2, 2, strides=2), (7, 6, 3), KERNEL),
    "conv2d-dilated": (lambda: L.Conv2D(2, 3, dilation_rate=(2, 1), padding="same"), (7, 6, 2), KERNEL),
    "conv2d-groups": (lambda: L.Conv2D(6, 3, groups=3, padding="same"), (5, 5, 6), KERNEL),
    "conv2d-first": (lambda: L.Conv2D(2, 3, data_format="channels_first"), (3, 6, 5), KERNEL),
    "conv2d-1x1": (lambda: L.Conv2D(4, 1), (4, 4, 3), KERNEL),
    "conv3d": (lambda: L.Conv3D(2, (2, 3, 2), strides=(1, 2, 1), padding="same"), (4, 5, 4, 2), KERNEL),
    "depthwise1d": (lambda: L.DepthwiseConv1D(3, depth_multiplier=2), (7, 3), KERNEL),
    "depthwise2d": (
        lambda: L.DepthwiseConv2D(3, strides=2, padding="same", depth_multiplier=2), (6, 7, 3), KERNEL
    ),
    "separable1d": (lambda: L.SeparableConv1D(4, 3, padding="same"), (7, 3), SEPARABLE),
    "separable2d": (lambda: L.SeparableConv2D(4, 3, depth_multiplier=2), (6, 5, 2), SEPARABLE),
    "transpose1d": (lambda: L.Conv1DTranspose(2, 3, strides=2), (5, 3), KERNEL),
    "transpose2d": (lambda: L.Conv2DTranspose(2, 3, strides=2, padding="same"), (4, 3, 2), KERNEL),
    "transpose2d-crops": (lambda: L.Conv2DTranspose(2, 2, strides=3), (4, 3, 2), KERNEL),
    "transpose2d-extra": (
        lambda: L.Conv2DTranspose(2, 3, strides=3, padding="same", output_padding=2), (3, 4, 2), KERNEL
    ),
    "transpose3d": (lambda: L.Conv3DTranspose(2, 2, strides=2), (3, 2, 3, 2), KERNEL),
    "local2d": (lambda: L.LocallyConnected2D(2, 2, strides=2), (5, 4, 2), KERNEL),
    "dense": (lambda: L.Dense(4), (5,), KERNEL),
    "dense-rows": (lambda: L.Dense(3), (4, 5), KERNEL),
}  # fmt: skip


def some_factors(make, shape, weight="kernel", dtype="float64", images=5, seed=0):
    """Factors of a layer between an activation below and one above, from one random batch."""
    rng = np.random.default_rng(seed)
    with_dtype = config.floatx()
    config.set_floatx(dtype)
    try:
        model = Sequential([Input(shape), L.Activation("tanh"), make(), L.Activation("tanh"), L.Flatten()])
    finally:
        config.set_floatx(with_dtype)
    model.compile("sgd", "mse")
    x = rng.normal(size=(images, *shape))
    y = rng.normal(size=(images, *model.outputs[0].shape[1:]))
    return explain.factors_of(model, x, y, model.layers[-3].name, weight)


def some_indices(shape, count=6, seed=0):
    rng = np.random.default_rng(seed)
    return [(0,) * len(shape), tuple(n - 1 for n in shape)] + [
        tuple(int(i) for i in rng.integers(0, shape)) for _ in range(count)
    ]
