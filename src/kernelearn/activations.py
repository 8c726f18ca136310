"""The activations as functions of arrays, where a Keras user looks for them: those of `kernelearn.ops`.

Each may also be given to a layer: `Conv2D(8, 3, activation=activations.relu)`, the same as `"relu"`.
"""

from typing import Any

from kernelearn import ops
from kernelearn.layers.core.arguments import activation_name
from kernelearn.ops import (
    celu,
    elu,
    exponential,
    gelu,
    hard_shrink,
    hard_sigmoid,
    hard_silu,
    hard_swish,
    hard_tanh,
    leaky_relu,
    linear,
    log_sigmoid,
    log_softmax,
    mish,
    relu,
    relu6,
    selu,
    sigmoid,
    silu,
    soft_shrink,
    softmax,
    softplus,
    softsign,
    sparse_plus,
    sparse_sigmoid,
    squareplus,
    swish,
    tanh,
    tanh_shrink,
    threshold,
)

__all__ = [
    "celu",
    "elu",
    "exponential",
    "gelu",
    "get",
    "hard_shrink",
    "hard_sigmoid",
    "hard_silu",
    "hard_swish",
    "hard_tanh",
    "leaky_relu",
    "linear",
    "log_sigmoid",
    "log_softmax",
    "mish",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "soft_shrink",
    "softmax",
    "softplus",
    "softsign",
    "sparse_plus",
    "sparse_sigmoid",
    "squareplus",
    "swish",
    "tanh",
    "tanh_shrink",
    "threshold",
]


def get(identifier: Any) -> Any:
    """The function of an activation that is given by its name, as None (linear), or itself.

    Raises: UnknownNameError, ArgumentTypeError.

    >>> get("relu").__name__
    'relu'
    """
    return getattr(ops, activation_name(identifier))
