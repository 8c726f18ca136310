"""Operators that reduce over axes or run along one, and softmax.

Gradients are compositions: what is reduced goes back to the shape of the input, and is multiplied there.
"""

import math
from typing import Any

from kernelearn.engine.arrays import Sizes
from kernelearn.engine.dtypes import INDEX
from kernelearn.engine.operators.elementwise import spread
from kernelearn.engine.operators.expressions import Term, terms
from kernelearn.engine.operators.table import (
    Context,
    Gradients,
    Spec,
    no_gradient,
    operator,
    required,
    same_as_first,
)
from kernelearn.engine.reference import reductions as reference


def _reduced_shape(x: Spec, *, axes: Sizes, keepdims: bool) -> tuple[Spec]:
    sizes = [1 if i in axes else s for i, s in enumerate(x.shape) if keepdims or i not in axes]
    return (Spec(tuple(sizes), x.dtype),)


def _open(c: Context, buffer: Any) -> Any:
    """A result of the reduction, or its gradient, with the reduced axes as axes of size 1."""
    axes, shape = c.attrs["axes"], c.inputs[0].shape
    kept = tuple(1 if i in axes else s for i, s in enumerate(shape))
    return buffer if buffer.shape == kept else c.builder.add("reshape", buffer, shape=kept)


def _mean_gradient(c: Context) -> Gradients:
    """Every entry gets an equal share."""
    x = c.inputs[0]
    sizes = [x.shape[a] for a in c.attrs["axes"]]
    (g,) = terms(c.builder, c.grad)
    if None in sizes:
        (whole,) = terms(c.builder, x)
        known = math.prod(size for size in sizes if size is not None)
        share = g * (1 / known) / whole.apply("image_count", dtype=x.dtype)
    else:
        share = g * (1 / math.prod(sizes))
    return (spread(c.builder, _open(c, share.buffer), x),)


def _extreme_gradient(c: Context) -> Gradients:
    """To the entries that attain the extreme, in equal shares if there are several."""
    x, best, g = terms(c.builder, c.inputs[0], _open(c, c.outputs[0]), _open(c, c.grad))
    won = x.apply("equal", best).apply("cast", dtype=c.grad.dtype)
    return ((won * (g / _sum(won, c.attrs["axes"]))).buffer,)


def _sum(x: Term, axes: Sizes) -> Term:
    """The sum over axes, which stay as axes of size 1."""
    shape = tuple(1 if i in axes else s for i, s in enumerate(x.shape))
    return x.apply("sum_to", axes=axes, shape=shape)


def _prod_gradient(c: Context) -> Gradients:
    """The product of all others: result / x; where one factor is zero, only its own is not zero."""
    x, g = terms(c.builder, c.inputs[0], _open(c, c.grad))
    axes, is_zero = c.attrs["axes"], x.apply("equal", x.constant(0.0))
    others = is_zero.apply("where", x.constant(1.0), x)
    product = others.apply("reduce_prod", axes=axes, keepdims=True)
    count = _sum(is_zero.apply("cast", dtype=c.grad.dtype), axes)
    none, one = (count.apply("equal", count.constant(n)) for n in (0.0, 1.0))
    alone = is_zero.apply("logical_and", one).apply("where", product, product.constant(0.0))
    return ((g * none.apply("where", product / others, alone)).buffer,)


def _count_shape(x: Spec, *, dtype: str) -> tuple[Spec]:
    return (Spec((), dtype),)


def _place_shape(x: Spec, *, axis: int, keepdims: bool) -> tuple[Spec]:
    return (Spec(_reduced_shape(x, axes=(axis % len(x.shape),), keepdims=keepdims)[0].shape, INDEX),)


def _cumsum_gradient(c: Context) -> Gradients:
    return (c.builder.add("cumsum", c.grad, axis=c.attrs["axis"], reverse=not c.attrs["reverse"]),)


