"""What the estimators share: input checks, the bank of kernels, the solution's attributes and prediction."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

from kernelearn.errors import ArgumentError, DataError, ShapeError
from kernelearn.kernel_machines.kernels.functions import Kernel, PrecomputedGram, as_kernels
from kernelearn.kernel_machines.kernels.grams import GramBank, check_bank, collinearity
from kernelearn.kernel_machines.solvers.learners import DualPoint, Learner, solve_all
from kernelearn.kernel_machines.solvers.silp import Cut, Oracle, SilpResult

_PREDICT_ROWS = 4096


class KernelMachine(BaseEstimator):
    """Base of estimators that predict with f(x) = sum_i dual_coef_i k(x_i, x) + intercept.

    Subclasses set the parameters `kernels`, `normalize`, `storage`, `n_components` and `random_state`.
    """

    kernels: Any
    normalize: str | None
    storage: str
    n_components: int
    random_state: Any

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.pairwise = self._takes_matrices()
        return tags

    def _takes_matrices(self) -> bool:
        return isinstance(self.kernels, str) and self.kernels == "precomputed"

    def _check_training(self, X: Any, y: Any) -> tuple[np.ndarray, list[Kernel]]:
        """Training points (n, d) float64 and the resolved kernels; matrices become point numbers."""
        if y is None:
            raise DataError("This estimator requires y to be passed, but the target y is None.")
        if self._takes_matrices():
            stack = self._check_matrices(X, fitting=True)
            kernels = [Kernel(PrecomputedGram(k), gamma=1.0, label=f"K{i}") for i, k in enumerate(stack)]
            points = np.arange(stack.shape[1], dtype=np.float64)[:, None]
        else:
            points = validate_data(self, X, dtype=np.float64, ensure_min_samples=2)
            kernels = [kernel.resolve(points) for kernel in as_kernels(self._expand_kernels())]
        if len(points) != len(np.asarray(y)):
            raise ShapeError(f"X has {len(points)} points and y has {len(np.asarray(y))} entries.")
        return points, kernels

    def _expand_kernels(self) -> Any:
        """The kernels before they are resolved; subclasses may multiply them by blocks of features."""
        return self.kernels

    def _check_matrices(self, X: Any, fitting: bool) -> np.ndarray:
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
        expected = stack.shape[1] if fitting else len(self.X_fit_)
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

    def _make_bank(self, points: np.ndarray, kernels: Sequence[Kernel], signed: bool = False) -> GramBank:
        """The checked bank of Gram matrices over `points`; sets `kernels_` and `kernel_names_`."""
        normalize = self.normalize
        if normalize == "auto":
            normalize = None if self._takes_matrices() else "cosine"
        elif normalize == "cosine" and self._takes_matrices():
            raise ArgumentError(
                "normalize='cosine' needs k(x, x) of new points, which kernels='precomputed' does not give. "
                "Use normalize='trace', or pass kernels=[K1, K2, ...] and X = point numbers."
            )
        bank = GramBank(kernels, points, normalize, self.storage, self.n_components, self.random_state)
        check_bank(bank)
        warn_collinear(bank, signed)
        self.kernels_ = list(kernels)
        self.kernel_names_ = bank.names
        self.X_fit_ = points
        return bank

    def _set_solution(self, bank: GramBank, mu: np.ndarray, points: Sequence[DualPoint]) -> None:
        """Store the predictor; `mu` (m,) are weights on the normalised kernels, one dual point per output."""
        self.kernel_weights_ = mu
        self.dual_coef_ = np.stack([point.dual_coef for point in points])
        self.intercept_ = np.array([point.intercept for point in points])
        bank.release()
        self._bank = bank
        if self._takes_matrices():
            # The training matrices are not needed to predict from new ones, and would fill a pickled model.
            self._matrix_scales = np.array([kernel.scale for kernel in bank.kernels])
            del self._bank, self.kernels_

    def _set_progress(self, result: SilpResult) -> None:
        self.objective_ = float(result.upper)
        self.lower_bound_ = float(result.lower)
        self.gap_ = float(result.gap)
        self.n_iter_ = int(result.n_iter)
        self.history_ = result.history

    def _outputs(self, X: Any) -> np.ndarray:
        """(n_new, n_outputs) values of the predictor."""
        check_is_fitted(self)
        if self._takes_matrices():
            stack = self._check_matrices(X, fitting=False)
            cross = np.tensordot(self.kernel_weights_ * self._matrix_scales, stack, axes=1)
            return cross @ self.dual_coef_.T + self.intercept_
        points = validate_data(self, X, dtype=np.float64, reset=False)
        return predict_with(self._bank, points, self.kernel_weights_, self.dual_coef_, self.intercept_)


def predict_with(
    bank: GramBank, points: np.ndarray, mu: np.ndarray, dual_coef: np.ndarray, intercept: np.ndarray
) -> np.ndarray:
    """(n_new, n_outputs) values sum_i dual_coef_i k_mu(x_i, x) + intercept, by blocks of new points."""
    support = np.flatnonzero(np.any(dual_coef != 0, axis=0))
    coef = dual_coef[:, support].T
    blocks = [points[i : i + _PREDICT_ROWS] for i in range(0, len(points), _PREDICT_ROWS)]
    return np.concatenate([bank.cross(block, mu, support) @ coef for block in blocks]) + intercept


class KernelClassifierMixin(ClassifierMixin):
    """Labels in, labels out, for classes that provide `_outputs`."""

    classes_: np.ndarray

    def _encode_labels(self, y: Any) -> np.ndarray:
        """(k, n) rows of -1/+1: one row for two classes, one row per class (against the rest) for more.

        Raises: DataError for fewer than two classes.
        """
        y = column_or_1d(y, warn=True)
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise DataError(
                f"A classifier needs samples of at least two classes, got one class: {self.classes_[0]!r}. "
                "Check that y was not filtered or split so that a class is missing."
            )
        if len(self.classes_) == 2:
            return np.where(codes == 1, 1.0, -1.0)[None, :]
        return np.where(codes[None, :] == np.arange(len(self.classes_))[:, None], 1.0, -1.0)

    def decision_function(self, X: Any) -> np.ndarray:
        """Signed distances: (n,) for two classes, (n, n_classes) for more."""
        outputs = self._outputs(X)  # type: ignore[attr-defined]
        return outputs[:, 0] if len(self.classes_) == 2 else outputs

    def predict(self, X: Any) -> np.ndarray:
        """(n,) predicted labels."""
        scores = self.decision_function(X)
        codes = (scores > 0).astype(int) if scores.ndim == 1 else scores.argmax(axis=1)
        return self.classes_[codes]


def make_oracle(bank: GramBank, learner: Learner, targets: np.ndarray, scales: np.ndarray) -> Oracle:
    """Cut generator for weights theta on the kernels scales_i K_i, summed over the rows of targets (k, n)."""

    def oracle(theta: np.ndarray) -> Cut:
        points = solve_all(learner, bank.combine(theta * scales), targets)
        return cut_from(points, scales * bank.quadratic_forms(stacked_duals(points)))

    return oracle


def stacked_duals(points: Sequence[DualPoint]) -> np.ndarray:
    """(n, k) dual directions, scaled so that the sum of v'K v is the sum of scale * v'K v."""
    return np.column_stack([np.sqrt(point.scale) * point.v for point in points])


def cut_from(points: Sequence[DualPoint], slopes: np.ndarray) -> Cut:
    """The cut of several outputs that share the kernel."""
    constant = sum(point.constant for point in points)
    return Cut(constant, slopes, sum(point.upper for point in points), list(points))


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
