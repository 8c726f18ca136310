"""Operators that change images: by a draw per image (flip, crop, warp, contrast), or in size."""

from kernelearn.engine.operators.table import Context, Spec, like, operator, same_as_first
from kernelearn.engine.reference import augmentation as reference
from kernelearn.engine.reference import normalization, resizing
from kernelearn.errors import ShapeError


def _flip_gradient(c: Context):
    return c.builder.add("flip", c.grad, c.inputs[1], **c.attrs), None


def _crop_shape(x: Spec, draw: Spec, *, size) -> tuple[Spec]:
    if any(wanted > there for wanted, there in zip(size, x.shape[1:-1])):
        raise ShapeError(
            f"A crop of {tuple(size)} pixels does not fit into images of {tuple(x.shape[1:-1])}."
        )
    return (Spec((x.shape[0], *size, x.shape[-1]), x.dtype),)


def _crop_gradient(c: Context):
    return c.builder.add(
        "crop_grad", c.grad, c.inputs[1], input_size=c.inputs[0].shape[1:-1], **c.attrs
    ), None


def _sized_back(grad_y: Spec, *others: Spec, input_size, **attrs) -> tuple[Spec]:
    return (Spec((grad_y.shape[0], *input_size, grad_y.shape[-1]), grad_y.dtype),)


def _contrast_gradient(c: Context):
    return c.builder.add("contrast_grad", c.grad, *c.inputs, **c.attrs), None


def _map_shape(x: Spec, draw: Spec, **attrs) -> tuple[Spec]:
    return (Spec((x.shape[0], 2, 3), "float64"),)


def _warp_gradient(c: Context):
    return c.builder.add("warp_grad", c.grad, c.inputs[1], **c.attrs), None


def _resize_shape(x: Spec, *, size, **attrs) -> tuple[Spec]:
    return (Spec((x.shape[0], *size, x.shape[-1]), x.dtype),)


def _resize_gradient(c: Context):
    return (c.builder.add("resize_grad", c.grad, input_size=c.inputs[0].shape[1:-1], **c.attrs),)


def _unstandardize_gradient(c: Context):
    return c.builder.add("unstandardize_grad", c.grad, c.inputs[2], **c.attrs), None, None


operator("flip", same_as_first, reference.flip, _flip_gradient, is_linear=True)
operator("crop", _crop_shape, reference.crop, _crop_gradient, is_linear=True)
operator("crop_grad", _sized_back, reference.crop_grad, is_linear=True)
operator("contrast", same_as_first, reference.contrast, _contrast_gradient)
operator("contrast_grad", like(1), reference.contrast_grad, is_linear=True)
operator("affine_map", _map_shape, reference.affine_map, lambda c: (None, None))
operator("warp", same_as_first, reference.warp, _warp_gradient)
operator("warp_grad", same_as_first, reference.warp_grad, is_linear=True)
operator("resize", _resize_shape, resizing.resize, _resize_gradient, is_linear=True)
operator("resize_grad", _sized_back, resizing.resize_grad, is_linear=True)
operator("unstandardize", same_as_first, normalization.unstandardize, _unstandardize_gradient)
operator("unstandardize_grad", same_as_first, normalization.unstandardize_grad, is_linear=True)
