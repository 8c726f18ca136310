"""Operators that change images: by a draw per image (flip, crop, warp, contrast), or in size."""

from typing import Any

from kernelearn.engine.arrays import Sizes, known
from kernelearn.engine.operators.table import (
    Context,
    Gradients,
    Spec,
    like,
    operator,
    required,
    same_as_first,
)
from kernelearn.engine.reference import normalization
from kernelearn.engine.reference.images import augmentation as reference
from kernelearn.engine.reference.images import resizing
from kernelearn.errors import ShapeError


def _flip_gradient(c: Context) -> Gradients:
    return c.builder.add("flip", c.grad, c.inputs[1], **c.attrs), None


def _crop_shape(x: Spec, draw: Spec, *, size: Sizes) -> tuple[Spec]:
    if any(wanted > known(there) for wanted, there in zip(size, x.shape[1:-1])):
        raise ShapeError(
            f"A crop of {tuple(size)} pixels does not fit into images of {tuple(x.shape[1:-1])}."
        )
    return (Spec((x.shape[0], *size, x.shape[-1]), x.dtype),)


def _crop_gradient(c: Context) -> Gradients:
    return c.builder.add(
        "crop_grad", c.grad, c.inputs[1], input_size=c.inputs[0].shape[1:-1], **c.attrs
    ), None


def _without(c: Context, *names: str) -> dict[str, Any]:
    """The attributes of an operation but these."""
    return {name: value for name, value in c.attrs.items() if name not in names}


def _crop_grad_gradient(c: Context) -> Gradients:
    return c.builder.add("crop", c.grad, c.inputs[1], **_without(c, "input_size")), None


def _sized_back(grad_y: Spec, *others: Spec, input_size: Sizes, **attrs: Any) -> tuple[Spec]:
    return (Spec((grad_y.shape[0], *input_size, grad_y.shape[-1]), grad_y.dtype),)


def _contrast_gradient(c: Context) -> Gradients:
    return c.builder.add("contrast_grad", c.grad, *c.inputs, **c.attrs), None


def _map_shape(x: Spec, draw: Spec, **attrs: Any) -> tuple[Spec]:
    return (Spec((x.shape[0], 2, 3), "float64"),)


def _warp_gradient(c: Context) -> Gradients:
    return c.builder.add("warp_grad", c.grad, c.inputs[1], **c.attrs), None


def _warp_grad_gradient(c: Context) -> Gradients:
    # NOTE: the constant around the image is no part of the linear map.
    return c.builder.add("warp", c.grad, c.inputs[1], **{**c.attrs, "fill_value": 0.0}), None


def _resize_shape(x: Spec, *, size: Sizes, **attrs: Any) -> tuple[Spec]:
    return (Spec((x.shape[0], *size, x.shape[-1]), x.dtype),)


def _resize_gradient(c: Context) -> Gradients:
    return (c.builder.add("resize_grad", c.grad, input_size=c.inputs[0].shape[1:-1], **c.attrs),)


def _resize_grad_gradient(c: Context) -> Gradients:
    return (c.builder.add("resize", c.grad, **_without(c, "input_size")),)


def _unstandardize_gradient(c: Context) -> Gradients:
    return c.builder.add("unstandardize_grad", c.grad, c.inputs[2], **c.attrs), None, None


def _unstandardize_grad_gradient(c: Context) -> Gradients:
    return c.builder.add("unstandardize_grad", c.grad, c.inputs[1], **c.attrs), None


_CONTRAST = required("low", "high", "value_range")
_WARP = required("fill_mode", "fill_value", "interpolation")
_RESIZE = {**required("size", "method"), "antialias": False}

operator("flip", same_as_first, reference.flip, _flip_gradient, attrs=required("axes"), is_linear=True)
operator("crop", _crop_shape, reference.crop, _crop_gradient, attrs=required("size"), is_linear=True)
operator(
    "crop_grad",
    _sized_back,
    reference.crop_grad,
    _crop_grad_gradient,
    attrs=required("size", "input_size"),
    is_linear=True,
)
operator("contrast", same_as_first, reference.contrast, _contrast_gradient, attrs=_CONTRAST)
operator("contrast_grad", like(1), reference.contrast_grad, attrs=_CONTRAST, is_linear=True)
operator(
    "affine_map", _map_shape, reference.affine_map, lambda c: (None, None), attrs=required("kind", "ranges")
)
operator("warp", same_as_first, reference.warp, _warp_gradient, attrs=_WARP)
operator("warp_grad", same_as_first, reference.warp_grad, _warp_grad_gradient, attrs=_WARP, is_linear=True)
operator("resize", _resize_shape, resizing.resize, _resize_gradient, attrs=_RESIZE, is_linear=True)
operator(
    "resize_grad",
    _sized_back,
    resizing.resize_grad,
    _resize_grad_gradient,
    attrs={**_RESIZE, **required("input_size")},
    is_linear=True,
)
operator(
    "unstandardize",
    same_as_first,
    normalization.unstandardize,
    _unstandardize_gradient,
    attrs=required("epsilon"),
)
operator(
    "unstandardize_grad",
    same_as_first,
    normalization.unstandardize_grad,
    _unstandardize_grad_gradient,
    attrs=required("epsilon"),
    is_linear=True,
)
