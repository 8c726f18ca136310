"""Loss functions and their gradients on arrays, one pair per loss, collected in `LOSSES`.

Every loss reduces the last axis and nothing else: it gives one value per sample (and per pixel, if any).
Summing over samples, sample weights and penalties are the business of the training program.
The cross-entropies are in `crossentropy`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import log
from typing import Any

import numpy as np

from kernelearn.engine.arrays import Array
from kernelearn.engine.reference import crossentropy
from kernelearn.engine.reference.targets import match_targets

# Keras's backend.epsilon()
EPSILON = 1e-7


@dataclass(frozen=True)
class LossFunction:
    """A loss as two functions of arrays.

    value(y_true, y_pred, **attrs) gives the loss of each sample: shape y_pred.shape[:-1], dtype of y_pred.
    gradient(y_true, y_pred, **attrs) gives d value[sample] / d y_pred: shape and dtype of y_pred.
    y_true has the shape of y_pred (or lacks a last axis of size 1); with `integer_labels`, y_pred.shape[:-1].
    attrs: its attributes with their defaults; both functions take all of them.
    """

    function: Callable[..., Array]
    slope: Callable[..., Array]
    attrs: Mapping[str, Any] = field(default_factory=dict)
    integer_labels: bool = False

    def value(self, y_true: Array, y_pred: Array, **attrs: Any) -> Array:
        return self.function(y_true, y_pred, **{**self.attrs, **attrs})

    def gradient(self, y_true: Array, y_pred: Array, **attrs: Any) -> Array:
        return self.slope(y_true, y_pred, **{**self.attrs, **attrs})


# --- regression


def _squared(y_true: Array, y_pred: Array) -> Array:
    error = y_pred - match_targets(y_true, y_pred)
    return np.mean(error * error, axis=-1)


def _squared_gradient(y_true: Array, y_pred: Array) -> Array:
    return (y_pred - match_targets(y_true, y_pred)) * (2 / y_pred.shape[-1])


def _absolute(y_true: Array, y_pred: Array) -> Array:
    return np.mean(np.abs(y_pred - match_targets(y_true, y_pred)), axis=-1)


def _absolute_gradient(y_true: Array, y_pred: Array) -> Array:
    return np.sign(y_pred - match_targets(y_true, y_pred)) * (1 / y_pred.shape[-1])


def _percentage(y_true: Array, y_pred: Array) -> Array:
    y_true = match_targets(y_true, y_pred)
    return 100 * np.mean(np.abs(y_pred - y_true) / np.maximum(np.abs(y_true), EPSILON), axis=-1)


def _percentage_gradient(y_true: Array, y_pred: Array) -> Array:
    y_true = match_targets(y_true, y_pred)
    return np.sign(y_pred - y_true) / np.maximum(np.abs(y_true), EPSILON) * (100 / y_pred.shape[-1])


def _logarithms(y_true: Array, y_pred: Array) -> tuple[Array, Array]:
    """log(1 + y) of prediction and target, negative values counted as zero."""
    y_true = match_targets(y_true, y_pred)
    return np.log(np.maximum(y_pred, EPSILON) + 1), np.log(np.maximum(y_true, EPSILON) + 1)


def _squared_logarithmic(y_true: Array, y_pred: Array) -> Array:
    log_pred, log_true = _logarithms(y_true, y_pred)
    return np.mean(np.square(log_pred - log_true), axis=-1)


def _squared_logarithmic_gradient(y_true: Array, y_pred: Array) -> Array:
    log_pred, log_true = _logarithms(y_true, y_pred)
    slope = (y_pred > EPSILON) / (np.maximum(y_pred, EPSILON) + 1)
    return (2 / y_pred.shape[-1]) * (log_pred - log_true) * slope


def _huber(y_true: Array, y_pred: Array, delta: float) -> Array:
    size = np.abs(y_pred - match_targets(y_true, y_pred))
    inner = np.minimum(size, delta)
    return np.mean(inner * (size - 0.5 * inner), axis=-1)


def _huber_gradient(y_true: Array, y_pred: Array, delta: float) -> Array:
    return np.clip(y_pred - match_targets(y_true, y_pred), -delta, delta) * (1 / y_pred.shape[-1])


def _log_cosh(y_true: Array, y_pred: Array) -> Array:
    size = np.abs(y_pred - match_targets(y_true, y_pred))
    return np.mean(size + np.log1p(np.exp(-2 * size)) - log(2), axis=-1)


def _log_cosh_gradient(y_true: Array, y_pred: Array) -> Array:
    return np.tanh(y_pred - match_targets(y_true, y_pred)) * (1 / y_pred.shape[-1])


def _poisson(y_true: Array, y_pred: Array) -> Array:
    y_true = match_targets(y_true, y_pred)
    with np.errstate(
        invalid="ignore", divide="ignore"
    ):  # a negative rate has no loss: NaN, reported in training
        return np.mean(y_pred - y_true * np.log(y_pred + EPSILON), axis=-1)


def _poisson_gradient(y_true: Array, y_pred: Array) -> Array:
    y_true = match_targets(y_true, y_pred)
    with np.errstate(divide="ignore", invalid="ignore"):
        return (1 - y_true / (y_pred + EPSILON)) * (1 / y_pred.shape[-1])


def _unit(y: Array) -> tuple[Array, Array]:
    """y / max(|y|, epsilon) along the last axis, and that denominator."""
    norm = np.maximum(np.sqrt(np.sum(y * y, axis=-1, keepdims=True)), EPSILON)
    return y / norm, norm


def _cosine(y_true: Array, y_pred: Array) -> Array:
    return -np.sum(_unit(match_targets(y_true, y_pred))[0] * _unit(y_pred)[0], axis=-1)


def _cosine_gradient(y_true: Array, y_pred: Array) -> Array:
    unit_true, _ = _unit(match_targets(y_true, y_pred))
    unit_pred, norm = _unit(y_pred)
    along = np.sum(unit_true * unit_pred, axis=-1, keepdims=True) * (norm > EPSILON)
    return (unit_pred * along - unit_true) / norm


# --- margins


def _signs(y_true: Array, y_pred: Array) -> Array:
    """Targets as -1 and 1: labels that are all 0 or 1 are converted, as Keras does."""
    y_true = match_targets(y_true, y_pred)
    return 2 * y_true - 1 if np.all((y_true == 0) | (y_true == 1)) else y_true


def _hinge(y_true: Array, y_pred: Array) -> Array:
    return np.mean(np.maximum(1 - _signs(y_true, y_pred) * y_pred, 0), axis=-1)


def _hinge_gradient(y_true: Array, y_pred: Array) -> Array:
    signs = _signs(y_true, y_pred)
    return (-1 / y_pred.shape[-1]) * signs * (signs * y_pred < 1)


def _squared_hinge(y_true: Array, y_pred: Array) -> Array:
    return np.mean(np.square(np.maximum(1 - _signs(y_true, y_pred) * y_pred, 0)), axis=-1)


def _squared_hinge_gradient(y_true: Array, y_pred: Array) -> Array:
    signs = _signs(y_true, y_pred)
    return (-2 / y_pred.shape[-1]) * signs * np.maximum(1 - signs * y_pred, 0)


def _class_margin(y_true: Array, y_pred: Array) -> tuple[Array, Array]:
    """The scores of the other classes, and best other score - own score + 1."""
    others = (1 - y_true) * y_pred
    return others, others.max(axis=-1) - np.sum(y_true * y_pred, axis=-1) + 1


def _categorical_hinge(y_true: Array, y_pred: Array) -> Array:
    return np.maximum(_class_margin(match_targets(y_true, y_pred), y_pred)[1], 0)


def _categorical_hinge_gradient(y_true: Array, y_pred: Array) -> Array:
    y_true = match_targets(y_true, y_pred)
    others, margin = _class_margin(y_true, y_pred)
    rival = others.argmax(axis=-1)[..., None]
    gradient = -y_true
    at_rival = np.take_along_axis(gradient, rival, -1) + 1 - np.take_along_axis(y_true, rival, -1)
    np.put_along_axis(gradient, rival, at_rival, -1)
    return gradient * (margin > 0)[..., None]


# --- distributions


def _kl(y_true: Array, y_pred: Array) -> Array:
    y_true = np.clip(match_targets(y_true, y_pred), EPSILON, 1)
    return np.sum(y_true * np.log(y_true / np.clip(y_pred, EPSILON, 1)), axis=-1)


def _kl_gradient(y_true: Array, y_pred: Array) -> Array:
    y_true = np.clip(match_targets(y_true, y_pred), EPSILON, 1)
    inside = (y_pred >= EPSILON) & (y_pred <= 1)
    return -y_true / np.clip(y_pred, EPSILON, 1) * inside


# What all cross-entropies take, and the focal ones besides.
_SCORES = {"from_logits": False, "label_smoothing": 0.0}
_FOCUS = {"alpha": 0.25, "gamma": 2.0}

LOSSES: dict[str, LossFunction] = {
    "mean_squared_error": LossFunction(_squared, _squared_gradient),
    "mean_absolute_error": LossFunction(_absolute, _absolute_gradient),
    "mean_absolute_percentage_error": LossFunction(_percentage, _percentage_gradient),
    "mean_squared_logarithmic_error": LossFunction(_squared_logarithmic, _squared_logarithmic_gradient),
    "huber": LossFunction(_huber, _huber_gradient, {"delta": 1.0}),
    "log_cosh": LossFunction(_log_cosh, _log_cosh_gradient),
    "poisson": LossFunction(_poisson, _poisson_gradient),
    "cosine_similarity": LossFunction(_cosine, _cosine_gradient),
    "hinge": LossFunction(_hinge, _hinge_gradient),
    "squared_hinge": LossFunction(_squared_hinge, _squared_hinge_gradient),
    "categorical_hinge": LossFunction(_categorical_hinge, _categorical_hinge_gradient),
    "kl_divergence": LossFunction(_kl, _kl_gradient),
    "binary_crossentropy": LossFunction(crossentropy.binary, crossentropy.binary_gradient, _SCORES),
    "categorical_crossentropy": LossFunction(
        crossentropy.categorical, crossentropy.categorical_gradient, _SCORES
    ),
    "sparse_categorical_crossentropy": LossFunction(
        crossentropy.sparse,
        crossentropy.sparse_gradient,
        {**_SCORES, "ignore_class": None},
        integer_labels=True,
    ),
    "binary_focal_crossentropy": LossFunction(
        crossentropy.binary_focal,
        crossentropy.binary_focal_gradient,
        {"apply_class_balancing": False, **_FOCUS, **_SCORES},
    ),
    "categorical_focal_crossentropy": LossFunction(
        crossentropy.categorical_focal,
        crossentropy.categorical_focal_gradient,
        {**_FOCUS, **_SCORES},
    ),
}
