"""Metrics that count right and wrong decisions: precision, recall, the four counts, AUC.

Targets are 0 and 1 in the shape of the predictions; integer labels for several classes are made one-hot.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kernelearn.engine.reference.activations import sigmoid
from kernelearn.engine.reference.targets import match_labels, match_targets
from kernelearn.errors import ArgumentError, ArgumentTypeError, ShapeError
from kernelearn.metrics.base import METRICS, Metric, MetricOptions, broadcast_weight

EPSILON = 1e-7
# The threshold that every score passes, used with top_k.
_ALL_PASS = -1e10


def _divide(numerator: ArrayLike, denominator: ArrayLike) -> NDArray[Any]:
    """Quotient, 0 where the denominator is 0."""
    numerator, denominator = np.asarray(numerator, float), np.asarray(denominator, float)
    return np.asarray(np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator != 0))


def decisions(y_true: ArrayLike, y_pred: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    """Targets and predictions as float64 arrays of one shape; labels of several classes become one-hot."""
    predictions = np.asarray(y_pred, np.float64)
    targets = np.asarray(y_true)
    classes = predictions.shape[-1] if predictions.ndim > 1 else 1
    if classes > 1 and targets.shape in (predictions.shape[:-1], (*predictions.shape[:-1], 1)):
        labels = match_labels(targets, predictions)
        return (labels[..., None] == np.arange(classes)).astype(np.float64), predictions
    return match_targets(targets, predictions), predictions


def counts_above(
    scores: NDArray[Any], thresholds: NDArray[Any], weights: NDArray[Any] | None
) -> NDArray[Any]:
    """Weight of the scores greater than each of the sorted thresholds, one number per threshold."""
    passed = np.searchsorted(thresholds, scores, side="left")  # how many thresholds each score exceeds
    histogram = np.bincount(passed, weights, minlength=len(thresholds) + 1)
    return histogram[::-1].cumsum()[::-1][1:].astype(np.float64)


def _keep_top_k(scores: NDArray[Any], k: int) -> NDArray[Any]:
    """Scores outside the k largest of their row set to minus infinity."""
    best = np.argsort(-scores, axis=-1, kind="stable")[..., :k]
    kept = np.full_like(scores, -np.inf)
    np.put_along_axis(kept, best, np.take_along_axis(scores, best, -1), -1)
    return kept


class _Counts(Metric):
    """Keeps, for every threshold, the weight of true and false positives; and of both kinds of targets."""

    higher_is_better = True

    def __init__(self, name: str | None, thresholds: NDArray[Any], **options: Unpack[MetricOptions]) -> None:
        super().__init__(name, **options)
        self._order = np.argsort(thresholds, kind="stable")
        self._sorted = thresholds[self._order]
        self.reset_state()

    def initial_state(self) -> dict[str, Any]:
        zeros = np.zeros(len(self._sorted))
        return {
            "true_positives": zeros,
            "false_positives": zeros.copy(),
            "positives": 0.0,
            "negatives": 0.0,
        }

    def set_state(self, state: Mapping[str, ArrayLike]) -> None:
        super().set_state(state)
        if len(self.state["true_positives"]) != len(self._sorted):
            raise ArgumentError(
                f"{self.name} has {len(self._sorted)} thresholds, the state has "
                f"{len(self.state['true_positives'])}."
            )

    def _count(self, targets: NDArray[Any], scores: NDArray[Any], weights: NDArray[Any] | None) -> None:
        """Add decisions of any shape, targets nonzero for positive."""
        is_positive = targets.ravel() != 0
        for name, total, chosen in (
            ("true_positives", "positives", is_positive),
            ("false_positives", "negatives", ~is_positive),
        ):
            chosen_weights = None if weights is None else weights.ravel()[chosen]
            above = counts_above(scores.ravel()[chosen], self._sorted, chosen_weights)
            self.state[name] += above[np.argsort(self._order)]
            amount = np.count_nonzero(chosen) if chosen_weights is None else chosen_weights.sum()
            self.state[total] += float(amount)

    def _table(self) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
        """True positives, false positives, true negatives and false negatives per threshold."""
        tp, fp = self.state["true_positives"], self.state["false_positives"]
        return tp, fp, self.state["negatives"] - fp, self.state["positives"] - tp


def _as_thresholds(given: Any) -> NDArray[Any]:
    """A number or several as a 1-D array.

    Raises: ArgumentTypeError.
    """
    try:
        return np.atleast_1d(np.asarray(given, float))
    except (TypeError, ValueError):
        raise ArgumentTypeError(f"thresholds must be a number or several, got {given!r}.") from None


class _ThresholdMetric(_Counts):
    """A number per threshold; a float if there is one threshold."""

    top_k: int | None
    class_id: int | None

    def __init__(
        self,
        thresholds: float | Sequence[float] | None = None,
        top_k: int | None = None,
        class_id: int | None = None,
        name: str | None = None,
        **options: Unpack[MetricOptions],
    ) -> None:
        default = 0.5 if top_k is None else _ALL_PASS
        chosen = _as_thresholds(default if thresholds is None else thresholds)
        if thresholds is not None and not (np.all(chosen >= 0) and np.all(chosen <= 1)):
            raise ArgumentError(f"thresholds must be between 0 and 1, got {thresholds!r}.")
        if (top_k is not None and top_k < 1) or (class_id is not None and class_id < 0):
            raise ArgumentError(f"top_k must be at least 1 and class_id at least 0, got {top_k}, {class_id}.")
        super().__init__(name, chosen, **options)
        self.thresholds = thresholds if thresholds is None or np.isscalar(thresholds) else chosen.tolist()
        self.keep(locals())

    def update_state(
        self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> None:
        targets, scores = decisions(y_true, y_pred)
        weights = broadcast_weight(sample_weight, scores.shape)
        if self.top_k is not None:
            scores = _keep_top_k(scores, self.top_k)
        if self.class_id is not None:
            self._check_class(scores)
            chosen = (..., slice(self.class_id, self.class_id + 1))
            targets, scores = targets[chosen], scores[chosen]
            weights = None if weights is None else weights[chosen]
        self._count(targets, scores, weights)

    def _check_class(self, scores: NDArray[Any]) -> None:
        if scores.ndim < 2 or (self.class_id or 0) >= scores.shape[-1]:
            raise ShapeError(
                f"{self.name} with class_id={self.class_id} takes predictions (n, classes) that have this "
                f"class, got shape {scores.shape}."
            )

    def _values(self) -> NDArray[Any]:
        raise NotImplementedError

    def result(self) -> Any:
        values = self._values()
        return float(values[0]) if len(values) == 1 else values


@METRICS.register("precision")
class Precision(_ThresholdMetric):
    """True positives / predicted positives.

    Args:
        thresholds: a score above it is a positive decision; a number or several; default 0.5.
        top_k: count a class as predicted if it is among the `top_k` scores, instead of by threshold.
        class_id: look at this class only.
    """

    default_name = "precision"

    def _values(self) -> NDArray[Any]:
        tp, fp, _, _ = self._table()
        return _divide(tp, tp + fp)


@METRICS.register("recall")
class Recall(_ThresholdMetric):
    """True positives / actual positives. Arguments as `Precision`."""

    default_name = "recall"

    def _values(self) -> NDArray[Any]:
        tp, _, _, fn = self._table()
        return _divide(tp, tp + fn)


class _Entry(_ThresholdMetric):
    """One entry of the table of decisions."""

    fixed = frozenset({"top_k", "class_id"})
    column: ClassVar[int]

    def __init__(
        self,
        thresholds: float | Sequence[float] | None = None,
        name: str | None = None,
        **options: Unpack[MetricOptions],
    ) -> None:
        super().__init__(thresholds, name=name, **options)

    def _values(self) -> NDArray[Any]:
        return self._table()[self.column]


@METRICS.register("true_positives")
class TruePositives(_Entry):
    """Weight of positive decisions on positive targets."""

    default_name, column = "true_positives", 0


@METRICS.register("false_positives")
class FalsePositives(_Entry):
    """Weight of positive decisions on negative targets."""

    default_name, column, higher_is_better = "false_positives", 1, False


@METRICS.register("true_negatives")
class TrueNegatives(_Entry):
    """Weight of negative decisions on negative targets."""

    default_name, column = "true_negatives", 2


@METRICS.register("false_negatives")
class FalseNegatives(_Entry):
    """Weight of negative decisions on positive targets."""

    default_name, column, higher_is_better = "false_negatives", 3, False


@METRICS.register("auc")
class AUC(_Counts):
    """Area under the ROC or the precision-recall curve, from decisions at many thresholds.

    Args:
        num_thresholds: equally spaced in [0, 1], both ends included.
        curve: "ROC" or "PR".
        summation_method: "interpolation" (trapezoids; for PR the interpolation of Davis and Goadrich),
            "minoring" or "majoring" (lower and upper sum).
        thresholds: inner thresholds of your own, instead of `num_thresholds`, which then counts them and the
            two ends.
        from_logits: predictions are logits.
    Source: Davis and Goadrich (2006), https://doi.org/10.1145/1143844.1143874.
    """

    default_name = "auc"
    # NOTE: Keras's options for several labels, which are not supported, at the values that leave them off.
    without_effect: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        **Metric.without_effect,
        "multi_label": (False, None),
        "num_labels": (None,),
        "label_weights": (None,),
    }
    curve: str
    summation_method: str
    from_logits: bool

    def __init__(
        self,
        num_thresholds: int | None = 200,
        curve: str = "ROC",
        summation_method: str = "interpolation",
        name: str | None = None,
        thresholds: Sequence[float] | None = None,
        from_logits: bool = False,
        **options: Unpack[MetricOptions],
    ) -> None:
        if curve not in ("ROC", "PR"):
            raise ArgumentError(f"curve must be 'ROC' or 'PR', got {curve!r}.")
        if summation_method not in ("interpolation", "minoring", "majoring"):
            raise ArgumentError(
                "summation_method must be 'interpolation', 'minoring' or 'majoring', "
                f"got {summation_method!r}."
            )
        inner = _inner_thresholds(num_thresholds, thresholds)
        super().__init__(name, np.concatenate([[-EPSILON], inner, [1 + EPSILON]]), **options)
        self.num_thresholds = len(inner) + 2
        self._given = None if thresholds is None else inner.tolist()
        self.keep(locals())

    @property
    def thresholds(self) -> list[float]:
        """All thresholds in order, with the two ends, which lie a little outside of 0 and 1."""
        return [float(threshold) for threshold in self._sorted]

    def config_value(self, name: str) -> Any:
        return self._given if name == "thresholds" else super().config_value(name)

    def update_state(
        self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> None:
        targets, scores = decisions(y_true, y_pred)
        if self.from_logits:
            scores = sigmoid(scores)
        elif scores.size and (scores.min() < 0 or scores.max() > 1):
            raise ArgumentError(
                f"AUC takes probabilities from 0 to 1, got predictions from {scores.min():.4g} to "
                f"{scores.max():.4g}. For logits use AUC(from_logits=True)."
            )
        self._count(targets, scores, broadcast_weight(sample_weight, scores.shape))

    def result(self) -> float:
        if self.curve == "PR" and self.summation_method == "interpolation":
            return self._interpolated_precision_recall()
        tp, fp, tn, fn = self._table()
        recall = _divide(tp, tp + fn)
        x, y = (_divide(fp, fp + tn), recall) if self.curve == "ROC" else (recall, _divide(tp, tp + fp))
        heights = {
            "interpolation": (y[:-1] + y[1:]) / 2,
            "minoring": np.minimum(y[:-1], y[1:]),
            "majoring": np.maximum(y[:-1], y[1:]),
        }
        return float(np.sum((x[:-1] - x[1:]) * heights[self.summation_method]))

    def _interpolated_precision_recall(self) -> float:
        """Integral of precision over recall, true positives taken as linear in predicted positives between
        thresholds (equation of Davis and Goadrich, integrated)."""
        tp, fp, _, fn = self._table()
        predicted = tp + fp
        steps_tp, steps = tp[:-1] - tp[1:], predicted[:-1] - predicted[1:]
        slope = _divide(steps_tp, np.maximum(steps, 0))
        intercept = tp[1:] - slope * predicted[1:]
        both = (predicted[:-1] > 0) & (predicted[1:] > 0)
        ratio = np.where(both, _divide(predicted[:-1], predicted[1:]), 1.0)
        areas = _divide(slope * (steps_tp + intercept * np.log(ratio)), tp[1:] + fn[1:])
        return float(np.sum(areas))


def _inner_thresholds(count: int | None, given: Sequence[float] | None) -> NDArray[Any]:
    """The thresholds between the two ends, sorted.

    Raises: ArgumentError for fewer than the two ends, or thresholds outside of [0, 1].
    """
    if given is None:
        if count is None or count < 2:
            raise ArgumentError(f"num_thresholds must be at least 2, got {count!r}.")
        return np.linspace(0, 1, count)[1:-1]
    inner = np.sort(_as_thresholds(given))
    if inner.size and not (inner[0] >= 0 and inner[-1] <= 1):
        raise ArgumentError(f"thresholds must be between 0 and 1, got {given!r}.")
    return inner
