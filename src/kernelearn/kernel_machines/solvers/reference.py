"""The same problems written for CVXPY: slow, for small n, and what the tests compare the solvers with.

Every function takes kernels as "atoms": (m, n, n) Gram matrices scaled so that the weights theta sum to one.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import numpy as np

from kernelearn._optional import require
from kernelearn.errors import ArgumentError
from kernelearn.kernel_machines.solvers.progress import warn_not_converged
from kernelearn.kernel_machines.solvers.silp import Oracle, SilpResult

# Terms and problems of CVXPY, whose operators have no types.
Expression = Any
SOLVERS = {"cvxpy": None, "clarabel": "CLARABEL", "scs": "SCS"}


@dataclass(frozen=True)
class ReferenceResult:
    """Weights theta (m,) or (m + 1,) with the learnt ridge last, and the optimal value."""

    weights: np.ndarray
    value: float
    status: str


# The value of a program and its conditions.
Conditions = tuple[Any, list[Any]]
# (cvxpy, f, y, epsilon) -> losses
ElementwiseLoss = Callable[[ModuleType, Expression, np.ndarray, float], Expression]
# What the solvers of CVXPY promise of a value, relative to it.
_ACCURACY = 1e-3


def certified(found: ReferenceResult, oracle: Oracle) -> SilpResult:
    """The solution as the other solvers give it: the optimal value below, the learner's primal value above.

    A value above the primal by no more than these solvers' accuracy is taken for the primal; one further
    above contradicts it, and the result's gap is then infinite.
    """
    cut = oracle(found.weights, _ACCURACY / 10)
    lower = found.value
    if cut.upper < lower <= cut.upper + _ACCURACY * abs(cut.upper):
        lower = cut.upper
    result = SilpResult(found.weights, lower, cut.upper, cut.state, 1, True, [(lower, cut.upper)])
    if result.has_crossed:
        warn_not_converged(lower, cut.upper, result.gap, _ACCURACY, 1)
    return result


def _solve(problem: Expression, solver: str) -> None:
    """Solve in place; an inaccurate answer is kept only when no solver does better."""
    cp = require("cvxpy", "solver='cvxpy'")
    names = ["CLARABEL", "SCS"] if SOLVERS[solver] is None else [SOLVERS[solver]]
    for name in names:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Solution may be inaccurate")
            try:
                problem.solve(solver=name)
            except cp.error.SolverError:
                continue
        if problem.status == "optimal":
            return
    if problem.value is None or not np.isfinite(problem.value):
        raise ArgumentError(
            f"CVXPY ended with status {problem.status!r} on {' and '.join(map(str, names))}. The "
            "semidefinite problems are practical up to about 100 points; use solver='silp' for larger ones."
        )


def _root(gram: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh((gram + gram.T) / 2)
    keep = values > max(values[-1], 0.0) * 1e-14
    return np.asarray((vectors[:, keep] * np.sqrt(values[keep])).T)


def _bordered(cp: ModuleType, block: Expression, border: Expression, corner: Expression) -> Expression:
    """The condition [[block, border], [border', corner]] positive semidefinite."""
    n = block.shape[0]
    column = cp.reshape(border, (n, 1), order="F")
    return cp.bmat([[block, column], [column.T, cp.reshape(corner, (1, 1), order="F")]]) >> 0


@dataclass(frozen=True)
class MarginProgram:
    """Constants of the margin problems of Lanckriet et al.; all None is the hard margin.

    limit: (n,) box of the 1-norm soft margin. ridge: (n,) 1 / C of the 2-norm soft margin.
    ridge_atom: (n,) the ridge that all of the trace budget would buy, when tau is learnt.
    """

    limit: np.ndarray | None = None
    ridge: np.ndarray | None = None
    ridge_atom: np.ndarray | None = None


def margin_qcqp(
    atoms: np.ndarray, targets: np.ndarray, margin: MarginProgram, solver: str = "cvxpy"
) -> ReferenceResult:
    """Nonnegative weights: Lanckriet et al. (33), (38), (43) and, with ridge_atom, (47).

    Args:
        targets: (k, n) rows of -1/+1, summed over k.
    """
    cp = require("cvxpy", "solver='cvxpy'")
    a = cp.Variable(targets.shape, nonneg=True)
    t = cp.Variable()
    signed = cp.multiply(targets, a)
    forms = [cp.sum_squares(_root(atom) @ signed.T) for atom in atoms]
    if margin.ridge_atom is not None:
        forms.append(_weighted_squares(cp, a, margin.ridge_atom))
    limits = [form <= t for form in forms]
    others = [cp.sum(signed, axis=1) == 0]
    if margin.limit is not None:
        others.append(a <= np.broadcast_to(margin.limit, targets.shape))
    taken = 0 if margin.ridge is None else _weighted_squares(cp, a, margin.ridge)
    problem = cp.Problem(cp.Maximize(2 * cp.sum(a) - taken - t), limits + others)
    _solve(problem, solver)
    weights = np.maximum([float(np.sum(limit.dual_value)) for limit in limits], 0.0)
    return ReferenceResult(weights / weights.sum(), float(problem.value), problem.status)


def _weighted_squares(cp: ModuleType, a: Expression, factors: np.ndarray) -> Expression:
    return cp.sum_squares(cp.multiply(np.broadcast_to(np.sqrt(factors), a.shape), a))


def margin_sdp(
    atoms: np.ndarray,
    all_atoms: np.ndarray,
    targets: np.ndarray,
    margin: MarginProgram,
    bound: float = 1000.0,
    solver: str = "cvxpy",
) -> ReferenceResult:
    """Signed weights: Lanckriet et al. (31), (36), (41) and, with ridge_atom, (45).

    `all_atoms` (m, N, N) are the atoms over training and test points, where K must stay semidefinite.
    """
    cp = require("cvxpy", "solver='cvxpy'")
    theta = cp.Variable(len(atoms))
    tau = None if margin.ridge_atom is None else cp.Variable(nonneg=True)
    conditions = [
        _combination(cp, theta, all_atoms) >> 0,
        cp.abs(theta) <= bound,
        cp.sum(theta) + (0 if tau is None else tau) == 1,
    ]
    block_ridge: Any = 0 if margin.ridge is None else np.diag(margin.ridge)
    if margin.ridge_atom is not None:
        block_ridge = tau * np.diag(margin.ridge_atom)
    cost = 0
    for y in targets:
        block = _combination(cp, theta, np.outer(y, y) * atoms) + block_ridge
        value, more = _dual_margin(cp, block, y, margin.limit)
        cost = cost + value
        conditions += more
    problem = cp.Problem(cp.Minimize(cost), conditions)
    _solve(problem, solver)
    weights = theta.value if tau is None else np.append(theta.value, tau.value)
    return ReferenceResult(np.asarray(weights), float(problem.value), problem.status)


def _combination(cp: ModuleType, theta: Expression, atoms: np.ndarray) -> Expression:
    return sum(theta[i] * ((atom + atom.T) / 2) for i, atom in enumerate(atoms))


def _dual_margin(
    cp: ModuleType, block: Expression, y: np.ndarray, limit: np.ndarray | None
) -> tuple[Any, list[Any]]:
    n = len(y)
    t, offset = cp.Variable(), cp.Variable()
    nu = cp.Variable(n, nonneg=True)
    border = np.ones(n) + nu + offset * y
    if limit is None:
        return t, [_bordered(cp, block, border, t)]
    delta = cp.Variable(n, nonneg=True)
    return t + 2 * (limit @ delta), [_bordered(cp, block, border - delta, t)]


def alignment_program(
    products: np.ndarray,
    targets: np.ndarray,
    ideal_norm: float,
    all_atoms: np.ndarray | None = None,
    solver: str = "cvxpy",
) -> ReferenceResult:
    """max q'w s.t. w'S w <= 1, w >= 0, or K(w) semidefinite over `all_atoms`. Lanckriet et al. (49)."""
    cp = require("cvxpy", "solver='cvxpy'")
    w = cp.Variable(len(targets))
    scale = np.sqrt(np.diag(products).max())
    conditions = [cp.norm(_root(products / scale**2) @ w) <= 1]
    conditions.append(w >= 0 if all_atoms is None else _combination(cp, w, all_atoms / scale) >> 0)
    problem = cp.Problem(cp.Maximize((targets / (scale * ideal_norm)) @ w), conditions)
    _solve(problem, solver)
    return ReferenceResult(w.value / w.value.sum(), float(problem.value), problem.status)


@dataclass(frozen=True)
class RiskProgram:
    """Constants of sum cost psi(y, f + b) + alpha ||f||^2; see `convex_learner_program` for the losses."""

    loss: str
    alpha: float
    costs: np.ndarray
    epsilon: float = 0.0
    fit_intercept: bool = True


def convex_learner_program(
    atoms: np.ndarray, targets: np.ndarray, setting: RiskProgram, solver: str = "cvxpy"
) -> ReferenceResult:
    """min over theta in the simplex, z, b of sum cost psi(y, z + b) + alpha z'K(theta)^+ z; Kim et al. 2008.

    `targets` is (k, n), summed over the k outputs on one kernel. The loss is "square", "hinge", "logistic",
    "fisher" (Kim, Magnani and Boyd, ICML 2006), "absolute", "epsilon_insensitive" or "interpolation"
    (Micchelli and Pontil, JMLR 2005).
    """
    cp = require("cvxpy", "solver='cvxpy'")
    # alpha z'K^+ z keeps its value when both are measured in the size of the kernels.
    unit = float(np.einsum("kii->", atoms)) / (len(atoms) * len(atoms[0])) or 1.0
    atoms, setting = atoms / unit, replace(setting, alpha=setting.alpha / unit)
    theta = cp.Variable(len(atoms), nonneg=True)
    gram = _combination(cp, theta, atoms)
    cost, conditions = 0, [cp.sum(theta) == 1]
    for target in targets:
        value, more = _PROGRAMS[setting.loss](cp, theta, gram, atoms, target, setting)
        cost = cost + value
        conditions += more
    problem = cp.Problem(cp.Minimize(cost), conditions)
    _solve(problem, solver)
    # Interpolation has no alpha: its value is the norm itself, which the unit of the kernels divides.
    value = float(problem.value) / (unit if setting.loss == "interpolation" else 1.0)
    return ReferenceResult(np.asarray(theta.value), value, problem.status)


@dataclass(frozen=True)
class HyperProgram:
    """Constants of the inner problems of Ong et al. 2005.

    formulation: see `hyperkernel_program`. costs: (m,) of the points' losses.
    C: 1 / (lambda m), the factor of every point's loss. nu: of "nu", "regression" and "one_class".
    delta: added to the diagonal by "alignment".
    """

    formulation: str
    costs: np.ndarray
    C: float = 1.0
    nu: float = 0.3
    delta: float = 1e-6

    @property
    def shares(self) -> np.ndarray:
        """(m,) costs that sum to one."""
        return np.asarray(self.costs / self.costs.sum())


def hyperkernel_program(
    atoms: np.ndarray,
    hyper_gram: np.ndarray,
    targets: np.ndarray,
    setting: HyperProgram,
    lambda_q: float,
    solver: str,
) -> ReferenceResult:
    """min over theta in the simplex of the inner problem + lambda_q ||H^{1/2} theta|| / 2.

    The inner problems are those of Ong et al. 2005: "c" (27), "nu" (28), "lagrangian" (29), "one_class" (30),
    "regression" (31), "alignment" (32).

    Args:
        atoms: (p, m, m) kernels of the pivots.
        hyper_gram: (p, p) H, hyperkernel values between the pivots.
        targets: (k, m).
    """
    cp = require("cvxpy", "solver='cvxpy'")
    theta = cp.Variable(len(atoms), nonneg=True)
    gram = _combination(cp, theta, atoms)
    cost = lambda_q / 2 * cp.norm(_root(hyper_gram) @ theta)
    conditions = [cp.sum(theta) == 1]
    for target in targets:
        value, more = _HYPER_PROGRAMS[setting.formulation](cp, gram, target, setting)
        cost = cost + value
        conditions += more
    problem = cp.Problem(cp.Minimize(cost), conditions)
    _solve(problem, solver)
    return ReferenceResult(np.asarray(theta.value), float(problem.value), problem.status)


def _hyper_c(cp: ModuleType, gram: Expression, y: np.ndarray, setting: HyperProgram) -> Conditions:
    m = len(y)
    t, gamma = cp.Variable(), cp.Variable()
    eta, xi = cp.Variable(m, nonneg=True), cp.Variable(m, nonneg=True)
    signed = cp.multiply(np.outer(y, y), gram)
    border = gamma * y + 1 + eta - xi
    return t / 2 + setting.C * (setting.costs @ xi), [_bordered(cp, signed, border, t)]


def _hyper_nu(cp: ModuleType, gram: Expression, y: np.ndarray, setting: HyperProgram) -> Conditions:
    m = len(y)
    t, gamma, chi = cp.Variable(), cp.Variable(), cp.Variable(nonneg=True)
    eta, xi = cp.Variable(m, nonneg=True), cp.Variable(m, nonneg=True)
    signed = cp.multiply(np.outer(y, y), gram)
    border = gamma * y + chi * np.ones(m) + eta - xi
    return t / 2 - chi * setting.nu + setting.shares @ xi, [_bordered(cp, signed, border, t)]


def _hyper_lagrangian(cp: ModuleType, gram: Expression, y: np.ndarray, setting: HyperProgram) -> Conditions:
    m = len(y)
    t, eta = cp.Variable(), cp.Variable(m, nonneg=True)
    ridge = np.diag(1.0 / (setting.C * setting.costs))
    block = cp.multiply(np.outer(y, y), gram + np.ones((m, m)) + ridge)
    return t / 2, [_bordered(cp, block, eta + 1, t)]


def _hyper_one_class(cp: ModuleType, gram: Expression, y: np.ndarray, setting: HyperProgram) -> Conditions:
    m = len(y)
    t, gamma = cp.Variable(), cp.Variable()
    eta, xi = cp.Variable(m, nonneg=True), cp.Variable(m, nonneg=True)
    border = gamma * np.ones(m) + eta - xi
    return t / 2 + (setting.shares @ xi) / setting.nu - gamma, [_bordered(cp, gram, border, t)]


def _hyper_regression(cp: ModuleType, gram: Expression, y: np.ndarray, setting: HyperProgram) -> Conditions:
    """(31) with the (2m + 1)-block [[F, z], [z', t]] reduced to K: F has the range of [I; -I]."""
    m = len(y)
    t, gamma, chi = cp.Variable(), cp.Variable(), cp.Variable(nonneg=True)
    upper, lower = cp.Variable(m, nonneg=True), cp.Variable(m, nonneg=True)
    fitted = cp.Variable(m)
    conditions = [
        y - fitted - gamma <= chi + upper,
        fitted + gamma - y <= chi + lower,
        _bordered(cp, gram, fitted, t),
    ]
    tube = chi * setting.nu * float(setting.costs.sum())
    return t / 2 + setting.C * (tube + setting.costs @ (upper + lower)), conditions


def _hyper_alignment(cp: ModuleType, gram: Expression, y: np.ndarray, setting: HyperProgram) -> Conditions:
    t = cp.Variable()
    return t / 2, [_bordered(cp, gram + np.diag(setting.delta / setting.costs), y, t)]


_HYPER_PROGRAMS: dict[str, Callable[..., Conditions]] = {
    "c": _hyper_c,
    "nu": _hyper_nu,
    "lagrangian": _hyper_lagrangian,
    "one_class": _hyper_one_class,
    "regression": _hyper_regression,
    "alignment": _hyper_alignment,
}


def _square_program(
    cp: ModuleType,
    theta: Expression,
    gram: Expression,
    atoms: np.ndarray,
    y: np.ndarray,
    setting: RiskProgram,
) -> Conditions:
    t = cp.Variable()
    b = cp.Variable() if setting.fit_intercept else 0.0
    ridged = gram + np.diag(setting.alpha / setting.costs)
    return setting.alpha * t, [_bordered(cp, ridged, y - b * np.ones(len(y)), t)]


def _interpolation_program(
    cp: ModuleType,
    theta: Expression,
    gram: Expression,
    atoms: np.ndarray,
    y: np.ndarray,
    setting: RiskProgram,
) -> Conditions:
    t = cp.Variable()
    b = cp.Variable() if setting.fit_intercept else 0.0
    return t, [_bordered(cp, gram, y - b * np.ones(len(y)), t)]


def _predictor_program(
    loss: Callable[[ModuleType, Expression, np.ndarray, float], Expression],
) -> Callable[..., Conditions]:
    """Programs of losses of the predictor, elementwise: loss(cp, z + b, y, epsilon)."""

    def build(
        cp: ModuleType,
        theta: Expression,
        gram: Expression,
        atoms: np.ndarray,
        y: np.ndarray,
        setting: RiskProgram,
    ) -> Conditions:
        z, t, b = cp.Variable(len(y)), cp.Variable(), cp.Variable()
        total = setting.costs @ loss(cp, z + b, y, setting.epsilon)
        return total + setting.alpha * t, [_bordered(cp, gram, z, t)]

    return build


def _hinge(cp: ModuleType, f: Expression, y: np.ndarray, epsilon: float) -> Expression:
    return cp.pos(1 - cp.multiply(y, f))


def _logistic(cp: ModuleType, f: Expression, y: np.ndarray, epsilon: float) -> Expression:
    return cp.logistic(-cp.multiply(y, f))


def _tube(cp: ModuleType, f: Expression, y: np.ndarray, epsilon: float) -> Expression:
    return cp.pos(cp.abs(y - f) - epsilon)


def _fisher_program(
    cp: ModuleType,
    theta: Expression,
    gram: Expression,
    atoms: np.ndarray,
    y: np.ndarray,
    setting: RiskProgram,
) -> Conditions:
    positive, costs = y > 0, setting.costs
    shares = costs / np.where(positive, costs[positive].sum(), costs[~positive].sum())
    a = np.where(positive, shares, -shares)
    same = positive[:, None] == positive
    deviations = np.sqrt(shares)[:, None] * (np.eye(len(y)) - same * shares)
    t = cp.Variable()
    inner = setting.alpha * np.eye(len(y)) + _combination(
        cp, theta, np.stack([deviations @ k @ deviations.T for k in atoms])
    )
    border = sum(theta[i] * (deviations @ (k @ a)) for i, k in enumerate(atoms))
    linear = np.array([a @ k @ a for k in atoms]) @ theta
    return (t - linear) / setting.alpha, [_bordered(cp, inner, border, t)]


_PROGRAMS: dict[str, Callable[..., Conditions]] = {
    "square": _square_program,
    "hinge": _predictor_program(_hinge),
    "logistic": _predictor_program(_logistic),
    "fisher": _fisher_program,
    "absolute": _predictor_program(_tube),
    "epsilon_insensitive": _predictor_program(_tube),
    "interpolation": _interpolation_program,
}
