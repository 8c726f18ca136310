"""The operator of products of matrices."""

import math
from typing import Any

from kernelearn.engine.arrays import Shape
from kernelearn.engine.operators.expressions import unbroadcast
from kernelearn.engine.operators.table import Context, Gradients, Spec, operator
from kernelearn.engine.reference import products as reference
from kernelearn.errors import ShapeError

Order = tuple[int, ...] | None


def matrix_sizes(shape: Shape, transposed: bool) -> tuple[int | None, int | None]:
    """Rows and columns of each matrix, after it has been transposed."""
    return (shape[-1], shape[-2]) if transposed else (shape[-2], shape[-1])


def batch_shape(a: Shape, b: Shape) -> Shape:
    """Leading axes of the product: NumPy's rule, with None (the number of images) equal to itself only.

    Raises: ShapeError if they do not fit.
    """
    rank = max(len(a), len(b)) - 2
    left, right = ((1,) * (rank + 2 - len(s)) + tuple(s[:-2]) for s in (a, b))
    for one, other in zip(left, right):
        if one != other and 1 not in (one, other):
            raise ShapeError(
                f"Matrices of shapes {a} and {b} cannot be multiplied: their leading axes differ, "
                f"{one} against {other}; give them equal sizes, or 1 where a matrix is used again."
            )
    return tuple(other if one == 1 else one for one, other in zip(left, right))


def _matmul_shape(a: Spec, b: Spec, *, transpose_a: bool, transpose_b: bool, precision: str) -> tuple[Spec]:
    if min(len(a.shape), len(b.shape)) < 2:
        raise ShapeError(f"Products of matrices take tensors of at least two axes; got {a.shape}, {b.shape}.")
    rows, inner = matrix_sizes(a.shape, transpose_a)
    other, columns = matrix_sizes(b.shape, transpose_b)
    if inner != other:
        shapes = [f"{s.shape}{' transposed' if t else ''}" for s, t in ((a, transpose_a), (b, transpose_b))]
        raise ShapeError(
            f"Matrices of shapes {shapes[0]} and {shapes[1]} cannot be multiplied: the columns of the first "
            f"({inner}) are not as many as the rows of the second ({other})."
        )
    return (Spec((*batch_shape(a.shape, b.shape), rows, columns), a.dtype),)


def _matmul_gradient(c: Context) -> Gradients:
    a, b = c.inputs
    return (
        unbroadcast(c.builder, _grad_a(c), a) if c.needs[0] else None,
        unbroadcast(c.builder, _grad_b(c), b) if c.needs[1] else None,
    )


def _grad_a(c: Context) -> Any:
    """g B', or its transpose B g' where `a` is stored transposed."""
    b, is_stored = c.inputs[1], c.attrs["transpose_b"]
    if c.attrs["transpose_a"]:
        return _product(c, b, c.grad, is_stored, True)
    return _product(c, c.grad, b, False, not is_stored)


def _grad_b(c: Context) -> Any:
    """A' g, or its transpose g' A where `b` is stored transposed."""
    (a, b), is_stored = c.inputs, c.attrs["transpose_a"]
    if len(b.shape) == 2 and not is_stored:
        # One matrix for all: the sum over leading axes (and images) is part of the product.
        pair = (c.grad, a) if c.attrs["transpose_b"] else (a, c.grad)
        if a.shape[0] is None:
            return c.builder.add("dense_grad_kernel", *pair, precision=c.attrs["precision"])
        first, second = (_rows(c, x) for x in pair)
        return _product(c, first, second, True, False)
    if c.attrs["transpose_b"]:
        return _product(c, c.grad, a, True, is_stored)
    return _product(c, a, c.grad, not is_stored, False)


def _rows(c: Context, x: Any) -> Any:
    """All rows of a tensor as those of one matrix."""
    return c.builder.add("reshape", x, shape=(math.prod(x.shape[:-1]), x.shape[-1]))


def _product(c: Context, a: Any, b: Any, transpose_a: bool, transpose_b: bool) -> Any:
    precision = c.attrs["precision"]
    return c.builder.add(
        "matmul", a, b, transpose_a=transpose_a, transpose_b=transpose_b, precision=precision
    )


def _turned_shape(
    a: Spec, b: Spec, *, order_a: Order, order_b: Order, order_y: Order, **attrs: Any
) -> tuple[Spec]:
    first, second = (Spec(_ordered(s.shape, o), s.dtype) for s, o in ((a, order_a), (b, order_b)))
    (y,) = _matmul_shape(first, second, **attrs)
    return (Spec(_ordered(y.shape, order_y), y.dtype),)


def _ordered(shape: Shape, order: Order) -> Shape:
    return shape if order is None else tuple(shape[axis] for axis in order)


_ATTRS = {"transpose_a": False, "transpose_b": False, "precision": "float32"}

operator(
    "matmul",
    _matmul_shape,
    reference.matmul,
    _matmul_gradient,
    attrs=_ATTRS,
    is_linear=True,
)
# Made by a rewrite: a product of tensors whose axes are taken in another order, and so is the result's.
operator(
    "turned_matmul",
    _turned_shape,
    reference.turned_matmul,
    attrs={**_ATTRS, "order_a": None, "order_b": None, "order_y": None},
    is_linear=True,
)
