"""Loss functions and their gradients on arrays, one pair per loss, collected in `LOSSES`.

Every loss reduces the last axis and nothing else: it gives one value per sample (and per pixel, if any).
Summing over samples, sample weights and penalties are the business of the training program.
Cross-entropies on logits are fused with their sigmoid or softmax: exact even when saturated. On probabilities
they clip to [1e-7, 1 - 1e-7] as Keras does, where the gradient is zero: prefer logits.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import log

import numpy as np
from numpy.typing import NDArray

from kernelearn.engine.reference.activations import log_softmax, sigmoid, softmax, softplus
from kernelearn.errors import ArgumentError, ShapeError

# Keras's backend.epsilon(): probabilities are kept this far from 0 and 1.
EPSILON = 1e-7


@dataclass(frozen=True)
class LossFunction:
    """A loss as two functions of arrays.

    value(y_true, y_pred, **attrs) gives the loss of each sample: shape y_pred.shape[:-1], dtype of y_pred.
    gradient(y_true, y_pred, **attrs) gives d value[sample] / d y_pred: shape and dtype of y_pred.
    y_true has the shape of y_pred (or lacks a last axis of size 1); with `integer_labels`, y_pred.shape[:-1].
    """

    value: Callable[..., NDArray]
    gradient: Callable[..., NDArray]
    integer_labels: bool = False


def match_targets(y_true: NDArray, y_pred: NDArray) -> NDArray:
    """`y_true` in the dtype and shape of `y_pred`; a last axis of size 1 may be missing or extra.

    Raises: ShapeError for any other difference, which NumPy would broadcast silently.
    """
    y_true = np.asarray(y_true).astype(y_pred.dtype, copy=False)
    if y_true.shape == y_pred.shape:
        return y_true
    if y_true.shape == y_pred.shape[:-1] and y_pred.shape[-1] == 1:
        return y_true[..., None]
    if y_true.shape[:-1] == y_pred.shape and y_true.shape[-1] == 1:
        return y_true[..., 0]
    raise ShapeError(
        f"Targets and predictions must have the same shape, got {y_true.shape} and {y_pred.shape}. "
        "Integer class labels belong to a sparse loss such as 'sparse_categorical_crossentropy'."
    )


def match_labels(y_true: NDArray, y_pred: NDArray) -> NDArray:
    """Integer labels of shape `y_pred.shape[:-1]` (a last axis of size 1 is dropped), checked for shape.

    Raises: ShapeError.
    """
    labels = np.asarray(y_true)
    if labels.ndim == y_pred.ndim and labels.shape[-1] == 1:
        labels = labels[..., 0]
    if labels.shape != y_pred.shape[:-1]:
        raise ShapeError(
            f"Integer labels for predictions of shape {y_pred.shape} must have shape {y_pred.shape[:-1]} "
            f"(a last axis of size 1 may follow), got {np.shape(y_true)}. "
            "One-hot targets belong to 'categorical_crossentropy'."
        )
    return labels.astype(np.intp, copy=False)


def _clip(p: NDArray) -> NDArray:
    return np.clip(p, EPSILON, 1 - EPSILON)


def _inside(p: NDArray) -> NDArray:
    """Where `_clip` changes nothing, so that its derivative is 1."""
    return (p >= EPSILON) & (p <= 1 - EPSILON)


# --- regression


def _squared(y_true, y_pred):
    error = y_pred - match_targets(y_true, y_pred)
    return np.mean(error * error, axis=-1)


def _squared_gradient(y_true, y_pred):
    return (y_pred - match_targets(y_true, y_pred)) * (2 / y_pred.shape[-1])


def _absolute(y_true, y_pred):
    return np.mean(np.abs(y_pred - match_targets(y_true, y_pred)), axis=-1)


def _absolute_gradient(y_true, y_pred):
    return np.sign(y_pred - match_targets(y_true, y_pred)) * (1 / y_pred.shape[-1])


def _percentage(y_true, y_pred):
    y_true = match_targets(y_true, y_pred)
    return 100 * np.mean(np.abs(y_pred - y_true) / np.maximum(np.abs(y_true), EPSILON), axis=-1)


def _percentage_gradient(y_true, y_pred):
    y_true = match_targets(y_true, y_pred)
    return np.sign(y_pred - y_true) / np.maximum(np.abs(y_true), EPSILON) * (100 / y_pred.shape[-1])


def _logarithms(y_true, y_pred):
    """log(1 + y) of prediction and target, negative values counted as zero."""
    y_true = match_targets(y_true, y_pred)
    return np.log(np.maximum(y_pred, EPSILON) + 1), np.log(np.maximum(y_true, EPSILON) + 1)


def _squared_logarithmic(y_true, y_pred):
    log_pred, log_true = _logarithms(y_true, y_pred)
    return np.mean(np.square(log_pred - log_true), axis=-1)


def _squared_logarithmic_gradient(y_true, y_pred):
    log_pred, log_true = _logarithms(y_true, y_pred)
    slope = (y_pred > EPSILON) / (np.maximum(y_pred, EPSILON) + 1)
    return (2 / y_pred.shape[-1]) * (log_pred - log_true) * slope


def _huber(y_true, y_pred, delta=1.0):
    size = np.abs(y_pred - match_targets(y_true, y_pred))
    inner = np.minimum(size, delta)
    return np.mean(inner * (size - 0.5 * inner), axis=-1)


def _huber_gradient(y_true, y_pred, delta=1.0):
    return np.clip(y_pred - match_targets(y_true, y_pred), -delta, delta) * (1 / y_pred.shape[-1])


def _log_cosh(y_true, y_pred):
    size = np.abs(y_pred - match_targets(y_true, y_pred))
    return np.mean(size + np.log1p(np.exp(-2 * size)) - log(2), axis=-1)


def _log_cosh_gradient(y_true, y_pred):
    return np.tanh(y_pred - match_targets(y_true, y_pred)) * (1 / y_pred.shape[-1])


def _poisson(y_true, y_pred):
    y_true = match_targets(y_true, y_pred)
    with np.errstate(
        invalid="ignore", divide="ignore"
    ):  # a negative rate has no loss: NaN, reported in training
        return np.mean(y_pred - y_true * np.log(y_pred + EPSILON), axis=-1)


def _poisson_gradient(y_true, y_pred):
    y_true = match_targets(y_true, y_pred)
    with np.errstate(divide="ignore", invalid="ignore"):
        return (1 - y_true / (y_pred + EPSILON)) * (1 / y_pred.shape[-1])


def _unit(y):
    """y / max(|y|, epsilon) along the last axis, and that denominator."""
    norm = np.maximum(np.sqrt(np.sum(y * y, axis=-1, keepdims=True)), EPSILON)
    return y / norm, norm


def _cosine(y_true, y_pred):
    return -np.sum(_unit(match_targets(y_true, y_pred))[0] * _unit(y_pred)[0], axis=-1)


def _cosine_gradient(y_true, y_pred):
    unit_true, _ = _unit(match_targets(y_true, y_pred))
    unit_pred, norm = _unit(y_pred)
    along = np.sum(unit_true * unit_pred, axis=-1, keepdims=True) * (norm > EPSILON)
    return (unit_pred * along - unit_true) / norm


# --- margins


def _signs(y_true, y_pred):
    """Targets as -1 and 1: labels that are all 0 or 1 are converted, as Keras does."""
    y_true = match_targets(y_true, y_pred)
    return 2 * y_true - 1 if np.all((y_true == 0) | (y_true == 1)) else y_true


def _hinge(y_true, y_pred):
    return np.mean(np.maximum(1 - _signs(y_true, y_pred) * y_pred, 0), axis=-1)


def _hinge_gradient(y_true, y_pred):
    signs = _signs(y_true, y_pred)
    return (-1 / y_pred.shape[-1]) * signs * (signs * y_pred < 1)


def _squared_hinge(y_true, y_pred):
    return np.mean(np.square(np.maximum(1 - _signs(y_true, y_pred) * y_pred, 0)), axis=-1)


def _squared_hinge_gradient(y_true, y_pred):
    signs = _signs(y_true, y_pred)
    return (-2 / y_pred.shape[-1]) * signs * np.maximum(1 - signs * y_pred, 0)


def _class_margin(y_true, y_pred):
    """The scores of the other classes, and best other score - own score + 1."""
    others = (1 - y_true) * y_pred
    return others, others.max(axis=-1) - np.sum(y_true * y_pred, axis=-1) + 1


def _categorical_hinge(y_true, y_pred):
    return np.maximum(_class_margin(match_targets(y_true, y_pred), y_pred)[1], 0)


def _categorical_hinge_gradient(y_true, y_pred):
    y_true = match_targets(y_true, y_pred)
    others, margin = _class_margin(y_true, y_pred)
    rival = others.argmax(axis=-1)[..., None]
    gradient = -y_true
    at_rival = np.take_along_axis(gradient, rival, -1) + 1 - np.take_along_axis(y_true, rival, -1)
    np.put_along_axis(gradient, rival, at_rival, -1)
    return gradient * (margin > 0)[..., None]


# --- distributions


def _kl(y_true, y_pred):
    y_true = np.clip(match_targets(y_true, y_pred), EPSILON, 1)
    return np.sum(y_true * np.log(y_true / np.clip(y_pred, EPSILON, 1)), axis=-1)


def _kl_gradient(y_true, y_pred):
    y_true = np.clip(match_targets(y_true, y_pred), EPSILON, 1)
    inside = (y_pred >= EPSILON) & (y_pred <= 1)
    return -y_true / np.clip(y_pred, EPSILON, 1) * inside


def _binary_targets(y_true, y_pred, label_smoothing):
    return match_targets(y_true, y_pred) * (1 - label_smoothing) + 0.5 * label_smoothing


def _binary_terms(y_true, y_pred, from_logits):
    """Cross-entropy of each element, before the mean over the last axis."""
    if from_logits:
        return softplus(y_pred) - y_true * y_pred
    p = _clip(y_pred)
    return -(y_true * np.log(p) + (1 - y_true) * np.log(1 - p))


def _binary_terms_slope(y_true, y_pred, from_logits):
    """Derivative of `_binary_terms` with respect to y_pred."""
    if from_logits:
        return sigmoid(y_pred) - y_true
    p = _clip(y_pred)
    return (p - y_true) / (p * (1 - p)) * _inside(y_pred)


def _binary(y_true, y_pred, from_logits=False, label_smoothing=0.0):
    y_true = _binary_targets(y_true, y_pred, label_smoothing)
    return np.mean(_binary_terms(y_true, y_pred, from_logits), axis=-1)


def _binary_gradient(y_true, y_pred, from_logits=False, label_smoothing=0.0):
    y_true = _binary_targets(y_true, y_pred, label_smoothing)
    return _binary_terms_slope(y_true, y_pred, from_logits) * (1 / y_pred.shape[-1])


def _class_targets(y_true, y_pred, label_smoothing):
    y_true = match_targets(y_true, y_pred)
    if not label_smoothing:
        return y_true
    return y_true * (1 - label_smoothing) + label_smoothing / y_pred.shape[-1]


def _normalised(y_pred):
    """Predictions scaled to sum to one, and the sums."""
    total = np.sum(y_pred, axis=-1, keepdims=True)
    return y_pred / total, total


def _through_normalisation(slope, probabilities, total):
    """Chain a derivative by y / sum(y) back to y."""
    return (slope - np.sum(slope * probabilities, axis=-1, keepdims=True)) / total


def _categorical(y_true, y_pred, from_logits=False, label_smoothing=0.0):
    y_true = _class_targets(y_true, y_pred, label_smoothing)
    log_p = log_softmax(y_pred) if from_logits else np.log(_clip(_normalised(y_pred)[0]))
    return -np.sum(y_true * log_p, axis=-1)


def _categorical_gradient(y_true, y_pred, from_logits=False, label_smoothing=0.0):
    y_true = _class_targets(y_true, y_pred, label_smoothing)
    if from_logits:
        return softmax(y_pred) * np.sum(y_true, axis=-1, keepdims=True) - y_true
    p, total = _normalised(y_pred)
    return _through_normalisation(-y_true / _clip(p) * _inside(p), p, total)


# --- integer labels


def _valid_labels(y_true, y_pred, ignore_class):
    """Labels with the ignored ones set to 0, and the mask of the others (None if all count).

    Raises: ArgumentError for a label that is no class.
    """
    labels = match_labels(y_true, y_pred)
    valid = None
    if ignore_class is not None:
        valid = labels != ignore_class
        labels = np.where(valid, labels, 0)
    classes = y_pred.shape[-1]
    if labels.size and (labels.min() < 0 or labels.max() >= classes):
        raise ArgumentError(
            f"Labels must be integers from 0 to {classes - 1} for predictions of {classes} classes, "
            f"got labels from {labels.min()} to {labels.max()}. Check the number of units of the last layer."
        )
    return labels, valid


def _one_hot(labels, y_pred):
    result = np.zeros_like(y_pred)
    np.put_along_axis(result, labels[..., None], 1, -1)
    return result


def _sparse(y_true, y_pred, from_logits=False, ignore_class=None, label_smoothing=0.0):
    labels, valid = _valid_labels(y_true, y_pred, ignore_class)
    p_or_logits = y_pred if valid is None else np.where(valid[..., None], y_pred, y_pred.dtype.type(1))
    log_p = log_softmax(p_or_logits) if from_logits else np.log(_clip(_normalised(p_or_logits)[0]))
    value = -np.take_along_axis(log_p, labels[..., None], -1)[..., 0]
    if label_smoothing:
        value = (1 - label_smoothing) * value - label_smoothing * np.mean(log_p, axis=-1)
    return value if valid is None else value * valid


def _sparse_gradient(y_true, y_pred, from_logits=False, ignore_class=None, label_smoothing=0.0):
    labels, valid = _valid_labels(y_true, y_pred, ignore_class)
    if valid is not None:
        y_pred = np.where(valid[..., None], y_pred, y_pred.dtype.type(1))
    one_hot = _one_hot(labels, y_pred)
    gradient = _categorical_gradient(one_hot, y_pred, from_logits, label_smoothing)
    return gradient if valid is None else gradient * valid[..., None]


# --- focal losses: Lin et al. (2017), https://arxiv.org/abs/1708.02002


def _power_and_slope(base, gamma):
    """base ** gamma and its derivative by base; base >= 0.

    The slope counts as 0 at base 0, where it is infinite for gamma < 1: it multiplies the cross-entropy of a
    sample that is right with certainty, which is 0 and wins.
    """
    positive = base > 0
    return base**gamma, gamma * np.where(positive, base, base.dtype.type(1)) ** (gamma - 1) * positive


def _binary_focal_parts(y_true, y_pred, gamma, from_logits, apply_class_balancing, alpha):
    """Probabilities, 1 - p_t, and the class weights."""
    p = sigmoid(y_pred) if from_logits else y_pred
    miss = 1 - (y_true * p + (1 - y_true) * (1 - p))
    weight = y_true * alpha + (1 - y_true) * (1 - alpha) if apply_class_balancing else 1
    return p, miss, weight


def _binary_focal(
    y_true, y_pred, apply_class_balancing=False, alpha=0.25, gamma=2.0, from_logits=False, label_smoothing=0.0
):
    y_true = _binary_targets(y_true, y_pred, label_smoothing)
    _, miss, weight = _binary_focal_parts(y_true, y_pred, gamma, from_logits, apply_class_balancing, alpha)
    focus, _ = _power_and_slope(miss, gamma)
    return np.mean(weight * focus * _binary_terms(y_true, y_pred, from_logits), axis=-1)


def _binary_focal_gradient(
    y_true, y_pred, apply_class_balancing=False, alpha=0.25, gamma=2.0, from_logits=False, label_smoothing=0.0
):
    y_true = _binary_targets(y_true, y_pred, label_smoothing)
    p, miss, weight = _binary_focal_parts(y_true, y_pred, gamma, from_logits, apply_class_balancing, alpha)
    focus, focus_slope = _power_and_slope(miss, gamma)
    miss_slope = (1 - 2 * y_true) * (p * (1 - p) if from_logits else 1)
    terms = _binary_terms(y_true, y_pred, from_logits)
    slope = focus * _binary_terms_slope(y_true, y_pred, from_logits) + focus_slope * miss_slope * terms
    return weight * slope * (1 / y_pred.shape[-1])


def _class_focal(y_true, y_pred, alpha=0.25, gamma=2.0, from_logits=False, label_smoothing=0.0):
    y_true = _class_targets(y_true, y_pred, label_smoothing)
    alpha = np.asarray(alpha, dtype=y_pred.dtype)
    if from_logits:
        log_p = log_softmax(y_pred)
        p = np.exp(log_p)
    else:
        p = _clip(_normalised(y_pred)[0])
        log_p = np.log(p)
    focus, _ = _power_and_slope(1 - p, gamma)
    return -np.sum(alpha * focus * y_true * log_p, axis=-1)


def _class_focal_gradient(y_true, y_pred, alpha=0.25, gamma=2.0, from_logits=False, label_smoothing=0.0):
    """With u_i = p_i d value / d p_i: by logits u_i - p_i sum_j u_j, by scores through the normalisation."""
    y_true = _class_targets(y_true, y_pred, label_smoothing)
    alpha = np.asarray(alpha, dtype=y_pred.dtype)
    if from_logits:
        log_p = log_softmax(y_pred)
        p = np.exp(log_p)
    else:
        raw, total = _normalised(y_pred)
        p = _clip(raw)
        log_p = np.log(p)
    focus, focus_slope = _power_and_slope(1 - p, gamma)
    by_log_p = -alpha * y_true * (focus - focus_slope * p * log_p)
    if from_logits:
        return by_log_p - p * np.sum(by_log_p, axis=-1, keepdims=True)
    return _through_normalisation(by_log_p / p * _inside(raw), raw, total)


LOSSES: dict[str, LossFunction] = {
    "mean_squared_error": LossFunction(_squared, _squared_gradient),
    "mean_absolute_error": LossFunction(_absolute, _absolute_gradient),
    "mean_absolute_percentage_error": LossFunction(_percentage, _percentage_gradient),
    "mean_squared_logarithmic_error": LossFunction(_squared_logarithmic, _squared_logarithmic_gradient),
    "huber": LossFunction(_huber, _huber_gradient),
    "log_cosh": LossFunction(_log_cosh, _log_cosh_gradient),
    "poisson": LossFunction(_poisson, _poisson_gradient),
    "cosine_similarity": LossFunction(_cosine, _cosine_gradient),
    "hinge": LossFunction(_hinge, _hinge_gradient),
    "squared_hinge": LossFunction(_squared_hinge, _squared_hinge_gradient),
    "categorical_hinge": LossFunction(_categorical_hinge, _categorical_hinge_gradient),
    "kl_divergence": LossFunction(_kl, _kl_gradient),
    "binary_crossentropy": LossFunction(_binary, _binary_gradient),
    "categorical_crossentropy": LossFunction(_categorical, _categorical_gradient),
    "sparse_categorical_crossentropy": LossFunction(_sparse, _sparse_gradient, integer_labels=True),
    "binary_focal_crossentropy": LossFunction(_binary_focal, _binary_focal_gradient),
    "categorical_focal_crossentropy": LossFunction(_class_focal, _class_focal_gradient),
}
