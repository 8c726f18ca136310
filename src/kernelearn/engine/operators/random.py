"""Operators that draw random numbers from the step's seed and number."""

from typing import Any

from kernelearn.engine.arrays import Shape
from kernelearn.engine.operators.table import Context, Gradients, Spec, operator, required, same_as_first
from kernelearn.engine.reference import random as reference


def _dropout_shape(
    x: Spec, seed: Spec, step: Spec, *, rate: float, stream: int, noise_shape: Shape | None
) -> tuple[Spec, Spec]:
    sizes = noise_shape or (None,) * len(x.shape)
    return x, Spec(tuple(s if n is None else n for n, s in zip(sizes, x.shape)), x.dtype)


def _dropout_gradient(c: Context) -> Gradients:
    return c.builder.add("multiply", c.grad, c.outputs[1]), None, None


def _draw_shape(x: Spec, seed: Spec, step: Spec, *, shape: Shape, **attrs: Any) -> tuple[Spec]:
    return (Spec((x.shape[0], *shape), x.dtype),)


operator(
    "dropout",
    _dropout_shape,
    reference.dropout,
    _dropout_gradient,
    attrs={**required("rate", "stream"), "noise_shape": None},
)
operator(
    "gaussian_noise",
    same_as_first,
    reference.gaussian_noise,
    lambda c: (c.grad, None, None),
    attrs=required("stddev", "stream"),
)
operator(
    "random_uniform",
    _draw_shape,
    reference.random_uniform,
    lambda c: (None, None, None),
    attrs=required("shape", "low", "high", "stream"),
)
