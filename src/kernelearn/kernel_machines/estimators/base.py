"""What the estimators share: input checks, the bank of kernels, the solution's attributes and prediction."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import Tags, assert_all_finite
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

from kernelearn.errors import ArgumentError, DataError, ShapeError
from kernelearn.kernel_machines.estimators.parameters import Constraint, check_parameters
from kernelearn.kernel_machines.estimators.weights import ClassWeight, check_sample_weight, class_factors
from kernelearn.kernel_machines.kernels.functions import Kernel, KernelLike, PrecomputedGram, Seed, as_kernels
from kernelearn.kernel_machines.kernels.grams import GramBank, check_bank, collinearity
from kernelearn.kernel_machines.kernels.hyperkernels import PivotBank
from kernelearn.kernel_machines.solvers import reference
from kernelearn.kernel_machines.solvers.master import Cut
from kernelearn.kernel_machines.solvers.newton import curvature
from kernelearn.kernel_machines.solvers.points import (
    DualPoint,
    Learner,
    cut_from,
    solve_all,
    stacked_duals,
)
from kernelearn.kernel_machines.solvers.silp import Oracle, SilpResult, solve_silp

_PREDICT_ROWS = 4096


@dataclass(frozen=True)
class Training:
    """The points that count, checked and copied.

    points: (n, d) float64, or (n, 1) point numbers for matrices. kernels: resolved.
    weights: (n,) how often each counts, all > 0. kept: (n,) numbers of these among the rows that were given.
    """

    points: np.ndarray
    kernels: list[Kernel]
    weights: np.ndarray
    kept: np.ndarray


class KernelMachine(BaseEstimator):
    """Base of estimators that predict with f(x) = sum_i dual_coef_i k(x_i, x) + intercept.

    Subclasses set `_constraints` and those of the parameters `kernels`, `normalize`, `storage`,
    `n_components`, `random_state`, `solver`, `tol`, `max_iter` and `verbose` that they have.
    """

    _constraints: ClassVar[Mapping[str, Constraint]] = {}
    kernels: KernelLike = None
    normalize: str | None = None
    storage: str = "auto"
    n_components: int = 300
    random_state: Seed = None
    solver: str = "silp"
    tol: float
    max_iter: int
    verbose: int

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.pairwise = self._takes_matrices()
        return tags

    def _takes_matrices(self) -> bool:
        return isinstance(self.kernels, str) and self.kernels == "precomputed"

    def _check_parameters(self) -> None:
        check_parameters(self, self._constraints)

    def _check_training(self, X: ArrayLike, y: ArrayLike | None, sample_weight: ArrayLike | None) -> Training:
        """The training points that count, and the resolved kernels; matrices become point numbers."""
        if self._takes_matrices():
            stack = self._check_matrices(X, fitting=True)
            self._check_length(y, stack.shape[1])
            weights, kept = _counted(sample_weight, stack.shape[1])
            self._given_points, self._kept_points = stack.shape[1], kept
            if len(kept) < stack.shape[1]:
                stack = stack[:, kept[:, None], kept]
            kernels = [Kernel(PrecomputedGram(k), gamma=1.0, label=f"K{i}") for i, k in enumerate(stack)]
            return Training(np.arange(len(kept), dtype=np.float64)[:, None], kernels, weights, kept)
        training = self._check_points(X, y, sample_weight)
        kernels = [
            kernel.resolve(training.points, training.weights) for kernel in as_kernels(self._expand_kernels())
        ]
        return Training(training.points, kernels, training.weights, training.kept)

    def _check_points(self, X: ArrayLike, y: ArrayLike | None, sample_weight: ArrayLike | None) -> Training:
        """The training points that count, without kernels. The points are a copy: X may be changed later."""
        points = validate_data(self, X, dtype=np.float64, ensure_min_samples=2)
        self._check_length(y, len(points))
        weights, kept = _counted(sample_weight, len(points))
        return Training(np.array(points[kept]), [], weights, kept)

    def _check_length(self, y: ArrayLike | None, n: int) -> None:
        """Raise unless y has an entry for each of the n points that were given."""
        if not self.__sklearn_tags__().target_tags.required:
            return
        if y is None:
            raise DataError("This estimator requires y to be passed, but the target y is None.")
        shape = np.asarray(y).shape
        if shape[:1] != (n,):
            count = f"{shape[0]} entries" if shape else "no length"
            raise ShapeError(f"X has {n} points and y has {count}.")

    def _expand_kernels(self) -> KernelLike:
        """The kernels before they are resolved; subclasses may multiply them by blocks of features."""
        return self.kernels

    def _check_matrices(self, X: ArrayLike, fitting: bool) -> np.ndarray:
        """(m, n, n_train) stack from one matrix, a list of matrices or a 3-D array."""
        if isinstance(X, list | tuple) and len(X) and np.ndim(X[0]) == 2:
            X = np.stack([np.asarray(k, dtype=np.float64) for k in X])
        if getattr(X, "ndim", 2) == 3:
            stack = np.asarray(X, dtype=np.float64)
            if fitting:
                self.n_features_in_ = stack.shape[2]
        else:
            stack = validate_data(
                self, X, dtype=np.float64, reset=fitting, ensure_min_samples=2 if fitting else 1
            )[None]
        expected = stack.shape[1] if fitting else self._given_points
        if stack.shape[2] != expected or (not fitting and len(stack) != len(self.kernel_names_)):
            wanted = "(n, n)" if fitting else f"({len(self.kernel_names_)}, n_new, {expected})"
            raise ShapeError(
                f"kernels='precomputed' expects kernel matrices of shape {wanted}, got {stack.shape}."
            )
        if not np.all(np.isfinite(stack)):
            raise DataError(
                "A kernel matrix contains NaN or infinity; remove or impute the points behind them."
            )
        return stack

    def _make_bank(self, training: Training, signed: bool = False) -> GramBank:
        """The checked bank of Gram matrices over the points; sets `kernels_` and `kernel_names_`."""
        normalize = self.normalize
        if normalize == "auto":
            normalize = None if self._takes_matrices() else "cosine"
        elif normalize == "cosine" and self._takes_matrices():
            raise ArgumentError(
                "normalize='cosine' needs k(x, x) of new points, which kernels='precomputed' does not give. "
                "Use normalize='trace', or pass kernels=[K1, K2, ...] and X = point numbers."
            )
        bank = GramBank(
            training.kernels,
            training.points,
            normalize,
            self.storage,
            self.n_components,
            self.random_state,
            training.weights,
        )
        check_bank(bank)
        warn_collinear(bank, signed)
        self.kernels_ = training.kernels
        self.kernel_names_ = bank.names
        self.X_fit_ = training.points
        return bank

    def _minimise(
        self, oracle: Oracle, n_weights: int, program: Callable[[], reference.ReferenceResult]
    ) -> SilpResult:
        """Weights on the simplex: by cutting planes, or by the same problem written for CVXPY (`solver`)."""
        if self.solver != "silp":
            return reference.certified(program(), oracle)
        return solve_silp(oracle, n_weights, tol=self.tol, max_iter=self.max_iter, verbose=self.verbose)

    def _set_solution(self, bank: GramBank | PivotBank, mu: np.ndarray, points: Sequence[DualPoint]) -> None:
        """Store the predictor; `mu` (m,) are weights on the normalised kernels, one dual point per output."""
        self.kernel_weights_ = mu
        self.dual_coef_ = np.stack([point.dual_coef for point in points])
        self.intercept_ = np.array([point.intercept for point in points])
        bank.release()
        self._bank = bank
        if isinstance(bank, GramBank) and self._takes_matrices():
            # The training matrices are not needed to predict from new ones, and would fill a pickled model.
            self._matrix_scales = np.array([kernel.scale for kernel in bank.kernels])
            del self._bank, self.kernels_

    def _set_progress(self, result: SilpResult) -> None:
        self.objective_ = float(result.upper)
        self.lower_bound_ = float(result.lower)
        self.gap_ = float(result.gap)
        self.n_iter_ = int(result.n_iter)
        self.history_ = result.history

    def _outputs(self, X: ArrayLike) -> np.ndarray:
        """(n_new, n_outputs) values of the predictor."""
        check_is_fitted(self)
        if self._takes_matrices():
            stack = self._check_matrices(X, fitting=False)[:, :, self._kept_points]
            cross = np.tensordot(self.kernel_weights_ * self._matrix_scales, stack, axes=1)
            return np.asarray(cross @ self.dual_coef_.T + self.intercept_)
        points = validate_data(self, X, dtype=np.float64, reset=False)
        return predict_with(self._bank, points, self.kernel_weights_, self.dual_coef_, self.intercept_)


def _counted(sample_weight: ArrayLike | None, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights of the points that count, and their numbers."""
    weights = check_sample_weight(sample_weight, n)
    kept = np.flatnonzero(weights)
    return weights[kept], kept


