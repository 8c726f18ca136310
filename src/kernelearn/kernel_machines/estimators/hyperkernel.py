"""Support vector machines that learn a kernel from a hyperkernel: Ong, Smola and Williamson, JMLR 2005."""

from collections.abc import Mapping
from typing import ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import OutlierMixin, RegressorMixin

from kernelearn.errors import ArgumentError
from kernelearn.kernel_machines.estimators.base import KernelClassifierMixin, KernelMachine, Training
from kernelearn.kernel_machines.estimators.one_class import NoveltyMixin
from kernelearn.kernel_machines.estimators.parameters import (
    POSITIVE,
    SHARE,
    SOLVER_LIMITS,
    Choice,
    Constraint,
    Whole,
)
from kernelearn.kernel_machines.estimators.targets import RealTarget, check_target
from kernelearn.kernel_machines.estimators.weights import ClassWeight
from kernelearn.kernel_machines.kernels.functions import KernelLike
from kernelearn.kernel_machines.kernels.hyperkernels import (
    HYPERKERNELS,
    HyperkernelSettings,
    PivotBank,
    distinct_pairs,
    incomplete_cholesky,
    make_hyperkernel,
    pair_similarities,
)
from kernelearn.kernel_machines.solvers import reference
from kernelearn.kernel_machines.solvers.losses import LabelAlignment, NuRegression
from kernelearn.kernel_machines.solvers.margins import (
    LagrangianMargin,
    NuMargin,
    OneClassMargin,
    SoftMargin1,
)
from kernelearn.kernel_machines.solvers.master import Cut
from kernelearn.kernel_machines.solvers.points import (
    Learner,
    cut_from,
    solve_all,
    stacked_duals,
)
from kernelearn.kernel_machines.solvers.silp import Oracle, SilpResult

FORMULATIONS = ("c", "nu", "lagrangian", "alignment")
_EFFECTIVE_SHARE = 1e-4
_MEMORY_LIMIT = 4 * 2**30
_COMMON: dict[str, Constraint] = {
    "hyperkernel": Choice(HYPERKERNELS),
    "weights": Choice(("learned", "fixed")),
    "solver": Choice(("silp", *reference.SOLVERS)),
    "lambda_h": SHARE,
    "lambda_q": POSITIVE,
    "delta": POSITIVE,
    "n_pivots": Whole(1),
    **SOLVER_LIMITS,
}


class _HyperkernelMachine(KernelMachine):
    """Shared by the classifier, the regressor and the novelty detector."""

    hyperkernel: str
    lambda_h: float
    lambda_q: float
    widths: str | ArrayLike
    base_kernel: KernelLike
    series: str | ArrayLike
    weights: str
    delta: float
    n_pivots: int

    def _check_points(self, X: ArrayLike, y: ArrayLike | None, sample_weight: ArrayLike | None) -> Training:
        training = super()._check_points(X, y, sample_weight)
        n, d = training.points.shape
        needed = 8 * n**2 * (int(self.n_pivots) + d)
        if needed > _MEMORY_LIMIT:
            raise ArgumentError(
                f"Hyperkernels on {n} points need about {needed / 2**30:.1f} GiB: time and memory "
                "grow with the square of the points. Use fewer points or a smaller n_pivots."
            )
        return training

    def _learn(
        self,
        training: Training,
        targets: np.ndarray,
        learner: Learner,
        penalty: float,
        program: reference.HyperProgram,
    ) -> tuple[PivotBank, SilpResult]:
        """Weights that sum to one and the predictor, in the units of the targets."""
        bank = self._make_pivots(training)
        atoms, hyper_gram = bank.grams(), bank.hyper_gram()
        oracle = regularised_oracle(atoms, hyper_gram, targets, program.costs, learner, penalty)
        result = self._minimise(
            oracle,
            len(atoms),
            lambda: reference.hyperkernel_program(atoms, hyper_gram, targets, program, penalty, self.solver),
        )
        self.X_fit_ = training.points
        self.effective_pivots_ = int((result.weights > _EFFECTIVE_SHARE).sum())
        return bank, result

    def _make_pivots(self, training: Training) -> PivotBank:
        settings = HyperkernelSettings(
            self.hyperkernel, self.lambda_h, self.widths, self.base_kernel, self.series
        )
        points = training.points
        hyper = make_hyperkernel(settings, points, training.weights)
        pairs = distinct_pairs(len(points))
        similarities = pair_similarities(hyper, points, pairs)
        if self.weights == "fixed":
            # The pair of equal points; see `fixed` in the documentation of the estimators.
            chosen, self.residual_ = np.array([0]), float(hyper.diagonal(similarities).max())
        else:
            chosen, self.residual_ = incomplete_cholesky(hyper, similarities, self.delta, int(self.n_pivots))
        self.pivots_ = training.kept[pairs[chosen]]
        return PivotBank(hyper, points, similarities[chosen])


