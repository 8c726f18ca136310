"""Areas under curves of decisions at many thresholds, and the best point of a curve under a condition."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kernelearn.engine.reference.activations import sigmoid
from kernelearn.errors import ArgumentError, ShapeError
from kernelearn.metrics.base import METRICS, MetricOptions, broadcast_weight
from kernelearn.metrics.counts import EPSILON, Counts, as_thresholds, decisions, one_class, quotient


@METRICS.register("auc")
class AUC(Counts):
    """Area under the ROC or the precision-recall curve, from decisions at many thresholds.

    Args:
        num_thresholds: equally spaced in [0, 1], both ends included.
        curve: "ROC", "PR" (precision over recall) or "PRGAIN" (their gains over always saying yes).
        summation_method: "interpolation" (trapezoids; for PR the interpolation of Davis and Goadrich),
            "minoring" or "majoring" (lower and upper sum).
        thresholds: inner thresholds of your own, instead of `num_thresholds`, which then counts them and the
            two ends.
        multi_label: one area for each column of predictions (n, labels), then their mean; else all decisions
            are of one kind.
        num_labels: the number of columns with `multi_label`; by default that of the first batch.
        label_weights: weights of the columns: of their areas with `multi_label`, else of their decisions.
        from_logits: predictions are logits.
    Source: Davis and Goadrich (2006), https://doi.org/10.1145/1143844.1143874; gains: Flach and Kull (2015),
        "Precision-Recall-Gain curves".
    """

    default_name = "auc"
    curve: str
    summation_method: str
    multi_label: bool
    num_labels: int | None
    label_weights: list[float] | None
    from_logits: bool

    def __init__(
        self,
        num_thresholds: int | None = 200,
        curve: str = "ROC",
        summation_method: str = "interpolation",
        name: str | None = None,
        thresholds: Sequence[float] | None = None,
        multi_label: bool = False,
        num_labels: int | None = None,
        label_weights: ArrayLike | None = None,
        from_logits: bool = False,
        **options: Unpack[MetricOptions],
    ) -> None:
        self.curve = _one_of("curve", curve, ("ROC", "PR", "PRGAIN"))
        self.summation_method = _one_of("summation_method", summation_method, tuple(_HEIGHTS))
        self.multi_label = bool(multi_label)
        self.label_weights = None if label_weights is None else as_thresholds(label_weights).tolist()
        if num_labels is not None and (not multi_label or num_labels < 1):
            raise ArgumentError(
                "num_labels is a number of 1 or more, with multi_label=True only; got "
                f"num_labels={num_labels}, multi_label={multi_label!r}."
            )
        self.num_labels = num_labels
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
        weights = broadcast_weight(sample_weight, scores.shape)
        self._check_labels(scores.shape)
        if self.multi_label:
            columns = [
                self._tally(targets[:, i], scores[:, i], None if weights is None else weights[:, i])
                for i in range(scores.shape[1])
            ]
            self._add({name: np.stack([one[name] for one in columns], axis=-1) for name in columns[0]})
            return
        if self.label_weights is not None:
            weights = np.asarray(self.label_weights) * (np.ones(scores.shape) if weights is None else weights)
        self._count(targets, scores, weights)

    def initial_state(self) -> dict[str, Any]:
        if not self.multi_label or self.num_labels is None:
            return super().initial_state()
        return {
            name: np.stack([value] * self.num_labels, -1) for name, value in super().initial_state().items()
        }

    def _add(self, counts: Any) -> None:
        known = self.state["true_positives"]
        if self.multi_label and known.ndim == 1:  # the number of labels is known from here on
            self.state = {name: np.zeros(np.shape(amount)) for name, amount in counts.items()}
        super()._add(counts)

    def _check_labels(self, shape: tuple[int, ...]) -> None:
        """Raise ShapeError for predictions that do not have the columns that the arguments speak of."""
        if self.label_weights is None and not self.multi_label:
            return
        seen = self.state["true_positives"].shape
        labels = seen[1] if len(seen) == 2 else self.num_labels
        known = len(self.label_weights) if self.label_weights is not None else labels
        if len(shape) != 2 or known not in (None, shape[1]) or labels not in (None, shape[1]):
            raise ShapeError(
                f"{self.name} takes predictions (n, {known or labels or 'labels'}) with these multi_label, "
                f"num_labels and label_weights, got shape {shape}."
            )

    def result(self) -> float:
        if self.curve == "PR" and self.summation_method == "interpolation":
            return self._over_labels(self._interpolated_precision_recall())
        x, y = self._curve()
        heights = _HEIGHTS[self.summation_method](y[:-1], y[1:])
        return self._over_labels(np.sum((x[:-1] - x[1:]) * heights, axis=0))

    def _over_labels(self, areas: NDArray[Any]) -> float:
        """The mean of the areas of all labels."""
        if areas.ndim and self.label_weights is not None:
            return float(quotient(np.sum(areas * self.label_weights), np.sum(self.label_weights)))
        return float(np.mean(areas))

    def _curve(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """What is drawn to the right and upwards, for each threshold."""
        tp, fp, tn, fn = self._table()
        recall = quotient(tp, tp + fn)
        if self.curve == "ROC":
            return quotient(fp, fp + tn), recall
        if self.curve == "PR":
            return recall, quotient(tp, tp + fp)
        share = quotient(tp + fn, tn + fp)
        recall_gain = np.where(tp == 0, 0.0, 1 - share * quotient(fn, tp))
        return np.maximum(recall_gain, 0), np.where(tp == 0, 1.0, 1 - share * quotient(fp, tp))

    def _interpolated_precision_recall(self) -> NDArray[Any]:
        """Integral of precision over recall, true positives taken as linear in predicted positives between
        thresholds (equation of Davis and Goadrich, integrated)."""
        tp, fp, _, fn = self._table()
        predicted = tp + fp
        steps_tp, steps = tp[:-1] - tp[1:], predicted[:-1] - predicted[1:]
        slope = quotient(steps_tp, np.maximum(steps, 0))
        intercept = tp[1:] - slope * predicted[1:]
        both = (predicted[:-1] > 0) & (predicted[1:] > 0)
        ratio = np.where(both, quotient(predicted[:-1], predicted[1:]), 1.0)
        areas = quotient(slope * (steps_tp + intercept * np.log(ratio)), tp[1:] + fn[1:])
        return np.asarray(np.sum(areas, axis=0))


_HEIGHTS: dict[str, Callable[..., NDArray[Any]]] = {
    "interpolation": lambda left, right: (left + right) / 2,
    "minoring": np.minimum,
    "majoring": np.maximum,
}


def _one_of(what: str, given: str, known: tuple[str, ...]) -> str:
    """A name as it is written here; Keras takes it in small and in capital letters."""
    found = {name.lower(): name for name in known}.get(str(given).lower())
    if found is None:
        raise ArgumentError(f"{what} must be one of {', '.join(map(repr, known))}, got {given!r}.")
    return found


def _inner_thresholds(count: int | None, given: Sequence[float] | None) -> NDArray[Any]:
    """The thresholds between the two ends, sorted.

    Raises: ArgumentError for fewer than the two ends, or thresholds outside of [0, 1].
    """
    if given is None:
        if count is None or count < 2:
            raise ArgumentError(f"num_thresholds must be at least 2, got {count!r}.")
        return np.linspace(0, 1, count)[1:-1]
    inner = np.sort(as_thresholds(given))
    if inner.size and not (inner[0] >= 0 and inner[-1] <= 1):
        raise ArgumentError(f"thresholds must be between 0 and 1, got {given!r}.")
    return inner


class _AtPoint(Counts):
    """The largest value of one rate among the thresholds at which another reaches a limit; 0 if none does."""

    fixed = frozenset({"thresholds"})
    num_thresholds: int
    class_id: int | None
    limit: ClassVar[str]
    wanted: ClassVar[str]
    """The two rates; the limit is the argument of its rate's name."""

    def __init__(
        self,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        **options: Unpack[MetricOptions],
    ) -> None:
        if num_thresholds < 1:
            raise ArgumentError(f"num_thresholds must be at least 1, got {num_thresholds!r}.")
        if class_id is not None and class_id < 0:
            raise ArgumentError(f"class_id must be at least 0, got {class_id!r}.")
        even = np.linspace(0, 1, num_thresholds) if num_thresholds > 1 else np.array([0.5])
        super().__init__(name, even, **options)
        self.thresholds = even.tolist()
        self.keep(locals())
        value = getattr(self, self.limit)
        if not 0 <= value <= 1:
            raise ArgumentError(f"{self.limit} must be between 0 and 1, got {value!r}.")

    def update_state(
        self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> None:
        targets, scores = decisions(y_true, y_pred)
        weights = broadcast_weight(sample_weight, scores.shape)
        self._count(*one_class(self.name, self.class_id, targets, scores, weights))

    def result(self) -> float:
        tp, fp, tn, fn = self._table()
        recall = quotient(tp, tp + fn)
        rates = {"sensitivity": recall, "recall": recall}
        rates["precision"], rates["specificity"] = quotient(tp, tp + fp), quotient(tn, tn + fp)
        is_reached = rates[self.limit] >= getattr(self, self.limit)
        return float(np.max(np.where(is_reached, rates[self.wanted], 0), initial=0))


@METRICS.register("sensitivity_at_specificity")
class SensitivityAtSpecificity(_AtPoint):
    """Largest sensitivity (share of the positive targets that are found) at a specificity of at least
    `specificity`.

    Args:
        specificity: share of the negative targets that must be left out, from 0 to 1.
        num_thresholds: equally spaced in [0, 1], both ends included; 1: only 0.5.
        class_id: look at this class only.
    """

    default_name, wanted, limit = "sensitivity_at_specificity", "sensitivity", "specificity"
    specificity: float

    def __init__(
        self,
        specificity: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        **options: Unpack[MetricOptions],
    ) -> None:
        self.specificity = float(specificity)
        super().__init__(num_thresholds, class_id, name, **options)


@METRICS.register("specificity_at_sensitivity")
class SpecificityAtSensitivity(_AtPoint):
    """Largest specificity (share of the negative targets that are left out) at a sensitivity of at least
    `sensitivity`.

    Args:
        sensitivity: share of the positive targets that must be found, from 0 to 1.
        num_thresholds: equally spaced in [0, 1], both ends included; 1: only 0.5.
        class_id: look at this class only.
    """

    default_name, wanted, limit = "specificity_at_sensitivity", "specificity", "sensitivity"
    sensitivity: float

    def __init__(
        self,
        sensitivity: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        **options: Unpack[MetricOptions],
    ) -> None:
        self.sensitivity = float(sensitivity)
        super().__init__(num_thresholds, class_id, name, **options)


@METRICS.register("precision_at_recall")
class PrecisionAtRecall(_AtPoint):
    """Largest precision at a recall of at least `recall`.

    Args:
        recall: share of the positive targets that must be found, from 0 to 1.
        num_thresholds: equally spaced in [0, 1], both ends included; 1: only 0.5.
        class_id: look at this class only.
    """

    default_name, wanted, limit = "precision_at_recall", "precision", "recall"
    recall: float

    def __init__(
        self,
        recall: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        **options: Unpack[MetricOptions],
    ) -> None:
        self.recall = float(recall)
        super().__init__(num_thresholds, class_id, name, **options)


@METRICS.register("recall_at_precision")
class RecallAtPrecision(_AtPoint):
    """Largest recall at a precision of at least `precision`.

    Args:
        precision: share of the positive decisions that must be right, from 0 to 1.
        num_thresholds: equally spaced in [0, 1], both ends included; 1: only 0.5.
        class_id: look at this class only.
    """

    default_name, wanted, limit = "recall_at_precision", "recall", "precision"
    precision: float

    def __init__(
        self,
        precision: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        **options: Unpack[MetricOptions],
    ) -> None:
        self.precision = float(precision)
        super().__init__(num_thresholds, class_id, name, **options)