def predict_with(
    bank: GramBank | PivotBank,
    points: np.ndarray,
    mu: np.ndarray,
    dual_coef: np.ndarray,
    intercept: np.ndarray,
) -> np.ndarray:
    """(n_new, n_outputs) values sum_i dual_coef_i k_mu(x_i, x) + intercept, by blocks of new points."""
    support = np.flatnonzero(np.any(dual_coef != 0, axis=0))
    if not len(support):
        return np.tile(intercept, (len(points), 1))
    coef = dual_coef[:, support].T
    blocks = [points[i : i + _PREDICT_ROWS] for i in range(0, len(points), _PREDICT_ROWS)]
    return np.asarray(np.concatenate([bank.cross(block, mu, support) @ coef for block in blocks]) + intercept)


class KernelClassifierMixin(ClassifierMixin):
    """Labels in, labels out, for classes that provide `_outputs`; `class_weight` weighs the losses."""

    classes_: np.ndarray
    class_weight: ClassWeight = None

    def _check_labels(self, y: ArrayLike, training: Training) -> tuple[np.ndarray, np.ndarray]:
        """Targets and costs of the losses.

        Returns:
            (k, n) rows of -1/+1: one row for two classes, one row per class (against the rest) for more;
            and (n,) sample weights times class weights.
        Raises: DataError for fewer than two classes.
        """
        labels = column_or_1d(y, warn=True)
        assert_all_finite(labels, input_name="y")  # before what follows casts them
        check_classification_targets(labels)
        labels = labels[training.kept]
        self.classes_, codes = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            only = self.classes_.tolist()[0]
            raise DataError(
                f"A classifier needs samples of at least two classes, got one class: {only!r}. "
                "Check that y was not filtered, split or weighted so that a class is missing."
            )
        costs = training.weights * class_factors(self.class_weight, labels, training.weights)
        if len(self.classes_) == 2:
            return np.where(codes == 1, 1.0, -1.0)[None, :], costs
        return np.where(codes[None, :] == np.arange(len(self.classes_))[:, None], 1.0, -1.0), costs

    def decision_function(self, X: ArrayLike) -> np.ndarray:
        """Signed distances: (n,) for two classes, (n, n_classes) for more."""
        outputs = self._outputs(X)  # type: ignore[attr-defined]
        return np.asarray(outputs[:, 0] if len(self.classes_) == 2 else outputs)

    def predict(self, X: ArrayLike) -> np.ndarray:
        """(n,) predicted labels."""
        scores = self.decision_function(X)
        codes = (scores > 0).astype(int) if scores.ndim == 1 else scores.argmax(axis=1)
        return np.asarray(self.classes_[codes])


