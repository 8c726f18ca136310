"""`CNNRegressor`: a convolutional network that gives numbers for images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils.validation import _check_sample_weight

from kernelearn import config
from kernelearn.learn.base import CNNBase, Network


class CNNRegressor(RegressorMixin, CNNBase):
    """A convolutional network that gives a number, or several, for each image.

    Targets are standardised for training and put back in prediction.

    Args:
        model: as in `CNNClassifier`; a function or model of your own has no activation at its end.
        loss: of the standardised targets: "mse", "mae", "huber", ...
        (the others as in `CNNClassifier`)

    Attributes:
        target_mean_, target_scale_: (k,) what the targets were standardised with.
        (the others as in `CNNClassifier`; no classes_)

    >>> import numpy as np
    >>> from kernelearn import CNNRegressor
    >>> x = np.random.default_rng(0).random((60, 8, 8, 1)) * np.linspace(0, 1, 60)[:, None, None, None]
    >>> y = x.mean(axis=(1, 2, 3))
    >>> bool(CNNRegressor(random_state=0).fit(x, y).score(x, y) > 0.9)
    True
    """

    def __init__(
        self,
        model: Network = "auto",
        *,
        image_shape: Sequence[int] | None = None,
        epochs: int = 30,
        batch_size: int = 32,
        optimizer: Any = "adam",
        learning_rate: float | None = None,
        loss: Any = "mse",
        standardize: bool = True,
        patience: int | None = None,
        validation_fraction: float = 0.1,
        callbacks: Sequence[Any] | None = None,
        random_state: Any = None,
        verbose: Any = 0,
        shards: int | None = None,
    ) -> None:
        self.model = model
        self.image_shape = image_shape
        self.epochs = epochs
        self.batch_size = batch_size
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.loss = loss
        self.standardize = standardize
        self.patience = patience
        self.validation_fraction = validation_fraction
        self.callbacks = callbacks
        self.random_state = random_state
        self.verbose = verbose
        self.shards = shards

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _takes_many_targets(self) -> bool:
        return True

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> CNNRegressor:
        """Train.

        Args:
            X: (n, features), (n, h, w) or (n, h, w, c); or a list of images (h, w) or (h, w, c) of several
                sizes, for a network that takes any.
            y: (n,) or (n, k) numbers.
            sample_weight: (n,) factors of each row's loss.
        Raises: ShapeError, ArgumentError, ValueError for data that cannot be used.
        """
        self._check_parameters()
        images, y = self._images(X, y, fitting=True)
        targets = np.asarray(y, np.float64)
        self._is_flat_target = targets.ndim == 1
        targets = targets.reshape(len(targets), -1)
        spread = targets.std(axis=0)
        self.target_mean_ = targets.mean(axis=0)
        self.target_scale_ = np.where(spread > 0, spread, 1.0)
        scaled = ((targets - self.target_mean_) / self.target_scale_).astype(config.floatx())
        weight = None
        if sample_weight is not None:
            weight = _check_sample_weight(sample_weight, images, dtype=np.float64)
        self._train(images, scaled, targets.shape[1], weight, self.loss, None)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """The numbers of each row, (n,) or (n, k) float64 as y was."""
        values = self._outputs(X) * self.target_scale_ + self.target_mean_
        return values[:, 0] if self._is_flat_target else values
