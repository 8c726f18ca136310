"""Support vector machines that learn a kernel from a hyperkernel: Ong, Smola and Williamson, JMLR 2005."""

from typing import Any

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils.validation import validate_data

from kernelearn.errors import ArgumentError, DataError
from kernelearn.kernel_machines.estimators.base import (
    KernelClassifierMixin,
    KernelMachine,
    cut_from,
    stacked_duals,
)
from kernelearn.kernel_machines.estimators.convex_learner import check_target
from kernelearn.kernel_machines.estimators.parameters import check_choice, check_positive, check_range
from kernelearn.kernel_machines.kernels.hyperkernels import (
    HYPERKERNELS,
    PivotBank,
    distinct_pairs,
    incomplete_cholesky,
    make_hyperkernel,
    pair_similarities,
)
from kernelearn.kernel_machines.solvers import reference
from kernelearn.kernel_machines.solvers.learners import (
    LagrangianMargin,
    Learner,
    NuMargin,
    NuRegression,
    SoftMargin1,
    solve_all,
)
from kernelearn.kernel_machines.solvers.silp import Cut, Oracle, SilpResult, solve_silp

_EFFECTIVE_SHARE = 1e-4
_MEMORY_LIMIT = 4 * 2**30


class _HyperkernelMachine(KernelMachine):
    """Shared by the classifier and the regressor."""

    kernels = None

    def _check_parameters(self) -> None:
        check_choice("hyperkernel", self.hyperkernel, HYPERKERNELS)
        check_choice("weights", self.weights, ("learned", "fixed"))
        check_choice("solver", self.solver, ("silp", *reference.SOLVERS))
        check_range("lambda_h", self.lambda_h, 0.0, 1.0)
        for name in ("lambda_q", "C", "delta", "n_pivots", "tol", "max_iter"):
            check_positive(name, getattr(self, name))
        check_range("nu", self.nu, 0.0, 1.0)

    def _check_points(self, X: Any, y: Any) -> np.ndarray:
        if y is None:
            raise DataError("This estimator requires y to be passed, but the target y is None.")
        points = validate_data(self, X, dtype=np.float64, ensure_min_samples=2)
        if len(points) != len(np.asarray(y)):
            raise DataError(f"X has {len(points)} points and y has {len(np.asarray(y))} entries.")
        needed = 8 * len(points) ** 2 * (int(self.n_pivots) + points.shape[1])
        if needed > _MEMORY_LIMIT:
            raise ArgumentError(
                f"Hyperkernels on {len(points)} points need about {needed / 2**30:.1f} GiB: time and memory "
                "grow with the square of the points. Use fewer points or a smaller n_pivots."
            )
        return points

    def _fit_targets(self, points: np.ndarray, targets: np.ndarray, learner: Learner, total: float) -> None:
        """Learn weights that sum to `total` and the predictor."""
        bank = self._make_pivots(points)
        atoms = bank.grams() * total
        hyper_gram = bank.hyper_gram() * total**2
        penalty = self._penalty()
        oracle = regularised_oracle(atoms, hyper_gram, targets, learner, penalty)
        result = self._solve(oracle, atoms, hyper_gram, targets, penalty)
        self.X_fit_ = points
        self._set_solution(bank, result.weights * total, result.state)  # type: ignore[arg-type]
        self._set_progress(result)
        self.effective_pivots_ = int((result.weights > _EFFECTIVE_SHARE).sum())

    def _make_pivots(self, points: np.ndarray) -> PivotBank:
        hyper = make_hyperkernel(self.hyperkernel, self.lambda_h, self.widths, self.base_kernel, points)
        pairs = distinct_pairs(len(points))
        similarities = pair_similarities(hyper, points, pairs)
        if self.weights == "fixed":
            # The pair of equal points; see `fixed` in the documentation of the estimators.
            chosen, self.residual_ = np.array([0]), float(hyper.diagonal(similarities).max())
        else:
            chosen, self.residual_ = incomplete_cholesky(hyper, similarities, self.delta, int(self.n_pivots))
        self.pivots_ = pairs[chosen]
        return PivotBank(hyper, points, similarities[chosen])

    def _solve(
        self, oracle: Oracle, atoms: np.ndarray, hyper_gram: np.ndarray, targets: np.ndarray, penalty: float
    ) -> SilpResult:
        if self.solver == "silp":
            return solve_silp(oracle, len(atoms), tol=self.tol, max_iter=self.max_iter, verbose=self.verbose)
        found = reference.hyperkernel_program(
            atoms, hyper_gram, targets, self._program(len(atoms[0])), penalty, self.solver
        )
        cut = oracle(found.weights)
        lower = min(found.value, cut.upper)
        return SilpResult(found.weights, lower, cut.upper, cut.state, 1, True, [(lower, cut.upper)])

    def _penalty(self) -> float:
        return self.lambda_q

    def _program(self, m: int) -> reference.HyperProgram:
        raise NotImplementedError


