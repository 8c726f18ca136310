"""A small VGG: six 3x3 convolutions with batch normalisation in three blocks, each ended by a pooling."""

from collections.abc import Sequence
from typing import Any

from kernelearn.layers import (
    BatchNormalization,
    Conv2D,
    Dense,
    GlobalAveragePooling2D,
    Input,
    MaxPooling2D,
    ReLU,
)
from kernelearn.models.sequential import Sequential
from kernelearn.models.zoo.arguments import check_classes, check_input_shape

FILTERS = (32, 64, 128)  # of the blocks


def vgg_small(
    input_shape: Sequence[int | None],
    classes: int,
    classifier_activation: str | None = "softmax",
    name: str = "vgg_small",
) -> Sequential:
    """3x3 convolutions 32-32-pool-64-64-pool-128-128-pool, global average, dense `classes`.

    Every convolution keeps the size, has no bias, and is followed by batch normalisation and ReLU.

    Args:
        input_shape: (height, width, channels), at least 8 x 8 pixels.
        classes: number of outputs.
        classifier_activation: of the last layer; None gives logits, or values for regression.
    Raises: ShapeError, ArgumentError.
    Source: after Simonyan and Zisserman 2015, https://arxiv.org/abs/1409.1556.
    """
    layers: list[Any] = [Input(check_input_shape(input_shape, "vgg_small", smallest=8))]
    for block, filters in enumerate(FILTERS, start=1):
        for place in (1, 2):
            layers += _convolution(filters, f"block{block}_conv{place}")
        layers.append(MaxPooling2D(2, name=f"block{block}_pool"))
    units = check_classes(classes, "vgg_small")
    layers.append(GlobalAveragePooling2D(name="average"))
    layers.append(Dense(units, activation=classifier_activation, name="classifier"))
    return Sequential(layers, name=name)


def _convolution(filters: int, name: str) -> list[Any]:
    return [
        Conv2D(filters, 3, padding="same", use_bias=False, kernel_initializer="he_normal", name=name),
        BatchNormalization(name=f"{name}_bn"),
        ReLU(name=f"{name}_relu"),
    ]
