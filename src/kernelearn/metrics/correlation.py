"""How closely predictions follow their targets: correlations."""

from typing import Any, Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kernelearn.engine.reference.targets import match_targets
from kernelearn.metrics.base import METRICS, MeanMetric, MetricOptions
from kernelearn.metrics.counts import EPSILON


def _centred(values: NDArray[Any], axis: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Values less their mean, the mean, and the variance, axes kept."""
    mean = values.mean(axis, keepdims=True)
    return values - mean, mean, values.var(axis, keepdims=True)


def _pair(y_true: ArrayLike, y_pred: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    predictions = np.asarray(y_pred, np.float64)
    return match_targets(np.asarray(y_true), predictions), predictions


def pearson_correlation(y_true: ArrayLike, y_pred: ArrayLike, axis: int = -1) -> NDArray[Any]:
    """Covariance / product of the standard deviations, along an axis; NaN where one of them is constant.

    >>> round(float(pearson_correlation([0.0, 1.0, 2.0], [0.0, 1.0, 1.0])), 6)
    0.866025
    """
    true, pred = _pair(y_true, y_pred)
    (a, _, var_a), (b, _, var_b) = _centred(true, axis), _centred(pred, axis)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray((a / np.sqrt(var_a) * (b / np.sqrt(var_b))).mean(axis))


def concordance_correlation(y_true: ArrayLike, y_pred: ArrayLike, axis: int = -1) -> NDArray[Any]:
    """2 covariance / (variance + variance + squared difference of the means), along an axis.

    Source: Lin (1989), "A concordance correlation coefficient to evaluate reproducibility".

    >>> round(float(concordance_correlation([0.0, 1.0, 2.0], [0.0, 1.0, 1.0])), 6)
    0.666667
    """
    true, pred = _pair(y_true, y_pred)
    (_, mean_a, var_a), (b, mean_b, var_b) = _centred(true, axis), _centred(pred, axis)
    norm = var_a + var_b + (mean_a - mean_b) ** 2
    return np.asarray((2 * (true - mean_b) * b / (norm + EPSILON)).mean(axis))


class _Correlation(MeanMetric):
    higher_is_better = True
    axis: int

    def __init__(self, name: str | None = None, axis: int = -1, **options: Unpack[MetricOptions]) -> None:
        super().__init__(name, **options)
        self.keep(locals())


@METRICS.register("pearson_correlation")
class PearsonCorrelation(_Correlation):
    """Mean of `pearson_correlation` of the targets and predictions along `axis`: with -1 within each sample.

    With axis 0, a batch is one sample of each output: its correlation, and the mean of those of all batches.
    """

    default_name = "pearson_correlation"

    def values(self, y_true: NDArray[Any], y_pred: NDArray[Any]) -> NDArray[Any]:
        return pearson_correlation(y_true, y_pred, self.axis)


@METRICS.register("concordance_correlation")
class ConcordanceCorrelation(_Correlation):
    """Mean of `concordance_correlation` of targets and predictions along `axis`: -1 is within each sample."""

    default_name = "concordance_correlation"

    def values(self, y_true: NDArray[Any], y_pred: NDArray[Any]) -> NDArray[Any]:
        return concordance_correlation(y_true, y_pred, self.axis)
