"""Losses in Keras's words. They declare; `engine.reference.losses` computes."""

from collections.abc import Callable
from typing import Any

from kernelearn._serializable import function_config, function_of, is_function_config
from kernelearn.losses import functions
from kernelearn.losses.base import LOSSES, FunctionLoss, Loss, sample_factors
from kernelearn.losses.crossentropy import (
    BinaryCrossentropy,
    BinaryFocalCrossentropy,
    CategoricalCrossentropy,
    CategoricalFocalCrossentropy,
    SparseCategoricalCrossentropy,
)
from kernelearn.losses.functions import (
    binary_crossentropy,
    binary_focal_crossentropy,
    categorical_crossentropy,
    categorical_focal_crossentropy,
    categorical_hinge,
    cosine_similarity,
    hinge,
    huber,
    kl_divergence,
    log_cosh,
    mean_absolute_error,
    mean_absolute_percentage_error,
    mean_squared_error,
    mean_squared_logarithmic_error,
    poisson,
    sparse_categorical_crossentropy,
    squared_hinge,
)
from kernelearn.losses.pointwise import (
    CategoricalHinge,
    CosineSimilarity,
    Hinge,
    Huber,
    KLDivergence,
    LogCosh,
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanSquaredError,
    MeanSquaredLogarithmicError,
    Poisson,
    SquaredHinge,
)
from kernelearn.losses.written import (
    CTC,
    CategoricalGeneralizedCrossEntropy,
    Circle,
    Dice,
    Tversky,
    categorical_generalized_cross_entropy,
    circle,
    ctc,
    dice,
    tversky,
)

__all__ = [
    "CTC",
    "LOSSES",
    "BinaryCrossentropy",
    "BinaryFocalCrossentropy",
    "CategoricalCrossentropy",
    "CategoricalFocalCrossentropy",
    "CategoricalGeneralizedCrossEntropy",
    "CategoricalHinge",
    "Circle",
    "CosineSimilarity",
    "Dice",
    "Hinge",
    "Huber",
    "KLDivergence",
    "LogCosh",
    "Loss",
    "MeanAbsoluteError",
    "MeanAbsolutePercentageError",
    "MeanSquaredError",
    "MeanSquaredLogarithmicError",
    "Poisson",
    "SparseCategoricalCrossentropy",
    "SquaredHinge",
    "Tversky",
    "binary_crossentropy",
    "binary_focal_crossentropy",
    "categorical_crossentropy",
    "categorical_focal_crossentropy",
    "categorical_generalized_cross_entropy",
    "categorical_hinge",
    "circle",
    "cosine_similarity",
    "ctc",
    "deserialize",
    "dice",
    "get",
    "hinge",
    "huber",
    "kl_divergence",
    "log_cosh",
    "mean_absolute_error",
    "mean_absolute_percentage_error",
    "mean_squared_error",
    "mean_squared_logarithmic_error",
    "poisson",
    "sample_factors",
    "serialize",
    "sparse_categorical_crossentropy",
    "squared_hinge",
    "tversky",
]


def get(identifier: Any) -> Any:
    """The loss that a name, a config, a class, an object or a function of (y_true, y_pred) stands for.

    Raises: UnknownNameError.

    >>> get("mse").kind
    'mean_squared_error'
    """
    if isinstance(identifier, Loss):
        return identifier
    if is_function_config(identifier):
        return FunctionLoss(function_of(identifier))
    if isinstance(identifier, type) and issubclass(identifier, Loss):
        return identifier()
    if callable(identifier) and not isinstance(identifier, type):
        return _from_function(identifier)
    return LOSSES.get(identifier)


def _from_function(function: Callable[..., Any]) -> Loss:
    name = getattr(function, "__name__", repr(function))
    if getattr(functions, name, None) is function:
        loss: Loss = LOSSES.get(name)
        return loss
    return FunctionLoss(function)


def serialize(loss: Loss | None) -> dict[str, Any] | None:
    """The JSON config of a loss; of a function its registered name."""
    if isinstance(loss, FunctionLoss):
        return function_config(loss.function, "The loss")
    return LOSSES.serialize(loss)


def deserialize(config: dict[str, Any]) -> Loss:
    """The loss of a config made by `serialize`."""
    loss: Loss = get(config)
    return loss
