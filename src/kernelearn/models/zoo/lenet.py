"""LeNet in its present-day form: two convolutions, two poolings, two dense layers."""

from collections.abc import Sequence

from kernelearn.layers import Conv2D, Dense, Flatten, Input, MaxPooling2D
from kernelearn.models.sequential import Sequential
from kernelearn.models.zoo.arguments import check_classes, check_input_shape

_SMALL = 16  # below this side, unpadded convolutions would leave nothing after two poolings


def lenet(
    input_shape: Sequence[int],
    classes: int,
    classifier_activation: str | None = "softmax",
    name: str = "lenet",
) -> Sequential:
    """conv 32 3x3, pool 2, conv 64 3x3, pool 2, dense 128, dense `classes`; ReLU between.

    Convolutions are unpadded ("valid"), but keep the size ("same") for images smaller than 16 pixels.

    Args:
        input_shape: (height, width, channels), at least 4 x 4 pixels.
        classes: number of outputs.
        classifier_activation: of the last layer; None gives logits, or values for regression.
    Raises: ShapeError, ArgumentError.
    Source: after LeCun et al. 1998, "Gradient-based learning applied to document recognition", with ReLU
        and max pooling in place of scaled tanh and trained averages.

    >>> lenet((28, 28, 1), 10).count_params()
    225034
    """
    shape = check_input_shape(input_shape, "lenet", smallest=4, is_open=False)
    padding = "same" if min(shape[:2]) < _SMALL else "valid"
    layers = [
        Input(shape),
        Conv2D(32, 3, padding=padding, activation="relu", name="conv1"),
        MaxPooling2D(2, name="pool1"),
        Conv2D(64, 3, padding=padding, activation="relu", name="conv2"),
        MaxPooling2D(2, name="pool2"),
        Flatten(name="flatten"),
        Dense(128, activation="relu", name="dense"),
        Dense(check_classes(classes, "lenet"), activation=classifier_activation, name="classifier"),
    ]
    return Sequential(layers, name=name)
