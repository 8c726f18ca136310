"""Metrics in Keras's words: numbers followed during training, with a state that grows batch by batch."""

from typing import Any

from kernelearn import losses
from kernelearn._serializable import function_config, function_of, is_function_config
from kernelearn.errors import ArgumentError
from kernelearn.metrics.accuracy import (
    Accuracy,
    BinaryAccuracy,
    CategoricalAccuracy,
    SparseCategoricalAccuracy,
    SparseTopKCategoricalAccuracy,
    TopKCategoricalAccuracy,
)
from kernelearn.metrics.base import METRICS, Mean, MeanMetric, MeanMetricWrapper, Metric, Sum
from kernelearn.metrics.classes import ConfusionMatrix, F1Score, FBetaScore
from kernelearn.metrics.correlation import (
    ConcordanceCorrelation,
    PearsonCorrelation,
    concordance_correlation,
    pearson_correlation,
)
from kernelearn.metrics.counts import (
    FalseNegatives,
    FalsePositives,
    Precision,
    Recall,
    TrueNegatives,
    TruePositives,
)
from kernelearn.metrics.curves import (
    AUC,
    PrecisionAtRecall,
    RecallAtPrecision,
    SensitivityAtSpecificity,
    SpecificityAtSensitivity,
)
from kernelearn.metrics.overlap import BinaryIoU, IoU, MeanIoU, OneHotIoU, OneHotMeanIoU
from kernelearn.metrics.regression import (
    BinaryCrossentropy,
    CategoricalCrossentropy,
    CategoricalHinge,
    CosineSimilarity,
    Hinge,
    KLDivergence,
    LogCoshError,
    LossMetric,
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanSquaredError,
    MeanSquaredLogarithmicError,
    Poisson,
    R2Score,
    RootMeanSquaredError,
    SparseCategoricalCrossentropy,
    SquaredHinge,
)

__all__ = [
    "AUC",
    "METRICS",
    "Accuracy",
    "BinaryAccuracy",
    "BinaryCrossentropy",
    "BinaryIoU",
    "CategoricalAccuracy",
    "CategoricalCrossentropy",
    "CategoricalHinge",
    "ConcordanceCorrelation",
    "ConfusionMatrix",
    "CosineSimilarity",
    "F1Score",
    "FBetaScore",
    "FalseNegatives",
    "FalsePositives",
    "Hinge",
    "IoU",
    "KLDivergence",
    "LogCoshError",
    "LossMetric",
    "Mean",
    "MeanAbsoluteError",
    "MeanAbsolutePercentageError",
    "MeanIoU",
    "MeanMetric",
    "MeanMetricWrapper",
    "MeanSquaredError",
    "MeanSquaredLogarithmicError",
    "Metric",
    "OneHotIoU",
    "OneHotMeanIoU",
    "PearsonCorrelation",
    "Poisson",
    "Precision",
    "PrecisionAtRecall",
    "R2Score",
    "Recall",
    "RecallAtPrecision",
    "RootMeanSquaredError",
    "SensitivityAtSpecificity",
    "SparseCategoricalAccuracy",
    "SparseCategoricalCrossentropy",
    "SparseTopKCategoricalAccuracy",
    "SpecificityAtSensitivity",
    "SquaredHinge",
    "Sum",
    "TopKCategoricalAccuracy",
    "TrueNegatives",
    "TruePositives",
    "concordance_correlation",
    "deserialize",
    "get",
    "pearson_correlation",
    "resolve",
    "serialize",
]


def get(identifier: Any) -> Any:
    """The metric that a name, config, class, object, loss or function stands for; None stays None.

    A function of (y_true, y_pred) that gives a value per sample becomes its mean; so does a loss or its name.
    """
    if isinstance(identifier, Metric):
        return identifier
    if is_function_config(identifier):
        return MeanMetricWrapper(function_of(identifier))
    if isinstance(identifier, losses.Loss):
        return LossMetric(identifier)
    if isinstance(identifier, type) and issubclass(identifier, Metric):
        return identifier()
    if isinstance(identifier, str) and identifier not in METRICS.names():
        return _from_loss_name(identifier)
    if callable(identifier) and not isinstance(identifier, type):
        return MeanMetricWrapper(identifier)
    return METRICS.get(identifier)


