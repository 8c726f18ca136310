"""The cross-entropies, plain and focal: the value of each sample and its gradient.

On logits they are fused with their sigmoid or softmax and exact even when saturated. On probabilities they
clip to [1e-7, 1 - 1e-7] as Keras does, beyond which the gradient is zero. `losses.LOSSES` names the pairs and
states the contract: values have shape y_pred.shape[:-1], gradients the shape of y_pred.
"""

import numpy as np
from numpy.typing import ArrayLike

from kernelearn.engine.arrays import Array
from kernelearn.engine.reference.activations import log_softmax, sigmoid, softmax, softplus
from kernelearn.engine.reference.targets import match_labels, match_targets
from kernelearn.errors import ArgumentError

# Keras's backend.epsilon(): probabilities are kept this far from 0 and 1.
EPSILON = 1e-7


def _clip(p: Array) -> Array:
    return np.clip(p, EPSILON, 1 - EPSILON)


def _inside(p: Array) -> Array:
    """Where `_clip` changes nothing, so that its derivative is 1."""
    return (p >= EPSILON) & (p <= 1 - EPSILON)


def _binary_targets(y_true: Array, y_pred: Array, label_smoothing: float) -> Array:
    return match_targets(y_true, y_pred) * (1 - label_smoothing) + 0.5 * label_smoothing


def _binary_terms(y_true: Array, y_pred: Array, from_logits: bool) -> Array:
    """Cross-entropy of each element, before the mean over the last axis."""
    if from_logits:
        return softplus(y_pred) - y_true * y_pred
    p = _clip(y_pred)
    return -(y_true * np.log(p) + (1 - y_true) * np.log(1 - p))


def _binary_terms_slope(y_true: Array, y_pred: Array, from_logits: bool) -> Array:
    """Derivative of `_binary_terms` with respect to y_pred."""
    if from_logits:
        return sigmoid(y_pred) - y_true
    p = _clip(y_pred)
    return (p - y_true) / (p * (1 - p)) * _inside(y_pred)


def binary(y_true: Array, y_pred: Array, from_logits: bool, label_smoothing: float) -> Array:
    """mean(-t log p - (1 - t) log(1 - p)) over the last axis."""
    y_true = _binary_targets(y_true, y_pred, label_smoothing)
    return np.mean(_binary_terms(y_true, y_pred, from_logits), axis=-1)


def binary_gradient(y_true: Array, y_pred: Array, from_logits: bool, label_smoothing: float) -> Array:
    """Derivative of `binary` by y_pred: on logits (p - t) / k."""
    y_true = _binary_targets(y_true, y_pred, label_smoothing)
    return _binary_terms_slope(y_true, y_pred, from_logits) * (1 / y_pred.shape[-1])


def _class_targets(y_true: Array, y_pred: Array, label_smoothing: float) -> Array:
    y_true = match_targets(y_true, y_pred)
    if not label_smoothing:
        return y_true
    return y_true * (1 - label_smoothing) + label_smoothing / y_pred.shape[-1]


def _normalised(y_pred: Array) -> tuple[Array, Array]:
    """Predictions scaled to sum to one, and the sums."""
    total = np.sum(y_pred, axis=-1, keepdims=True)
    return y_pred / total, total


def _through_normalisation(slope: Array, probabilities: Array, total: Array) -> Array:
    """Chain a derivative by y / sum(y) back to y."""
    return (slope - np.sum(slope * probabilities, axis=-1, keepdims=True)) / total


def categorical(y_true: Array, y_pred: Array, from_logits: bool, label_smoothing: float) -> Array:
    """-sum(t log p) over the last axis."""
    y_true = _class_targets(y_true, y_pred, label_smoothing)
    log_p = log_softmax(y_pred) if from_logits else np.log(_clip(_normalised(y_pred)[0]))
    return -np.sum(y_true * log_p, axis=-1)


def categorical_gradient(y_true: Array, y_pred: Array, from_logits: bool, label_smoothing: float) -> Array:
    """Derivative of `categorical` by y_pred: on logits p sum(t) - t."""
    y_true = _class_targets(y_true, y_pred, label_smoothing)
    if from_logits:
        return softmax(y_pred) * np.sum(y_true, axis=-1, keepdims=True) - y_true
    p, total = _normalised(y_pred)
    return _through_normalisation(-y_true / _clip(p) * _inside(p), p, total)


# --- integer labels


def valid_labels(y_true: Array, y_pred: Array, ignore_class: int | None) -> tuple[Array, Array | None]:
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


def _one_hot(labels: Array, y_pred: Array) -> Array:
    result = np.zeros_like(y_pred)
    np.put_along_axis(result, labels[..., None], 1, -1)
    return result


