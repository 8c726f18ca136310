"""Metrics of classifiers with several classes: F scores and the confusion matrix."""

from typing import Any, Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kernelearn.engine.reference.targets import class_numbers
from kernelearn.errors import ArgumentError, ShapeError
from kernelearn.metrics.base import METRICS, Metric, MetricOptions, broadcast_weight
from kernelearn.metrics.counts import EPSILON, decisions


@METRICS.register("fbeta_score", "f_beta_score")
class FBetaScore(Metric):
    """(1 + beta^2) precision recall / (beta^2 precision + recall), per class or averaged.

    Args:
        average: None gives an array, one score per class; "micro" counts all classes together, "macro" is the
            plain mean, "weighted" the mean weighted by the number of targets.
        beta: weight of recall against precision.
        threshold: scores above it are positive decisions; None: the largest score of a sample.
    """

    default_name = "fbeta_score"
    higher_is_better = True
    average: str | None
    beta: float
    threshold: float | None

    def __init__(
        self,
        average: str | None = None,
        beta: float = 1.0,
        threshold: float | None = None,
        name: str | None = None,
        **options: Unpack[MetricOptions],
    ) -> None:
        super().__init__(name, **options)
        self.keep(locals())
        if average not in (None, "micro", "macro", "weighted"):
            raise ArgumentError(f"average must be None, 'micro', 'macro' or 'weighted', got {average!r}.")
        if not beta > 0:
            raise ArgumentError(f"beta must be greater than 0, got {beta!r}.")
        if threshold is not None and not 0 < threshold <= 1:
            raise ArgumentError(f"threshold must be None or in (0, 1], got {threshold!r}.")
        self.reset_state()

    def initial_state(self) -> dict[str, Any]:
        return {"true_positives": 0.0, "predicted": 0.0, "actual": 0.0}

    def update_state(
        self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> None:
        targets, scores = decisions(y_true, y_pred)
        if scores.ndim != 2:
            raise ShapeError(
                f"{type(self).__name__} takes predictions (n, classes), got shape {scores.shape}."
            )
        decided = self._decide(scores).astype(np.float64)
        weights = broadcast_weight(sample_weight, scores.shape)
        weights = np.ones_like(scores) if weights is None else weights
        axis = None if self.average == "micro" else 0
        for name, amounts in (
            ("true_positives", decided * targets),
            ("predicted", decided),
            ("actual", targets),
        ):
            self.state[name] = self.state[name] + np.sum(amounts * weights, axis=axis)

    def _decide(self, scores: NDArray[Any]) -> NDArray[Any]:
        if self.threshold is not None:
            return np.asarray(scores > self.threshold)
        return np.asarray((scores >= scores.max(axis=-1, keepdims=True)) & (np.abs(scores) > 1e-9))

    def result(self) -> Any:
        tp, predicted, actual = (np.asarray(self.state[name]) for name in self.initial_state())
        precision, recall = tp / (predicted + EPSILON), tp / (actual + EPSILON)
        squared = self.beta**2
        scores = (1 + squared) * precision * recall / (squared * precision + recall + EPSILON)
        if self.average is None:
            return scores if scores.ndim else float(scores)
        if self.average == "weighted":
            return float(np.sum(scores * actual / (np.sum(actual) + EPSILON)))
        return float(np.mean(scores))


@METRICS.register("f1_score")
class F1Score(FBetaScore):
    """Harmonic mean of precision and recall: `FBetaScore` with beta 1."""

    default_name = "f1_score"
    fixed = frozenset({"beta"})

    def __init__(
        self,
        average: str | None = None,
        threshold: float | None = None,
        name: str | None = None,
        **options: Unpack[MetricOptions],
    ) -> None:
        super().__init__(average, 1.0, threshold, name, **options)


@METRICS.register("confusion_matrix")
class ConfusionMatrix(Metric):
    """Entry (i, j): weight of the samples of class i that were predicted as class j.

    Args:
        num_classes: rows and columns of the result.

    Predictions (n, ..., classes) count by their largest score; (n,) or (n, 1) are labels if integers, else
    probabilities of class 1. Targets are integer labels or one-hot.

    >>> matrix = ConfusionMatrix(2)
    >>> matrix([0, 1, 1], [[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]])
    array([[1., 0.],
           [1., 1.]])
    """

    default_name = "confusion_matrix"

    num_classes: int

    def __init__(self, num_classes: int, name: str | None = None, **options: Unpack[MetricOptions]) -> None:
        super().__init__(name, **options)
        self.keep(locals())
        if num_classes < 2:
            raise ArgumentError(f"num_classes must be at least 2, got {num_classes!r}.")
        self.reset_state()

    def initial_state(self) -> dict[str, Any]:
        return {"matrix": np.zeros((self.num_classes, self.num_classes))}

    def update_state(
        self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> None:
        predicted = self._labels(np.asarray(y_pred), "predictions")
        actual = self._labels(np.asarray(y_true), "targets")
        if predicted.shape != actual.shape:
            raise ShapeError(
                f"{self.name}: targets and predictions do not belong together, got {np.shape(y_true)} "
                f"and {np.shape(y_pred)}."
            )
        weights = broadcast_weight(sample_weight, actual.shape)
        cells = actual.ravel() * self.num_classes + predicted.ravel()
        counts = np.bincount(cells, None if weights is None else weights.ravel(), self.num_classes**2)
        self.state["matrix"] += counts.reshape(self.num_classes, self.num_classes)

    def _labels(self, array: NDArray[Any], what: str) -> NDArray[Any]:
        """Class numbers from scores, one-hot rows, probabilities or labels."""
        if array.ndim > 1 and array.shape[-1] == self.num_classes:
            return np.asarray(array.argmax(-1))
        labels = array[..., 0] if array.ndim > 1 and array.shape[-1] == 1 else array
        if labels.dtype.kind == "f" and what == "predictions":
            labels = labels > 0.5
        labels = class_numbers(labels).astype(np.intp)
        if labels.size and (labels.min() < 0 or labels.max() >= self.num_classes):
            raise ArgumentError(
                f"{self.name}: {what} must be classes from 0 to {self.num_classes - 1}, "
                f"got {labels.min()} to {labels.max()}."
            )
        return labels

    def result(self) -> NDArray[Any]:
        return np.array(self.state["matrix"])
