"""Operators entry by entry: activations, sums and products of tensors, scaling, penalties on weights."""

from collections.abc import Callable
from typing import Any

import numpy as np

from kernelearn.engine.arrays import Shape, Sizes
from kernelearn.engine.operators.expressions import Term, terms, unbroadcast
from kernelearn.engine.operators.second_derivatives import activation_grad_gradient
from kernelearn.engine.operators.table import (
    Context,
    Gradients,
    Spec,
    like,
    operator,
    required,
    same_as_first,
)
from kernelearn.engine.reference import elementwise as reference
from kernelearn.engine.reference.activations import ACTIVATIONS
from kernelearn.engine.reference.regularizers import REGULARIZERS
from kernelearn.errors import KernelearnError, ShapeError


def broadcast_shape(x: Spec, y: Spec, **attrs: Any) -> tuple[Spec]:
    """NumPy's broadcasting rule, with None (the number of images) equal to itself only."""
    rank = max(len(x.shape), len(y.shape))
    shapes = [(1,) * (rank - len(s.shape)) + tuple(s.shape) for s in (x, y)]
    sizes = []
    for a, b in zip(*shapes):
        if a != b and 1 not in (a, b):
            raise ShapeError(
                f"Shapes {x.shape} and {y.shape} cannot be combined entry by entry: {a} against {b}."
            )
        sizes.append(b if a == 1 else a)
    return (Spec(tuple(sizes), x.dtype),)


def _sum_to_shape(x: Spec, *, axes: Sizes, shape: Shape) -> tuple[Spec]:
    return (Spec(tuple(shape), x.dtype),)


def _add_gradient(c: Context) -> Gradients:
    return tuple(unbroadcast(c.builder, c.grad, b) if need else None for b, need in zip(c.inputs, c.needs))


def _subtract_gradient(c: Context) -> Gradients:
    x, y = c.inputs
    grad_x = unbroadcast(c.builder, c.grad, x) if c.needs[0] else None
    if not c.needs[1]:
        return grad_x, None
    return grad_x, unbroadcast(c.builder, c.builder.add("scale", c.grad, factor=-1.0), y)


def _multiply_gradient(c: Context) -> Gradients:
    x, y = c.inputs
    pairs = ((x, y, c.needs[0]), (y, x, c.needs[1]))
    return tuple(
        unbroadcast(c.builder, c.builder.add("multiply", c.grad, other), this) if need else None
        for this, other, need in pairs
    )


def _extreme_gradient(c: Context) -> Gradients:
    x, y = c.inputs
    pairs = ((x, y, c.needs[0]), (y, x, c.needs[1]))
    return tuple(
        unbroadcast(c.builder, c.builder.add("extreme_grad", c.grad, this, other, c.outputs[0]), this)
        if need
        else None
        for this, other, need in pairs
    )


def _extreme_grad_gradient(c: Context) -> Gradients:
    """To the incoming gradient only: which entry wins does not change in between."""
    return c.builder.add("extreme_grad", c.grad, *c.inputs[1:]), None, None, None


def _sum_to_gradient(c: Context) -> Gradients:
    x, axes = c.inputs[0], c.attrs["axes"]
    kept = tuple(1 if i in axes else s for i, s in enumerate(x.shape))
    return (spread(c.builder, c.builder.add("reshape", c.grad, shape=kept), x),)


def spread(builder: Any, small: Any, like: Any) -> Any:
    """A buffer with axes of size 1 repeated to the shape of another."""
    if small.shape == like.shape:
        return small
    others = (like,) if None in like.shape and None not in small.shape else ()
    return builder.add("broadcast_to", small, *others, shape=like.shape)


def _scale_gradient(c: Context) -> Gradients:
    return (c.builder.add("scale", c.grad, factor=c.attrs["factor"]),)


def _activation_gradient(c: Context) -> Gradients:
    # NOTE: where the derivative reads only the output (ReLU, sigmoid, tanh), it is passed twice, so that an
    # engine need not keep the input.
    x = c.inputs[0] if ACTIVATIONS[c.attrs["kind"]].needs_x else c.outputs[0]
    return (c.builder.add("activation_grad", c.grad, x, c.outputs[0], **c.attrs),)


def _prelu_gradient(c: Context) -> Gradients:
    x, alpha = c.inputs
    grad_x = c.builder.add("prelu_grad_input", c.grad, x, alpha) if c.needs[0] else None
    if not c.needs[1]:
        return grad_x, None
    return grad_x, unbroadcast(c.builder, c.builder.add("prelu_grad_alpha", c.grad, x), alpha)


def _prelu_grad_input_gradient(c: Context) -> Gradients:
    """Of g where x is positive, else alpha g."""
    g, x, alpha = c.inputs
    to_g = c.builder.add("prelu_grad_input", c.grad, x, alpha) if c.needs[0] else None
    return to_g, None, _below(c, g, x).to(alpha) if c.needs[2] else None


