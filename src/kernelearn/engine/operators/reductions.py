"""Operators that reduce over axes, and softmax."""

from typing import Any

from kernelearn.engine.arrays import Sizes
from kernelearn.engine.operators.table import (
    Context,
    Gradients,
    Spec,
    like,
    operator,
    required,
    same_as_first,
)
from kernelearn.engine.reference import reductions as reference
from kernelearn.errors import ShapeError


def _reduced_shape(x: Spec, *, axes: Sizes, keepdims: bool) -> tuple[Spec]:
    sizes = [1 if i in axes else s for i, s in enumerate(x.shape) if keepdims or i not in axes]
    return (Spec(tuple(sizes), x.dtype),)


def _mean_gradient(c: Context) -> Gradients:
    sizes = tuple(c.inputs[0].shape[a] for a in c.attrs["axes"])
    if None in sizes:
        raise ShapeError(
            f"A mean over the batch axis of {c.inputs[0].shape} has no gradient: the number of images is not "
            "known when the program is built. Use the operator `loss` to reduce over images."
        )
    return (c.builder.add("reduce_mean_grad", c.grad, sizes=sizes, **c.attrs),)


def _mean_grad_shape(grad_y: Spec, *, axes: Sizes, sizes: Sizes, keepdims: bool) -> tuple[Spec]:
    shape = list(grad_y.shape)
    for axis, size in sorted(zip(axes, sizes)):
        shape[axis : axis + keepdims] = [size]
    return (Spec(tuple(shape), grad_y.dtype),)


def _max_gradient(c: Context) -> Gradients:
    return (c.builder.add("reduce_max_grad", c.grad, c.inputs[0], c.outputs[0], **c.attrs),)


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
operator(
    "reduce_mean_grad",
    _mean_grad_shape,
    reference.reduce_mean_grad,
    attrs={**_AXES, **required("sizes")},
    is_linear=True,
)
operator("reduce_max", _reduced_shape, reference.reduce_max, _max_gradient, attrs=_AXES)
operator("reduce_max_grad", like(1), reference.reduce_max_grad, attrs=_AXES, is_linear=True)
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
