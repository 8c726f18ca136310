"""Residual networks for small images: ResNet-20 for CIFAR, and ResNet-18 with a 3x3 stem.

Where a stage changes the size, the shortcut is a projection (1x1 convolution with the stage's stride, then
batch normalisation): option B of the paper, for both networks.
Source: He, Zhang, Ren and Sun 2016, https://arxiv.org/abs/1512.03385.
"""

from collections.abc import Sequence
from typing import Any

from kernelearn.layers import (
    Activation,
    Add,
    BatchNormalization,
    Conv2D,
    Dense,
    GlobalAveragePooling2D,
    Input,
)
from kernelearn.models.model import Model
from kernelearn.models.zoo.arguments import check_classes, check_input_shape


def resnet20(
    input_shape: Sequence[int | None],
    classes: int,
    classifier_activation: str | None = "softmax",
    name: str = "resnet20",
) -> Model:
    """ResNet-20 of the paper's section 4.2: 3 stages of 3 blocks with 16, 32 and 64 filters.

    Args:
        input_shape: (height, width, channels); made for 32 x 32. (None, None, 3) takes images of any size.
        classes: number of outputs.
        classifier_activation: of the last layer; None gives logits, or values for regression.
    Raises: ShapeError, ArgumentError.
    NOTE: with projection shortcuts it trains 2,752 weights more than with the zero-padded ones that the paper
        uses for CIFAR.
    """
    return _resnet(input_shape, classes, (16, 32, 64), 3, classifier_activation, name)


def resnet18(
    input_shape: Sequence[int | None],
    classes: int,
    classifier_activation: str | None = "softmax",
    name: str = "resnet18",
) -> Model:
    """ResNet-18 for 32 x 32 images: a 3x3 stem without pooling, 4 stages of 2 blocks, 64 to 512 filters.

    Args:
        input_shape: (height, width, channels); (None, None, 3) takes images of any size.
        classes: number of outputs.
        classifier_activation: of the last layer; None gives logits, or values for regression.
    Raises: ShapeError, ArgumentError.
    """
    return _resnet(input_shape, classes, (64, 128, 256, 512), 2, classifier_activation, name)


def _resnet(
    input_shape: Sequence[int | None],
    classes: int,
    stages: tuple[int, ...],
    blocks: int,
    classifier_activation: str | None,
    name: str,
) -> Model:
    """A stem, then `blocks` residual blocks for each number of filters in `stages`, then the classifier."""
    units = check_classes(classes, name)
    inputs = Input(check_input_shape(input_shape, name))
    x = _normalised(inputs, stages[0], 3, 1, "stem")
    x = Activation("relu", name="stem_relu")(x)
    for stage, filters in enumerate(stages, start=1):
        for block in range(1, blocks + 1):
            stride = 2 if stage > 1 and block == 1 else 1
            x = _block(x, filters, stride, f"stage{stage}_block{block}")
    x = GlobalAveragePooling2D(name="average")(x)
    outputs = Dense(units, activation=classifier_activation, name="classifier")(x)
    return Model(inputs, outputs, name=name)


def _block(x: Any, filters: int, stride: int, name: str) -> Any:
    """relu(shortcut(x) + BN(conv(relu(BN(conv(x)))))): the basic block, figure 2 of the paper."""
    shortcut = x
    if stride != 1 or x.shape[-1] != filters:
        shortcut = _normalised(x, filters, 1, stride, f"{name}_shortcut")
    y = _normalised(x, filters, 3, stride, f"{name}_conv1")
    y = Activation("relu", name=f"{name}_relu1")(y)
    y = _normalised(y, filters, 3, 1, f"{name}_conv2")
    y = Add(name=f"{name}_add")([shortcut, y])
    return Activation("relu", name=f"{name}_relu2")(y)


def _normalised(x: Any, filters: int, size: int, stride: int, name: str) -> Any:
    convolution = Conv2D(
        filters,
        size,
        strides=stride,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
        name=name,
    )
    return BatchNormalization(name=f"{name}_bn")(convolution(x))
