"""Random numbers, where a Keras user looks for them: `kernelearn.random`."""

from kernelearn.ops.random import (
    SeedGenerator,
    bernoulli,
    beta,
    binomial,
    categorical,
    dropout,
    gamma,
    normal,
    permutation,
    randint,
    shuffle,
    truncated_normal,
    uniform,
)

__all__ = [
    "SeedGenerator",
    "bernoulli",
    "beta",
    "binomial",
    "categorical",
    "dropout",
    "gamma",
    "normal",
    "permutation",
    "randint",
    "shuffle",
    "truncated_normal",
    "uniform",
]
