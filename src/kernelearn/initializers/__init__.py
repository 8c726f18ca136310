"""Initialisers: the first values of weights, by Keras's names, and classical filter banks for kernels."""

from typing import Any

import numpy as np

from kernelearn.initializers.banks import (
    FilterBank,
    GaborBank,
    GaussianBank,
    Laplacian,
    PrewittBank,
    SobelBank,
)
from kernelearn.initializers.base import (
    INITIALIZERS,
    Constant,
    Identity,
    Initializer,
    Ones,
    Zeros,
    compute_fans,
)
from kernelearn.initializers.from_layer import FromLayer
from kernelearn.initializers.random_values import (
    GlorotNormal,
    GlorotUniform,
    HeNormal,
    HeUniform,
    LecunNormal,
    LecunUniform,
    Orthogonal,
    RandomInitializer,
    RandomNormal,
    RandomUniform,
    TruncatedNormal,
    VarianceScaling,
)

__all__ = [
    "Constant",
    "FilterBank",
    "FromLayer",
    "GaborBank",
    "GaussianBank",
    "GlorotNormal",
    "GlorotUniform",
    "HeNormal",
    "HeUniform",
    "Identity",
    "Initializer",
    "Laplacian",
    "LecunNormal",
    "LecunUniform",
    "Ones",
    "Orthogonal",
    "PrewittBank",
    "RandomInitializer",
    "RandomNormal",
    "RandomUniform",
    "SobelBank",
    "TruncatedNormal",
    "VarianceScaling",
    "Zeros",
    "compute_fans",
    "deserialize",
    "get",
    "serialize",
]


def get(identifier: Any) -> Any:
    """The initialiser that a name, a config, a class, an object, an array or a function stands for.

    An array gives `Constant(array)`, checked against the variable's shape when it is used. A function is
    called as function(shape, dtype=...).

    >>> get("glorot_uniform")((3, 3, 1, 8)).shape
    (3, 3, 1, 8)
    """
    if isinstance(identifier, Initializer):
        return identifier
    if isinstance(identifier, np.ndarray):
        return Constant(identifier)
    if isinstance(identifier, type) and issubclass(identifier, Initializer):
        return identifier()
    return INITIALIZERS.get(identifier, allow_callable=True)


def serialize(initializer: Initializer | None) -> dict[str, Any] | None:
    """The JSON config of an initialiser."""
    return INITIALIZERS.serialize(initializer)


def deserialize(config: dict[str, Any]) -> Initializer:
    """The initialiser of a config made by `serialize`."""
    initializer: Initializer = INITIALIZERS.get(config)
    return initializer
