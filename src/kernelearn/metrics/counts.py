"""Metrics that count right and wrong decisions: precision, recall, the four counts.

Targets are 0 and 1 in the shape of the predictions; integer labels for several classes are made one-hot.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kernelearn.engine.reference.targets import match_labels, match_targets
from kernelearn.errors import ArgumentError, ArgumentTypeError, ShapeError
from kernelearn.metrics.base import METRICS, Metric, MetricOptions, broadcast_weight

EPSILON = 1e-7
# The threshold that every score passes, used with top_k.
_ALL_PASS = -1e10


def quotient(numerator: ArrayLike, denominator: ArrayLike) -> NDArray[Any]:
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


def one_class(
    name: str,
    class_id: int | None,
    targets: NDArray[Any],
    scores: NDArray[Any],
    weights: NDArray[Any] | None,
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any] | None]:
    """Targets, scores and weights of one class, or of all with None.

    Raises: ShapeError if the predictions do not have the class.
    """
    if class_id is None:
        return targets, scores, weights
    if scores.ndim < 2 or class_id >= scores.shape[-1]:
        raise ShapeError(
            f"{name} with class_id={class_id} takes predictions (n, classes) that have this class, "
            f"got shape {scores.shape}."
        )
    chosen = (..., slice(class_id, class_id + 1))
    return targets[chosen], scores[chosen], None if weights is None else weights[chosen]


class Counts(Metric):
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
        self._add(self._tally(targets.ravel(), scores.ravel(), None if weights is None else weights.ravel()))

    def _add(self, counts: Mapping[str, Any]) -> None:
        for name, amount in counts.items():
            self.state[name] = self.state[name] + amount

    def _tally(
        self, targets: NDArray[Any], scores: NDArray[Any], weights: NDArray[Any] | None
    ) -> dict[str, Any]:
        """What decisions, arrays of one axis, add to each entry of the state."""
        is_positive = targets != 0
        counts: dict[str, Any] = {}
        for name, total, chosen in (
            ("true_positives", "positives", is_positive),
            ("false_positives", "negatives", ~is_positive),
        ):
            chosen_weights = None if weights is None else weights[chosen]
            above = counts_above(scores[chosen], self._sorted, chosen_weights)
            counts[name] = above[np.argsort(self._order)]
            amount = np.count_nonzero(chosen) if chosen_weights is None else chosen_weights.sum()
            counts[total] = float(amount)
        return counts

    def _table(self) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
        """True positives, false positives, true negatives and false negatives per threshold."""
        tp, fp = self.state["true_positives"], self.state["false_positives"]
        return tp, fp, self.state["negatives"] - fp, self.state["positives"] - tp


def as_thresholds(given: Any) -> NDArray[Any]:
    """A number or several as a 1-D array.

    Raises: ArgumentTypeError.
    """
    try:
        return np.atleast_1d(np.asarray(given, float))
    except (TypeError, ValueError):
        raise ArgumentTypeError(f"thresholds must be a number or several, got {given!r}.") from None


class _ThresholdMetric(Counts):
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
        chosen = as_thresholds(default if thresholds is None else thresholds)
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
        self._count(*one_class(self.name, self.class_id, targets, scores, weights))

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
        return quotient(tp, tp + fp)


@METRICS.register("recall")
class Recall(_ThresholdMetric):
    """True positives / actual positives. Arguments as `Precision`."""

    default_name = "recall"

    def _values(self) -> NDArray[Any]:
        tp, _, _, fn = self._table()
        return quotient(tp, tp + fn)


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
