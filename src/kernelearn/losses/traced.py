"""The losses in functions of `ops`, for code that is traced: values with every order of derivative.

`VALUES` has the same names, arguments and meanings as the table of the engine (`engine.reference.losses`),
which computes on arrays. Here `y_true` may depend on weights, too, as in distillation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import log
from typing import Any

from kernelearn import ops
from kernelearn.errors import ShapeError
from kernelearn.tracing import Traced, current, fixed, lifted

EPSILON = 1e-7
Value = Any


def same_rank(y_true: Value, y_pred: Value) -> tuple[Value, Value]:
    """The two with as many axes as each other, where they differ by a last axis of size 1: Keras's rule."""
    if y_true.ndim == y_pred.ndim + 1 and y_true.shape[-1] == 1:
        if y_pred.ndim == 1:
            return y_true, with_last_axis(y_pred)
        return without_last_axis(y_true), y_pred
    if y_pred.ndim == y_true.ndim + 1 and y_pred.shape[-1] == 1:
        if y_true.ndim == 1:
            return with_last_axis(y_true), y_pred
        return y_true, without_last_axis(y_pred)
    return y_true, y_pred


def with_last_axis(x: Traced) -> Traced:
    """(...) as (..., 1)."""
    return Traced(x.graph, x.graph.add("reshape", x.buffer, shape=(*x.buffer.shape, 1)))


def without_last_axis(x: Traced) -> Traced:
    """(..., 1) as (...)."""
    return Traced(x.graph, x.graph.add("reshape", x.buffer, shape=x.buffer.shape[:-1]))


def reduced(values: Value, sample_weight: Value, reduction: str | None, mask: Value = None) -> Value:
    """The values of a loss as one number; see `losses.Loss` for the reductions.

    Args:
        values: one for each sample, or for each position, or a single number.
        sample_weight: of a leading part of their axes, or None.
        mask: where a value counts, as numbers 0 and 1 of the shape of the values.
    """
    graph = current()
    assert graph is not None
    values = values if isinstance(values, Traced) else lifted(graph, values, graph.dtype)
    if not values.dtype.startswith("float"):
        values = ops.cast(values, graph.dtype)
    weights = None if sample_weight is None else lifted(graph, sample_weight, graph.dtype)
    if weights is not None and not weights.dtype.startswith("float"):
        weights = ops.cast(weights, graph.dtype)
    if weights is not None:
        # NOTE: one number for a whole batch has one weight, the mean: a sum is to count it only once.
        weights = _spread(weights, values) if values.ndim else ops.mean(weights)
        values = values * weights
    if mask is not None:
        values = values * mask
        weights = mask if weights is None else weights * mask
    if reduction in ("none", None):
        return values
    total = ops.sum(values)
    if reduction == "sum":
        return total
    if reduction == "mean_with_sample_weight" and weights is not None:
        return _divided(total, ops.sum(weights + ops.zeros_like(values)))
    return ops.mean(values) if mask is None else _divided(total, ops.sum(mask))


def _divided(total: Value, count: Value) -> Value:
    """total / count, and 0 where nothing counts."""
    return ops.where(count > 0, total / ops.maximum(count, EPSILON), 0.0)


def _spread(weights: Traced, values: Traced) -> Value:
    """Weights with trailing axes of size 1, so that they multiply the values."""
    if weights.ndim > values.ndim and values.ndim and weights.buffer.shape[-1] == 1:
        weights = without_last_axis(weights)
    if not values.ndim or not weights.ndim:
        return weights
    a, b = weights.buffer.shape, values.buffer.shape[: weights.ndim]
    if a != b:
        weights, values = fixed(weights), fixed(values)
        a, b = weights.buffer.shape, values.buffer.shape[: weights.ndim]
    if weights.ndim > values.ndim or any(x != y and 1 not in (x, y) for x, y in zip(a, b)):
        raise ShapeError(
            f"It gave values of shape {values.shape}, which sample weights of shape {weights.shape} do not "
            "fit. Give one value for each sample, (n,), or position, or one number."
        )
    shape = (*a, *[1] * (values.ndim - len(a)))
    return Traced(weights.graph, weights.graph.add("reshape", weights.buffer, shape=shape))