def _from_loss_name(name: str) -> Metric:
    if name in losses.LOSSES.names():
        return LossMetric(name)
    metric: Metric = METRICS.get(name)  # raises the error that lists the metrics
    return metric


def serialize(metric: Metric | None) -> dict[str, Any] | None:
    """The JSON config of a metric, without its state; of a function its registered name."""
    if type(metric) is MeanMetricWrapper and not metric.arguments:
        return function_config(metric.fn, "A metric")
    return METRICS.serialize(metric)


def deserialize(config: dict[str, Any]) -> Metric:
    """The metric of a config made by `serialize`."""
    metric: Metric = get(config)
    return metric


def resolve(
    identifier: Any,
    loss: Any = None,
    output_shape: tuple[int | None, ...] | None = None,
    target_shape: tuple[int | None, ...] | None = None,
) -> Metric:
    """The metric to use for one output of a model, under the name the user gave.

    "accuracy" (or "acc") and "crossentropy" (or "ce") become the binary, sparse or categorical form: binary
    if the output has one unit, sparse if the targets are integer labels (by their shape or, before data is
    there, by the loss), categorical otherwise. This is the rule of Keras.
    NOTE: unlike Keras, binary accuracy compares with 0 when the loss is on logits (0.5 counts wrongly there).

    Args:
        identifier: anything `get` takes.
        loss: the loss of that output, anything `losses.get` takes.
        output_shape, target_shape: with the batch axis; sizes that are not known may be None.

    >>> resolve("acc", "sparse_categorical_crossentropy", (None, 10))
    SparseCategoricalAccuracy(name='acc')
    """
    if identifier is None:
        raise ArgumentError("Expected a metric as a name, an object or a function, got None.")
    if not isinstance(identifier, str):
        found: Metric = get(identifier)
        return found
    loss = losses.get(loss)
    choice = {"accuracy": "accuracy", "acc": "accuracy", "crossentropy": "crossentropy", "ce": "crossentropy"}
    metric: Metric
    if identifier.lower() not in choice:
        metric = get(identifier)
    else:
        form = _form_of_targets(loss, output_shape, target_shape)
        if form == "categorical" and target_shape is None and (loss is None or loss.is_traced):
            form = "any"  # the loss does not tell: the first targets do
        metric = _FORMS[choice[identifier.lower()], form](bool(getattr(loss, "from_logits", False)))
    metric.name = identifier
    return metric


def _form_of_targets(loss: Any, output_shape: Any, target_shape: Any) -> str:
    """ "binary", "sparse" or "categorical"."""
    if output_shape is not None and output_shape[-1] == 1:
        return "binary"
    if output_shape is not None and target_shape is not None:
        has_labels = len(target_shape) < len(output_shape) or target_shape[-1] == 1
        return "sparse" if has_labels else "categorical"
    kind = getattr(loss, "kind", "")
    if kind.startswith("sparse"):
        return "sparse"
    return "binary" if output_shape is None and kind.startswith("binary") else "categorical"


class _ByTargets(MeanMetric):
    """Accuracy or cross-entropy in the form that the targets have: class numbers, or one-hot rows."""

    def __init__(self, what: str, from_logits: bool) -> None:
        super().__init__(what)
        self.what, self.from_logits = what, from_logits

    def values(self, y_true: Any, y_pred: Any) -> Any:
        is_sparse = y_true.ndim < y_pred.ndim or (y_true.shape[-1] == 1 and y_pred.shape[-1] != 1)
        form = _FORMS[self.what, "sparse" if is_sparse else "categorical"](self.from_logits)
        return form.values(y_true, y_pred)


_FORMS: dict[tuple[str, str], Any] = {
    ("accuracy", "binary"): lambda logits: BinaryAccuracy(threshold=0.0 if logits else 0.5),
    ("accuracy", "sparse"): lambda logits: SparseCategoricalAccuracy(),
    ("accuracy", "any"): lambda logits: _ByTargets("accuracy", logits),
    ("crossentropy", "any"): lambda logits: _ByTargets("crossentropy", logits),
    ("accuracy", "categorical"): lambda logits: CategoricalAccuracy(),
    ("crossentropy", "binary"): lambda logits: BinaryCrossentropy(from_logits=logits),
    ("crossentropy", "sparse"): lambda logits: SparseCategoricalCrossentropy(from_logits=logits),
    ("crossentropy", "categorical"): lambda logits: CategoricalCrossentropy(from_logits=logits),
}
