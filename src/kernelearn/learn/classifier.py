"""`CNNClassifier`: a convolutional network that sorts images into classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, column_or_1d

from kernelearn.errors import ArgumentError
from kernelearn.learn.base import CNNBase, Network


class CNNClassifier(ClassifierMixin, CNNBase):
    """A convolutional network that sorts images into classes.

    Args:
        model: "auto" (lenet; for images below 4 pixels a single convolution, for images of several sizes
            vgg_small), a name of `models.zoo`, a function of (input_shape, classes) that returns an
            uncompiled model whose last layer is a softmax, or such a model, which is copied with its weights.
        image_shape: (height, width) or (height, width, channels) of flat rows; None takes X's own shape, and
            rows as images of one line.
        epochs: passes over the data.
        batch_size: images per update.
        optimizer: name, config or object.
        learning_rate: replaces the optimizer's own.
        standardize: subtract the mean of each channel and divide by its standard deviation; of each feature
            where X is rows without `image_shape`.
        patience: stop after so many epochs in which the loss on held-out rows did not fall, and take the best
            weights; None trains all epochs on all rows.
        validation_fraction: share of the rows held out, with `patience`.
        class_weight: class -> factor, "balanced", or None.
        callbacks: `kernelearn.callbacks` to use.
        random_state: of weights, order and held-out rows.
        verbose: as in `Model.fit`.
        shards: as in `Model.compile`: parts of a batch, for the same bits on any number of processes.

    Attributes:
        classes_: (k,) the labels.
        model_: the trained network.
        history_: name -> one value an epoch.
        image_shape_, mean_, scale_: of the images, and what they were standardised with.

    >>> import numpy as np
    >>> from kernelearn import CNNClassifier
    >>> rng = np.random.default_rng(0)
    >>> y = np.repeat(["dark", "light"], 20)
    >>> x = rng.random((40, 8, 8, 1)) + (y == "light")[:, None, None, None]
    >>> CNNClassifier(epochs=5, random_state=0).fit(x, y).score(x, y)
    1.0
    """

    def __init__(
        self,
        model: Network = "auto",
        *,
        image_shape: Sequence[int] | None = None,
        epochs: int = 20,
        batch_size: int = 32,
        optimizer: Any = "adam",
        learning_rate: float | None = None,
        standardize: bool = True,
        patience: int | None = None,
        validation_fraction: float = 0.1,
        class_weight: Mapping[Any, float] | str | None = None,
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
        self.standardize = standardize
        self.patience = patience
        self.validation_fraction = validation_fraction
        self.class_weight = class_weight
        self.callbacks = callbacks
        self.random_state = random_state
        self.verbose = verbose
        self.shards = shards

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> CNNClassifier:
        """Train.

        Args:
            X: (n, features), (n, h, w) or (n, h, w, c); or a list of images (h, w) or (h, w, c) of several
                sizes, for a network that takes any.
            y: (n,) labels of any kind.
            sample_weight: (n,) factors of each row's loss.
        Raises: ShapeError, ArgumentError, ValueError for data that cannot be used.
        """
        self._check_parameters()
        images, y = self._images(X, y, fitting=True)
        check_classification_targets(y)
        y = column_or_1d(y, warn=True)
        self.classes_, numbers = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ArgumentError(
                f"A classifier needs at least 2 classes in y; got 1 class, {self.classes_[0]!r}."
            )
        weight = self._weights(images, y, numbers, sample_weight)
        loss = "sparse_categorical_crossentropy"
        self._train(images, numbers.astype(np.int64), len(self.classes_), weight, loss, ["accuracy"])
        return self

    def _weights(self, images: np.ndarray, y: Any, numbers: np.ndarray, sample_weight: Any) -> Any:
        """Factors of the rows from `sample_weight` and `class_weight`; None if both are."""
        if sample_weight is None and self.class_weight is None:
            return None
        weight = _check_sample_weight(sample_weight, images, dtype=np.float64)
        if self.class_weight is not None:
            weight = weight * compute_class_weight(self.class_weight, classes=self.classes_, y=y)[numbers]
        return weight

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probability of each class, (n, k) float64, columns in the order of `classes_`; rows add up to 1."""
        outputs = self._outputs(X)
        return outputs / outputs.sum(axis=1, keepdims=True)

    def predict(self, X: Any) -> np.ndarray:
        """The most probable label of each row, (n,)."""
        chosen = self._outputs(X).argmax(axis=1)
        return self.classes_[chosen]
