"""Operators that draw random numbers from the step's seed and number."""

from typing import Any

from kernelearn.engine.arrays import Shape
from kernelearn.engine.operators.table import (
    Context,
    Gradients,
    Spec,
    no_gradient,
    operator,
    required,
    same_as_first,
)
from kernelearn.engine.reference import random as reference
from kernelearn.errors import ShapeError


def _dropout_shape(
    x: Spec, seed: Spec, step: Spec, *, rate: float, stream: int, noise_shape: Shape | None
) -> tuple[Spec, Spec]:
    sizes = noise_shape or (None,) * len(x.shape)
    return x, Spec(tuple(s if n is None else n for n, s in zip(sizes, x.shape)), x.dtype)


def _dropout_gradient(c: Context) -> Gradients:
    return c.builder.add("multiply", c.grad, c.outputs[1]), None, None


def _draw_shape(x: Spec, seed: Spec, step: Spec, *, shape: Shape, **attrs: Any) -> tuple[Spec]:
    return (Spec((x.shape[0], *shape), x.dtype),)


def _draw_open_shape(
    seed: Spec, step: Spec, *like: Spec, shape: Shape, dtype: str, **attrs: Any
) -> tuple[Spec]:
    has_images = bool(like) and like[0].shape[:1] == (None,)
    if None in shape[1:] if has_images else None in shape:
        raise ShapeError(f"Numbers of shape {tuple(shape)} need the number of images, which is not known.")
    return (Spec(tuple(shape), dtype),)


def _like_parameters(alpha: Spec, *others: Spec, **attrs: Any) -> tuple[Spec]:
    return (alpha,)


def _binomial_shape(counts: Spec, probabilities: Spec, *clock: Spec, **attrs: Any) -> tuple[Spec]:
    if counts.shape != probabilities.shape:
        raise ShapeError(
            f"Counts {counts.shape} and probabilities {probabilities.shape} must have one shape."
        )
    return (probabilities,)


# Further attributes of a kind of `draw`.
_PARAMETERS = {"integers": ("low", "high"), "bernoulli": ("probability",)}

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
operator(
    "draw",
    _draw_open_shape,
    reference.draw,
    no_gradient,
    attrs=required("kind", "shape", "stream", "dtype"),
    kinds={kind: required(*_PARAMETERS.get(kind, ())) for kind in reference.DRAWS},
)
operator("draw_gamma", _like_parameters, reference.draw_gamma, no_gradient, attrs=required("stream"))
operator("draw_binomial", _binomial_shape, reference.draw_binomial, no_gradient, attrs=required("stream"))
