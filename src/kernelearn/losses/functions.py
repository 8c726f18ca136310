"""The losses as functions of arrays, one value per sample, under the names of `keras.losses`."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kernelearn import config
from kernelearn.engine.reference.losses import LOSSES as ENGINE_LOSSES
from kernelearn.losses.base import LOSSES
from kernelearn.tracing import Traced


def _function(kind: str) -> Callable[..., NDArray[Any]]:
    """The loss as a function of arrays without reduction, as in `keras.losses`."""

    def values(y_true: ArrayLike, y_pred: ArrayLike, **attrs: Any) -> NDArray[Any]:
        if isinstance(y_true, Traced) or isinstance(y_pred, Traced):
            return _traced(kind, y_true, y_pred, attrs)
        predictions = np.asarray(y_pred)
        if predictions.dtype.kind != "f":
            predictions = predictions.astype(config.floatx())
        targets = np.asarray(y_true)
        LOSSES.get(kind).check_targets(targets)
        return ENGINE_LOSSES[kind].value(targets, predictions, **attrs)

    values.__name__ = values.__qualname__ = kind
    values.__doc__ = f"Values of the loss {kind!r} per sample; arguments as of its class."
    return values


def _traced(kind: str, y_true: Any, y_pred: Any, attrs: dict[str, Any]) -> Any:
    """The values in code that is traced."""
    from kernelearn.losses.traced import VALUES

    return VALUES[kind](y_true, y_pred, **attrs)


mean_squared_error = _function("mean_squared_error")
mean_absolute_error = _function("mean_absolute_error")
mean_absolute_percentage_error = _function("mean_absolute_percentage_error")
mean_squared_logarithmic_error = _function("mean_squared_logarithmic_error")
huber = _function("huber")
log_cosh = _function("log_cosh")
poisson = _function("poisson")
cosine_similarity = _function("cosine_similarity")
hinge = _function("hinge")
squared_hinge = _function("squared_hinge")
categorical_hinge = _function("categorical_hinge")
kl_divergence = _function("kl_divergence")
binary_crossentropy = _function("binary_crossentropy")
categorical_crossentropy = _function("categorical_crossentropy")
sparse_categorical_crossentropy = _function("sparse_categorical_crossentropy")
binary_focal_crossentropy = _function("binary_focal_crossentropy")
categorical_focal_crossentropy = _function("categorical_focal_crossentropy")
