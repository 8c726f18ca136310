"""Twelve kinds of networks, small ones of each: what `kernelearn bench --nets all` measures beside the zoo's.

Each is what its kind is known for and little else: the sizes of windows, maps, groups and weights that decide
what its step is bound by. They are definitions for measuring, not for use.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kernelearn import layers as L
from kernelearn.models.model import Model

Shape = Sequence[int]


def strided(shape: Shape, classes: int) -> Model:
    """Large strided windows, overlapping pools, and dense layers that hold most of the weights.

    Source of the kind: Krizhevsky, Sutskever and Hinton 2012.
    """
    inputs = L.Input(shape)
    x = L.Conv2D(48, 11, strides=4, activation="relu", name="conv1")(inputs)
    x = L.MaxPooling2D(3, 2, name="pool1")(x)
    x = L.Conv2D(96, 5, padding="same", activation="relu", name="conv2")(x)
    x = L.MaxPooling2D(3, 2, name="pool2")(x)
    for number, filters in enumerate((128, 128, 96), start=3):
        x = L.Conv2D(filters, 3, padding="same", activation="relu", name=f"conv{number}")(x)
    x = L.Flatten(name="flatten")(x)
    for number in (1, 2):
        x = L.Dense(1024, activation="relu", name=f"dense{number}")(x)
    return _classifier(inputs, x, classes, "strided")


def volumes(shape: Shape, classes: int) -> Model:
    """Three dimensions, as for scans and clips. Source of the kind: Tran et al. 2015 (C3D)."""
    inputs = L.Input(shape)
    x: Any = inputs
    for number, filters in enumerate((16, 32, 64), start=1):
        x = _normalised(L.Conv3D(filters, 3, padding="same", use_bias=False, name=f"conv{number}")(x))
        x = L.MaxPooling3D(2, name=f"pool{number}")(x)
    x = L.Conv3D(64, 3, padding="same", activation="relu", name="conv4")(x)
    return _classifier(inputs, L.GlobalAveragePooling3D(name="average")(x), classes, "volumes")


def bottleneck(shape: Shape, classes: int) -> Model:
    """1x1, 3x3, 1x1 with a shortcut, on large maps. Source of the kind: He et al. 2016."""
    return _residual(shape, classes, "bottleneck", widths=(64, 128, 256), expansion=4, groups=1)


def resnext(shape: Shape, classes: int) -> Model:
    """The same with 16 groups of 8 and 16 channels. Source of the kind: Xie et al. 2017."""
    return _residual(shape, classes, "resnext", widths=(128, 256), expansion=2, groups=16)


def _residual(
    shape: Shape, classes: int, name: str, widths: Sequence[int], expansion: int, groups: int
) -> Model:
    inputs = L.Input(shape)
    x = _normalised(L.Conv2D(32, 7, strides=2, padding="same", use_bias=False, name="stem")(inputs))
    x = L.MaxPooling2D(2, name="pool")(x)
    for stage, width in enumerate(widths, start=1):
        stride = 1 if stage == 1 else 2
        x = _bottleneck(x, width, width * expansion, stride, groups, f"stage{stage}")
    return _classifier(inputs, L.GlobalAveragePooling2D(name="average")(x), classes, name)


def _bottleneck(x: Any, width: int, filters: int, stride: int, groups: int, name: str) -> Any:
    y = _normalised(L.Conv2D(width, 1, use_bias=False, name=f"{name}_conv1")(x))
    middle = L.Conv2D(
        width, 3, strides=stride, padding="same", groups=groups, use_bias=False, name=f"{name}_conv2"
    )
    y = _normalised(middle(y))
    y = _normalised(L.Conv2D(filters, 1, use_bias=False, name=f"{name}_conv3")(y), None)
    shortcut = L.Conv2D(filters, 1, strides=stride, use_bias=False, name=f"{name}_shortcut")(x)
    y = L.Add(name=f"{name}_add")([_normalised(shortcut, None), y])
    return L.Activation("relu", name=f"{name}_relu")(y)


def convnext(shape: Shape, classes: int) -> Model:
    """7x7 depthwise, LayerNorm, 1x1, GELU, 1x1, with a shortcut. Source of the kind: Liu et al. 2022."""
    inputs = L.Input(shape)
    x = L.Conv2D(48, 4, strides=4, name="stem")(inputs)
    x = L.LayerNormalization(epsilon=1e-6, name="stem_ln")(x)
    for stage, filters in enumerate((48, 96), start=1):
        if stage > 1:
            x = L.LayerNormalization(epsilon=1e-6, name=f"down{stage}_ln")(x)
            x = L.Conv2D(filters, 2, strides=2, name=f"down{stage}")(x)
        for block in (1, 2):
            x = _convnext_block(x, filters, f"stage{stage}_block{block}")
    x = L.GlobalAveragePooling2D(name="average")(x)
    return _classifier(inputs, L.LayerNormalization(epsilon=1e-6, name="head_ln")(x), classes, "convnext")


def _convnext_block(x: Any, filters: int, name: str) -> Any:
    y = L.DepthwiseConv2D(7, padding="same", name=f"{name}_depthwise")(x)
    y = L.LayerNormalization(epsilon=1e-6, name=f"{name}_ln")(y)
    y = L.Conv2D(4 * filters, 1, name=f"{name}_wide")(y)
    y = L.Activation("gelu", name=f"{name}_gelu")(y)
    y = L.Conv2D(filters, 1, name=f"{name}_narrow")(y)
    return L.Add(name=f"{name}_add")([x, y])


def dilated(shape: Shape, classes: int) -> Model:
    """Windows that grow with holes, at one resolution. Source of the kind: Yu and Koltun 2016."""
    inputs = L.Input(shape)
    x = _normalised(L.Conv2D(48, 3, padding="same", use_bias=False, name="conv1")(inputs))
    for number, rate in enumerate((2, 4, 8, 1), start=2):
        conv = L.Conv2D(48, 3, padding="same", dilation_rate=rate, use_bias=False, name=f"conv{number}")
        x = _normalised(conv(x))
    return _classifier(inputs, L.GlobalAveragePooling2D(name="average")(x), classes, "dilated")


def signals(shape: Shape, classes: int) -> Model:
    """One dimension, long windows: for sound, sensors and sequences. Kind: Kiranyaz et al. 2021."""
    inputs = L.Input(shape)
    x: Any = inputs
    for number, (filters, size, stride) in enumerate(((64, 15, 2), (64, 7, 1), (128, 7, 2), (128, 5, 1))):
        conv = L.Conv1D(
            filters, size, strides=stride, padding="same", use_bias=False, name=f"conv{number + 1}"
        )
        x = _normalised(conv(x))
    return _classifier(inputs, L.GlobalAveragePooling1D(name="average")(x), classes, "signals")


def mobile(shape: Shape, classes: int) -> Model:
    """Depthwise and 1x1, wide inside and narrow outside. Source of the kind: Sandler et al. 2018."""
    inputs = L.Input(shape)
    x = _normalised(L.Conv2D(16, 3, strides=2, padding="same", use_bias=False, name="stem")(inputs))
    plan = ((16, 1), (24, 2), (24, 1), (40, 2), (40, 1))
    for number, (filters, stride) in enumerate(plan, start=1):
        x = _mobile_block(x, 6 * x.shape[-1], filters, stride, f"block{number}")
    x = _normalised(L.Conv2D(160, 1, use_bias=False, name="last")(x))
    return _classifier(inputs, L.GlobalAveragePooling2D(name="average")(x), classes, "mobile")


def _mobile_block(x: Any, width: int, filters: int, stride: int, name: str) -> Any:
    y = _normalised(L.Conv2D(width, 1, use_bias=False, name=f"{name}_wide")(x))
    depthwise = L.DepthwiseConv2D(3, strides=stride, padding="same", use_bias=False, name=f"{name}_depthwise")
    y = _normalised(depthwise(y))
    y = _normalised(L.Conv2D(filters, 1, use_bias=False, name=f"{name}_narrow")(y), None)
    is_same = stride == 1 and x.shape[-1] == filters
    return L.Add(name=f"{name}_add")([x, y]) if is_same else y


def perceptron(shape: Shape, classes: int) -> Model:
    """Dense layers and nothing else: the update of the weights weighs as much as their products."""
    inputs = L.Input(shape)
    x: Any = inputs
    for number, units in enumerate((1024, 1024, 512), start=1):
        x = L.Dense(units, activation="relu", name=f"dense{number}")(x)
    return _classifier(inputs, x, classes, "perceptron")


def tanh_means(shape: Shape, classes: int) -> Model:
    """tanh and means instead of ReLU and maxima. Source of the kind: LeCun et al. 1998."""
    inputs = L.Input(shape)
    x: Any = inputs
    for number, (filters, size) in enumerate(((16, 5), (32, 5), (64, 3)), start=1):
        x = L.Conv2D(filters, size, padding="same", activation="tanh", name=f"conv{number}")(x)
        x = L.AveragePooling2D(2, name=f"pool{number}")(x)
    x = L.Dense(128, activation="tanh", name="dense")(L.Flatten(name="flatten")(x))
    return _classifier(inputs, x, classes, "tanh_means")


def densenet(shape: Shape, classes: int) -> Model:
    """Every layer reads all maps before it, and adds a few. Source of the kind: Huang et al. 2017."""
    inputs = L.Input(shape)
    x = L.Conv2D(24, 3, padding="same", use_bias=False, name="stem")(inputs)
    for block in (1, 2):
        for number in (1, 2, 3, 4):
            x = _dense_layer(x, 12, f"block{block}_layer{number}")
        if block == 1:
            x = _before(x, "transition")
            x = L.Conv2D(x.shape[-1] // 2, 1, use_bias=False, name="transition")(x)
            x = L.AveragePooling2D(2, name="transition_pool")(x)
    x = L.GlobalAveragePooling2D(name="average")(_before(x, "last"))
    return _classifier(inputs, x, classes, "densenet")


def _dense_layer(x: Any, growth: int, name: str) -> Any:
    y = L.Conv2D(4 * growth, 1, use_bias=False, name=f"{name}_conv1")(_before(x, f"{name}_1"))
    y = L.Conv2D(growth, 3, padding="same", use_bias=False, name=f"{name}_conv2")(_before(y, f"{name}_2"))
    return L.Concatenate(name=f"{name}_concat")([x, y])


def _before(x: Any, name: str) -> Any:
    """BatchNorm and ReLU in front of a convolution."""
    x = L.BatchNormalization(name=f"{name}_bn")(x)
    return L.Activation("relu", name=f"{name}_relu")(x)


def unet(shape: Shape, classes: int) -> Model:
    """Down by pooling, up by transposed convolutions, and a class for every pixel. Kind: Ronneberger 2015."""
    inputs = L.Input(shape)
    x, kept = inputs, []
    for number, filters in enumerate((16, 32, 64), start=1):
        x = _pair(x, filters, f"down{number}")
        kept.append(x)
        x = L.MaxPooling2D(2, name=f"pool{number}")(x)
    x = _pair(x, 96, "middle")
    for number, skipped in zip((3, 2, 1), reversed(kept)):
        filters = skipped.shape[-1]
        x = L.Conv2DTranspose(filters, 2, strides=2, name=f"up{number}")(x)
        x = L.Concatenate(name=f"concat{number}")([skipped, x])
        x = _pair(x, filters, f"up{number}")
    outputs = L.Conv2D(classes, 1, activation="softmax", name="classifier")(x)
    return Model(inputs, outputs, name="unet")


def _pair(x: Any, filters: int, name: str) -> Any:
    for number in (1, 2):
        conv = L.Conv2D(filters, 3, padding="same", activation="relu", name=f"{name}_conv{number}")
        x = conv(x)
    return x


def _normalised(x: Any, activation: str | None = "relu") -> Any:
    """BatchNorm behind a convolution, and an activation."""
    name = x.node.layer.name
    x = L.BatchNormalization(name=f"{name}_bn")(x)
    return x if activation is None else L.Activation(activation, name=f"{name}_relu")(x)


def _classifier(inputs: Any, x: Any, classes: int, name: str) -> Model:
    return Model(inputs, L.Dense(classes, activation="softmax", name="classifier")(x), name=name)
