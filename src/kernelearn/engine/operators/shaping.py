"""Operators that move numbers without changing them; all are linear, each gradient is another of them."""

import math

from kernelearn.engine.arrays import Bounds, Pairs, Places, Shape, Sizes, inverse_order, known
from kernelearn.engine.operators.expressions import unbroadcast
from kernelearn.engine.operators.table import Context, Gradients, Spec, operator, required
from kernelearn.engine.reference import shaping as reference
from kernelearn.errors import ShapeError


def _reshape_shape(x: Spec, *, shape: Shape) -> tuple[Spec]:
    entries, known = (math.prod(s for s in sizes if s is not None) for sizes in (x.shape, shape))
    sizes = tuple(shape)
    if None in sizes and None not in x.shape and known and entries % known == 0:
        # Images of a fixed number, such as those of two batches joined.
        entries, sizes = known, (entries // known, *sizes[1:])
    if known != entries:
        raise ShapeError(f"Cannot reshape {x.shape} to {tuple(shape)}: the number of entries differs.")
    return (Spec(sizes, x.dtype),)


def _reshape_gradient(c: Context) -> Gradients:
    return (c.builder.add("reshape", c.grad, shape=c.inputs[0].shape),)


def _transpose_shape(x: Spec, *, axes: Sizes) -> tuple[Spec]:
    return (Spec(tuple(x.shape[a] for a in axes), x.dtype),)


def _transpose_gradient(c: Context) -> Gradients:
    return (c.builder.add("transpose", c.grad, axes=inverse_order(c.attrs["axes"])),)


def _slice_shape(x: Spec, *, bounds: Bounds) -> tuple[Spec]:
    sizes = tuple(s if b is None else b[1] - b[0] for s, b in zip(x.shape, bounds))
    if any(s is not None and s < 1 for s in sizes):
        raise ShapeError(f"Cropping {x.shape} to {bounds} leaves nothing; crop less.")
    return (Spec(sizes, x.dtype),)


def _slice_gradient(c: Context) -> Gradients:
    sizes = c.inputs[0].shape
    padding = tuple((0, 0) if b is None else (b[0], s - b[1]) for s, b in zip(sizes, c.attrs["bounds"]))
    return (c.builder.add("pad", c.grad, padding=padding),)


def _strided_slice_shape(x: Spec, *, places: Places) -> tuple[Spec]:
    for size, place in zip(x.shape, places):
        if place is not None:
            start, count, step = place
            last = start + (count - 1) * step
            if count < 1 or not step or not (0 <= start < known(size) and 0 <= last < known(size)):
                raise ShapeError(
                    f"A slice of {x.shape} that starts at {start} and takes {count} entries in steps of "
                    f"{step} leaves the array, or is empty."
                )
    return (Spec(tuple(s if p is None else p[1] for s, p in zip(x.shape, places)), x.dtype),)


def _strided_slice_gradient(c: Context) -> Gradients:
    places, shape = c.attrs["places"], c.inputs[0].shape
    if all(p is None or (p[1] == s and abs(p[2]) == 1) for p, s in zip(places, shape)):
        return (c.builder.add("strided_slice", c.grad, places=places),)
    return (c.builder.add("strided_place", c.grad, places=places, shape=shape),)


def _strided_place_shape(y: Spec, *, places: Places, shape: Shape) -> tuple[Spec]:
    (taken,) = _strided_slice_shape(Spec(tuple(shape), y.dtype), places=places)
    if taken.shape != y.shape:
        raise ShapeError(
            f"{y.shape} does not fill the places {places} of {tuple(shape)}; these are {taken.shape}."
        )
    return (Spec(tuple(shape), y.dtype),)


def _strided_place_gradient(c: Context) -> Gradients:
    return (c.builder.add("strided_slice", c.grad, places=c.attrs["places"]),)


def _broadcast_to_shape(x: Spec, *like: Spec, shape: Shape) -> tuple[Spec]:
    lead = len(shape) - len(x.shape)
    padded = (1,) * lead + tuple(x.shape)
    has_images = bool(like) and like[0].shape[:1] == (None,)
    fits = lead >= 0 and all(
        own == new or (own == 1 and (new is not None or (has_images and axis == 0)))
        for axis, (own, new) in enumerate(zip(padded, shape))
    )
    if not fits:
        raise ShapeError(
            f"Cannot repeat {x.shape} to {tuple(shape)}: an axis must have the wanted size, or size 1 where "
            "the wanted size is known."
        )
    return (Spec(tuple(shape), x.dtype),)


def _broadcast_to_gradient(c: Context) -> Gradients:
    return unbroadcast(c.builder, c.grad, c.inputs[0]), *[None] * (len(c.inputs) - 1)


def _pad_shape(x: Spec, *, padding: Pairs, value: float) -> tuple[Spec]:
    return (
        Spec(
            tuple(s if (lo, hi) == (0, 0) else known(s) + lo + hi for s, (lo, hi) in zip(x.shape, padding)),
            x.dtype,
        ),
    )


def _pad_gradient(c: Context) -> Gradients:
    sizes, padding = c.inputs[0].shape, c.attrs["padding"]
    bounds = tuple(None if (lo, hi) == (0, 0) else (lo, lo + s) for s, (lo, hi) in zip(sizes, padding))
    return (c.builder.add("slice", c.grad, bounds=bounds),)


def _concatenate_shape(*parts: Spec, axis: int) -> tuple[Spec]:
    def others(shape: Shape) -> list[int | None]:
        return [s for i, s in enumerate(shape) if i != axis]

    if any(others(p.shape) != others(parts[0].shape) for p in parts):
        raise ShapeError(
            f"Tensors joined along axis {axis} must agree on all other axes; got {[p.shape for p in parts]}."
        )
    shape = list(parts[0].shape)
    shape[axis] = sum(known(p.shape[axis]) for p in parts)
    return (Spec(tuple(shape), parts[0].dtype),)


def _concatenate_gradient(c: Context) -> Gradients:
    axis, start, grads = c.attrs["axis"], 0, []
    for part, need in zip(c.inputs, c.needs):
        bounds = tuple(
            (start, start + part.shape[axis]) if i == axis else None for i in range(len(part.shape))
        )
        grads.append(c.builder.add("slice", c.grad, bounds=bounds) if need else None)
        start += part.shape[axis]
    return tuple(grads)


def _upsample_shape(x: Spec, *, factors: Sizes, method: str) -> tuple[Spec]:
    return (
        Spec((x.shape[0], *(known(s) * f for s, f in zip(x.shape[1:-1], factors)), x.shape[-1]), x.dtype),
    )


def _upsample_grad_shape(grad_y: Spec, *, factors: Sizes, method: str) -> tuple[Spec]:
    sizes = (known(s) // f for s, f in zip(grad_y.shape[1:-1], factors))
    return (Spec((grad_y.shape[0], *sizes, grad_y.shape[-1]), grad_y.dtype),)


def _upsample_gradient(c: Context) -> Gradients:
    return (c.builder.add("upsample_grad", c.grad, **c.attrs),)


def _upsample_grad_gradient(c: Context) -> Gradients:
    return (c.builder.add("upsample", c.grad, **c.attrs),)


def _fixed_shape(x: Spec, *, images: int) -> tuple[Spec]:
    if x.shape[:1] not in ((None,), (images,)):
        raise ShapeError(f"{x.shape} does not have {images} images as its first size.")
    return (Spec((images, *x.shape[1:]), x.dtype),)


def _fixed_gradient(c: Context) -> Gradients:
    return (c.builder.add("open_images", c.grad, **c.attrs),)


def _opened_shape(x: Spec, *, images: int) -> tuple[Spec]:
    if x.shape[:1] not in ((images,), (None,)):
        raise ShapeError(f"{x.shape} does not have {images} images as its first size.")
    return (Spec((None, *x.shape[1:]), x.dtype),)


def _opened_gradient(c: Context) -> Gradients:
    return (c.builder.add("fix_images", c.grad, **c.attrs),)


# The same memory, with the number of images written as a number, and as None.
operator(
    "fix_images",
    _fixed_shape,
    reference.fix_images,
    _fixed_gradient,
    attrs=required("images"),
    is_linear=True,
)
operator(
    "open_images",
    _opened_shape,
    reference.open_images,
    _opened_gradient,
    attrs=required("images"),
    is_linear=True,
)
operator(
    "reshape", _reshape_shape, reference.reshape, _reshape_gradient, attrs=required("shape"), is_linear=True
)
operator(
    "transpose",
    _transpose_shape,
    reference.transpose,
    _transpose_gradient,
    attrs=required("axes"),
    is_linear=True,
)
operator(
    "slice", _slice_shape, reference.slice_axes, _slice_gradient, attrs=required("bounds"), is_linear=True
)
operator(
    "strided_slice",
    _strided_slice_shape,
    reference.strided_slice,
    _strided_slice_gradient,
    attrs=required("places"),
    is_linear=True,
)
operator(
    "strided_place",
    _strided_place_shape,
    reference.strided_place,
    _strided_place_gradient,
    attrs=required("places", "shape"),
    is_linear=True,
)
operator(
    "broadcast_to",
    _broadcast_to_shape,
    reference.broadcast_to,
    _broadcast_to_gradient,
    attrs=required("shape"),
    is_linear=True,
)
operator(
    "pad",
    _pad_shape,
    reference.pad_axes,
    _pad_gradient,
    attrs={**required("padding"), "value": 0.0},
    is_linear=True,
)
operator(
    "concatenate", _concatenate_shape, reference.concatenate, _concatenate_gradient, attrs=required("axis")
)
operator(
    "upsample",
    _upsample_shape,
    reference.upsample,
    _upsample_gradient,
    attrs={**required("factors"), "method": "nearest"},
    is_linear=True,
)
operator(
    "upsample_grad",
    _upsample_grad_shape,
    reference.upsample_grad,
    _upsample_grad_gradient,
    attrs={**required("factors"), "method": "nearest"},
    is_linear=True,
)
