"""Kernels from the layers of a frozen network: one per layer, and a few-shot classifier that weighs them."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_array, check_is_fitted

from kernelearn.errors import ArgumentError
from kernelearn.kernel_machines.estimators.base import KernelClassifierMixin
from kernelearn.kernel_machines.estimators.multiple import MultipleKernelClassifier
from kernelearn.kernel_machines.estimators.network_adapter import activations
from kernelearn.kernel_machines.estimators.parameters import Choice, Constraint, Whole, check_parameters
from kernelearn.kernel_machines.estimators.weights import ClassWeight, check_sample_weight
from kernelearn.kernel_machines.kernels.functions import Kernel, Seed

POOLINGS = ("mean", "max", "flatten")


def pooled(maps: np.ndarray, pooling: str) -> np.ndarray:
    """(n, d) features of activations (n, ..., channels): mean or maximum over positions, or all values."""
    if maps.ndim <= 2 or pooling == "flatten":
        return maps.reshape(len(maps), -1).astype(np.float64)
    positions = tuple(range(1, maps.ndim - 1))
    values = maps.astype(np.float64)
    return np.asarray(values.mean(axis=positions) if pooling == "mean" else values.max(axis=positions))


class FeatureKernels(TransformerMixin, BaseEstimator):
    """One kernel per layer of a frozen network, as blocks of features.

    `transform` gives the pooled activations of all layers side by side, each block centred and scaled to a
    mean squared length of one on the training images: inner products within a block are the layer's linear
    kernel with trace n. `blocks_` and `kernels()` hand the blocks to the kernel machines.

    Args:
        model: a `kernelearn` model, or a function (x, layers) -> dict from layer name to activations.
        layers: layer names; None for all.
        pooling: "mean" or "max" over positions (n, h, w, c) -> (n, c), or "flatten".
        center: subtract the mean of the training features.
        batch_size: images per call of the network.

    Attributes:
        layers_: names in order; blocks_: one slice of columns per layer.

    Example:
        >>> import numpy as np
        >>> network = lambda x, layers: {"raw": x, "square": x**2}
        >>> features = FeatureKernels(network).fit(np.random.default_rng(0).normal(size=(8, 3)))
        >>> features.layers_, features.blocks_
        (['raw', 'square'], [slice(0, 3, None), slice(3, 6, None)])
    """

    _constraints: ClassVar[Mapping[str, Constraint]] = {"pooling": Choice(POOLINGS), "batch_size": Whole(1)}

    def __init__(
        self,
        model: Any = None,
        layers: Sequence[str] | None = None,
        *,
        pooling: str = "mean",
        center: bool = True,
        batch_size: int = 256,
    ) -> None:
        self.model = model
        self.layers = layers
        self.pooling = pooling
        self.center = center
        self.batch_size = batch_size

    def fit(self, X: ArrayLike, y: ArrayLike | None = None, sample_weight: ArrayLike | None = None) -> Self:
        """Learn the centres and scales of the layers from images X (n, ...).

        sample_weight: (n,) how often each image counts.
        """
        check_parameters(self, self._constraints)
        features = self._features(_as_batch(X))
        self.layers_ = list(features)
        weights = check_sample_weight(sample_weight, len(next(iter(features.values()))))
        self.means_ = [_mean(f, weights) if self.center else np.zeros(f.shape[1]) for f in features.values()]
        self.scales_ = [_inverse_length(f, mean, weights) for f, mean in zip(features.values(), self.means_)]
        if not any(self.scales_):
            raise ArgumentError(
                "All layers give the same features for every image: there is nothing to learn from."
            )
        stops = np.cumsum([len(mean) for mean in self.means_]).tolist()
        self.blocks_ = [slice(start, stop) for start, stop in zip([0, *stops[:-1]], stops)]
        return self

    def transform(self, X: ArrayLike) -> np.ndarray:
        """(n, d) centred and scaled features, the layers side by side as in `blocks_`."""
        check_is_fitted(self)
        features = self._features(_as_batch(X))
        parts = [(features[name] - m) * s for name, m, s in zip(self.layers_, self.means_, self.scales_)]
        return np.hstack(parts)

    def kernels(self, kernel: str | Kernel = "linear") -> list[Kernel]:
        """One kernel per layer, labelled with its name, to be used on the output of `transform`."""
        from dataclasses import replace

        from kernelearn.kernel_machines.kernels.functions import as_kernels

        check_is_fitted(self)
        base = as_kernels(kernel)[0]
        return [replace(base, columns=block, label=name) for name, block in zip(self.layers_, self.blocks_)]

    def grams(self, X: ArrayLike, Y: ArrayLike | None = None) -> np.ndarray:
        """(n_layers, n, m) linear kernels between images X (n, ...) and Y (m, ...), or X and itself."""
        left = self.transform(X)
        right = left if Y is None else self.transform(Y)
        return np.stack([left[:, block] @ right[:, block].T for block in self.blocks_])

    def _features(self, x: np.ndarray) -> dict[str, np.ndarray]:
        layers = None if self.layers is None else list(self.layers)
        maps = activations(self.model, x, layers, int(self.batch_size))
        return {name: pooled(values, self.pooling) for name, values in maps.items()}


def _mean(features: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return np.asarray(np.average(features, axis=0, weights=weights))


def _inverse_length(features: np.ndarray, mean: np.ndarray, weights: np.ndarray) -> float:
    """1 / root of the mean squared length of centred features, 0 where that is rounding of the features."""
    length = float(np.average(((features - mean) ** 2).sum(axis=1), weights=weights))
    rounding = 16 * np.finfo(float).eps ** 2 * float(np.average((features**2).sum(axis=1), weights=weights))
    return 1.0 / np.sqrt(length) if length > rounding else 0.0


def _as_batch(X: ArrayLike) -> np.ndarray:
    return np.asarray(check_array(X, allow_nd=True, dtype=None, ensure_min_samples=1))


class KernelHead(KernelClassifierMixin, BaseEstimator):
    """Few-shot classifier on a frozen network that learns how much each layer matters.

    A support vector machine on a weighted sum of one kernel per layer. With linear kernels the learnt weights
    are a group lasso over layers. Whether they beat the plain average of the layers depends on the network
    and the task: weights="uniform" is the comparison to make.

    Args:
        model, layers, pooling, batch_size: see `FeatureKernels`.
        kernel: "linear", "rbf", any name or `Kernel`; the same for all layers.
        weights: "learned", "uniform", "best" or "alignment"; see `MultipleKernelClassifier`.
        C: soft margin constant.
        class_weight: None, "balanced", or a dict from label to the factor of its losses.
        normalize: of the kernels: "trace", "cosine" or None.
        cv, tol, random_state: see `MultipleKernelClassifier`.

    Attributes:
        layer_importance_: dict from layer name to weight; nonnegative, summing to one.
        features_: fitted `FeatureKernels`; machine_: fitted `MultipleKernelClassifier`.
        gap_: relative duality gap; classes_.

    Example:
        >>> import numpy as np
        >>> x = np.random.default_rng(0).normal(size=(60, 2))
        >>> head = KernelHead(lambda x, layers: {"raw": x, "square": x**2})
        >>> importance = head.fit(x, (x**2).sum(axis=1) > 1.4).layer_importance_
        >>> importance["square"] > importance["raw"]
        True
    """

    def __init__(
        self,
        model: Any = None,
        layers: Sequence[str] | None = None,
        *,
        kernel: str | Kernel = "linear",
        weights: str = "learned",
        C: float = 1.0,
        class_weight: ClassWeight = None,
        pooling: str = "mean",
        normalize: str | None = "trace",
        batch_size: int = 256,
        cv: int = 5,
        tol: float = 1e-3,
        random_state: Seed = None,
    ) -> None:
        self.model = model
        self.layers = layers
        self.kernel = kernel
        self.weights = weights
        self.C = C
        self.class_weight = class_weight
        self.pooling = pooling
        self.normalize = normalize
        self.batch_size = batch_size
        self.cv = cv
        self.tol = tol
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Learn layer weights and classifier from images X (n, ...) and labels y (n,).

        sample_weight: (n,) how often each image counts; images with 0 are left out.
        """
        self.features_ = FeatureKernels(
            self.model, self.layers, pooling=self.pooling, batch_size=self.batch_size
        ).fit(X, sample_weight=sample_weight)
        self.machine_ = MultipleKernelClassifier(
            self.features_.kernels(self.kernel),
            weights=self.weights,
            C=self.C,
            class_weight=self.class_weight,
            normalize=self.normalize,
            cv=self.cv,
            tol=self.tol,
            random_state=self.random_state,
        ).fit(self.features_.transform(X), y, sample_weight)
        self.classes_ = self.machine_.classes_
        self.gap_ = self.machine_.gap_
        weights = self.machine_.kernel_weights_.tolist()
        self.layer_importance_ = dict(zip(self.features_.layers_, weights))
        return self

    def decision_function(self, X: ArrayLike) -> np.ndarray:
        """Signed distances: (n,) for two classes, (n, n_classes) for more."""
        check_is_fitted(self)
        return self.machine_.decision_function(self.features_.transform(X))
