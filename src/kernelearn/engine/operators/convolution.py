"""Operators of convolution. The three are each other's gradients: the table below closes on itself.

operator               gradient to the first input    gradient to the second input
conv(x, w)             conv_grad_input(g, w)          conv_grad_kernel(x, g)
conv_transpose(x, w)   conv(g, w)                     conv_grad_kernel(g, x)

All take an attribute precision="bfloat16" that rounds both operands; gradients inherit it.
"""

from collections.abc import Mapping
from typing import Any

from kernelearn.engine.arrays import Pairs, Sizes, known
from kernelearn.engine.geometry import output_sizes
from kernelearn.engine.operators.table import Context, Gradients, Spec, operator, required
from kernelearn.engine.reference import conv as reference
from kernelearn.errors import ShapeError


def _conv_shape(
    x: Spec, kernel: Spec, *, stride: Sizes, padding: Pairs, dilation: Sizes, groups: int, **attrs: Any
) -> tuple[Spec]:
    channels, filters, taken = known(x.shape[-1]), known(kernel.shape[-1]), known(kernel.shape[-2]) * groups
    if taken != channels or filters % groups:
        raise ShapeError(
            f"A kernel of shape {kernel.shape} with groups={groups} takes {taken} input "
            f"channels and a number of filters divisible by {groups}; the input has shape {x.shape} "
            "(channels last)."
        )
    outputs = output_sizes(x.shape[1:-1], kernel.shape[:-2], stride, dilation, padding, "convolution kernel")
    return (Spec((x.shape[0], *outputs, filters), x.dtype),)


def _conv_gradient(c: Context) -> Gradients:
    x, kernel = c.inputs
    grad_x = grad_kernel = None
    if c.needs[0]:
        grad_x = c.builder.add("conv_grad_input", c.grad, kernel, input_size=x.shape[1:-1], **c.attrs)
    if c.needs[1]:
        grad_kernel = c.builder.add("conv_grad_kernel", x, c.grad, kernel_size=kernel.shape[:-2], **c.attrs)
    return grad_x, grad_kernel


def _transpose_attrs(attrs: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in attrs.items() if k not in ("output_size", "input_size")}


def _conv_transpose_gradient(c: Context) -> Gradients:
    x, kernel = c.inputs
    attrs = _transpose_attrs(c.attrs)
    grad_x = grad_kernel = None
    if c.needs[0]:
        grad_x = c.builder.add("conv", c.grad, kernel, **attrs)
    if c.needs[1]:
        grad_kernel = c.builder.add("conv_grad_kernel", c.grad, x, kernel_size=kernel.shape[:-2], **attrs)
    return grad_x, grad_kernel


def _grad_input_shape(
    grad_y: Spec, kernel: Spec, *, input_size: Sizes, groups: int, **attrs: Any
) -> tuple[Spec]:
    return (Spec((grad_y.shape[0], *input_size, known(kernel.shape[-2]) * groups), grad_y.dtype),)


def _conv_transpose_shape(
    x: Spec, kernel: Spec, *, output_size: Sizes, groups: int, **attrs: Any
) -> tuple[Spec]:
    if kernel.shape[-1] != x.shape[-1]:
        raise ShapeError(
            f"A transposed convolution kernel (*size, filters, in) of shape {kernel.shape} takes "
            f"{kernel.shape[-1]} input channels; the input has shape {x.shape} (channels last)."
        )
    return _grad_input_shape(x, kernel, input_size=output_size, groups=groups)


def _grad_kernel_shape(
    x: Spec, grad_y: Spec, *, kernel_size: Sizes, groups: int, **attrs: Any
) -> tuple[Spec]:
    return (Spec((*kernel_size, known(x.shape[-1]) // groups, grad_y.shape[-1]), x.dtype),)


def _grad_kernel_gradient(c: Context) -> Gradients:
    """conv_grad_kernel is linear in both inputs: second derivatives are convolutions again."""
    x, grad_y = c.inputs
    attrs = {k: v for k, v in c.attrs.items() if k != "kernel_size"}
    to_x = (
        c.builder.add("conv_grad_input", grad_y, c.grad, input_size=x.shape[1:-1], **attrs)
        if c.needs[0]
        else None
    )
    to_y = c.builder.add("conv", x, c.grad, **attrs) if c.needs[1] else None
    return to_x, to_y


_WINDOWS = {**required("stride", "padding", "dilation", "groups"), "precision": "float32"}

operator("conv", _conv_shape, reference.conv, _conv_gradient, attrs=_WINDOWS, is_linear=True)
operator(
    "conv_grad_input",
    _grad_input_shape,
    reference.conv_grad_input,
    _conv_transpose_gradient,
    attrs={**required("input_size"), **_WINDOWS},
    is_linear=True,
)
operator(
    "conv_grad_kernel",
    _grad_kernel_shape,
    reference.conv_grad_kernel,
    _grad_kernel_gradient,
    attrs={**required("kernel_size"), **_WINDOWS},
    is_linear=True,
)
operator(
    "conv_transpose",
    _conv_transpose_shape,
    reference.conv_transpose,
    _conv_transpose_gradient,
    attrs={**required("output_size"), **_WINDOWS},
    is_linear=True,
)
