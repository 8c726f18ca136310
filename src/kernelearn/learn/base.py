"""What both estimators share: parameters, the network for images and targets, its training and its copies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from kernelearn import config
from kernelearn.errors import ArgumentError, ShapeError
from kernelearn.layers import LAYERS, Conv2D, Dense, Flatten, Input
from kernelearn.learn.images import TakesImages
from kernelearn.models import Model, Sequential, zoo

Network = str | Model | Callable[[tuple[int, int, int], int], Model]

_LENET_SIDE = 4  # the smallest image that lenet takes
_PREDICT_BATCH = 256


class CNNBase(TakesImages, BaseEstimator):
    """An estimator that trains a network.

    Subclasses have the parameters of `CNNClassifier` as attributes.
    """

    model: Network
    epochs: int
    batch_size: int
    optimizer: Any
    learning_rate: float | None
    patience: int | None
    validation_fraction: float
    callbacks: Sequence[Any] | None
    random_state: Any
    verbose: Any
    shards: int | None

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
