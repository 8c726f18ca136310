"""Operators of dense layers and biases."""

from typing import Any

from kernelearn.engine.operators.table import Context, Gradients, Spec, operator, same_as_first
from kernelearn.engine.reference import dense as reference
from kernelearn.errors import ShapeError


def _dense_shape(x: Spec, kernel: Spec, **attrs: Any) -> tuple[Spec]:
    if x.shape[-1] != kernel.shape[0]:
        raise ShapeError(
            f"A dense kernel of shape {kernel.shape} takes {kernel.shape[0]} features on the last axis; "
            f"the input has shape {x.shape}. Put a Flatten or a global pooling layer before Dense."
        )
    return (Spec((*x.shape[:-1], kernel.shape[1]), x.dtype),)


def _dense_gradient(c: Context) -> Gradients:
    x, kernel = c.inputs
    return (
        c.builder.add("dense_grad_input", c.grad, kernel, **c.attrs) if c.needs[0] else None,
        c.builder.add("dense_grad_kernel", x, c.grad, **c.attrs) if c.needs[1] else None,
    )


def _grad_input_shape(grad_y: Spec, kernel: Spec, **attrs: Any) -> tuple[Spec]:
    return (Spec((*grad_y.shape[:-1], kernel.shape[0]), grad_y.dtype),)


def _grad_kernel_shape(x: Spec, grad_y: Spec, **attrs: Any) -> tuple[Spec]:
    return (Spec((x.shape[-1], grad_y.shape[-1]), x.dtype),)


def _grad_input_gradient(c: Context) -> Gradients:
    grad_y, kernel = c.inputs
    return (
        c.builder.add("dense", c.grad, kernel, **c.attrs) if c.needs[0] else None,
        c.builder.add("dense_grad_kernel", c.grad, grad_y, **c.attrs) if c.needs[1] else None,
    )


def _grad_kernel_gradient(c: Context) -> Gradients:
    x, grad_y = c.inputs
    return (
        c.builder.add("dense_grad_input", grad_y, c.grad, **c.attrs) if c.needs[0] else None,
        c.builder.add("dense", x, c.grad, **c.attrs) if c.needs[1] else None,
    )


def _bias_gradient(c: Context) -> Gradients:
    return c.grad, c.builder.add("bias_grad", c.grad) if c.needs[1] else None


def _bias_grad_gradient(c: Context) -> Gradients:
    grad_y = c.inputs[0]
    return (c.builder.add("broadcast_to", c.grad, grad_y, shape=tuple(grad_y.shape)),)


def _bias_grad_shape(grad_y: Spec) -> tuple[Spec]:
    return (Spec(grad_y.shape[-1:], grad_y.dtype),)


_PRECISION = {"precision": "float32"}

operator("dense", _dense_shape, reference.dense, _dense_gradient, attrs=_PRECISION, is_linear=True)
operator(
    "dense_grad_input",
    _grad_input_shape,
    reference.dense_grad_input,
    _grad_input_gradient,
    attrs=_PRECISION,
    is_linear=True,
)
operator(
    "dense_grad_kernel",
    _grad_kernel_shape,
    reference.dense_grad_kernel,
    _grad_kernel_gradient,
    attrs=_PRECISION,
    is_linear=True,
)
operator("bias_add", same_as_first, reference.bias_add, _bias_gradient)
operator("bias_grad", _bias_grad_shape, reference.bias_grad, _bias_grad_gradient, is_linear=True)