def _prelu_grad_alpha_gradient(c: Context) -> Gradients:
    """Of x g where x is not positive, else 0."""
    g, x = c.inputs
    to_g = c.builder.add("prelu_grad_alpha", c.grad, x) if c.needs[0] else None
    return to_g, _below(c, g, x).buffer if c.needs[1] else None


def _below(c: Context, g: Any, x: Any) -> Term:
    """What comes in times g, where x is not positive, else 0."""
    h, g_term, x_term = terms(c.builder, c.grad, g, x)
    is_positive = x_term.apply("greater", x_term.constant(0.0))
    return is_positive.apply("where", h.constant(0.0), h * g_term)


def _affine_gradient(c: Context) -> Gradients:
    x, gamma, beta = c.inputs
    grad_x = c.builder.add("multiply", c.grad, gamma) if c.needs[0] else None
    grad_gamma = unbroadcast(c.builder, c.builder.add("multiply", c.grad, x), gamma) if c.needs[1] else None
    return grad_x, grad_gamma, unbroadcast(c.builder, c.grad, beta) if c.needs[2] else None


def _penalty_gradient(c: Context) -> Gradients:
    return (c.builder.add("penalty_grad", c.grad, c.inputs[0], **c.attrs),)


def penalty_grad_gradient(kind: str) -> Callable[[Context], Gradients]:
    """The gradient rule of the operator `kind`, `penalty_grad` or `activity_penalty_grad`."""
    return lambda c: _penalty_grad_gradient(c, kind)


def _penalty_grad_gradient(c: Context, kind: str) -> Gradients:
    """Of g (2 l2 w + l1 sign(w)): by g the sum of what comes in, h, times that, by w 2 l2 g h."""
    g, weight = c.inputs
    if c.attrs["kind"] != "l1l2":
        raise KernelearnError(
            f"The penalty {c.attrs['kind']!r} has no second derivative; write it with functions of "
            "kernelearn.ops instead."
        )
    one = c.builder.add("fill", shape=(), value=1.0, dtype=g.dtype)
    to_g = to_weight = None
    if c.needs[0]:
        slope, h = terms(c.builder, c.builder.add(kind, one, weight, **c.attrs), c.grad)
        to_g = (slope * h).apply("sum_to", axes=tuple(range(len(weight.shape))), shape=()).buffer
    if c.needs[1]:
        to_weight = c.builder.add(kind, g, c.grad, **{**c.attrs, "l1": 0.0})
    return to_g, to_weight


def _scalar(x: Spec, **attrs: Any) -> tuple[Spec]:
    return (Spec((), x.dtype),)


_KIND = required("kind")
_ACTIVATIONS = {kind: function.attrs for kind, function in ACTIVATIONS.items()}
# Of penalties on weights, and on the outputs of layers (`operators.losses`).
PENALTY = {"kind": "l1l2"}
PENALTIES = {"custom": required("custom"), **{kind: rule.attrs for kind, rule in REGULARIZERS.items()}}

operator(
    "activation", same_as_first, reference.activation, _activation_gradient, attrs=_KIND, kinds=_ACTIVATIONS
)
operator(
    "activation_grad",
    same_as_first,
    reference.activation_grad,
    activation_grad_gradient,
    attrs=_KIND,
    kinds=_ACTIVATIONS,
    is_linear=True,
)
operator("add", broadcast_shape, np.add, _add_gradient)
operator("subtract", broadcast_shape, np.subtract, _subtract_gradient)
operator("multiply", broadcast_shape, np.multiply, _multiply_gradient, is_linear=True)
operator("maximum", broadcast_shape, np.maximum, _extreme_gradient)
operator("minimum", broadcast_shape, np.minimum, _extreme_gradient)
operator("extreme_grad", same_as_first, reference.extreme_grad, _extreme_grad_gradient, is_linear=True)
operator(
    "sum_to",
    _sum_to_shape,
    reference.sum_to,
    _sum_to_gradient,
    attrs=required("axes", "shape"),
    is_linear=True,
)
operator("scale", same_as_first, reference.scale, _scale_gradient, attrs={"factor": 1.0, "offset": 0.0})
operator("affine", same_as_first, reference.affine, _affine_gradient)
operator("prelu", same_as_first, reference.prelu, _prelu_gradient)
operator(
    "prelu_grad_input",
    same_as_first,
    reference.prelu_grad_input,
    _prelu_grad_input_gradient,
    is_linear=True,
)
operator(
    "prelu_grad_alpha",
    same_as_first,
    reference.prelu_grad_alpha,
    _prelu_grad_alpha_gradient,
    is_linear=True,
)
operator("penalty", _scalar, reference.penalty, _penalty_gradient, attrs=PENALTY, kinds=PENALTIES)
operator(
    "penalty_grad",
    like(1),
    reference.penalty_grad,
    penalty_grad_gradient("penalty_grad"),
    attrs=PENALTY,
    kinds=PENALTIES,
    is_linear=True,
)
