"""The same problems written for CVXPY: slow, for small n, and what the tests compare the solvers with.

Every function takes kernels as "atoms": (m, n, n) Gram matrices scaled so that the weights theta sum to one.
"""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from kernelearn._optional import require
from kernelearn.errors import ArgumentError

SOLVERS = {"cvxpy": None, "clarabel": "CLARABEL", "scs": "SCS"}


@dataclass(frozen=True)
class ReferenceResult:
    """Weights theta (m,) or (m + 1,) with the learnt ridge last, and the optimal value."""

    weights: np.ndarray
    value: float
    status: str


def _solve(problem: Any, solver: str) -> None:
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
    return (vectors[:, keep] * np.sqrt(values[keep])).T


def _bordered(cp: Any, block: Any, border: Any, corner: Any) -> Any:
    """The condition [[block, border], [border', corner]] positive semidefinite."""
    n = block.shape[0]
    column = cp.reshape(border, (n, 1), order="F")
    return cp.bmat([[block, column], [column.T, cp.reshape(corner, (1, 1), order="F")]]) >> 0


def margin_qcqp(
    atoms: np.ndarray,
    targets: np.ndarray,
    C: float = np.inf,
    ridge: float = 0.0,
    ridge_atom: float | None = None,
    solver: str = "cvxpy",
) -> ReferenceResult:
    """Nonnegative weights: Lanckriet et al. (33), (38), (43) and, with ridge_atom, (47).

    Args:
        targets: (k, n) rows of -1/+1, summed over k.
        C: box of the 1-norm soft margin, infinite otherwise.
        ridge: 1/C of the 2-norm soft margin.
        ridge_atom: c/n, the ridge that all of the trace budget would buy, when tau is learnt.
    """
    cp = require("cvxpy", "solver='cvxpy'")
    a = cp.Variable(targets.shape, nonneg=True)
    t = cp.Variable()
    signed = cp.multiply(targets, a)
    forms = [cp.sum_squares(_root(atom) @ signed.T) for atom in atoms]
    if ridge_atom is not None:
        forms.append(ridge_atom * cp.sum_squares(a))
    limits = [form <= t for form in forms]
    others = [cp.sum(signed, axis=1) == 0]
    if np.isfinite(C):
        others.append(a <= C)
    problem = cp.Problem(cp.Maximize(2 * cp.sum(a) - ridge * cp.sum_squares(a) - t), limits + others)
    _solve(problem, solver)
    weights = np.maximum([float(np.sum(limit.dual_value)) for limit in limits], 0.0)
    return ReferenceResult(weights / weights.sum(), float(problem.value), problem.status)


def margin_sdp(
    atoms: np.ndarray,
    all_atoms: np.ndarray,
    targets: np.ndarray,
    C: float = np.inf,
    ridge: float = 0.0,
    ridge_atom: float | None = None,
    bound: float = 1000.0,
    solver: str = "cvxpy",
) -> ReferenceResult:
    """Signed weights: Lanckriet et al. (31), (36), (41) and, with ridge_atom, (45).

    `all_atoms` (m, N, N) are the atoms over training and test points, where K must stay semidefinite.
    """
    cp = require("cvxpy", "solver='cvxpy'")
    m, n = len(atoms), atoms.shape[1]
    theta = cp.Variable(m)
    tau = cp.Variable(nonneg=True) if ridge_atom is not None else None
    conditions = [
        _combination(cp, theta, all_atoms) >> 0,
        cp.abs(theta) <= bound,
        cp.sum(theta) + (0 if tau is None else tau) == 1,
    ]
    block_ridge = ridge if tau is None else ridge_atom * tau
    cost = 0
    for y in targets:
        block = _combination(cp, theta, np.outer(y, y) * atoms) + block_ridge * np.eye(n)
        value, more = _dual_margin(cp, block, y, C)
        cost = cost + value
        conditions += more
    problem = cp.Problem(cp.Minimize(cost), conditions)
    _solve(problem, solver)
    weights = theta.value if tau is None else np.append(theta.value, tau.value)
    return ReferenceResult(np.asarray(weights), float(problem.value), problem.status)


def _combination(cp: Any, theta: Any, atoms: np.ndarray) -> Any:
    return sum(theta[i] * ((atom + atom.T) / 2) for i, atom in enumerate(atoms))


def _dual_margin(cp: Any, block: Any, y: np.ndarray, C: float) -> tuple[Any, list]:
    n = len(y)
    t, offset = cp.Variable(), cp.Variable()
    nu = cp.Variable(n, nonneg=True)
    border = np.ones(n) + nu + offset * y
    if not np.isfinite(C):
        return t, [_bordered(cp, block, border, t)]
    delta = cp.Variable(n, nonneg=True)
    return t + 2 * C * cp.sum(delta), [_bordered(cp, block, border - delta, t)]


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


def convex_learner_program(
    atoms: np.ndarray,
    targets: np.ndarray,
    loss: str,
    alpha: float,
    fit_intercept: bool = True,
    solver: str = "cvxpy",
) -> ReferenceResult:
    """min over theta in the simplex, z, b of sum psi(y, z + b) + alpha z'K(theta)^+ z; Kim et al. 2008.

    `targets` is (k, n), summed over the k outputs on one kernel. `loss` is "square", "hinge", "logistic" or
    "fisher" (Kim, Magnani and Boyd, ICML 2006).
    """
    cp = require("cvxpy", "solver='cvxpy'")
    theta = cp.Variable(len(atoms), nonneg=True)
    gram = _combination(cp, theta, atoms)
    cost, conditions = 0, [cp.sum(theta) == 1]
    for target in targets:
        value, more = _PROGRAMS[loss](cp, theta, gram, atoms, target, alpha, fit_intercept)
        cost = cost + value
        conditions += more
    problem = cp.Problem(cp.Minimize(cost), conditions)
    _solve(problem, solver)
    return ReferenceResult(np.asarray(theta.value), float(problem.value), problem.status)


