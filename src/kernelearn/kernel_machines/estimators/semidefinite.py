"""Learning the kernel matrix by semidefinite programming: the estimator of Lanckriet et al., JMLR 2004."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.validation import validate_data

from kernelearn.errors import ArgumentError
from kernelearn.kernel_machines.estimators.base import (
    KernelClassifierMixin,
    KernelMachine,
    Training,
    make_oracle,
)
from kernelearn.kernel_machines.estimators.parameters import (
    POSITIVE,
    SOLVER_LIMITS,
    Choice,
    Constraint,
    OrNone,
)
from kernelearn.kernel_machines.estimators.weights import ClassWeight
from kernelearn.kernel_machines.kernels.functions import KernelLike, Seed
from kernelearn.kernel_machines.kernels.grams import GramBank
from kernelearn.kernel_machines.solvers import reference
from kernelearn.kernel_machines.solvers.alignment import solve_nonnegative, solve_signed_alignment
from kernelearn.kernel_machines.solvers.margins import HardMargin, SoftMargin1, SoftMargin2
from kernelearn.kernel_machines.solvers.master import Cut
from kernelearn.kernel_machines.solvers.points import (
    Learner,
    check_separable,
    cut_from,
    solve_all,
    stacked_duals,
)
from kernelearn.kernel_machines.solvers.signed import PsdCone, solve_signed
from kernelearn.kernel_machines.solvers.silp import Oracle, SilpResult

CRITERIA = ("hard", "soft1", "soft2", "alignment")


@dataclass
class _Problem:
    """One fit, in units in which the learnt kernel has trace n_all.

    targets: (k, n). costs: (n,) factors of the losses. weights: (n,) how often each point counts.
    scales: n_all / r_i, from theta to weights of the kernels in these units.
    unit: of the kernel, budget / n_all. n_all: number of all points, test points included.
    """

    bank: GramBank
    targets: np.ndarray
    costs: np.ndarray
    weights: np.ndarray
    scales: np.ndarray
    unit: float
    n_all: float
    all_bank: GramBank | None

    def atoms(self) -> np.ndarray:
        return np.asarray(self.bank.grams() * self.scales[:, None, None])

    def all_atoms(self) -> np.ndarray:
        bank = self.all_bank or self.bank
        return np.asarray(bank.grams() * self.scales[:, None, None])


class SemidefiniteKernelClassifier(KernelClassifierMixin, KernelMachine):
    """Support vector classifier whose kernel K = sum_i mu_i K_i is learnt together with it.

    Minimises over the weights the criterion w(K) = max_a 2a'1 - a'(Y K Y + tau I) a, 0 <= a <= C, a'y = 0,
    under sum_i mu_i tr(K_i) = trace; a convex problem with a certified duality gap.

    Args:
        kernels: names, callables, `Kernel`, precomputed matrices (X is then a column of point numbers),
            banks, or "precomputed" (X is then one kernel matrix or a list of them); None for
            `default_bank()`.
        criterion: "hard", "soft1" (1-norm), "soft2" (2-norm) or "alignment" (kernel-target alignment; an SVM
            with `C` is then trained on the result).
        weights: "nonnegative" (the QCQP) or "signed" (the SDP: K must be semidefinite over all points).
        C: soft margin constant, > 0.
        class_weight: None, "balanced", or a dict from label to the factor of its losses, as scikit-learn's
            SVC.
        learn_tau: with "soft2": learn tau = 1/C from the same trace budget; `C` is then not used.
        trace: budget c; None for the sum of the traces (with learn_tau also that of I), so that equal weights
            are all 1.
        weight_bound: with "signed": |mu_i tr(K_i)| <= weight_bound * c. Nearly collinear kernels need it.
        solver: "silp" (cutting planes over libsvm), or "cvxpy", "clarabel", "scs" for small problems.
        normalize: "cosine" (k(x,x) = 1), "trace", None, or "auto": cosine except for kernels="precomputed".
        storage: "auto", "float64", "float32", "on_the_fly" or "nystroem"; see `GramBank`.
        n_components: landmarks of "nystroem".
        tol: relative duality gap at which to stop.
        max_iter: limit of cutting-plane iterations.
        verbose: print both bounds every `verbose` iterations.
        random_state: of the Nystroem landmarks.

    Attributes:
        kernel_weights_: (m,) mu_i on the normalised kernels.
        tau_: learnt ridge, 0 when not learnt.
        gap_, lower_bound_, objective_: relative duality gap and both bounds on the optimal w (for alignment:
            of the negated alignment). The tables of the paper print half of w.
        dual_coef_: (k, n) y_i a_i; intercept_: (k,); k = 1 for two classes, else one per class, all on one
            kernel.
        kernel_names_, classes_, n_iter_, history_ (list of both bounds).

    Raises: DataError for one class or, with "hard", classes that no combination separates; ArgumentError for
        a kernel that is not positive semidefinite.

    Example:
        >>> from sklearn.datasets import load_iris
        >>> X, y = load_iris(return_X_y=True)
        >>> model = SemidefiniteKernelClassifier(kernels=["rbf", "linear"]).fit(X, y)
        >>> model.kernel_weights_.shape, bool(model.gap_ <= 1e-3)
        ((2,), True)
    """

    _constraints: ClassVar[Mapping[str, Constraint]] = {
        "criterion": Choice(CRITERIA),
        "weights": Choice(("nonnegative", "signed")),
        "solver": Choice(("silp", *reference.SOLVERS)),
        "C": POSITIVE,
        "weight_bound": POSITIVE,
        "trace": OrNone(POSITIVE),
        **SOLVER_LIMITS,
    }

    def __init__(
        self,
        kernels: KernelLike = None,
        *,
        criterion: str = "soft1",
        weights: str = "nonnegative",
        C: float = 1.0,
        class_weight: ClassWeight = None,
        learn_tau: bool = False,
        trace: float | None = None,
        weight_bound: float = 1000.0,
        solver: str = "silp",
        normalize: str | None = "auto",
        storage: str = "auto",
        n_components: int = 300,
        tol: float = 1e-3,
        max_iter: int = 300,
        verbose: int = 0,
        random_state: Seed = None,
    ) -> None:
        self.kernels = kernels
        self.criterion = criterion
        self.weights = weights
        self.C = C
        self.class_weight = class_weight
        self.learn_tau = learn_tau
        self.trace = trace
        self.weight_bound = weight_bound
        self.solver = solver
        self.normalize = normalize
        self.storage = storage
        self.n_components = n_components
        self.tol = tol
        self.max_iter = max_iter
        self.verbose = verbose
        self.random_state = random_state

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        X_test: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Learn the weights and the classifier.

        Args:
            X: (n, d) training points (or point numbers, or kernel matrices; see `kernels`).
            y: (n,) labels.
            X_test: (n_test, d) points to be labelled: transduction. Their kernel values enter the trace
                budget, and with signed weights the condition that K be semidefinite. Signed weights can be
                used on training and test points only: for other points they define no kernel.
            sample_weight: (n,) how often each point counts; points with 0 are left out.
        Returns: self.
        """
        self._check_parameters()
        training = self._check_training(X, y, sample_weight)
        targets, costs = self._check_labels(y, training)
        problem = self._pose(training, targets, costs, self._check_test(X_test))
        result = self._solve(problem)
        self._finish(problem, result)
        return self

    def _check_parameters(self) -> None:
        super()._check_parameters()
        if self.learn_tau and self.criterion != "soft2":
            raise ArgumentError(
                "learn_tau=True learns the parameter of the 2-norm soft margin and needs criterion='soft2', "
                f"got {self.criterion!r}."
            )
        if self.criterion == "hard" and self.class_weight is not None:
            raise ArgumentError(
                "class_weight has no effect on criterion='hard', which allows no losses to be weighed. "
                "Leave it None, or use criterion='soft1' or 'soft2'."
            )

    def _check_test(self, X_test: ArrayLike | None) -> np.ndarray | None:
        if X_test is None:
            return None
        if self._takes_matrices():
            raise ArgumentError(
                "Transduction needs kernel values between test points, which kernels='precomputed' does not "
                "give. Pass kernels=[K1, K2, ...] over all points, and point numbers as X and X_test."
            )
        return np.asarray(validate_data(self, X_test, dtype=np.float64, reset=False))

    def _pose(
        self, training: Training, targets: np.ndarray, costs: np.ndarray, test: np.ndarray | None
    ) -> _Problem:
        is_signed = self.weights == "signed"
        bank = self._make_bank(training, signed=is_signed)
        traces = bank.traces()
        all_bank = None
        self._seen = training.points
        n_all = float(training.weights.sum())
        if test is not None:
            traces = traces + bank.extra_traces(test)
            self._seen = np.vstack([training.points, test])
            n_all += len(test)
            if is_signed:
                all_bank = self._bank_of_all(bank, training, self._seen)
        default = float(traces.sum()) + (n_all if self.learn_tau else 0.0)
        budget = default if self.trace is None else float(self.trace)
        scales = np.where(traces > 0, n_all / np.where(traces > 0, traces, 1.0), 0.0)
        unit = (budget or 1.0) / n_all
        return _Problem(bank, targets, costs, training.weights, scales, unit, n_all, all_bank)

    def _bank_of_all(self, bank: GramBank, training: Training, every: np.ndarray) -> GramBank:
        """Training and test points under the same kernels: normalised by the training points alone."""
        counts = np.concatenate([training.weights, np.zeros(len(every) - len(training.weights))])
        normalize = bank.kernels[0].normalize
        return GramBank(training.kernels, every, normalize, bank.storage, self.n_components, 0, counts)

    def _learner(self, unit: float) -> Learner:
        if self.criterion == "hard":
            return HardMargin()
        if self.criterion == "soft2":
            return SoftMargin2(self.C * unit)
        return SoftMargin1(self.C * unit)

    def _solve(self, problem: _Problem) -> SilpResult:
        if self.criterion == "alignment":
            return self._solve_alignment(problem)
        oracle = self._oracle(problem)
        if self.weights == "signed" and self.solver == "silp":
            cone = PsdCone(problem.all_atoms(), int(self.learn_tau))
            return solve_signed(
                oracle,
                cone,
                bound=self.weight_bound,
                tol=self.tol,
                max_iter=self.max_iter,
                verbose=self.verbose,
            )
        n_weights = len(problem.scales) + int(self.learn_tau)
        return self._minimise(oracle, n_weights, lambda: self._program(problem))

    def _oracle(self, problem: _Problem) -> Oracle:
        if self.learn_tau:
            return _ridge_oracle(problem)
        learner = self._learner(problem.unit)
        return make_oracle(problem.bank, learner, problem.targets, problem.costs, problem.scales)

    def _program(self, problem: _Problem) -> reference.ReferenceResult:
        C = self.C * problem.unit
        margin = reference.MarginProgram(
            limit=C * problem.costs if self.criterion == "soft1" else None,
            ridge=1.0 / (C * problem.costs) if self.criterion == "soft2" and not self.learn_tau else None,
            ridge_atom=1.0 / problem.costs if self.learn_tau else None,
        )
        if self.weights == "signed":
            atoms, all_atoms = problem.atoms(), problem.all_atoms()
            bound = self.weight_bound
            return reference.margin_sdp(atoms, all_atoms, problem.targets, margin, bound, self.solver)
        return reference.margin_qcqp(problem.atoms(), problem.targets, margin, self.solver)

    def _solve_alignment(self, problem: _Problem) -> SilpResult:
        scales, weighted = problem.scales, problem.targets * problem.weights
        forms = problem.bank.quadratic_forms(weighted.T)
        products = problem.bank.inner_products() * np.outer(scales, scales)
        ideal_norm = float(np.linalg.norm(problem.targets @ weighted.T))
        arguments = (products, scales * forms, ideal_norm)
        is_signed = self.weights == "signed"
        if self.solver != "silp":
            atoms = problem.all_atoms() if is_signed else None
            found = reference.alignment_program(*arguments, atoms, self.solver)
            return SilpResult(found.weights, -found.value, -found.value, None, 1, True, [])
        if not is_signed:
            return solve_nonnegative(*arguments)
        cone = PsdCone(problem.all_atoms())
        return solve_signed_alignment(
            *arguments, cone, bound=self.weight_bound, tol=self.tol, max_iter=self.max_iter
        )

    def _finish(self, problem: _Problem, result: SilpResult) -> None:
        check_separable(result.upper)
        m, unit = len(problem.scales), problem.unit
        mu = result.weights[:m] * problem.scales
        points = result.state
        if points is None:
            gram = problem.bank.combine(mu)
            points = solve_all(SoftMargin1(self.C * unit), gram, problem.targets, problem.costs)
        self.tau_ = float(result.weights[m]) * unit if self.learn_tau else 0.0
        points = [replace(point, dual_coef=point.dual_coef / unit) for point in points]
        self._set_solution(problem.bank, mu * unit, points)
        self._set_progress(result if self.criterion == "alignment" else result.in_units(1.0 / unit))
        if self.weights == "signed":
            _warn_bound(result.weights[:m], self.weight_bound)

    def _outputs(self, X: ArrayLike) -> np.ndarray:
        outputs = super()._outputs(X)
        if self.weights == "signed" and not self._takes_matrices():
            _check_seen(np.asarray(X, dtype=np.float64), self._seen)
        return outputs


