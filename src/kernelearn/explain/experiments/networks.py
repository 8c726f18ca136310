"""The small network that the experiments share, so that their tables can be read side by side."""

from collections.abc import Sequence
from typing import Any

from kernelearn.layers import AveragePooling2D, Conv2D, Dense, Flatten, Input, MaxPooling2D
from kernelearn.models import Sequential

FILTERS = (16, 32)
CONVOLUTIONS = ("conv1", "conv2")


def small_network(
    input_shape: Sequence[int],
    classes: int,
    activation: str | None = "relu",
    kernel_initializer: Any = "he_normal",
    classifier_initializer: Any = "glorot_uniform",
    average: bool = False,
) -> Sequential:
    """conv 16 3x3, pool 2, conv 32 3x3, pool 2, dense `classes` with softmax; convolutions keep the size.

    Args:
        input_shape: (height, width, channels), at least 4 x 4 pixels.
        activation: of the convolutions.
        kernel_initializer, classifier_initializer: first kernels of the convolutions and of the dense layer.
        average: pool by averages, which are linear, instead of maxima.
    """
    pooling = AveragePooling2D if average else MaxPooling2D
    layers: list[Any] = [Input(tuple(input_shape))]
    for number, (name, filters) in enumerate(zip(CONVOLUTIONS, FILTERS), start=1):
        options = {"activation": activation, "kernel_initializer": kernel_initializer}
        layers += [
            Conv2D(filters, 3, padding="same", name=name, **options),
            pooling(2, name=f"pool{number}"),
        ]
    head = Dense(classes, activation="softmax", kernel_initializer=classifier_initializer, name="classifier")
    return Sequential([*layers, Flatten(name="flatten"), head], name="small_network")


def freeze(model: Any, *names: str) -> Any:
    """The model with these layers frozen."""
    for name in names:
        model.get_layer(name).trainable = False
    return model