def _pair(y_true: Value, y_pred: Value) -> tuple[Traced, Traced]:
    """Both as traced floats of one rank."""
    graph = current()
    assert graph is not None
    y_pred = lifted(graph, y_pred, graph.dtype)
    y_true = lifted(graph, y_true, None)
    if not y_true.dtype.startswith("float"):
        y_true = ops.cast(y_true, y_pred.dtype)
    return same_rank(y_true, y_pred)


def _of_errors(of: Callable[..., Value]) -> Callable[..., Value]:
    """A loss that is the mean over the last axis of something of each number."""

    def values(y_true: Value, y_pred: Value, **attrs: Any) -> Value:
        return ops.mean(of(*_pair(y_true, y_pred), **attrs), axis=-1)

    return values


def _percentage(y: Value, p: Value) -> Value:
    return 100.0 * ops.abs(p - y) / ops.maximum(ops.abs(y), EPSILON)


def _squared_logarithmic(y: Value, p: Value) -> Value:
    return ops.square(ops.log1p(ops.maximum(p, EPSILON)) - ops.log1p(ops.maximum(y, EPSILON)))


def _huber(y: Value, p: Value, delta: float = 1.0) -> Value:
    size = ops.abs(p - y)
    inner = ops.minimum(size, delta)
    return inner * (size - 0.5 * inner)


def _log_cosh(y: Value, p: Value) -> Value:
    size = ops.abs(p - y)
    return size + ops.log1p(ops.exp(-2.0 * size)) - log(2.0)


def _poisson(y: Value, p: Value) -> Value:
    return p - y * ops.log(p + EPSILON)


def _signs(y: Value) -> Value:
    """Targets 0 and 1 as -1 and 1; those that are -1 and 1 already as they are."""
    is_binary = ops.all(ops.logical_or(ops.equal(y, 0.0), ops.equal(y, 1.0)))
    return ops.where(is_binary, 2.0 * y - 1.0, y)


def _hinge(y: Value, p: Value) -> Value:
    return ops.maximum(1.0 - _signs(y) * p, 0.0)


def _squared_hinge(y: Value, p: Value) -> Value:
    return ops.square(_hinge(y, p))


def _unit(y: Value) -> Value:
    return y / ops.maximum(ops.sqrt(ops.sum(y * y, axis=-1, keepdims=True)), EPSILON)


def _cosine(y_true: Value, y_pred: Value) -> Value:
    y, p = _pair(y_true, y_pred)
    return -ops.sum(_unit(y) * _unit(p), axis=-1)


def _categorical_hinge(y_true: Value, y_pred: Value) -> Value:
    y, p = _pair(y_true, y_pred)
    right, wrong = ops.sum(y * p, axis=-1), ops.max((1.0 - y) * p, axis=-1)
    return ops.maximum(wrong - right + 1.0, 0.0)


def _kl(y_true: Value, y_pred: Value) -> Value:
    y, p = _pair(y_true, y_pred)
    y, p = ops.clip(y, EPSILON, 1.0), ops.clip(p, EPSILON, 1.0)
    return ops.sum(y * (ops.log(y) - ops.log(p)), axis=-1)


# --- cross-entropies


def _binary_terms(y: Value, p: Value, from_logits: bool) -> Value:
    if from_logits:
        return ops.softplus(p) - y * p
    p = ops.clip(p, EPSILON, 1.0 - EPSILON)
    return -(y * ops.log(p) + (1.0 - y) * ops.log(1.0 - p))


def classes_of(p: Traced) -> int:
    """The size of the last axis."""
    return int(p.shape[-1] or 1)


def _smoothed(y: Value, label_smoothing: float, share: float) -> Value:
    return y * (1.0 - label_smoothing) + share * label_smoothing if label_smoothing else y


def _binary(y: Value, p: Value, from_logits: bool = False, label_smoothing: float = 0.0) -> Value:
    return _binary_terms(_smoothed(y, label_smoothing, 0.5), p, from_logits)


