"""Operators of spatial pooling."""

from typing import Any

from kernelearn.engine.arrays import Pairs, Sizes
from kernelearn.engine.geometry import output_sizes
from kernelearn.engine.operators.table import Context, Gradients, Spec, operator, required
from kernelearn.engine.reference import pooling as reference


def _pool_shape(x: Spec, *, size: Sizes, stride: Sizes, padding: Pairs) -> tuple[Spec]:
    outputs = output_sizes(x.shape[1:-1], size, stride, (1,) * len(size), padding, "pooling window")
    return (Spec((x.shape[0], *outputs, x.shape[-1]), x.dtype),)


def _max_pool_shape(x: Spec, **attrs: Any) -> tuple[Spec, Spec]:
    (y,) = _pool_shape(x, **attrs)
    return y, Spec(y.shape, "int32")


def _grad_shape(grad_y: Spec, *others: Spec, input_size: Sizes, **attrs: Any) -> tuple[Spec]:
    return (Spec((grad_y.shape[0], *input_size, grad_y.shape[-1]), grad_y.dtype),)


def _max_pool_gradient(c: Context) -> Gradients:
    return (
        c.builder.add("max_pool_grad", c.grad, c.outputs[1], input_size=c.inputs[0].shape[1:-1], **c.attrs),
    )


def _max_pool_grad_gradient(c: Context) -> Gradients:
    attrs = {name: value for name, value in c.attrs.items() if name != "input_size"}
    return c.builder.add("max_pool_take", c.grad, c.inputs[1], **attrs), None


def _max_pool_take_gradient(c: Context) -> Gradients:
    size = c.inputs[0].shape[1:-1]
    return c.builder.add("max_pool_grad", c.grad, c.inputs[1], input_size=size, **c.attrs), None


def _taken_shape(x: Spec, where: Spec, **attrs: Any) -> tuple[Spec]:
    return _pool_shape(x, **attrs)


def _average_pool_grad_gradient(c: Context) -> Gradients:
    attrs = {name: value for name, value in c.attrs.items() if name != "input_size"}
    return (c.builder.add("average_pool", c.grad, **attrs),)


def _average_pool_gradient(c: Context) -> Gradients:
    return (c.builder.add("average_pool_grad", c.grad, input_size=c.inputs[0].shape[1:-1], **c.attrs),)


_WINDOW = required("size", "stride", "padding")

operator("max_pool", _max_pool_shape, reference.max_pool, _max_pool_gradient, attrs=_WINDOW)
operator(
    "max_pool_grad",
    _grad_shape,
    reference.max_pool_grad,
    _max_pool_grad_gradient,
    attrs={**_WINDOW, **required("input_size")},
    is_linear=True,
)
operator(
    "max_pool_take",
    _taken_shape,
    reference.max_pool_take,
    _max_pool_take_gradient,
    attrs=_WINDOW,
    is_linear=True,
)
operator(
    "average_pool", _pool_shape, reference.average_pool, _average_pool_gradient, attrs=_WINDOW, is_linear=True
)
operator(
    "average_pool_grad",
    _grad_shape,
    reference.average_pool_grad,
    _average_pool_grad_gradient,
    attrs={**_WINDOW, **required("input_size")},
    is_linear=True,
)
