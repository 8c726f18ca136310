"""Operators that choose entries by their numbers, sort, and add up what belongs together.

The first axis may count images: then every image chooses among its own entries, or rows of a table are chosen
for every image (an embedding), or what all images have goes into one array. Other crossings of that axis need
the number of images.
"""

from typing import Any

import numpy as np

from kernelearn.engine.arrays import Shape, Sizes
from kernelearn.engine.dtypes import INDEX
from kernelearn.engine.operators.expressions import terms
from kernelearn.engine.operators.table import (
    Context,
    Gradients,
    Spec,
    no_gradient,
    operator,
    required,
)
from kernelearn.engine.reference import choosing as reference
from kernelearn.errors import ShapeError


def _flat_index_shape(*indices: Spec, sizes: Sizes) -> tuple[Spec]:
    shapes = [index.shape for index in indices]
    if len(set(shapes)) == 1:
        return (indices[0],)
    if any(None in shape for shape in shapes):
        raise ShapeError(f"Indices of the shapes {shapes} are combined only where all sizes are known.")
    return (Spec(np.broadcast_shapes(*shapes), indices[0].dtype),)  # type: ignore[arg-type]


def _gather_shape(x: Spec, indices: Spec, *, axis: int) -> tuple[Spec]:
    shape = (*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])
    if x.shape[axis] is None or None in shape[1:]:
        raise ShapeError(
            f"Choosing along axis {axis} of {x.shape} by indices of shape {indices.shape} mixes images; this "
            "needs a number of images that is known."
        )
    return (Spec(shape, x.dtype),)


def _gather_gradient(c: Context) -> Gradients:
    x, indices = c.inputs
    return c.builder.add("scatter_add", c.grad, indices, axis=c.attrs["axis"], shape=x.shape), None


def _scatter_add_shape(values: Spec, indices: Spec, *, axis: int, shape: Shape) -> tuple[Spec]:
    (chosen,) = _gather_shape(Spec(tuple(shape), values.dtype), indices, axis=axis)
    if chosen.shape != values.shape:
        raise ShapeError(
            f"Values to be added into {tuple(shape)} along axis {axis} by indices of shape {indices.shape} "
            f"must have shape {chosen.shape}; got {values.shape}."
        )
    return (Spec(tuple(shape), values.dtype),)


def _scatter_add_gradient(c: Context) -> Gradients:
    return c.builder.add("gather", c.grad, c.inputs[1], axis=c.attrs["axis"]), None


def _along_shape(x: Spec, indices: Spec, *, axis: int) -> tuple[Spec]:
    pairs = enumerate(zip(x.shape, indices.shape))
    if len(x.shape) != len(indices.shape) or any(a != b and i != axis for i, (a, b) in pairs):
        raise ShapeError(
            f"Indices along axis {axis} of {x.shape} must have the same sizes on all other axes; got "
            f"{indices.shape}."
        )
    if None in (x.shape[axis], indices.shape[axis]):
        raise ShapeError(f"Choosing along axis 0 of {x.shape} mixes images: their number must be known.")
    return (Spec(indices.shape, x.dtype),)


def _along_gradient(c: Context) -> Gradients:
    x, indices = c.inputs
    axis = c.attrs["axis"]
    return c.builder.add("scatter_add_along", c.grad, indices, axis=axis, size=x.shape[axis]), None


def _scatter_along_shape(values: Spec, indices: Spec, *, axis: int, size: int) -> tuple[Spec]:
    if values.shape != indices.shape:
        raise ShapeError(f"Values {values.shape} and their indices {indices.shape} must have one shape.")
    return (Spec((*values.shape[:axis], size, *values.shape[axis + 1 :]), values.dtype),)


def _scatter_along_gradient(c: Context) -> Gradients:
    return c.builder.add("gather_along", c.grad, c.inputs[1], axis=c.attrs["axis"]), None


def _scatter_set_shape(x: Spec, indices: Spec, values: Spec) -> tuple[Spec]:
    if len(indices.shape) != 1 or values.shape != (*indices.shape, *x.shape[1:]):
        raise ShapeError(
            f"Entries of {x.shape} that are set by indices of shape {indices.shape} must have shape "
            f"{(*indices.shape, *x.shape[1:])}; got {values.shape}."
        )
    return (x,)