def regularised_oracle(
    atoms: np.ndarray,
    hyper_gram: np.ndarray,
    targets: np.ndarray,
    costs: np.ndarray,
    learner: Learner,
    penalty: float,
) -> Oracle:
    """Cuts of J(K(theta)) + penalty ||H^{1/2} theta|| / 2; the norm, which is not squared, by its tangent.

    Args:
        atoms: (p, m, m) kernels of the pivots.
        hyper_gram: (p, p) H.
        targets: (k, m). costs: (m,) of the points' losses.
    """

    def oracle(theta: np.ndarray, tol: float) -> Cut:
        points = solve_all(learner, np.tensordot(theta, atoms, axes=1), targets, costs, tol)
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

    What to expect: for these hyperkernels with beta >= 0 (as in the paper) the kernel of the pair of equal
    points dominates every other pivot in the semidefinite order: the risk alone always puts all weight on it,
    and only lambda_q opposes. With the settings of the paper `effective_pivots_` is 1 as a rule: the
    "learnt" kernel is the fixed kernel prod_j (1 - lambda_h) / (1 - lambda_h exp(-s_j (x_j - x'_j)^2)), which
    weights="fixed" uses at once. Compare with it.

    Args:
        hyperkernel: "harmonic" (over `base_kernel`), "gaussian", "ard" (a width per feature) or "power" (the
            power series `series` over `base_kernel`).
        formulation: "c", "nu" or "lagrangian" SVM, or "alignment": the kernel is the one that is best aligned
            with the labels, and a C-SVM is then trained on it.
        lambda_h: 0 < lambda_h < 1, of the harmonic hyperkernels.
        lambda_q: > 0, weight of the norm of the kernel.
        C: > 0, the factor of every loss, as in scikit-learn's SVC: 1 / (lambda m) of the paper, whose (27)
            writes C / m and so has 100 m where this has 100. The ridge of "lagrangian" is 1 / C.
        nu: of "nu".
        class_weight: None, "balanced", or a dict from label to the factor of its losses.
        widths: "auto" (1 / (50 q^2), q the 90 % quantile of the distances), a number, or one per feature
            ("ard").
        base_kernel: of "harmonic" and "power"; made 1 on the diagonal, and must not be negative.
        series: of "power": "exponential", or coefficients c_0, c_1, ... >= 0; they are made to sum to one.
        weights: "learned" or "fixed" (all on the pair of equal points: the baseline).
        delta: tolerance of the incomplete Cholesky factorisation that chooses the pivots; also what
            "alignment" adds to the diagonal of the kernel, which is known no better.
        n_pivots: at most so many pivots.
        solver: "silp", or "cvxpy", "clarabel", "scs" (the semidefinite programmes, small problems).
        tol, max_iter, verbose: of "silp"; see `SemidefiniteKernelClassifier`.

    Attributes:
        pivots_: (p, 2) numbers of the training points of each pivot pair; kernel_weights_: (p,) beta.
        effective_pivots_: how many pivots carry more than 1e-4 of the weight.
        residual_: largest diagonal of the hyper-Gram matrix that the pivots do not explain.
        gap_, objective_, lower_bound_, dual_coef_, intercept_, classes_, n_iter_, history_.

    Source: Ong, Smola and Williamson, JMLR 2005, (11)-(14), (27)-(29), (32).

    Example:
        >>> from sklearn.datasets import load_iris
        >>> X, y = load_iris(return_X_y=True)
        >>> model = HyperkernelClassifier(n_pivots=20).fit(X[50:], y[50:])
        >>> bool(model.score(X[50:], y[50:]) > 0.9), model.effective_pivots_
        (True, 1)
    """

    _constraints: ClassVar[Mapping[str, Constraint]] = {
        "formulation": Choice(FORMULATIONS),
        "C": POSITIVE,
        "nu": SHARE,
        **_COMMON,
    }

    def __init__(
        self,
        hyperkernel: str = "ard",
        *,
        formulation: str = "c",
        lambda_h: float = 0.6,
        lambda_q: float = 1.0,
        C: float = 100.0,
        nu: float = 0.3,
        class_weight: ClassWeight = None,
        widths: str | ArrayLike = "auto",
        base_kernel: KernelLike = "rbf",
        series: str | ArrayLike = "exponential",
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
        self.class_weight = class_weight
        self.widths = widths
        self.base_kernel = base_kernel
        self.series = series
        self.weights = weights
        self.delta = delta
        self.n_pivots = n_pivots
        self.solver = solver
        self.tol = tol
        self.max_iter = max_iter
        self.verbose = verbose

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Learn the kernel and the classifier from X (n, d) and labels y (n,).

        sample_weight: (n,) how often each point counts; points with 0 are left out.
        """
        self._check_parameters()
        training = self._check_points(X, y, sample_weight)
        targets, costs = self._check_labels(y, training)
        program = reference.HyperProgram(self.formulation, costs, self.C, self.nu, self.delta)
        bank, result = self._learn(training, targets, self._learner(), self.lambda_q, program)
        points = result.state
        if self.formulation == "alignment":
            gram = np.tensordot(result.weights, bank.grams(), axes=1)
            points = solve_all(SoftMargin1(self.C, 0.5), gram, targets, costs, self.tol / 4)
        self._set_solution(bank, result.weights, points)
        self._set_progress(result)
        return self

    def _learner(self) -> Learner:
        learners: dict[str, Learner] = {
            "c": SoftMargin1(self.C, 0.5),
            "nu": NuMargin(self.nu),
            "lagrangian": LagrangianMargin(1.0 / self.C),
            "alignment": LabelAlignment(self.delta),
        }
        return learners[self.formulation]


class HyperkernelRegressor(RegressorMixin, _HyperkernelMachine):
    """nu support vector regression with a kernel learnt from a hyperkernel.

    As `HyperkernelClassifier`, with beta summing to the standard deviation of y. C is the factor of every
    loss, 1 / (lambda m) of the paper; what is said there about `effective_pivots_` and weights="fixed" holds
    here too.

    Source: Ong, Smola and Williamson, JMLR 2005, (31).

    Example:
        >>> import numpy as np
        >>> X = np.linspace(-1, 1, 40).reshape(-1, 1)
        >>> model = HyperkernelRegressor(widths=3.0).fit(X, X[:, 0] ** 2)
        >>> bool(model.score(X, X[:, 0] ** 2) > 0.9)
        True
    """

    _constraints: ClassVar[Mapping[str, Constraint]] = {"C": POSITIVE, "nu": SHARE, **_COMMON}

    def __init__(
        self,
        hyperkernel: str = "ard",
        *,
        lambda_h: float = 0.6,
        lambda_q: float = 1.0,
        C: float = 100.0,
        nu: float = 0.3,
        widths: str | ArrayLike = "auto",
        base_kernel: KernelLike = "rbf",
        series: str | ArrayLike = "exponential",
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
        self.series = series
        self.weights = weights
        self.delta = delta
        self.n_pivots = n_pivots
        self.solver = solver
        self.tol = tol
        self.max_iter = max_iter
        self.verbose = verbose

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Learn the kernel and the function from X (n, d) and y (n,).

        sample_weight: (n,) how often each point counts; points with 0 are left out.
        """
        self._check_parameters()
        training = self._check_points(X, y, sample_weight)
        # In units of the spread the weights sum to one, and everything of (31) is in proportion to it.
        target = RealTarget.of(check_target(y)[training.kept], training.weights, has_intercept=True)
        learner = NuRegression(self.C, self.nu)
        program = reference.HyperProgram("regression", training.weights, self.C, self.nu)
        penalty = self.lambda_q * self.C * float(training.weights.sum())
        bank, result = self._learn(training, target.values[None, :], learner, penalty, program)
        # The kernel grows with the spread, and the coefficients do not.
        points = [target.shifted(point) for point in result.state]
        self._set_solution(bank, result.weights * target.unit, points)
        self._set_progress(result.in_units(target.unit))
        return self

    def predict(self, X: ArrayLike) -> np.ndarray:
        """(n,) predicted values."""
        return self._outputs(X)[:, 0]


class HyperkernelOneClass(NoveltyMixin, OutlierMixin, _HyperkernelMachine):
    """Novelty detection with a kernel learnt from a hyperkernel: the single-class SVM.

    As `HyperkernelClassifier`, without labels: at most a share nu of the training points lies outside. The
    norm of the kernel weighs lambda_q / nu.

    Args:
        nu: in (0, 1), an upper bound of the share of outliers and a lower bound of that of support vectors.
        hyperkernel, lambda_h, lambda_q, widths, base_kernel, series, weights, delta, n_pivots, solver, tol,
        max_iter, verbose: see `HyperkernelClassifier`.

    Attributes:
        offset_: decision_function = score_samples - offset_.
        pivots_, kernel_weights_, effective_pivots_, residual_, gap_, objective_, lower_bound_,
        dual_coef_ (1, n), intercept_ (1,), n_iter_, history_.

    Source: Ong, Smola and Williamson, JMLR 2005, (30).

    Example:
        >>> import numpy as np
        >>> X = np.random.default_rng(0).normal(size=(60, 2))
        >>> model = HyperkernelOneClass(nu=0.1).fit(X)
        >>> model.predict([[0.0, 0.0], [9.0, 9.0]]).tolist()
        [1, -1]
    """

    _constraints: ClassVar[Mapping[str, Constraint]] = {"nu": SHARE, **_COMMON}

    def __init__(
        self,
        hyperkernel: str = "ard",
        *,
        nu: float = 0.3,
        lambda_h: float = 0.6,
        lambda_q: float = 1.0,
        widths: str | ArrayLike = "auto",
        base_kernel: KernelLike = "rbf",
        series: str | ArrayLike = "exponential",
        weights: str = "learned",
        delta: float = 1e-6,
        n_pivots: int = 100,
        solver: str = "silp",
        tol: float = 1e-3,
        max_iter: int = 300,
        verbose: int = 0,
    ) -> None:
        self.hyperkernel = hyperkernel
        self.nu = nu
        self.lambda_h = lambda_h
        self.lambda_q = lambda_q
        self.widths = widths
        self.base_kernel = base_kernel
        self.series = series
        self.weights = weights
        self.delta = delta
        self.n_pivots = n_pivots
        self.solver = solver
        self.tol = tol
        self.max_iter = max_iter
        self.verbose = verbose

    def fit(self, X: ArrayLike, y: ArrayLike | None = None, sample_weight: ArrayLike | None = None) -> Self:
        """Learn the kernel and where the points lie from X (n, d); y is not used.

        sample_weight: (n,) how often each point counts; points with 0 are left out.
        """
        self._check_parameters()
        training = self._check_points(X, None, sample_weight)
        program = reference.HyperProgram("one_class", training.weights, nu=self.nu)
        nothing = np.zeros((1, len(training.points)))
        learner = OneClassMargin(self.nu)
        bank, result = self._learn(training, nothing, learner, self.lambda_q / self.nu, program)
        self._set_solution(bank, result.weights, result.state)
        self._set_progress(result)
        return self
