"""Losses as metrics, and the metrics of regression."""

from typing import Any, ClassVar, Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kernelearn import config, losses
from kernelearn.engine.reference.targets import match_targets
from kernelearn.errors import ArgumentError, ShapeError
from kernelearn.metrics.base import METRICS, MeanMetric, Metric, MetricOptions, broadcast_weight


class LossMetric(MeanMetric):
    """The mean of a loss over all samples of an epoch.

    Args:
        loss: anything `kernelearn.losses.get` takes.
    """

    higher_is_better = False

    def __init__(self, loss: Any, name: str | None = None, **options: Unpack[MetricOptions]) -> None:
        self.loss = losses.get(loss)
        super().__init__(name or self.default_name or self.loss.name, **options)

    def values(self, y_true: NDArray[Any], y_pred: NDArray[Any]) -> NDArray[Any]:
        if y_pred.dtype.kind != "f":
            y_pred = y_pred.astype(config.floatx())
        return np.asarray(self.loss.call(y_true, y_pred))

    def update_state(
        self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> None:
        targets, predictions = np.asarray(y_true), np.asarray(y_pred)
        if self.loss.is_elementwise and targets.ndim == predictions.ndim == 1:
            # Every sample has a value, and a weight, of its own.
            targets, predictions = targets[:, None], predictions[:, None]
        self.loss.check_targets(targets)
        mask = self.loss.mask(targets, predictions)
        values = self.values(targets, predictions)
        if mask is not None:
            given = broadcast_weight(sample_weight, values.shape)
            sample_weight = mask if given is None else mask * given
        self.add(values, sample_weight)

    def config_value(self, name: str) -> Any:
        return losses.serialize(self.loss) if name == "loss" else super().config_value(name)


METRICS.register()(LossMetric)


class _NamedLossMetric(LossMetric):
    """A loss metric with a class of its own, as Keras has them."""

    fixed = frozenset({"loss"})
    kind: ClassVar[str]

    def __init__(self, name: str | None = None, **options: Unpack[MetricOptions]) -> None:
        super().__init__(self.kind, name or self.default_name or self.kind, **options)


@METRICS.register("mean_squared_error", "mse", "MSE")
class MeanSquaredError(_NamedLossMetric):
    """Mean of (y_true - y_pred)^2."""

    kind = "mean_squared_error"


@METRICS.register("mean_absolute_error", "mae", "MAE")
class MeanAbsoluteError(_NamedLossMetric):
    """Mean of |y_true - y_pred|."""

    kind = "mean_absolute_error"


@METRICS.register("mean_absolute_percentage_error", "mape", "MAPE")
class MeanAbsolutePercentageError(_NamedLossMetric):
    """100 times the mean of |y_true - y_pred| / |y_true|."""

    kind = "mean_absolute_percentage_error"


@METRICS.register("mean_squared_logarithmic_error", "msle", "MSLE")
class MeanSquaredLogarithmicError(_NamedLossMetric):
    """Mean of (log(1 + y_true) - log(1 + y_pred))^2."""

    kind = "mean_squared_logarithmic_error"


@METRICS.register("log_cosh_error", "logcosh", "log_cosh")
class LogCoshError(_NamedLossMetric):
    """Mean of log(cosh(y_pred - y_true))."""

    kind, default_name = "log_cosh", "logcosh"


@METRICS.register("hinge")
class Hinge(_NamedLossMetric):
    """Mean of the hinge loss."""

    kind = "hinge"


@METRICS.register("squared_hinge")
class SquaredHinge(_NamedLossMetric):
    """Mean of the squared hinge loss."""

    kind = "squared_hinge"


@METRICS.register("categorical_hinge")
class CategoricalHinge(_NamedLossMetric):
    """Mean of the categorical hinge loss."""

    kind = "categorical_hinge"


@METRICS.register("kl_divergence", "kld", "KLD")
class KLDivergence(_NamedLossMetric):
    """Mean of the Kullback-Leibler divergence."""

    kind = "kl_divergence"


@METRICS.register("poisson")
class Poisson(_NamedLossMetric):
    """Mean of the Poisson loss."""

    kind = "poisson"


class _CrossentropyMetric(LossMetric):
    """A cross-entropy with its arguments, as Keras has them."""

    fixed = frozenset({"loss"})
    loss_class: ClassVar[Any]
    axis: int
    from_logits: bool
    label_smoothing: float

    def __init__(
        self,
        name: str | None = None,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        **options: Unpack[MetricOptions],
    ) -> None:
        loss = self.loss_class(from_logits=from_logits, label_smoothing=label_smoothing, axis=axis)
        super().__init__(loss, name, **options)
        self.keep(locals())


@METRICS.register("binary_crossentropy", "bce", "BCE")
class BinaryCrossentropy(_CrossentropyMetric):
    """Mean of the binary cross-entropy."""

    default_name, loss_class = "binary_crossentropy", losses.BinaryCrossentropy


@METRICS.register("categorical_crossentropy")
class CategoricalCrossentropy(_CrossentropyMetric):
    """Mean of the categorical cross-entropy."""

    default_name, loss_class = "categorical_crossentropy", losses.CategoricalCrossentropy


@METRICS.register("sparse_categorical_crossentropy")
class SparseCategoricalCrossentropy(LossMetric):
    """Mean of the sparse categorical cross-entropy.

    Args:
        ignore_class: label of samples that do not count. NOTE: the mean is over the others, as in the loss of
            this name here and in Keras; Keras's own metric divides by the number of all samples.
    """

    default_name = "sparse_categorical_crossentropy"
    fixed = frozenset({"loss"})
    axis: int
    from_logits: bool
    ignore_class: int | None

    def __init__(
        self,
        name: str | None = None,
        from_logits: bool = False,
        ignore_class: int | None = None,
        axis: int = -1,
        **options: Unpack[MetricOptions],
    ) -> None:
        loss = losses.SparseCategoricalCrossentropy(from_logits, ignore_class, axis=axis)
        super().__init__(loss, name, **options)
        self.keep(locals())


@METRICS.register("cosine_similarity")
class CosineSimilarity(LossMetric):
    """Mean cosine of the angle between y_true and y_pred, along `axis`: 1 for the same direction."""

    default_name, higher_is_better = "cosine_similarity", True
    fixed = frozenset({"loss"})
    axis: int

    def __init__(self, name: str | None = None, axis: int = -1, **options: Unpack[MetricOptions]) -> None:
        super().__init__(losses.CosineSimilarity(axis), name, **options)
        self.keep(locals())

    def values(self, y_true: NDArray[Any], y_pred: NDArray[Any]) -> NDArray[Any]:
        return -super().values(y_true, y_pred)


@METRICS.register("root_mean_squared_error", "rmse", "RMSE")
class RootMeanSquaredError(_NamedLossMetric):
    """Root of the mean of (y_true - y_pred)^2 over all samples."""

    kind, default_name = "mean_squared_error", "root_mean_squared_error"

    def result(self) -> float:
        return float(np.sqrt(super().result()))


@METRICS.register("r2_score", "r2")
class R2Score(Metric):
    """1 - residual sum of squares / total sum of squares, the coefficient of determination.

    Args:
        class_aggregation: how several outputs become one number: "uniform_average",
            "variance_weighted_average", or None for one number each.
        num_regressors: number of inputs of the regression for the adjusted score; 0 for the plain one.
    """

    default_name = "r2_score"
    higher_is_better = True
    class_aggregation: str | None
    num_regressors: int

    def __init__(
        self,
        class_aggregation: str | None = "uniform_average",
        num_regressors: int = 0,
        name: str | None = None,
        **options: Unpack[MetricOptions],
    ) -> None:
        super().__init__(name, **options)
        self.keep(locals())
        if class_aggregation not in ("uniform_average", "variance_weighted_average", None):
            raise ArgumentError(
                "class_aggregation must be 'uniform_average', 'variance_weighted_average' or None, "
                f"got {class_aggregation!r}."
            )
        if num_regressors < 0:
            raise ArgumentError(f"num_regressors must not be negative, got {num_regressors!r}.")
        self.reset_state()

    def initial_state(self) -> dict[str, Any]:
        return {"weight": 0.0, "mean": 0.0, "total": 0.0, "residual": 0.0, "numbers": 0}

    def update_state(
        self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> None:
        predictions = np.asarray(y_pred, np.float64)
        if predictions.ndim < 2:
            raise ShapeError(
                f"{self.name} takes predictions (n, outputs), got shape {predictions.shape}: "
                "for one output give columns, y_pred[:, None]."
            )
        predictions = predictions.reshape(predictions.shape[0], -1)
        targets = match_targets(np.asarray(y_true), np.asarray(y_pred, np.float64)).reshape(predictions.shape)
        weights = broadcast_weight(sample_weight, predictions.shape)
        weights = np.ones_like(predictions) if weights is None else weights
        self._add_targets(targets, weights)
        self.state["residual"] = self.state["residual"] + np.sum(
            weights * (targets - predictions) ** 2, axis=0
        )
        self.state["numbers"] += targets.size

    def _add_targets(self, targets: NDArray[Any], weights: NDArray[Any]) -> None:
        """Merge means and squared deviations (Chan et al., 1979): accurate where sums of squares cancel."""
        state, new_weight = self.state, weights.sum(axis=0)
        safe_weight = np.where(new_weight > 0, new_weight, 1)
        new_mean = np.sum(weights * targets, axis=0) / safe_weight
        weight = state["weight"] + new_weight
        shift = new_mean - state["mean"]
        share = new_weight / np.where(weight > 0, weight, 1)
        within = np.sum(weights * (targets - new_mean) ** 2, axis=0)
        state["total"] = state["total"] + within + shift**2 * state["weight"] * share
        state["mean"] = state["mean"] + shift * share
        state["weight"] = weight

    def result(self) -> Any:
        total, residual = np.atleast_1d(self.state["total"]), np.atleast_1d(self.state["residual"])
        with np.errstate(divide="ignore", invalid="ignore"):
            scores = 1 - residual / total
        scores = np.where(np.isinf(scores), 0.0, scores)  # a constant target explains nothing
        if self.class_aggregation is None:
            return self._adjusted(scores)
        weights = total if self.class_aggregation == "variance_weighted_average" else np.ones_like(total)
        return float(self._adjusted(np.sum(scores * weights) / np.sum(weights)))

    def _adjusted(self, score: Any) -> Any:
        """The score corrected for the number of regressors, where there are enough numbers to do so."""
        left = self.state["numbers"] - self.num_regressors - 1
        if not self.num_regressors or left <= 0:
            return score
        return 1 - (1 - score) * (self.state["numbers"] - 1) / left