def _ridge_oracle(problem: _Problem) -> Oracle:
    """Cuts of the 2-norm margin whose ridge is one more weight of the trace budget: theta ends with it."""
    per_point = 1.0 / problem.costs

    def oracle(theta: np.ndarray, tol: float) -> Cut:
        gram = problem.bank.combine(theta[:-1] * problem.scales)
        ridge = float(theta[-1])
        if ridge > 0.0:
            points = solve_all(SoftMargin2(1.0 / ridge), gram, problem.targets, problem.costs, tol)
        else:
            points = solve_all(HardMargin(), gram, problem.targets, problem.costs, tol)
        v = stacked_duals(points)
        squares = float((per_point[:, None] * v**2).sum())
        slopes = problem.scales * problem.bank.quadratic_forms(v)
        cut = cut_from(points, np.append(slopes, squares))
        # The margin with a ridge has already taken ridge * squares off its constant.
        return replace(cut, constant=cut.constant + ridge * squares)

    return oracle


def _warn_bound(theta: np.ndarray, bound: float) -> None:
    if np.abs(theta).max() > 0.99 * bound:
        warnings.warn(
            f"A signed weight reached weight_bound={bound:g}: the problem is ill-posed and the bound decides "
            "the answer. Use fewer or less similar kernels, or a smaller bound.",
            UserWarning,
            stacklevel=3,
        )


def _check_seen(X: np.ndarray, seen: np.ndarray) -> None:
    known = {row.tobytes() for row in _rows(seen)}
    unknown = sum(row.tobytes() not in known for row in _rows(X))
    if unknown:
        raise ArgumentError(
            f"{unknown} of {len(X)} points were not given to fit. Signed weights keep K semidefinite only "
            "over the points of fit(X, y, X_test=...): pass the points to be labelled there, or use "
            "weights='nonnegative'."
        )


def _rows(X: np.ndarray) -> np.ndarray:
    """The rows so that equal numbers have equal bytes: -0.0 becomes 0.0."""
    return np.ascontiguousarray(X + 0.0)
