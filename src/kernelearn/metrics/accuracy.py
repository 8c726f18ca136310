"""The accuracy family: the share of samples whose prediction is right."""

from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from kernelearn.engine.reference.targets import match_labels
from kernelearn.errors import ArgumentError, ShapeError
from kernelearn.metrics.base import METRICS, MeanMetric, MetricOptions


def _same_shape(y_true: NDArray[Any], y_pred: NDArray[Any]) -> NDArray[Any]:
    """`y_true` in the shape of `y_pred`; a last axis of size 1 may be missing or extra."""
    if y_true.shape == y_pred.shape:
        return y_true
    if y_pred.shape == (*y_true.shape, 1) or y_true.shape == (*y_pred.shape, 1):
        return y_true.reshape(y_pred.shape)
    raise ShapeError(
        f"Targets and predictions must have the same shape, got {y_true.shape} and {y_pred.shape}."
    )


@METRICS.register()
class Accuracy(MeanMetric):
    """Share of predictions that equal their target. The string "accuracy" picks one of the others instead."""

    default_name = "accuracy"
    higher_is_better = True

    def values(self, y_true: NDArray[Any], y_pred: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(_same_shape(y_true, y_pred) == y_pred)


@METRICS.register("binary_accuracy")
class BinaryAccuracy(MeanMetric):
    """Share of predictions on the right side of `threshold`, for targets 0 and 1."""

    default_name = "binary_accuracy"
    higher_is_better = True
    threshold: float

    def __init__(
        self, name: str | None = None, threshold: float = 0.5, **options: Unpack[MetricOptions]
    ) -> None:
        super().__init__(name, **options)
        self.keep(locals())

    def values(self, y_true: NDArray[Any], y_pred: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(_same_shape(y_true, y_pred) == (y_pred > self.threshold))


@METRICS.register("categorical_accuracy")
class CategoricalAccuracy(MeanMetric):
    """Share of samples whose largest score is that of the target's class; targets one-hot."""

    default_name = "categorical_accuracy"
    higher_is_better = True

    def values(self, y_true: NDArray[Any], y_pred: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(_same_shape(y_true, y_pred).argmax(-1) == y_pred.argmax(-1))


@METRICS.register("sparse_categorical_accuracy")
class SparseCategoricalAccuracy(MeanMetric):
    """Share of samples whose largest score is that of the target's class; targets integer labels.

    >>> SparseCategoricalAccuracy()([0, 1], [[0.9, 0.1], [0.8, 0.2]])
    0.5
    """

    default_name = "sparse_categorical_accuracy"
    higher_is_better = True

    def values(self, y_true: NDArray[Any], y_pred: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(match_labels(y_true, y_pred) == y_pred.argmax(-1))


def _in_top_k(labels: NDArray[Any], y_pred: NDArray[Any], k: int) -> NDArray[Any]:
    """Whether fewer than k scores are larger than that of the label; never for a score that is not finite."""
    own = np.take_along_axis(y_pred, labels[..., None], -1)
    return np.asarray((np.count_nonzero(y_pred > own, axis=-1) < k) & np.isfinite(own[..., 0]))


class _TopK(MeanMetric):
    higher_is_better = True

    k: int

    def __init__(self, k: int = 5, name: str | None = None, **options: Unpack[MetricOptions]) -> None:
        super().__init__(name, **options)
        self.keep(locals())
        if k < 1:
            raise ArgumentError(f"k must be at least 1, got {k!r}.")


@METRICS.register("top_k_categorical_accuracy")
class TopKCategoricalAccuracy(_TopK):
    """Share of samples whose class is among the `k` largest scores; targets one-hot."""

    default_name = "top_k_categorical_accuracy"

    def values(self, y_true: NDArray[Any], y_pred: NDArray[Any]) -> NDArray[Any]:
        return _in_top_k(_same_shape(y_true, y_pred).argmax(-1), y_pred, self.k)


@METRICS.register("sparse_top_k_categorical_accuracy")
class SparseTopKCategoricalAccuracy(_TopK):
    """Share of samples whose class is among the `k` largest scores; targets integer labels."""

    default_name = "sparse_top_k_categorical_accuracy"

    def values(self, y_true: NDArray[Any], y_pred: NDArray[Any]) -> NDArray[Any]:
        return _in_top_k(match_labels(y_true, y_pred), y_pred, self.k)
