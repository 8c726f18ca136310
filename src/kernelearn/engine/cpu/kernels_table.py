"""Importing this module fills the table of lowering rules."""

from kernelearn.engine.cpu.kernels import (
    broadcast,
    chain,
    coefficients,
    conv,
    conv_weights,
    fused,
    gemm,
    losses,
    normalization,
    norms,
    pooling,
    random,
    reductions,
    shaping,
    softmax,
    updates,
)

__all__ = [
    "broadcast",
    "chain",
    "coefficients",
    "conv",
    "conv_weights",
    "fused",
    "gemm",
    "losses",
    "normalization",
    "norms",
    "pooling",
    "random",
    "reductions",
    "shaping",
    "softmax",
    "updates",
]