def _cumprod_gradient(c: Context) -> Gradients:
    return (c.builder.add("cumprod_grad", c.grad, c.inputs[0], **c.attrs),)


def _softmax_gradient(c: Context) -> Gradients:
    return (c.builder.add("softmax_grad", c.grad, c.outputs[0], **c.attrs),)


def _log_softmax_gradient(c: Context) -> Gradients:
    return (c.builder.add("log_softmax_grad", c.grad, c.outputs[0], **c.attrs),)


def _total(c: Context, x: Any, y: Any = None) -> Any:
    """The sum of x, or of x y, along the axis of a softmax, which is kept."""
    shape = list(x.shape)
    axis = c.attrs["axis"] % len(shape)
    shape[axis] = 1
    terms = x if y is None else c.builder.add("multiply", x, y)
    return c.builder.add("sum_to", terms, axes=(axis,), shape=tuple(shape))


def _softmax_grad_gradient(c: Context) -> Gradients:
    """Of y (g - sum(g y)): by g the same function of what comes in, h; by y h (g - sum(g y)) - g sum(h y)."""
    (g, y), h, add = c.inputs, c.grad, c.builder.add
    by_g = add("softmax_grad", h, y, **c.attrs) if c.needs[0] else None
    if not c.needs[1]:
        return by_g, None
    centred = add("subtract", g, _total(c, g, y))
    return by_g, add("subtract", add("multiply", h, centred), add("multiply", g, _total(c, h, y)))


def _log_softmax_grad_gradient(c: Context) -> Gradients:
    """Of g - e^y sum(g): by g h - sum(h e^y), by y -h e^y sum(g)."""
    (g, y), h, add = c.inputs, c.grad, c.builder.add
    share = add("activation", y, kind="exponential")
    by_g = add("subtract", h, _total(c, h, share)) if c.needs[0] else None
    if not c.needs[1]:
        return by_g, None
    slope = add("multiply", add("multiply", h, share), _total(c, g))
    return by_g, add("scale", slope, factor=-1.0)


_AXES = {**required("axes"), "keepdims": False}
_AXIS = {"axis": -1}

operator("reduce_mean", _reduced_shape, reference.reduce_mean, _mean_gradient, attrs=_AXES, is_linear=True)
operator("reduce_max", _reduced_shape, reference.reduce_max, _extreme_gradient, attrs=_AXES)
operator("reduce_min", _reduced_shape, reference.reduce_min, _extreme_gradient, attrs=_AXES)
operator("reduce_prod", _reduced_shape, reference.reduce_prod, _prod_gradient, attrs=_AXES)
operator("image_count", _count_shape, reference.image_count, no_gradient, attrs=required("dtype"))
operator("argmax", _place_shape, reference.argmax, no_gradient, attrs={**_AXIS, "keepdims": False})
operator("argmin", _place_shape, reference.argmin, no_gradient, attrs={**_AXIS, "keepdims": False})
operator(
    "cumsum",
    same_as_first,
    reference.cumsum,
    _cumsum_gradient,
    attrs={**_AXIS, "reverse": False},
    is_linear=True,
)
operator("cumprod", same_as_first, reference.cumprod, _cumprod_gradient, attrs=_AXIS)
operator("cumprod_grad", same_as_first, reference.cumprod_grad, attrs=_AXIS, is_linear=True)
operator("softmax", same_as_first, reference.softmax, _softmax_gradient, attrs=_AXIS)
operator(
    "softmax_grad",
    same_as_first,
    reference.softmax_grad,
    _softmax_grad_gradient,
    attrs=_AXIS,
    is_linear=True,
)
operator("log_softmax", same_as_first, reference.log_softmax, _log_softmax_gradient, attrs=_AXIS)
operator(
    "log_softmax_grad",
    same_as_first,
    reference.log_softmax_grad,
    _log_softmax_grad_gradient,
    attrs=_AXIS,
    is_linear=True,
)
