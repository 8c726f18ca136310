"""Novelty detection with learnt kernels, in the manners of scikit-learn's OneClassSVM."""

from collections.abc import Mapping
from typing import ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import OutlierMixin

from kernelearn.kernel_machines.estimators.base import KernelMachine, make_oracle
from kernelearn.kernel_machines.estimators.parameters import (
    SHARE,
    SOLVER_LIMITS,
    Choice,
    Constraint,
)
from kernelearn.kernel_machines.kernels.functions import KernelLike, Seed
from kernelearn.kernel_machines.solvers.margins import OneClassMargin
from kernelearn.kernel_machines.solvers.silp import SilpResult, solve_silp


class NoveltyMixin:
    """Scores and predictions of a machine whose output is negative on outliers."""

    intercept_: np.ndarray

    @property
    def offset_(self) -> float:
        """Where the scores change from outliers to inliers: decision_function = score_samples - offset_."""
        return -float(self.intercept_[0])

    def decision_function(self, X: ArrayLike) -> np.ndarray:
        """(n,) signed distances: negative for outliers."""
        outputs: np.ndarray = self._outputs(X)  # type: ignore[attr-defined]
        return outputs[:, 0]

    def score_samples(self, X: ArrayLike) -> np.ndarray:
        """(n,) scores before the offset: the higher, the more normal."""
        return self.decision_function(X) + self.offset_

    def predict(self, X: ArrayLike) -> np.ndarray:
        """(n,) 1 for inliers, -1 for outliers."""
        return np.where(self.decision_function(X) >= 0, 1, -1)


class MultipleKernelOneClass(NoveltyMixin, OutlierMixin, KernelMachine):
    """Single-class support vector machine on a weighted sum of kernels.

    Minimises over weights in the simplex the risk ||w||^2 / 2 - rho + mean of max(0, rho - f) / nu, of
    which at most a share nu of the points lies outside. What to expect: with normalised kernels the risk
    prefers the kernel under which the points look most alike, which is the widest Gaussian of a bank;
    weights="uniform" is the comparison to make, and kernels on blocks of features are what the learnt
    weights tell apart.

    Args:
        kernels: see `SemidefiniteKernelClassifier`.
        nu: in (0, 1), an upper bound of the share of outliers and a lower bound of that of support vectors.
        weights: "learned" or "uniform".
        normalize, storage, n_components, tol, max_iter, verbose, random_state: see
            `SemidefiniteKernelClassifier`.

    Attributes:
        offset_: decision_function = score_samples - offset_.
        kernel_weights_: (m,) nonnegative, summing to one, on normalised kernels.
        gap_, objective_, lower_bound_, dual_coef_ (1, n), intercept_ (1,), kernel_names_, n_iter_, history_.

    Source: Schoelkopf et al., Neural Computation 2001; Sonnenburg et al., JMLR 2006.

    Example:
        >>> X = np.random.default_rng(0).normal(size=(60, 2))
        >>> model = MultipleKernelOneClass("rbf", nu=0.1).fit(X)
        >>> float((model.predict(X) == 1).mean()), model.predict([[9.0, 9.0]]).tolist()
        (0.9, [-1])
    """

    _constraints: ClassVar[Mapping[str, Constraint]] = {
        "weights": Choice(("learned", "uniform")),
        "nu": SHARE,
        **SOLVER_LIMITS,
    }

    def __init__(
        self,
        kernels: KernelLike = None,
        *,
        nu: float = 0.5,
        weights: str = "learned",
        normalize: str | None = "auto",
        storage: str = "auto",
        n_components: int = 300,
        tol: float = 1e-3,
        max_iter: int = 300,
        verbose: int = 0,
        random_state: Seed = None,
    ) -> None:
        self.kernels = kernels
        self.nu = nu
        self.weights = weights
        self.normalize = normalize
        self.storage = storage
        self.n_components = n_components
        self.tol = tol
        self.max_iter = max_iter
        self.verbose = verbose
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: ArrayLike | None = None, sample_weight: ArrayLike | None = None) -> Self:
        """Learn the weights and where the points lie from X (n, d); y is not used.

        sample_weight: (n,) how often each point counts; points with 0 are left out.
        """
        self._check_parameters()
        training = self._check_training(X, None, sample_weight)
        bank = self._make_bank(training)
        nothing = np.zeros((1, bank.n))
        learner = OneClassMargin(self.nu)
        oracle = make_oracle(bank, learner, nothing, training.weights, np.ones(bank.n_kernels))
        if self.weights == "uniform":
            result = SilpResult.of_one(oracle, np.full(bank.n_kernels, 1.0 / bank.n_kernels))
        else:
            result = solve_silp(
                oracle, bank.n_kernels, tol=self.tol, max_iter=self.max_iter, verbose=self.verbose
            )
        self._set_solution(bank, result.weights, result.state)
        self._set_progress(result)
        return self