def regularised_oracle(
    atoms: np.ndarray, hyper_gram: np.ndarray, targets: np.ndarray, learner: Learner, penalty: float
) -> Oracle:
    """Cuts of J(K(theta)) + penalty ||H^{1/2} theta|| / 2; the norm, which is not squared, by its tangent.

    Args:
        atoms: (p, m, m) kernels of the pivots.
        hyper_gram: (p, p) H.
        targets: (k, m).
    """

    def oracle(theta: np.ndarray) -> Cut:
        points = solve_all(learner, np.tensordot(theta, atoms, axes=1), targets)
        v = stacked_duals(points)
        support = np.flatnonzero(np.any(v != 0, axis=1))
        products = v[support] @ v[support].T
        slopes = np.einsum("pij,ij->p", atoms[:, support[:, None], support], products)
        image = hyper_gram @ theta
        norm = float(np.sqrt(max(theta @ image, 0.0)))
        tangent = image / norm if norm > 0 else np.zeros_like(image)
        cut = cut_from(points, slopes - 0.5 * penalty * tangent)
        return Cut(cut.constant, cut.slopes, cut.upper + 0.5 * penalty * norm, cut.state)

    return oracle


class HyperkernelClassifier(KernelClassifierMixin, _HyperkernelMachine):
    """Support vector classifier with the kernel k = sum_q beta_q hyperkernel(q, .) learnt over pairs q.

    Minimises over beta >= 0, sum(beta) = 1 the regularised risk plus lambda_q ||k|| / 2, the norm of the
    kernel in the hyper reproducing kernel Hilbert space.

    What to expect: for these hyperkernels with beta >= 0 the kernel of the pair of equal points dominates
        every
    other pivot in the semidefinite order, so the risk alone always puts all weight on it, and only lambda_q
    opposes. With the settings of the paper `effective_pivots_` is therefore 1 as a rule: the "learnt" kernel
    is the fixed kernel prod_j (1 - lambda_h) / (1 - lambda_h exp(-s_j (x_j - x'_j)^2)), which weights="fixed"
    uses at once. Compare with it.

    Args:
        hyperkernel: "harmonic" (over `base_kernel`), "gaussian" or "ard" (a width per feature).
        formulation: "c", "nu" or "lagrangian" SVM.
        lambda_h: 0 < lambda_h < 1, of the hyperkernel.
        lambda_q: > 0, weight of the norm of the kernel.
        C: of "c"; the ridge of "lagrangian" is n / C.
        nu: of "nu".
        widths: "auto" (1 / (50 q^2), q the 90 % quantile of the distances), a number, or one per feature
            ("ard").
        base_kernel: of "harmonic"; made 1 on the diagonal, and must not be negative.
        weights: "learned" or "fixed" (all on the pair of equal points: the baseline).
        delta: tolerance of the incomplete Cholesky factorisation that chooses the pivots.
        n_pivots: at most so many pivots.
        solver: "silp", or "cvxpy", "clarabel", "scs" (the semidefinite programmes, small problems).
        tol, max_iter, verbose: of "silp"; see `SemidefiniteKernelClassifier`.

    Attributes:
        pivots_: (p, 2) numbers of the training points of each pivot pair; kernel_weights_: (p,) beta.
        effective_pivots_: how many pivots carry more than 1e-4 of the weight.
        residual_: largest diagonal of the hyper-Gram matrix that the pivots do not explain.
        gap_, objective_, lower_bound_, dual_coef_, intercept_, classes_, n_iter_, history_.

    Source: Ong, Smola and Williamson, JMLR 2005, (12)-(14), (27)-(29).

    Example:
        >>> from sklearn.datasets import load_iris
        >>> X, y = load_iris(return_X_y=True)
        >>> model = HyperkernelClassifier(C=100.0, n_pivots=20).fit(X[50:], y[50:])
        >>> bool(model.score(X[50:], y[50:]) > 0.9), model.effective_pivots_
        (True, 1)
    """

    def __init__(
        self,
        hyperkernel: str = "ard",
        *,
        formulation: str = "c",
        lambda_h: float = 0.6,
        lambda_q: float = 1.0,
        C: float = 100.0,
        nu: float = 0.3,
        widths: Any = "auto",
        base_kernel: Any = "rbf",
        weights: str = "learned",
        delta: float = 1e-6,
        n_pivots: int = 100,
        solver: str = "silp",
        tol: float = 1e-3,
        max_iter: int = 300,
        verbose: int = 0,
    ) -> None:
        self.hyperkernel = hyperkernel
        self.formulation = formulation
        self.lambda_h = lambda_h
        self.lambda_q = lambda_q
        self.C = C
        self.nu = nu
        self.widths = widths
        self.base_kernel = base_kernel
        self.weights = weights
        self.delta = delta
        self.n_pivots = n_pivots
        self.solver = solver
        self.tol = tol
        self.max_iter = max_iter
        self.verbose = verbose

    def fit(self, X: Any, y: Any) -> "HyperkernelClassifier":
        """Learn the kernel and the classifier from X (n, d) and labels y (n,)."""
        check_choice("formulation", self.formulation, ("c", "nu", "lagrangian"))
        self._check_parameters()
        points = self._check_points(X, y)
        targets = self._encode_labels(y)
        self._fit_targets(points, targets, self._learner(len(points)), 1.0)
        return self

    def _learner(self, m: int) -> Learner:
        inner = min(1e-3, self.tol / 10)
        if self.formulation == "nu":
            return NuMargin(self.nu, inner)
        if self.formulation == "lagrangian":
            return LagrangianMargin(m / self.C)
        return SoftMargin1(self.C / m, 0.5, self.tol / 4)

    def _program(self, m: int) -> reference.HyperProgram:
        return reference.HyperProgram(self.formulation, self.C, self.nu, m / self.C)