def _binary_focal(
    y: Value,
    p: Value,
    apply_class_balancing: bool = False,
    alpha: float = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
) -> Value:
    y = _smoothed(y, label_smoothing, 0.5)
    q = ops.sigmoid(p) if from_logits else p
    focus = (1.0 - (y * q + (1.0 - y) * (1.0 - q))) ** gamma
    weight = y * alpha + (1.0 - y) * (1.0 - alpha) if apply_class_balancing else 1.0
    return weight * focus * _binary_terms(y, p, from_logits)


def _log_p(p: Value, from_logits: bool) -> Value:
    if from_logits:
        return ops.log_softmax(p)
    return ops.log(ops.clip(p / ops.sum(p, axis=-1, keepdims=True), EPSILON, 1.0 - EPSILON))


def _categorical(
    y_true: Value, y_pred: Value, from_logits: bool = False, label_smoothing: float = 0.0
) -> Value:
    y, p = _pair(y_true, y_pred)
    return -ops.sum(_smoothed(y, label_smoothing, 1.0 / classes_of(p)) * _log_p(p, from_logits), axis=-1)


def _sparse(
    y_true: Value,
    y_pred: Value,
    from_logits: bool = False,
    ignore_class: int | None = None,
    label_smoothing: float = 0.0,
) -> Value:
    graph = current()
    assert graph is not None
    p, labels = lifted(graph, y_pred, graph.dtype), lifted(graph, y_true, None)
    if labels.ndim == p.ndim:
        labels = without_last_axis(labels)
    labels = ops.cast(labels, "int32")
    hot = ops.cast(ops.one_hot(labels, classes_of(p)), p.dtype)
    if ignore_class is not None:
        hot = hot * with_last_axis(mask_of(labels, ignore_class, p.dtype))
    return _categorical(hot, p, from_logits, label_smoothing)


def as_floats(y_true: Value, y_pred: Value) -> tuple[Traced, Traced]:
    """What a loss of one's own is given, as Keras does: both as floats, with as many axes as each other."""
    return _pair(y_true, y_pred)


def mask_like(y_true: Value, ignore_class: int, values: Value) -> Value:
    """1 where a label counts, else 0, of the shape of the values."""
    graph = current()
    assert graph is not None
    labels = lifted(graph, y_true, None)
    if labels.ndim > values.ndim:
        labels = without_last_axis(labels)
    return mask_of(labels, ignore_class, values.dtype)


def mask_of(labels: Value, ignore_class: int, dtype: str) -> Value:
    """1 where a label counts, else 0."""
    return ops.cast(ops.not_equal(labels, ignore_class), dtype)


def _categorical_focal(
    y_true: Value,
    y_pred: Value,
    alpha: float | Sequence[float] = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
) -> Value:
    y, p = _pair(y_true, y_pred)
    y = _smoothed(y, label_smoothing, 1.0 / classes_of(p))
    log_p = _log_p(p, from_logits)
    graph = current()
    assert graph is not None
    factor = lifted(graph, alpha, graph.dtype)
    return -ops.sum(factor * (1.0 - ops.exp(log_p)) ** gamma * y * log_p, axis=-1)


VALUES: dict[str, Callable[..., Value]] = {
    "mean_squared_error": _of_errors(lambda y, p: ops.square(p - y)),
    "mean_absolute_error": _of_errors(lambda y, p: ops.abs(p - y)),
    "mean_absolute_percentage_error": _of_errors(_percentage),
    "mean_squared_logarithmic_error": _of_errors(_squared_logarithmic),
    "huber": _of_errors(_huber),
    "log_cosh": _of_errors(_log_cosh),
    "poisson": _of_errors(_poisson),
    "hinge": _of_errors(_hinge),
    "squared_hinge": _of_errors(_squared_hinge),
    "binary_crossentropy": _of_errors(_binary),
    "binary_focal_crossentropy": _of_errors(_binary_focal),
    "cosine_similarity": _cosine,
    "categorical_hinge": _categorical_hinge,
    "kl_divergence": _kl,
    "categorical_crossentropy": _categorical,
    "sparse_categorical_crossentropy": _sparse,
    "categorical_focal_crossentropy": _categorical_focal,
}
