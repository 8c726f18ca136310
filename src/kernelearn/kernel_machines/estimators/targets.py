"""Real targets in units of their own spread: no solver sees the unit of y, the predictor gets it back."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_array, column_or_1d

from kernelearn.kernel_machines.solvers.points import DualPoint


def check_target(y: ArrayLike) -> np.ndarray:
    """(n,) finite float64 regression target."""
    column = column_or_1d(y, warn=True)
    return np.asarray(check_array(column, ensure_2d=False, dtype=np.float64, input_name="y"))


@dataclass(frozen=True)
class RealTarget:
    """A target y = offset + unit * values.

    values: (n,) around zero and of size one. unit: > 0, in the unit of y. offset: in the unit of y.
    """

    values: np.ndarray
    unit: float
    offset: float

    @classmethod
    def of(cls, y: np.ndarray, weights: np.ndarray, has_intercept: bool) -> "RealTarget":
        """The target in units of its standard deviation (of its root mean square without an intercept).

        Args:
            y: (n,). weights: (n,) how often each counts.
            has_intercept: take the mean away, which the intercept gives back.
        """
        size = float(np.abs(y).max())
        if size == 0.0:
            return cls(np.zeros_like(y), 1.0, 0.0)
        offset = float(np.average(y / size, weights=weights)) * size if has_intercept else 0.0
        rest = (y - offset) / size
        spread = float(np.sqrt(np.average(rest**2, weights=weights)))
        if spread <= 4 * np.finfo(float).eps:
            # A constant target: what is left is the rounding of its mean.
            return cls(np.zeros_like(y), size, offset)
        return cls(rest / spread, spread * size, offset)

    def restored(self, point: DualPoint) -> DualPoint:
        """The point with its predictor in the unit of y."""
        return replace(
            point,
            dual_coef=point.dual_coef * self.unit,
            intercept=point.intercept * self.unit + self.offset,
        )

    def shifted(self, point: DualPoint) -> DualPoint:
        """The point with its predictor in the unit of y, where the kernel already has it."""
        return replace(point, intercept=point.intercept * self.unit + self.offset)