class HyperkernelRegressor(RegressorMixin, _HyperkernelMachine):
    """nu support vector regression with a kernel learnt from a hyperkernel.

    As `HyperkernelClassifier`, with beta summing to the standard deviation of y and C = 1 / lambda of the
    paper; what is said there about `effective_pivots_` and weights="fixed" holds here too.

    Source: Ong, Smola and Williamson, JMLR 2005, (31).

    Example:
        >>> import numpy as np
        >>> X = np.linspace(-1, 1, 40).reshape(-1, 1)
        >>> model = HyperkernelRegressor(widths=3.0).fit(X, X[:, 0] ** 2)
        >>> bool(model.score(X, X[:, 0] ** 2) > 0.9)
        True
    """

    def __init__(
        self,
        hyperkernel: str = "ard",
        *,
        lambda_h: float = 0.6,
        lambda_q: float = 1.0,
        C: float = 1000.0,
        nu: float = 0.3,
        widths: Any = "auto",
        base_kernel: Any = "rbf",
        weights: str = "learned",
        delta: float = 1e-6,
        n_pivots: int = 100,
        solver: str = "silp",
        tol: float = 1e-3,
        max_iter: int = 300,
        verbose: int = 0,
    ) -> None:
        self.hyperkernel = hyperkernel
        self.lambda_h = lambda_h
        self.lambda_q = lambda_q
        self.C = C
        self.nu = nu
        self.widths = widths
        self.base_kernel = base_kernel
        self.weights = weights
        self.delta = delta
        self.n_pivots = n_pivots
        self.solver = solver
        self.tol = tol
        self.max_iter = max_iter
        self.verbose = verbose

    def fit(self, X: Any, y: Any) -> "HyperkernelRegressor":
        """Learn the kernel and the function from X (n, d) and y (n,)."""
        self._check_parameters()
        points = self._check_points(X, y)
        target = check_target(y)
        spread = float(target.std())
        learner = NuRegression(self.C, self.nu, min(1e-3, self.tol / 10))
        self._fit_targets(points, target[None, :], learner, spread if spread > 0 else 1.0)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """(n,) predicted values."""
        return self._outputs(X)[:, 0]

    def _penalty(self) -> float:
        return self.lambda_q * self.C

    def _program(self, m: int) -> reference.HyperProgram:
        return reference.HyperProgram("regression", self.C, self.nu)