def make_oracle(
    bank: GramBank, learner: Learner, targets: np.ndarray, costs: np.ndarray, scales: np.ndarray
) -> Oracle:
    """Cut generator for weights theta on the kernels scales_i K_i, summed over the rows of targets (k, n)."""

    def oracle(theta: np.ndarray, tol: float) -> Cut:
        gram = bank.combine(theta * scales)
        points = solve_all(learner, gram, targets, costs, tol)
        v = stacked_duals(points)
        support, images = bank.images(v)
        images = images * scales[:, None, None]
        slopes = np.einsum("sk,isk->i", v[support], images)
        return cut_from(points, slopes, curvature(gram, points, support, images))

    return oracle


def warn_collinear(bank: GramBank, signed: bool) -> None:
    """Warn about kernels that cannot be told apart: their weights are arbitrary (or, signed, huge)."""
    if bank.n_kernels < 2:
        return
    cosines = collinearity(bank)
    if signed:
        values = np.linalg.eigvalsh(cosines)
        if values[0] < 1e-6 * values[-1]:
            warnings.warn(
                "The kernels are nearly collinear, so signed weights are ill-posed: large weights of "
                "opposite sign cancel. Use fewer kernels, or a smaller weight_bound.",
                UserWarning,
                stacklevel=4,
            )
        return
    pairs = np.argwhere(np.triu(cosines > 1.0 - 1e-10, k=1))
    if len(pairs):
        names = ", ".join(f"{bank.names[i]} ~ {bank.names[j]}" for i, j in pairs[:3])
        warnings.warn(
            "Kernels are equal up to scale on these points, so the weights between them are arbitrary: "
            f"{names}.",
            UserWarning,
            stacklevel=4,
        )
