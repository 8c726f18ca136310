"""Learning the kernel matrix by semidefinite programming: the estimator of Lanckriet et al., JMLR 2004."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from kernelearn.errors import ArgumentError
from kernelearn.kernel_machines.estimators.base import (
    KernelClassifierMixin,
    KernelMachine,
    cut_from,
    make_oracle,
    stacked_duals,
)
from kernelearn.kernel_machines.estimators.parameters import check_choice, check_positive
from kernelearn.kernel_machines.kernels.grams import GramBank
from kernelearn.kernel_machines.solvers import reference
from kernelearn.kernel_machines.solvers.alignment import solve_nonnegative, solve_signed_alignment
from kernelearn.kernel_machines.solvers.learners import (
    HardMargin,
    Learner,
    SoftMargin1,
    SoftMargin2,
    check_separable,
    solve_all,
)
from kernelearn.kernel_machines.solvers.signed import PsdCone, solve_signed
from kernelearn.kernel_machines.solvers.silp import Cut, Oracle, SilpResult, solve_silp

CRITERIA = ("hard", "soft1", "soft2", "alignment")


@dataclass
class _Problem:
    """One fit: banks, targets (k, n), scales c / r_i from theta to mu, and the number of all points."""

    bank: GramBank
    targets: np.ndarray
    scales: np.ndarray
    budget: float
    n_all: int
    all_bank: GramBank | None

    def atoms(self) -> np.ndarray:
        return self.bank.grams() * self.scales[:, None, None]

    def all_atoms(self) -> np.ndarray:
        bank = self.all_bank or self.bank
        traces = bank.traces()
        return bank.grams() * (self.budget / np.where(traces > 0, traces, np.inf))[:, None, None]


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

    def __init__(
        self,
        kernels: Any = None,
        *,
        criterion: str = "soft1",
        weights: str = "nonnegative",
        C: float = 1.0,
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
        random_state: Any = None,
    ) -> None:
        self.kernels = kernels
        self.criterion = criterion
        self.weights = weights
        self.C = C
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

    def fit(self, X: Any, y: Any, X_test: Any = None) -> "SemidefiniteKernelClassifier":
        """Learn the weights and the classifier.

        Args:
            X: (n, d) training points (or point numbers, or kernel matrices; see `kernels`).
            y: (n,) labels.
            X_test: (n_test, d) points to be labelled: transduction. Their kernel values enter the trace
                budget, and with signed weights the condition that K be semidefinite. Signed weights can be
                used on training and test points only: for other points they define no kernel.
        Returns: self.
        """
        self._check_parameters()
        points, kernels = self._check_training(X, y)
        targets = self._encode_labels(y)
        problem = self._pose(points, kernels, targets, self._check_test(X_test))
        result = self._solve(problem)
        self._finish(problem, result)
        return self

    def _check_parameters(self) -> None:
        check_choice("criterion", self.criterion, CRITERIA)
        check_choice("weights", self.weights, ("nonnegative", "signed"))
        check_choice("solver", self.solver, ("silp", *reference.SOLVERS))
        for name in ("C", "weight_bound", "tol", "max_iter"):
            check_positive(name, getattr(self, name))
        if self.trace is not None:
            check_positive("trace", self.trace)
        if self.learn_tau and self.criterion != "soft2":
            raise ArgumentError(
                "learn_tau=True learns the parameter of the 2-norm soft margin and needs criterion='soft2', "
                f"got {self.criterion!r}."
            )

    def _check_test(self, X_test: Any) -> np.ndarray | None:
        if X_test is None:
            return None
        if self._takes_matrices():
            raise ArgumentError(
                "Transduction needs kernel values between test points, which kernels='precomputed' does not "
                "give. Pass kernels=[K1, K2, ...] over all points, and point numbers as X and X_test."
            )
        from sklearn.utils.validation import validate_data

        return validate_data(self, X_test, dtype=np.float64, reset=False)

    def _pose(
        self, points: np.ndarray, kernels: list, targets: np.ndarray, test: np.ndarray | None
    ) -> _Problem:
        is_signed = self.weights == "signed"
        bank = self._make_bank(points, kernels, signed=is_signed)
        traces = bank.traces()
        all_bank = None
        if test is not None:
            traces = traces + bank.extra_traces(test)
            if is_signed:
                every = np.vstack([points, test])
                all_bank = GramBank(
                    kernels, every, bank.kernels[0].normalize, bank.storage, self.n_components, 0
                )
        self._seen = np.vstack([points, test]) if test is not None else points
        n_all = len(self._seen)
        default = float(traces.sum()) + (n_all if self.learn_tau else 0.0)
        budget = default if self.trace is None else float(self.trace)
        scales = np.where(traces > 0, budget / np.where(traces > 0, traces, 1.0), 0.0)
        return _Problem(bank, targets, scales, budget, n_all, all_bank)

    def _learner(self) -> Learner:
        # libsvm's tolerance is on the optimality conditions; a tenth of ours leaves its error out of the gap.
        inner = min(1e-3, self.tol / 10)
        if self.criterion == "hard" or self.learn_tau:
            return HardMargin(inner)
        if self.criterion == "soft2":
            return SoftMargin2(self.C, inner)
        return SoftMargin1(self.C, tol=self.tol / 4)

    def _solve(self, problem: _Problem) -> SilpResult:
        if self.criterion == "alignment":
            return self._solve_alignment(problem)
        oracle = self._oracle(problem)
        if self.solver != "silp":
            return self._solve_reference(problem, oracle)
        settings: dict[str, Any] = {"tol": self.tol, "max_iter": self.max_iter, "verbose": self.verbose}
        if self.weights == "signed":
            cone = PsdCone(problem.all_atoms(), int(self.learn_tau))
            return solve_signed(oracle, cone, bound=self.weight_bound, **settings)
        return solve_silp(oracle, len(problem.scales) + int(self.learn_tau), **settings)

    def _oracle(self, problem: _Problem) -> Oracle:
        learner = self._learner()
        if not self.learn_tau:
            return make_oracle(problem.bank, learner, problem.targets, problem.scales)
        unit = problem.budget / problem.n_all

        def with_ridge(theta: np.ndarray) -> Cut:
            gram = problem.bank.combine(theta[:-1] * problem.scales)
            gram.flat[:: len(gram) + 1] += theta[-1] * unit
            points = solve_all(learner, gram, problem.targets)
            v = stacked_duals(points)
            slopes = problem.scales * problem.bank.quadratic_forms(v)
            return cut_from(points, np.append(slopes, unit * float(np.vdot(v, v))))

        return with_ridge

    def _solve_reference(self, problem: _Problem, oracle: Oracle) -> SilpResult:
        C = self.C if self.criterion == "soft1" else np.inf
        ridge = 1.0 / self.C if self.criterion == "soft2" and not self.learn_tau else 0.0
        ridge_atom = problem.budget / problem.n_all if self.learn_tau else None
        common: dict[str, Any] = {"C": C, "ridge": ridge, "ridge_atom": ridge_atom, "solver": self.solver}
        if self.weights == "signed":
            found = reference.margin_sdp(
                problem.atoms(), problem.all_atoms(), problem.targets, bound=self.weight_bound, **common
            )
        else:
            found = reference.margin_qcqp(problem.atoms(), problem.targets, **common)
        cut = oracle(found.weights)
        lower = min(found.value, cut.upper)
        return SilpResult(found.weights, lower, cut.upper, cut.state, 1, True, [(lower, cut.upper)])

    def _solve_alignment(self, problem: _Problem) -> SilpResult:
        scales = problem.scales
        forms = problem.bank.quadratic_forms(problem.targets.T)
        products = problem.bank.inner_products() * np.outer(scales, scales)
        ideal_norm = float(np.linalg.norm(problem.targets @ problem.targets.T))
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
        m = len(problem.scales)
        mu = result.weights[:m] * problem.scales
        states = result.state
        if states is None:
            states = solve_all(SoftMargin1(self.C), problem.bank.combine(mu), problem.targets)
        self.tau_ = float(result.weights[m]) * problem.budget / problem.n_all if self.learn_tau else 0.0
        self._set_solution(problem.bank, mu, states)
        self._set_progress(result)
        if self.weights == "signed":
            _warn_bound(result.weights[:m], self.weight_bound)

    def _outputs(self, X: Any) -> np.ndarray:
        outputs = super()._outputs(X)
        if self.weights == "signed" and not self._takes_matrices():
            _check_seen(np.asarray(X, dtype=np.float64), self._seen)
        return outputs


def _warn_bound(theta: np.ndarray, bound: float) -> None:
    import warnings

    if np.abs(theta).max() > 0.99 * bound:
        warnings.warn(
            f"A signed weight reached weight_bound={bound:g}: the problem is ill-posed and the bound decides "
            "the answer. Use fewer or less similar kernels, or a smaller bound.",
            UserWarning,
            stacklevel=3,
        )


def _check_seen(X: np.ndarray, seen: np.ndarray) -> None:
    known = {row.tobytes() for row in np.ascontiguousarray(seen)}
    unknown = sum(row.tobytes() not in known for row in np.ascontiguousarray(X))
    if unknown:
        raise ArgumentError(
            f"{unknown} of {len(X)} points were not given to fit. Signed weights keep K semidefinite only "
            "over the points of fit(X, y, X_test=...): pass the points to be labelled there, or use "
            "weights='nonnegative'."
        )