def _scatter_set_gradient(c: Context) -> Gradients:
    x, indices, values = c.inputs
    grad_x = grad_values = None
    if c.needs[0]:
        zeros = c.builder.add("fill_like", values, value=0.0, dtype=values.dtype)
        grad_x = c.builder.add("scatter_set", c.grad, indices, zeros)
    if c.needs[2]:
        kept = c.builder.add("is_last", indices, size=x.shape[0], dtype=values.dtype)
        column = (*indices.shape, *[1] * (len(x.shape) - 1))
        kept = c.builder.add("reshape", kept, shape=column)
        grad_values = c.builder.add("multiply", c.builder.add("gather", c.grad, indices, axis=0), kept)
    return grad_x, None, grad_values


def _is_last_shape(indices: Spec, *, size: int, dtype: str) -> tuple[Spec]:
    return (Spec(indices.shape, dtype),)


def _segment_shape(x: Spec, segments: Spec, *, count: int) -> tuple[Spec]:
    if segments.shape != x.shape[:1]:
        raise ShapeError(
            f"Segments of {x.shape} must be one number for each entry of its first axis; "
            f"got {segments.shape}."
        )
    return (Spec((count, *x.shape[1:]), x.dtype),)


def _segment_max_gradient(c: Context) -> Gradients:
    """To the maxima, in equal shares."""
    x, best, grad = terms(c.builder, c.inputs[0], c.outputs[0], c.grad)
    (segments,) = terms(c.builder, c.inputs[1])
    won = x.apply("equal", best.apply("gather", segments, axis=0)).apply("cast", dtype=c.inputs[0].dtype)
    winners = won.apply("scatter_add", segments, axis=0, shape=best.shape).apply("maximum", 1.0)
    return (won * (grad / winners).apply("gather", segments, axis=0)).buffer, None


def _one_hot_shape(indices: Spec, *, depth: int, dtype: str) -> tuple[Spec]:
    return (Spec((*indices.shape, depth), dtype),)


def _argsort_shape(x: Spec, *, axis: int, descending: bool) -> tuple[Spec]:
    if x.shape[axis] is None:
        raise ShapeError(f"Sorting the images of {x.shape} needs a known number of them.")
    return (Spec(x.shape, INDEX),)


def _searchsorted_shape(edges: Spec, values: Spec, *, side: str) -> tuple[Spec]:
    if len(edges.shape) != 1 or None in edges.shape:
        raise ShapeError(f"searchsorted looks into one sorted row of known length; got shape {edges.shape}.")
    return (Spec(values.shape, INDEX),)


def _fill_like_shape(x: Spec, *, value: float, dtype: str) -> tuple[Spec]:
    return (Spec(x.shape, dtype),)


def _enter(name: str, shape: Any, run: Any, gradient: Any, attrs: Any, is_linear: bool = False) -> None:
    operator(name, shape, run, gradient, attrs=attrs, is_linear=is_linear)


_AXIS = required("axis")
_enter("flat_index", _flat_index_shape, reference.flat_index, None, required("sizes"))
_enter("gather", _gather_shape, reference.gather, _gather_gradient, _AXIS, True)
_enter(
    "scatter_add",
    _scatter_add_shape,
    reference.scatter_add,
    _scatter_add_gradient,
    required("axis", "shape"),
    True,
)
_enter("gather_along", _along_shape, reference.gather_along, _along_gradient, _AXIS, True)
_enter(
    "scatter_add_along",
    _scatter_along_shape,
    reference.scatter_add_along,
    _scatter_along_gradient,
    required("axis", "size"),
    True,
)
_enter("scatter_set", _scatter_set_shape, reference.scatter_set, _scatter_set_gradient, {})
_enter("is_last", _is_last_shape, reference.is_last, None, required("size", "dtype"))
_enter("segment_max", _segment_shape, reference.segment_max, _segment_max_gradient, required("count"))
_enter("one_hot", _one_hot_shape, reference.one_hot, no_gradient, required("depth", "dtype"))
_enter(
    "argsort",
    _argsort_shape,
    reference.argsort,
    None,
    {**required("axis"), "descending": False},
)
_enter("searchsorted", _searchsorted_shape, reference.searchsorted, None, {"side": "left"})
_enter("fill_like", _fill_like_shape, reference.fill_like, no_gradient, required("value", "dtype"))
