"""Operators of losses: a weighted, reduced loss as one number, and its gradient.

`loss` is also what softmax or sigmoid and cross-entropy are fused into: the rewrite in `engine.rewrites`
replaces the probabilities by the logits and sets `from_logits=True`.
"""

import numpy as np

from kernelearn.engine.operators.table import Context, Spec, operator
from kernelearn.engine.reference.losses import LOSSES

REDUCTIONS = ("sum_over_batch_size", "sum", "mean_with_sample_weight")


def loss(y_pred, y_true, weights, *, kind: str, reduction: str = "sum_over_batch_size", custom=None, **attrs):
    """Weighted loss of a batch.

    Args:
        y_pred: (n, ..., k); y_true: (n, ..., k), or (n, ...) class numbers; weights: (n,).
        kind: key of the table of losses, or "custom" with an object `custom` that has `call` and `gradient`.
    Returns: the loss as a 0-d array, and the unweighted values (n, ...).
    """
    values = custom.call(y_true, y_pred) if custom else LOSSES[kind].value(y_true, y_pred, **attrs)
    spread = _spread(weights, values)
    total = (values * spread).sum() * _divisor(reduction, values, spread)
    return np.asarray(total, y_pred.dtype), values


def loss_grad(grad, y_pred, y_true, weights, *, kind, reduction="sum_over_batch_size", custom=None, **attrs):
    """d(loss)/d(y_pred) times `grad`; shape of y_pred."""
    slopes = custom.gradient(y_true, y_pred) if custom else LOSSES[kind].gradient(y_true, y_pred, **attrs)
    values_shape = slopes[..., 0]
    spread = _spread(weights, values_shape)
    factor = spread * (grad * _divisor(reduction, values_shape, spread))
    return (slopes * factor[..., None]).astype(y_pred.dtype, copy=False)


def _spread(weights: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Weights (n,) shaped to multiply values (n, ...)."""
    return weights.reshape(weights.shape + (1,) * (values.ndim - weights.ndim))


def _divisor(reduction: str, values: np.ndarray, spread: np.ndarray):
    """What the weighted sum is multiplied by; 0 when there is nothing to average."""
    if reduction == "sum":
        return values.dtype.type(1)
    if reduction == "sum_over_batch_size":
        return values.dtype.type(1 / max(values.size, 1))
    total = float(np.broadcast_to(spread, values.shape).sum())
    return values.dtype.type(1 / total if total else 0.0)


def fill(*, shape, value, dtype) -> np.ndarray:
    """A constant array."""
    return np.full(shape, value, dtype)


def _loss_shape(y_pred: Spec, y_true: Spec, weights: Spec, **attrs) -> tuple[Spec, Spec]:
    return Spec((), y_pred.dtype), Spec(y_pred.shape[:-1], y_pred.dtype)


def _loss_gradient(c: Context):
    return c.builder.add("loss_grad", c.grad, *c.inputs, **c.attrs), None, None


def _second(grad: Spec, y_pred: Spec, *others, **attrs) -> tuple[Spec]:
    return (y_pred,)


def activity_penalty(x, *, l1: float = 0.0, l2: float = 0.0) -> np.ndarray:
    """(l1 * sum |x| + l2 * sum x^2) / n: the penalty of an `activity_regularizer`, per image as in Keras."""
    total = l1 * np.abs(x).sum() + l2 * np.square(x).sum()
    return np.asarray(total / x.shape[0], x.dtype)


def activity_penalty_grad(grad, x, *, l1: float = 0.0, l2: float = 0.0) -> np.ndarray:
    """Gradient of `activity_penalty`."""
    return (grad / x.shape[0]) * (x.dtype.type(l1) * np.sign(x) + x.dtype.type(2 * l2) * x)


def _activity_gradient(c: Context):
    return (c.builder.add("activity_penalty_grad", c.grad, c.inputs[0], **c.attrs),)


operator("loss", _loss_shape, loss, _loss_gradient)
operator("loss_grad", _second, loss_grad)
operator("fill", lambda *, shape, value, dtype: (Spec(tuple(shape), dtype),), fill)
operator("activity_penalty", lambda x, **attrs: (Spec((), x.dtype),), activity_penalty, _activity_gradient)
operator("activity_penalty_grad", _second, activity_penalty_grad)
