"""Multiple kernel learning for classification, with the plain baselines behind the same interface."""

from collections.abc import Iterable, Mapping
from typing import ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.model_selection import StratifiedKFold
from sklearn.utils.validation import check_is_fitted, validate_data

from kernelearn.kernel_machines.estimators.base import (
    KernelClassifierMixin,
    KernelMachine,
    make_oracle,
    predict_with,
)
from kernelearn.kernel_machines.estimators.parameters import (
    POSITIVE,
    SOLVER_LIMITS,
    Choice,
    Constraint,
    Whole,
    check_parameters,
)
from kernelearn.kernel_machines.estimators.weights import ClassWeight
from kernelearn.kernel_machines.kernels.functions import Columns, KernelLike, Seed, on_blocks
from kernelearn.kernel_machines.kernels.grams import GramBank
from kernelearn.kernel_machines.solvers.alignment import solve_nonnegative
from kernelearn.kernel_machines.solvers.margins import SoftMargin1
from kernelearn.kernel_machines.solvers.points import solve_all
from kernelearn.kernel_machines.solvers.silp import SilpResult, solve_silp

WEIGHTS = ("learned", "uniform", "best", "alignment")


class MultipleKernelClassifier(KernelClassifierMixin, KernelMachine):
    """Support vector classifier on a weighted sum of kernels, or of kernels on blocks of features.

    Args:
        kernels: see `SemidefiniteKernelClassifier`.
        weights: "learned" (the 1-norm soft margin optimum over the simplex), "uniform" (the average of the
            kernels: hard to beat, compare with it), "best" (the single kernel of the highest accuracy in
            cross-validation) or "alignment" (kernel-target alignment).
        C: soft margin constant, > 0.
        class_weight: None, "balanced", or a dict from label to the factor of its losses, as scikit-learn's
            SVC.
        multiclass: with more than two classes, "joint" (one set of weights for all one-against-rest machines)
            or "ovr" (one set of weights per class).
        feature_blocks: list of column indices, slices or index lists; every kernel is used on every block.
        cv: folds of "best".
        normalize, storage, n_components, tol, max_iter, verbose, random_state: see
            `SemidefiniteKernelClassifier`.

    Attributes:
        kernel_weights_: (m,), or (n_classes, m) for "ovr"; nonnegative, summing to one, on normalised
            kernels.
        gap_: relative distance of the objective from the optimum over all weights (of the worst class for
            "ovr"): small for "learned", and for the baselines how much they leave.
        cv_scores_: (m,) cross-validated accuracies, for "best".
        dual_coef_ (k, n), intercept_ (k,), kernel_names_, classes_, objective_, lower_bound_, n_iter_,
        history_.

    Source: Lanckriet et al., JMLR 2004; Sonnenburg et al., JMLR 2006.

    Example:
        >>> from sklearn.datasets import load_iris
        >>> X, y = load_iris(return_X_y=True)
        >>> model = MultipleKernelClassifier("rbf", feature_blocks=[[0, 1], [2, 3]]).fit(X, y)
        >>> bool(model.kernel_weights_[1] > model.kernel_weights_[0])  # petals tell more than sepals
        True
    """

    _constraints: ClassVar[Mapping[str, Constraint]] = {
        "weights": Choice(WEIGHTS),
        "multiclass": Choice(("joint", "ovr")),
        "C": POSITIVE,
        **SOLVER_LIMITS,
    }

    def __init__(
        self,
        kernels: KernelLike = None,
        *,
        weights: str = "learned",
        C: float = 1.0,
        class_weight: ClassWeight = None,
        multiclass: str = "joint",
        feature_blocks: Iterable[Columns] | None = None,
        cv: int = 5,
        normalize: str | None = "auto",
        storage: str = "auto",
        n_components: int = 300,
        tol: float = 1e-3,
        max_iter: int = 300,
        verbose: int = 0,
        random_state: Seed = None,
    ) -> None:
        self.kernels = kernels
        self.weights = weights
        self.C = C
        self.class_weight = class_weight
        self.multiclass = multiclass
        self.feature_blocks = feature_blocks
        self.cv = cv
        self.normalize = normalize
        self.storage = storage
        self.n_components = n_components
        self.tol = tol
        self.max_iter = max_iter
        self.verbose = verbose
        self.random_state = random_state

    def _check_parameters(self) -> None:
        super()._check_parameters()
        if self.weights == "best":
            check_parameters(self, {"cv": Whole(2)})

    def _expand_kernels(self) -> KernelLike:
        return self.kernels if self.feature_blocks is None else on_blocks(self.kernels, self.feature_blocks)

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Learn the weights and the classifier from X (n, d) and labels y (n,).

        sample_weight: (n,) how often each point counts; points with 0 are left out.
        """
        self._check_parameters()
        training = self._check_training(X, y, sample_weight)
        targets, costs = self._check_labels(y, training)
        bank = self._make_bank(training)
        groups = [targets] if self.multiclass == "joint" else [target[None, :] for target in targets]
        results = [self._weigh(bank, group, costs) for group in groups]
        self._store(bank, results)
        return self

    def _weigh(self, bank: GramBank, targets: np.ndarray, costs: np.ndarray) -> SilpResult:
        learner = SoftMargin1(self.C)
        oracle = make_oracle(bank, learner, targets, costs, np.ones(bank.n_kernels))
        if self.weights == "learned":
            return solve_silp(
                oracle, bank.n_kernels, tol=self.tol, max_iter=self.max_iter, verbose=self.verbose
            )
        return SilpResult.of_one(oracle, self._fixed_weights(bank, targets, costs))

    def _fixed_weights(self, bank: GramBank, targets: np.ndarray, costs: np.ndarray) -> np.ndarray:
        if self.weights == "uniform":
            return np.full(bank.n_kernels, 1.0 / bank.n_kernels)
        if self.weights == "alignment":
            weighted = targets * bank.weights
            ideal_norm = float(np.linalg.norm(targets @ weighted.T))
            forms = bank.quadratic_forms(weighted.T)
            return solve_nonnegative(bank.inner_products(), forms, ideal_norm).weights
        self.cv_scores_ = self._cross_validate(bank, targets, costs)
        return np.asarray(np.eye(bank.n_kernels)[int(np.argmax(self.cv_scores_))])

    def _cross_validate(self, bank: GramBank, targets: np.ndarray, costs: np.ndarray) -> np.ndarray:
        """(m,) accuracies of the single kernels, points counted by their weights."""
        labels = _labels(targets)
        folds = list(
            StratifiedKFold(self.cv, shuffle=True, random_state=self.random_state).split(labels, labels)
        )
        learner = SoftMargin1(self.C)
        scores = np.empty(bank.n_kernels)
        for index in range(bank.n_kernels):
            gram = bank.gram(index)
            hits = [_fold_hits(gram, targets, costs, learner, *fold) for fold in folds]
            shares = [np.average(hit, weights=bank.weights[test]) for hit, (_, test) in zip(hits, folds)]
            scores[index] = np.mean(shares)
        return scores

    def _store(self, bank: GramBank, results: list[SilpResult]) -> None:
        states = [point for result in results for point in result.state]
        weights = np.stack([result.weights for result in results])
        self._set_solution(bank, weights[0] if len(results) == 1 else weights, states)
        self._set_progress(max(results, key=lambda result: result.gap))
        self.n_iter_ = max(result.n_iter for result in results)

    def _outputs(self, X: ArrayLike) -> np.ndarray:
        if not (hasattr(self, "kernel_weights_") and self.kernel_weights_.ndim == 2):
            return super()._outputs(X)
        return self._outputs_per_class(X)

    def _outputs_per_class(self, X: ArrayLike) -> np.ndarray:
        """As `_outputs`, each class on its own kernel."""
        check_is_fitted(self)
        if self._takes_matrices():
            stack = self._check_matrices(X, fitting=False)[:, :, self._kept_points]
            columns = [
                np.tensordot(mu * self._matrix_scales, stack, axes=1) @ coef
                for mu, coef in zip(self.kernel_weights_, self.dual_coef_)
            ]
            return np.asarray(np.stack(columns, axis=1) + self.intercept_)
        points = validate_data(self, X, dtype=np.float64, reset=False)
        parts = zip(self.kernel_weights_, self.dual_coef_, self.intercept_)
        columns = [
            predict_with(self._bank, points, mu, coef[None], np.array([b]))[:, 0] for mu, coef, b in parts
        ]
        return np.stack(columns, axis=1)


def _labels(values: np.ndarray) -> np.ndarray:
    """Class numbers from (k, n) targets or outputs."""
    return np.asarray((values[0] > 0).astype(int) if len(values) == 1 else values.argmax(axis=0))


def _fold_hits(
    gram: np.ndarray,
    targets: np.ndarray,
    costs: np.ndarray,
    learner: SoftMargin1,
    train: np.ndarray,
    test: np.ndarray,
) -> np.ndarray:
    """(n_test,) whether the points of a fold are labelled right by machines trained on the others."""
    block = np.ascontiguousarray(gram[np.ix_(train, train)])
    points = solve_all(learner, block, targets[:, train], costs[train])
    values = np.stack([gram[np.ix_(test, train)] @ p.dual_coef + p.intercept for p in points])
    return np.asarray(_labels(values) == _labels(targets[:, test]))
