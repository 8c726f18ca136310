"""The operator table, one file per family; importing this package fills `OPERATORS`."""

from kernelearn.engine.operators import (
    augmentation,
    choosing,
    coefficients,
    convolution,
    dense,
    elementwise,
    functions,
    fused,
    losses,
    normalization,
    pooling,
    products,
    random,
    reductions,
    shaping,
    updates,
)
from kernelearn.engine.operators.table import OPERATORS, Context, Operator, Spec

__all__ = [
    "OPERATORS",
    "Context",
    "Operator",
    "Spec",
    "augmentation",
    "choosing",
    "coefficients",
    "convolution",
    "dense",
    "elementwise",
    "functions",
    "fused",
    "losses",
    "normalization",
    "pooling",
    "products",
    "random",
    "reductions",
    "shaping",
    "updates",
]
