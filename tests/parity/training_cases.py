"""Small networks, data and optimisers on which this library and Keras take the same five training steps.

Every case is written once: `make` and `optimizer` take the library as an argument, since names are equal.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

STEPS, ROWS, CLASSES = 5, 18, 3


@dataclass(frozen=True)
class Case:
    """A network, its loss and its optimiser.

    Attributes:
        make, optimizer: library -> model, optimiser.
        batch_size: the last of the five batches is smaller.
    """

    name: str
    make: Callable[[Any], Any]
    optimizer: Callable[[Any], Any]
    loss: str = "sparse_categorical_crossentropy"
    batch_size: int = 4

    def data(self) -> tuple[np.ndarray, np.ndarray]:
        """Images and class numbers."""
        rng = np.random.default_rng(3)
        return rng.normal(size=(ROWS, 8, 8, 2)), rng.integers(0, CLASSES, ROWS)

    def weights(self, shapes: list[tuple[int, ...]]) -> list[np.ndarray]:
        """First values: kernels around zero, vectors (scales and variances among them) around one."""
        rng = np.random.default_rng(4)
        return [rng.normal(0, 0.3, s) if len(s) > 1 else rng.uniform(0.5, 1.5, s) for s in shapes]


def _plain(lib: Any, regularizer: Any = None, norm: bool = False) -> Any:
    layers = lib.layers
    parts = [
        lib.Input((8, 8, 2), dtype="float64"),
        layers.Conv2D(4, 3, padding="same", kernel_regularizer=regularizer, bias_regularizer=regularizer),
        *([layers.BatchNormalization()] if norm else []),
        layers.Activation("relu"),
        layers.MaxPooling2D(2),
        layers.Conv2D(5, 3, strides=2, padding="same", activation="tanh"),
        layers.Flatten(),
        layers.Dense(CLASSES, activation="softmax", kernel_regularizer=regularizer),
    ]
    return lib.Sequential(parts)


def _residual(lib: Any) -> Any:
    layers = lib.layers
    x = lib.Input((8, 8, 2), dtype="float64")
    shared = layers.Conv2D(2, 3, padding="same", activation="relu")
    y = layers.Add()([shared(shared(x)), x])
    y = layers.GlobalAveragePooling2D()(layers.BatchNormalization(momentum=0.9)(y))
    return lib.Model(x, layers.Dense(CLASSES, activation="softmax")(y))


CASES = [
    Case("sgd", _plain, lambda lib: lib.optimizers.SGD(0.1)),
    Case("momentum", _plain, lambda lib: lib.optimizers.SGD(0.1, momentum=0.9)),
    Case("nesterov", _plain, lambda lib: lib.optimizers.SGD(0.1, momentum=0.9, nesterov=True)),
    Case("adam", _plain, lambda lib: lib.optimizers.Adam(0.01)),
    Case("adamw-clipped", _plain, lambda lib: lib.optimizers.AdamW(0.01, global_clipnorm=0.5)),
    Case("rmsprop", _plain, lambda lib: lib.optimizers.RMSprop(0.01)),
    Case(
        "l2-norm", lambda lib: _plain(lib, "l2", norm=True), lambda lib: lib.optimizers.SGD(0.1, momentum=0.9)
    ),
    Case("norm-adam", lambda lib: _plain(lib, norm=True), lambda lib: lib.optimizers.Adam(0.01)),
    Case("residual", _residual, lambda lib: lib.optimizers.SGD(0.1, momentum=0.9)),
]
