"""Losses of numbers, margins and distributions; cross-entropies are in `crossentropy`."""

from typing import Unpack

from kernelearn.errors import ArgumentError
from kernelearn.losses.base import LOSSES, EngineLoss, LossOptions


@LOSSES.register("mean_squared_error", "mse", "MSE")
class MeanSquaredError(EngineLoss):
    """mean((y_true - y_pred)^2) over the last axis."""

    kind = "mean_squared_error"


@LOSSES.register("mean_absolute_error", "mae", "MAE")
class MeanAbsoluteError(EngineLoss):
    """mean(|y_true - y_pred|) over the last axis."""

    kind = "mean_absolute_error"


@LOSSES.register("mean_absolute_percentage_error", "mape", "MAPE")
class MeanAbsolutePercentageError(EngineLoss):
    """100 mean(|y_true - y_pred| / max(|y_true|, 1e-7)) over the last axis."""

    kind = "mean_absolute_percentage_error"


@LOSSES.register("mean_squared_logarithmic_error", "msle", "MSLE")
class MeanSquaredLogarithmicError(EngineLoss):
    """mean((log(1 + y_true) - log(1 + y_pred))^2) over the last axis; negative values count as 0."""

    kind = "mean_squared_logarithmic_error"


@LOSSES.register("log_cosh", "logcosh")
class LogCosh(EngineLoss):
    """mean(log(cosh(y_pred - y_true))) over the last axis."""

    kind = "log_cosh"


@LOSSES.register("poisson")
class Poisson(EngineLoss):
    """mean(y_pred - y_true log(y_pred + 1e-7)) over the last axis; y_pred is a rate, not negative."""

    kind = "poisson"
    target_range = (0.0, float("inf"))
    target_hint = "Targets are counts."


@LOSSES.register("hinge")
class Hinge(EngineLoss):
    """mean(max(1 - y_true y_pred, 0)) over the last axis; targets -1 and 1, or 0 and 1."""

    kind = "hinge"


@LOSSES.register("squared_hinge")
class SquaredHinge(EngineLoss):
    """mean(max(1 - y_true y_pred, 0)^2) over the last axis; targets -1 and 1, or 0 and 1."""

    kind = "squared_hinge"


@LOSSES.register("categorical_hinge")
class CategoricalHinge(EngineLoss):
    """max(best score of another class - own score + 1, 0); targets one-hot."""

    kind = "categorical_hinge"
    is_elementwise = False


@LOSSES.register("kl_divergence", "kld", "KLD", "kullback_leibler_divergence")
class KLDivergence(EngineLoss):
    """sum(y_true log(y_true / y_pred)) over the last axis, both clipped to [1e-7, 1]."""

    kind = "kl_divergence"
    is_elementwise = False
    target_range = (0.0, 1.0)
    target_hint = "Targets are probabilities."


@LOSSES.register("huber", "huber_loss")
class Huber(EngineLoss):
    """Half the squared error up to `delta`, linear beyond: mean over the last axis.

    Source: Huber (1964), https://doi.org/10.1214/aoms/1177703732.
    """

    kind = "huber"

    def __init__(
        self,
        delta: float = 1.0,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "huber_loss",
        **options: Unpack[LossOptions],
    ) -> None:
        super().__init__(reduction, name, **options)
        if not delta > 0:
            raise ArgumentError(f"delta must be greater than 0, got {delta!r}.")
        self.delta = delta


@LOSSES.register("cosine_similarity")
class CosineSimilarity(EngineLoss):
    """Minus the cosine of the angle between y_true and y_pred: -1 for the same direction."""

    kind = "cosine_similarity"
    is_elementwise = False

    def __init__(
        self,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        **options: Unpack[LossOptions],
    ) -> None:
        super().__init__(reduction, name, **options)
        self.keep(locals())