def sparse(
    y_true: Array,
    y_pred: Array,
    from_logits: bool,
    ignore_class: int | None,
    label_smoothing: float,
) -> Array:
    """-log p of the class numbers y_true; 0 where they are `ignore_class`."""
    labels, valid = valid_labels(y_true, y_pred, ignore_class)
    p_or_logits = y_pred if valid is None else np.where(valid[..., None], y_pred, y_pred.dtype.type(1))
    log_p = log_softmax(p_or_logits) if from_logits else np.log(_clip(_normalised(p_or_logits)[0]))
    value = -np.take_along_axis(log_p, labels[..., None], -1)[..., 0]
    if label_smoothing:
        value = (1 - label_smoothing) * value - label_smoothing * np.mean(log_p, axis=-1)
    return value if valid is None else value * valid


def sparse_gradient(
    y_true: Array,
    y_pred: Array,
    from_logits: bool,
    ignore_class: int | None,
    label_smoothing: float,
) -> Array:
    """Derivative of `sparse` by y_pred."""
    labels, valid = valid_labels(y_true, y_pred, ignore_class)
    if valid is not None:
        y_pred = np.where(valid[..., None], y_pred, y_pred.dtype.type(1))
    one_hot = _one_hot(labels, y_pred)
    gradient = categorical_gradient(one_hot, y_pred, from_logits, label_smoothing)
    return gradient if valid is None else gradient * valid[..., None]


# --- focal losses: Lin et al. (2017), https://arxiv.org/abs/1708.02002


def _power_and_slope(base: Array, gamma: float) -> tuple[Array, Array]:
    """base ** gamma and its derivative by base; base >= 0.

    The slope counts as 0 at base 0, where it is infinite for gamma < 1: it multiplies the cross-entropy of a
    sample that is right with certainty, which is 0 and wins.
    """
    positive = base > 0
    return base**gamma, gamma * np.where(positive, base, base.dtype.type(1)) ** (gamma - 1) * positive


def _binary_focal_parts(
    y_true: Array,
    y_pred: Array,
    gamma: float,
    from_logits: bool,
    apply_class_balancing: bool,
    alpha: float,
) -> tuple[Array, Array, Array | float]:
    """Probabilities, 1 - p_t, and the class weights."""
    p = sigmoid(y_pred) if from_logits else y_pred
    miss = 1 - (y_true * p + (1 - y_true) * (1 - p))
    weight = y_true * alpha + (1 - y_true) * (1 - alpha) if apply_class_balancing else 1
    return p, miss, weight


def binary_focal(
    y_true: Array,
    y_pred: Array,
    apply_class_balancing: bool,
    alpha: float,
    gamma: float,
    from_logits: bool,
    label_smoothing: float,
) -> Array:
    """mean((1 - p_t)^gamma times the binary cross-entropy), p_t the probability of the target."""
    y_true = _binary_targets(y_true, y_pred, label_smoothing)
    _, miss, weight = _binary_focal_parts(y_true, y_pred, gamma, from_logits, apply_class_balancing, alpha)
    focus, _ = _power_and_slope(miss, gamma)
    return np.mean(weight * focus * _binary_terms(y_true, y_pred, from_logits), axis=-1)


def binary_focal_gradient(
    y_true: Array,
    y_pred: Array,
    apply_class_balancing: bool,
    alpha: float,
    gamma: float,
    from_logits: bool,
    label_smoothing: float,
) -> Array:
    """Derivative of `binary_focal` by y_pred: product rule on its two factors."""
    y_true = _binary_targets(y_true, y_pred, label_smoothing)
    p, miss, weight = _binary_focal_parts(y_true, y_pred, gamma, from_logits, apply_class_balancing, alpha)
    focus, focus_slope = _power_and_slope(miss, gamma)
    miss_slope = (1 - 2 * y_true) * (p * (1 - p) if from_logits else 1)
    terms = _binary_terms(y_true, y_pred, from_logits)
    slope = focus * _binary_terms_slope(y_true, y_pred, from_logits) + focus_slope * miss_slope * terms
    return weight * slope * (1 / y_pred.shape[-1])


def categorical_focal(
    y_true: Array,
    y_pred: Array,
    alpha: ArrayLike,
    gamma: float,
    from_logits: bool,
    label_smoothing: float,
) -> Array:
    """-sum(alpha (1 - p)^gamma t log p) over the last axis."""
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


def categorical_focal_gradient(
    y_true: Array,
    y_pred: Array,
    alpha: ArrayLike,
    gamma: float,
    from_logits: bool,
    label_smoothing: float,
) -> Array:
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
