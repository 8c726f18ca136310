"""`CNNClassifier` and `CNNRegressor`: convolutional networks as scikit-learn estimators.

They work in Pipeline, GridSearchCV and cross_val_score. X are images (n, h, w, c) or (n, h, w), a list of
images of several sizes, or flat rows (n, features) that `image_shape` says how to fold.
"""

# ruff: noqa: E402 - scikit-learn is optional: asking for it comes before importing from it
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from kernelearn import config
from kernelearn._optional import require
from kernelearn.data.arrays import check_features
from kernelearn.data.ragged import each, joined
from kernelearn.errors import ArgumentError, ShapeError
from kernelearn.layers import LAYERS, Conv2D, Dense, Flatten, Input
from kernelearn.layers.core.unknown_sizes import fits
from kernelearn.models import Model, Sequential, zoo

require("sklearn", "CNNClassifier and CNNRegressor")

from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    _check_sample_weight,
    check_array,
    check_consistent_length,
    check_is_fitted,
    column_or_1d,
    validate_data,
)

__all__ = ["CNNClassifier", "CNNRegressor"]

Network = str | Model | Callable[[tuple[int, int, int], int], Model]

_LENET_SIDE = 4  # the smallest image that lenet takes
_PREDICT_BATCH = 256


class _CNN(BaseEstimator):
    """What both estimators share: images from X, the network, the training.

    Subclasses have the parameters of `CNNClassifier` as attributes.
    """

    model: Network
    image_shape: Sequence[int] | None
    epochs: int
    batch_size: int
    optimizer: Any
    learning_rate: float | None
    standardize: bool
    patience: int | None
    validation_fraction: float
    callbacks: Sequence[Any] | None
    random_state: Any
    verbose: Any
    shards: int | None
    image_shape_: tuple[Any, Any, int]

    # --- X to images

    def _images(self, X: Any, y: Any = None, fitting: bool = False) -> tuple[Any, Any]:
        """(images (n, h, w, c), y), checked; in fitting, `image_shape_` and the scale are set."""
        if _has_several_sizes(X) or (not fitting and None in self.image_shape_):
            return self._images_of_several_sizes(X, y, fitting)
        X, y = self._validated(X, y, fitting)
        shape = self._shape_of_images(X) if fitting else self.image_shape_
        if X.ndim == 2:
            X = X.reshape(-1, *shape)
        elif X.ndim == 3:
            X = X[..., None]
        if X.shape[1:] != tuple(shape):
            raise ShapeError(
                f"X holds images of shape {X.shape[1:]}, the network was fitted to {tuple(shape)}."
            )
        if fitting:
            self.image_shape_ = shape
            self._set_scale(X)
        return ((X - self.mean_) / self.scale_).astype(config.floatx()), y

    def _images_of_several_sizes(self, X: Any, y: Any, fitting: bool) -> tuple[Any, Any]:
        """As `_images`, for arrays (h, w, c) or (h, w), one for each image."""
        items = [np.asarray(image, np.float64) for image in X]
        items = [image[..., None] if image.ndim == 2 else image for image in items]
        images = joined([check_features(image[None], f"X[{i}]")[0] for i, image in enumerate(items)], "X")
        shape = (None, None, images.shape[-1]) if fitting else self.image_shape_
        if images.ndim != 4 or not fits(images.shape[1:], shape):
            raise ShapeError(
                f"X holds images of shape {images.shape[1:]}, the network was fitted to {tuple(shape)}."
            )
        if fitting:
            self.image_shape_ = shape
            self._set_scale_of_channels(images)
            check_consistent_length(X, y)
            many = self._takes_many_targets()
            y = check_array(y, ensure_2d=False, dtype=np.float64) if many else column_or_1d(y, warn=True)
        return each(lambda image: ((image - self.mean_) / self.scale_).astype(config.floatx()), images), y

    def _set_scale_of_channels(self, images: Any) -> None:
        """Mean and spread of each channel over the pixels of all images."""
        channels = images.shape[-1]
        self.mean_, self.scale_ = np.zeros(channels), np.ones(channels)
        if self.standardize:
            pixels = np.concatenate([image.reshape(-1, channels) for image in images])
            spread = pixels.std(axis=0)
            self.mean_, self.scale_ = pixels.mean(axis=0), np.where(spread > 0, spread, 1.0)

    def _validated(self, X: Any, y: Any, fitting: bool) -> tuple[np.ndarray, Any]:
        """X as floats of 2 to 4 axes; y as its kind of estimator takes it."""
        options: dict[str, Any] = {"dtype": [np.float64, np.float32], "allow_nd": True, "reset": fitting}
        if not fitting:
            X = validate_data(self, X, **options)
        else:
            X, y = validate_data(self, X, y, multi_output=self._takes_many_targets(), **options)
        if not 2 <= X.ndim <= 4:
            raise ShapeError(
                f"X must be rows (n, features), grey images (n, h, w) or images (n, h, w, c); got {X.shape}."
            )
        return X, y

    def _takes_many_targets(self) -> bool:
        return False

    def _shape_of_images(self, X: np.ndarray) -> tuple[int, int, int]:
        """(h, w, c) of the images behind X.

        Raises: ShapeError if `image_shape` does not fit.
        """
        own = tuple(X.shape[1:]) if X.ndim == 4 else (*X.shape[1:], 1)
        if self.image_shape is None:
            return own if len(own) == 3 else (1, own[0], 1)
        shape = tuple(int(size) for size in self.image_shape)
        shape = (*shape, 1) if len(shape) == 2 else shape
        fits = prod(shape) == X.shape[1] if X.ndim == 2 else shape == own
        if len(shape) != 3 or not fits:
            raise ShapeError(
                f"image_shape={self.image_shape!r} must be (height, width) or (height, width, channels) of "
                f"the images in X, whose rows have shape {X.shape[1:]}."
            )
        return shape[0], shape[1], shape[2]

    def _set_scale(self, images: np.ndarray) -> None:
        """Mean and spread of each channel; of each feature where X is rows that are no images."""
        is_table = images.shape[1] == 1 and self.image_shape is None
        axes = (0,) if is_table else (0, 1, 2)
        shape = images.shape[1:] if is_table else images.shape[-1:]
        self.mean_, self.scale_ = np.zeros(shape), np.ones(shape)
        if self.standardize:
            values = images.astype(np.float64)
            spread = values.std(axis=axes)
            self.mean_ = values.mean(axis=axes)
            self.scale_ = np.where(spread > 0, spread, 1.0)

    # --- training

    def _check_parameters(self) -> None:
        for name in ("epochs", "batch_size"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
                raise ArgumentError(f"{name} must be an integer of at least 1, got {value!r}.")
        if not 0 < self.validation_fraction < 1:
            raise ArgumentError(
                f"validation_fraction must be between 0 and 1, got {self.validation_fraction!r}."
            )
        if self.learning_rate is not None and not self.learning_rate > 0:
            raise ArgumentError(f"learning_rate must be greater than 0, got {self.learning_rate!r}.")

    def _network(self, outputs: int, activation: str | None) -> Model:
        """The untrained network for `image_shape_`.

        Raises: UnknownNameError, ShapeError, ArgumentError if it does not fit images and targets.
        """
        if isinstance(self.model, Model):
            network = self.model.clone()
        elif isinstance(self.model, str):
            usual = "lenet" if None not in self.image_shape_ else "vgg_small"
            make = _small if self._is_tiny() else zoo.get(usual if self.model == "auto" else self.model)
            network = make(self.image_shape_, outputs, classifier_activation=activation)
        elif callable(self.model):
            network = self.model(self.image_shape_, outputs)
        else:
            raise ArgumentError(f"model must be a name, a function or a Model, got {self.model!r}.")
        if not isinstance(network, Model):
            raise ArgumentError(f"model(input_shape, outputs) must return a Model, got {network!r}.")
        self._check_fits(network, outputs)
        return network

    def _is_tiny(self) -> bool:
        sides = [side for side in self.image_shape_[:2] if side is not None]
        return self.model == "auto" and bool(sides) and min(sides) < _LENET_SIDE

    def _check_fits(self, network: Model, outputs: int) -> None:
        if not network.built:
            network.build((None, *self.image_shape_))
        expected = ((None, *self.image_shape_), (None, outputs))
        if (network.input_shape, network.output_shape) != expected:
            raise ShapeError(
                f"The network maps {network.input_shape} to {network.output_shape}; these X and y need one "
                f"that maps {expected[0]} to {expected[1]}."
            )

    def _train(
        self, images: Any, targets: np.ndarray, outputs: int, weight: Any, loss: str, metrics: Any
    ) -> None:
        """Set `model_` and `history_`."""
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        activation = "softmax" if loss == "sparse_categorical_crossentropy" else None
        with config.seeds_from(seed):
            network = self._network(outputs, activation)
            network.compile(self._optimizer(), loss, metrics=metrics, shards=self.shards)
            parts = self._divided(images, targets, weight, seed)
            x, y, weight = parts["train"]
            history = network.fit(
                x,
                y,
                sample_weight=weight,
                validation_data=parts.get("validation"),
                epochs=self.epochs,
                batch_size=self.batch_size,
                callbacks=self._callbacks(),
                seed=seed,
                verbose=self.verbose,
            )
        self.model_ = network
        self.history_ = {name: list(values) for name, values in history.history.items()}

    def _optimizer(self) -> Any:
        from kernelearn import optimizers

        optimizer = optimizers.get(self.optimizer)
        values = optimizer.get_config()
        if self.learning_rate is not None:
            values["learning_rate"] = self.learning_rate
        # A fresh one: an object given as parameter must not carry state from one fit to the next.
        return type(optimizer).from_config(values)

    def _divided(self, images: Any, targets: np.ndarray, weight: Any, seed: int) -> dict[str, tuple]:
        """All rows for training, or some held out to know when to stop."""
        if self.patience is None:
            return {"train": (images, targets, weight)}
        order = np.random.default_rng(seed).permutation(len(images))
        count = min(len(images) - 1, max(1, round(self.validation_fraction * len(images))))
        held, rest = order[:count], order[count:]
        weights = (None, None) if weight is None else (weight[rest], weight[held])
        return {
            "train": (images[rest], targets[rest], weights[0]),
            "validation": (images[held], targets[held], weights[1]),
        }

    def _callbacks(self) -> list[Any]:
        from kernelearn.callbacks import EarlyStopping

        callbacks = list(self.callbacks or [])
        if self.patience is not None:
            callbacks.append(EarlyStopping("val_loss", patience=self.patience, restore_best_weights=True))
        return callbacks

    def _outputs(self, X: Any) -> np.ndarray:
        """What the network gives for X, (n, outputs) float64."""
        check_is_fitted(self, "model_")
        images, _ = self._images(X)
        return np.asarray(self.model_.predict(images, batch_size=_PREDICT_BATCH, verbose=0), np.float64)

    # --- copies and files

    def __getstate__(self) -> dict[str, Any]:
        # A network is kept as config and weights: what an engine compiled for it belongs to this process.
        state = dict(super().__getstate__())
        network = state.pop("model_", None)
        if network is not None:
            state["_network_state"] = (LAYERS.serialize(network), network.get_weights(), network.metadata)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        saved = state.pop("_network_state", None)
        super().__setstate__(state)
        if saved is not None:
            self.model_ = LAYERS.get(saved[0])
            self.model_.set_weights(saved[1])
            self.model_.metadata = saved[2]


def _has_several_sizes(X: Any) -> bool:
    """Whether X holds one array for each image, of different sizes."""
    is_listed = isinstance(X, list | tuple) or (isinstance(X, np.ndarray) and X.dtype == object)
    if not is_listed or not all(isinstance(image, np.ndarray) and image.ndim > 1 for image in X):
        return False
    return len({image.shape for image in X}) > 1


class CNNClassifier(ClassifierMixin, _CNN):
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


class CNNRegressor(RegressorMixin, _CNN):
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


def _small(input_shape: tuple[int, int, int], outputs: int, classifier_activation: str | None) -> Model:
    """For images too small for pooling: one convolution that keeps the size, one hidden layer."""
    return Sequential(
        [
            Input(input_shape),
            Conv2D(16, 3, padding="same", activation="relu", name="conv1"),
            Flatten(name="flatten"),
            Dense(64, activation="relu", name="dense"),
            Dense(outputs, activation=classifier_activation, name="classifier"),
        ],
        name="small",
    )