@dataclass(frozen=True)
class HyperProgram:
    """Constants of the inner problems of Ong et al. 2005; C is 1/lambda for regression, ridge lambda m."""

    formulation: str
    C: float = 1.0
    nu: float = 0.3
    ridge: float = 1.0


def hyperkernel_program(
    atoms: np.ndarray,
    hyper_gram: np.ndarray,
    targets: np.ndarray,
    setting: HyperProgram,
    lambda_q: float,
    solver: str,
) -> ReferenceResult:
    """min over theta in the simplex of the inner problem + lambda_q ||H^{1/2} theta|| / 2.

    The inner problems are those of Ong et al. 2005: "c" (27), "nu" (28), "lagrangian" (29), "regression"
    (31).

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


def _hyper_c(cp: Any, gram: Any, y: np.ndarray, setting: HyperProgram) -> tuple[Any, list]:
    m = len(y)
    t, gamma = cp.Variable(), cp.Variable()
    eta, xi = cp.Variable(m, nonneg=True), cp.Variable(m, nonneg=True)
    signed = cp.multiply(np.outer(y, y), gram)
    return t / 2 + setting.C / m * cp.sum(xi), [_bordered(cp, signed, gamma * y + 1 + eta - xi, t)]


def _hyper_nu(cp: Any, gram: Any, y: np.ndarray, setting: HyperProgram) -> tuple[Any, list]:
    m = len(y)
    t, gamma, chi = cp.Variable(), cp.Variable(), cp.Variable(nonneg=True)
    eta, xi = cp.Variable(m, nonneg=True), cp.Variable(m, nonneg=True)
    signed = cp.multiply(np.outer(y, y), gram)
    border = gamma * y + chi * np.ones(m) + eta - xi
    return t / 2 - chi * setting.nu + cp.sum(xi) / m, [_bordered(cp, signed, border, t)]


def _hyper_lagrangian(cp: Any, gram: Any, y: np.ndarray, setting: HyperProgram) -> tuple[Any, list]:
    m = len(y)
    t, eta = cp.Variable(), cp.Variable(m, nonneg=True)
    block = cp.multiply(np.outer(y, y), gram + np.ones((m, m)) + setting.ridge * np.eye(m))
    return t / 2, [_bordered(cp, block, eta + 1, t)]


def _hyper_regression(cp: Any, gram: Any, y: np.ndarray, setting: HyperProgram) -> tuple[Any, list]:
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
    return t / 2 + setting.C * (chi * setting.nu + cp.sum(upper + lower) / m), conditions


_HYPER_PROGRAMS = {
    "c": _hyper_c,
    "nu": _hyper_nu,
    "lagrangian": _hyper_lagrangian,
    "regression": _hyper_regression,
}


def _square_program(
    cp: Any, theta: Any, gram: Any, atoms: Any, y: Any, alpha: float, intercept: bool
) -> tuple:
    t = cp.Variable()
    b = cp.Variable() if intercept else 0.0
    ridged = gram + alpha * np.eye(len(y))
    return alpha * t, [_bordered(cp, ridged, y - b * np.ones(len(y)), t)]


def _margin_program(loss: Any) -> Any:
    def build(cp: Any, theta: Any, gram: Any, atoms: Any, y: Any, alpha: float, intercept: bool) -> tuple:
        z, t = cp.Variable(len(y)), cp.Variable()
        b = cp.Variable() if intercept else 0.0
        return loss(cp, cp.multiply(y, z + b)) + alpha * t, [_bordered(cp, gram, z, t)]

    return build


def _hinge(cp: Any, margins: Any) -> Any:
    return cp.sum(cp.pos(1 - margins))


def _logistic(cp: Any, margins: Any) -> Any:
    return cp.sum(cp.logistic(-margins))


def _fisher_program(
    cp: Any, theta: Any, gram: Any, atoms: Any, y: Any, alpha: float, intercept: bool
) -> tuple:
    positive = y > 0
    a = np.where(positive, 1.0 / positive.sum(), -1.0 / (~positive).sum())
    centring = np.zeros((len(y), len(y)))
    for members in (positive, ~positive):
        size = int(members.sum())
        centring[np.ix_(members, members)] = (np.eye(size) - 1.0 / size) / np.sqrt(size)
    t = cp.Variable()
    inner = alpha * np.eye(len(y)) + _combination(
        cp, theta, np.stack([centring @ k @ centring for k in atoms])
    )
    border = sum(theta[i] * (centring @ (k @ a)) for i, k in enumerate(atoms))
    linear = np.array([a @ k @ a for k in atoms]) @ theta
    return (t - linear) / alpha, [_bordered(cp, inner, border, t)]


_PROGRAMS = {
    "square": _square_program,
    "hinge": _margin_program(_hinge),
    "logistic": _margin_program(_logistic),
    "fisher": _fisher_program,
}
