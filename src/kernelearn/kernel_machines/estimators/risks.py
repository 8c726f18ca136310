"""The regularised risks by name: which learner each is, and in which units it is solved."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from kernelearn.errors import ArgumentError
from kernelearn.kernel_machines.estimators.targets import RealTarget
from kernelearn.kernel_machines.solvers.losses import (
    FisherDiscriminant,
    Interpolation,
    LogisticLoss,
    SquareLoss,
    TubeLoss,
)
from kernelearn.kernel_machines.solvers.margins import SoftMargin1
from kernelearn.kernel_machines.solvers.points import Learner

CLASSIFICATION = ("hinge", "logistic", "fisher")
REGRESSION = ("square", "absolute", "epsilon_insensitive", "interpolation")


@dataclass(frozen=True)
class Risk:
    """min_f sum cost psi(y, f + b) + alpha ||f||^2.

    loss: one of `CLASSIFICATION` or `REGRESSION`; "interpolation" is min ||f||^2 with f + b = y.
    epsilon: of "epsilon_insensitive", in the unit of y.
    """

    loss: str
    alpha: float
    fit_intercept: bool = True
    epsilon: float = 0.0

    def learner(self) -> Learner:
        """The learner at a fixed kernel."""
        makers: dict[str, Callable[[], Learner]] = {
            "square": lambda: SquareLoss(self.alpha, self.fit_intercept),
            "hinge": lambda: SoftMargin1(0.5 / self.alpha, self.alpha),
            "logistic": lambda: LogisticLoss(self.alpha),
            "fisher": lambda: FisherDiscriminant(self.alpha),
            "absolute": lambda: TubeLoss(self.alpha),
            "epsilon_insensitive": lambda: TubeLoss(self.alpha, self.epsilon),
            "interpolation": lambda: Interpolation(self.fit_intercept),
        }
        return makers[self.loss]()

    def in_units_of(self, target: RealTarget) -> tuple["Risk", float]:
        """The same risk of y / unit, and the factor from its value to that of y."""
        unit = target.unit
        if self.loss in ("absolute", "epsilon_insensitive"):
            # Its loss grows with y, the norm with its square: the norm weighs more by the difference.
            scaled = Risk(self.loss, self.alpha * unit, self.fit_intercept, self.epsilon / unit)
            return scaled, unit
        return self, unit * unit


def check_intercept(loss: str, fit_intercept: bool) -> None:
    """Raise where an intercept cannot be left out.

    Raises: ArgumentError.
    """
    if not fit_intercept and loss not in ("square", "interpolation"):
        raise ArgumentError(
            f"fit_intercept=False is for the square loss and interpolation: {loss!r} always has an intercept."
        )


def probabilities(scores: np.ndarray) -> np.ndarray:
    """(n, n_classes) from logits: a sigmoid for two classes, normalised one-against-rest for more."""
    from scipy.special import expit

    if scores.ndim == 1:
        positive = expit(scores)
        return np.column_stack([1.0 - positive, positive])
    each = np.maximum(expit(scores), 1e-300)
    return np.asarray(each / each.sum(axis=1, keepdims=True))
