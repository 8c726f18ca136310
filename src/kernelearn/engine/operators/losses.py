"""Operators of losses: a weighted, reduced loss as one number, and its gradient.

`loss` is also what softmax or sigmoid and cross-entropy are fused into: the rewrite in `engine.rewrites`
replaces the probabilities by the logits and sets `from_logits=True`.
"""

from typing import Any

import numpy as np

from kernelearn.engine.arrays import Array, Sizes
from kernelearn.engine.operators.elementwise import PENALTIES, PENALTY, penalty_grad_gradient
from kernelearn.engine.operators.table import Context, Gradients, Spec, operator, required
from kernelearn.engine.reference import elementwise
from kernelearn.engine.reference.losses import LOSSES


def loss(
    y_pred: Array,
    y_true: Array,
    weights: Array,
    *,
    kind: str,
    reduction: str,
    custom: Any = None,
    **attrs: Any,
) -> tuple[Array, Array]:
    """Weighted loss of a batch.

    Args:
        y_pred: (n, ..., k); y_true: (n, ..., k), or (n, ...) class numbers; weights: (n,), or (n, ...).
        kind: key of the table of losses, or "custom" with an object `custom` that has `call` and `gradient`.
        reduction: "sum_over_batch_size" or "mean", "sum", "mean_with_sample_weight".
    Returns: the loss as a 0-d array, and the unweighted values (n, ...).
    """
    values = custom.call(y_true, y_pred) if custom else LOSSES[kind].value(y_true, y_pred, **attrs)
    factors = _factors(values.shape, y_true, weights, reduction, attrs.get("ignore_class"))
    return np.asarray((values * factors).sum(), y_pred.dtype), values


def loss_grad(
    grad: Array,
    y_pred: Array,
    y_true: Array,
    weights: Array,
    *,
    kind: str,
    reduction: str,
    custom: Any = None,
    **attrs: Any,
) -> Array:
    """d(loss)/d(y_pred) times `grad`; shape of y_pred."""
    slopes = custom.gradient(y_true, y_pred) if custom else LOSSES[kind].gradient(y_true, y_pred, **attrs)
    factors = _factors(slopes.shape[:-1], y_true, weights, reduction, attrs.get("ignore_class"))
    return np.asarray(slopes * (factors * grad)[..., None], y_pred.dtype)


def _factors(shape: Sizes, y_true: Array, weights: Array, reduction: str, ignore_class: int | None) -> Array:
    """What each value is multiplied by before all are summed; samples of the ignored class do not count."""
    spread = np.broadcast_to(weights.reshape(weights.shape + (1,) * (len(shape) - weights.ndim)), shape)
    counted = spread.size
    if ignore_class is not None:
        mask = y_true.reshape(shape) != ignore_class
        spread, counted = spread * mask, int(mask.sum())
    if reduction == "sum":
        return spread
    divisor = float(spread.sum()) if reduction == "mean_with_sample_weight" else counted
    return np.asarray(spread * weights.dtype.type(1 / divisor if divisor else 0.0))


def fill(*, shape: Sizes, value: float, dtype: str) -> Array:
    """A constant array."""
    return np.full(shape, value, dtype)


def _loss_shape(y_pred: Spec, y_true: Spec, weights: Spec, **attrs: Any) -> tuple[Spec, Spec]:
    return Spec((), y_pred.dtype), Spec(y_pred.shape[:-1], y_pred.dtype)


def _loss_gradient(c: Context) -> Gradients:
    return c.builder.add("loss_grad", c.grad, *c.inputs, **c.attrs), None, None


def _second(grad: Spec, y_pred: Spec, *others: Spec, **attrs: Any) -> tuple[Spec]:
    return (y_pred,)


def _activity_gradient(c: Context) -> Gradients:
    return (c.builder.add("activity_penalty_grad", c.grad, c.inputs[0], **c.attrs),)


_LOSS = {**required("kind"), "reduction": "sum_over_batch_size"}
_KINDS = {"custom": required("custom"), **{kind: function.attrs for kind, function in LOSSES.items()}}

operator("loss", _loss_shape, loss, _loss_gradient, attrs=_LOSS, kinds=_KINDS)
operator("loss_grad", _second, loss_grad, attrs=_LOSS, kinds=_KINDS)
operator(
    "fill",
    lambda *, shape, value, dtype: (Spec(tuple(shape), dtype),),
    fill,
    attrs=required("shape", "value", "dtype"),
)
operator(
    "activity_penalty",
    lambda x, **attrs: (Spec((), x.dtype),),
    elementwise.activity_penalty,
    _activity_gradient,
    attrs=PENALTY,
    kinds=PENALTIES,
)
operator(
    "activity_penalty_grad",
    _second,
    elementwise.activity_penalty_grad,
    penalty_grad_gradient("activity_penalty_grad"),
    attrs=PENALTY,
    kinds=PENALTIES,
)
